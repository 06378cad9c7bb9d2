"""Labels of classes: their weights, and the targets that stand for them."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skbilevel._typing import Array
from skbilevel.linear_model._data import GLMTarget
from skbilevel.linear_model._first_look import warn_of_labels
from skbilevel.problems import (
    BrierLoss,
    LogisticLoss,
    Loss,
    SmoothZeroOneLoss,
    SoftmaxLoss,
    SquaredHingeLoss,
)

# None stands for the loss inside.
OUTER_LOSSES: dict[str, Callable[[], Loss] | None] = {
    "log_loss": None,
    "brier": BrierLoss,
    "zero_one": SmoothZeroOneLoss,
    "hinge": SquaredHingeLoss,
}


def class_factors(class_weight: Any, y: Array, weight: Array) -> Array:
    """What ``class_weight`` multiplies the weight of every row with.

    "balanced" counts weights, not rows: an integer weight is that many rows. Labels
    (n, t) have a factor each, and a row has their product.
    """
    if class_weight is None:
        return np.ones(len(y))
    if isinstance(class_weight, str):
        columns = y.reshape(len(y), -1).T
        return np.prod([_balancing(each, weight) for each in columns], axis=0)
    _check_class_weight(class_weight)
    if y.ndim == 2:
        raise ValueError(
            "class_weight is a dict, but y is an indicator matrix, whose columns are "
            "labels of their own; give 'balanced' or None, or sample_weight."
        )
    factor, seen = np.zeros(len(y)), weight > 0
    classes, codes = np.unique(y[seen], return_inverse=True)
    given = _given_weights(class_weight, classes)
    if (given > 0).sum() < min(2, len(classes)):
        raise ValueError(
            f"class_weight={class_weight} leaves one class only, or none, that has a "
            "weight; a classifier needs samples of at least 2 classes that have a "
            "positive sample_weight."
        )
    factor[seen] = given[codes]
    return factor


def _balancing(y: Array, weight: Array) -> Array:
    """Factors that give every class the same total weight, and keep their sum."""
    _, codes = np.unique(y, return_inverse=True)
    total = np.bincount(codes, weight)
    factor = np.zeros(len(total))
    seen = total > 0
    factor[seen] = weight.sum() / (seen.sum() * total[seen])
    return np.asarray(factor[codes])


def _check_class_weight(class_weight: dict[Any, Any]) -> None:
    """Raise where a weight could not be one, whether or not its class occurs."""
    for label, given in class_weight.items():
        if not (isinstance(given, Real) and 0.0 <= float(given) < np.inf):
            raise ValueError(
                f"class_weight={class_weight} gives class {label!r} a weight that is "
                "negative, infinite or not a number."
            )


def _given_weights(class_weight: dict[Any, Any], classes: Array) -> Array:
    """Weights of the classes from a dict; those that it lacks have weight 1.

    A key that is no class is an error only where a class has no key, as in
    scikit-learn: such a key is likely a label of another type.
    """
    labels = classes.tolist()
    missing = [each for each in labels if each not in class_weight]
    if missing and len(labels) - len(missing) != len(class_weight):
        raise ValueError(
            f"The classes, {missing}, are not in class_weight, and it has keys that "
            f"are no classes; give the weights of labels that y holds: {labels}."
        )
    return np.array([float(class_weight.get(each, 1.0)) for each in labels])


def two_or_more_classes(y: Array) -> tuple[Array, Array]:
    """Labels, and the place of every row's label there."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "y holds one class only; a classifier needs samples of at least 2 "
            "classes that have a positive sample_weight."
        )
    warn_of_labels(classes, codes)
    return classes, codes


def indicators(codes: Array, n_classes: int) -> Array:
    """Whether a row is of a class: a column for each, one for two classes."""
    columns = [1] if n_classes == 2 else np.arange(n_classes)
    return np.asarray(codes[:, None] == columns)


def read_labels(y: Any) -> tuple[Array, str]:
    """Labels, or a dense indicator matrix; and "classes", "dense" or "sparse".

    The last two say how an indicator matrix was given.
    """
    check_classification_targets(y)
    if y.ndim == 1 or y.shape[1] == 1:
        y = y.toarray() if sparse.issparse(y) else y
        return np.asarray(column_or_1d(y, warn=True)), "classes"
    kind = "sparse" if sparse.issparse(y) else "dense"
    y = y.toarray() if kind == "sparse" else y
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"y has shape {y.shape}, and only an indicator matrix of 0 and 1 may have "
            "several columns; MultiLabelBinarizer makes one of lists of labels."
        )
    return np.asarray(y, dtype=np.int64), kind


def label_columns(y: Array) -> tuple[Array, Array]:
    """Classes and whether a row is of a class, as `indicators` or as given."""
    if y.ndim == 2:
        return np.arange(y.shape[1]), y == 1
    classes, codes = two_or_more_classes(y)
    return classes, indicators(codes, len(classes))


def class_target(y: Array, outer_loss: str) -> tuple[Array, GLMTarget]:
    """Labels, and indicators of them."""
    classes, codes = two_or_more_classes(y)
    loss: Loss = LogisticLoss() if len(classes) == 2 else SoftmaxLoss()
    make = OUTER_LOSSES[outer_loss]
    outer = loss if make is None else make()
    Y = indicators(codes, len(classes)).astype(np.float64)
    return classes, GLMTarget(Y, loss, outer, strata=codes)
