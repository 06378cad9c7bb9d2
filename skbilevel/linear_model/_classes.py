"""Labels of classes: their weights, and the targets that stand for them."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skbilevel._records import record
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
    return factors_of_counts(class_weight, ClassCounts.of(y, weight))(y)


def _columns(y: Array) -> Array:
    return y.reshape(len(y), 1 if y.ndim == 1 else y.shape[1]).T


@record
class ClassCounts:
    """Weights of the classes of every column of labels; those of other rows are added.

    Parameters
    ----------
    classes : list of ndarray
        The labels of a column that have a weight.
    total : list of ndarray
        Their weights.
    flat : bool
        Whether there is one column of labels, and not an indicator matrix.
    """

    classes: list[Array]
    total: list[Array]
    flat: bool

    @classmethod
    def of(cls, y: Array, weight: Array) -> ClassCounts:
        """Of labels (n,), or indicators (n, t), and weights (n,)."""
        seen = weight > 0
        found = [np.unique(each, return_inverse=True) for each in _columns(y[seen])]
        total = [np.bincount(code.ravel(), weight[seen]) for _, code in found]
        return cls([classes for classes, _ in found], total, y.ndim == 1)

    def plus(self, other: ClassCounts) -> ClassCounts:
        """Of the rows of both."""
        pairs = zip(self.classes, other.classes, strict=True)
        both = [np.concatenate(pair) for pair in pairs]
        weights = [
            np.concatenate(pair) for pair in zip(self.total, other.total, strict=True)
        ]
        found = [np.unique(each, return_inverse=True) for each in both]
        total = [
            np.bincount(code.ravel(), weight)
            for (_, code), weight in zip(found, weights, strict=True)
        ]
        return ClassCounts([classes for classes, _ in found], total, self.flat)


@record
class ClassFactors:
    """Factors of labels (n,) or (n, t); a row has the product of those of its columns.

    Labels that have no weight get zero.
    """

    classes: list[Array]
    factors: list[Array]

    def __call__(self, y: Array) -> Array:
        """Factors (n,)."""
        out = np.ones(len(y))
        columns = zip(_columns(y), self.classes, self.factors, strict=True)
        for each, classes, factor in columns:
            place = np.minimum(np.searchsorted(classes, each), len(classes) - 1)
            out *= np.where(classes[place] == each, factor[place], 0.0)
        return out


def factors_of_counts(class_weight: Any, counts: ClassCounts) -> ClassFactors:
    """What ``class_weight`` multiplies weights with, from those of the classes."""
    if isinstance(class_weight, str):
        factors = [each.sum() / (len(each) * each) for each in counts.total]
        return ClassFactors(counts.classes, factors)
    _check_class_weight(class_weight)
    if not counts.flat:
        raise ValueError(
            "class_weight is a dict, but y is an indicator matrix, whose columns are "
            "labels of their own; give 'balanced' or None, or sample_weight."
        )
    classes = counts.classes[0]
    given = _given_weights(class_weight, classes)
    if (given > 0).sum() < min(2, len(classes)):
        raise ValueError(
            f"class_weight={class_weight} leaves one class only, or none, that has a "
            "weight; a classifier needs samples of at least 2 classes that have a "
            "positive sample_weight."
        )
    return ClassFactors(counts.classes, [given])


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
    check_several(classes)
    warn_of_labels(classes, codes)
    return classes, codes


def check_several(classes: Array) -> None:
    """Raise where there is one class only."""
    if len(classes) < 2:
        raise ValueError(
            "y holds one class only; a classifier needs samples of at least 2 "
            "classes that have a positive sample_weight."
        )


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
