"""The linear model that finds weights of rows: its targets, columns and strength."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import has_fit_parameter

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._classes import indicators as class_columns
from skbilevel.linear_model._classes import two_or_more_classes
from skbilevel.problems import (
    Centered,
    Design,
    Headed,
    LogisticLoss,
    Loss,
    SoftmaxLoss,
    SquaredLoss,
    as_design,
)

# Up to so many entries X is copied in the units of the search: products cost less.
_COPIED = 1 << 22


@record
class WeightTarget:
    """What the model that finds weights predicts.

    Parameters
    ----------
    Y : ndarray of shape (n, t)
        Indicators of classes, or targets of unit variance.
    loss : Loss
        Its loss.
    codes : ndarray of shape (n,)
        Classes of rows, which folds share out evenly; zeros for a regression.
    classes : ndarray or None
        Their labels.
    """

    Y: Array
    loss: Loss
    codes: Array
    classes: Array | None

    @classmethod
    def of(cls, y: Array, classifier: bool, weight: Array) -> WeightTarget:
        """From the targets of all rows; those without a weight are not looked at."""
        codes, counted = np.zeros(len(y), dtype=int), weight > 0
        if not classifier:
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
            y = y - np.average(y, weights=weight)
            scale = float(np.sqrt(np.average(y**2, weights=weight))) or 1.0
            return cls((y / scale)[:, None], SquaredLoss(), codes, None)
        assert_all_finite(y[counted], input_name="y")
        check_classification_targets(y)
        classes, codes[counted] = two_or_more_classes(y[counted])
        Y = class_columns(codes, len(classes)).astype(np.float64)
        loss: Loss = LogisticLoss() if len(classes) == 2 else SoftmaxLoss()
        return cls(Y, loss, codes, classes)

    def check_trusted(self, rows: Array) -> None:
        """Raise where trusted rows cannot tell classes apart."""
        if self.classes is not None and len(np.unique(self.codes[rows])) < 2:
            only = self.classes[self.codes[rows[0]]]
            raise ValueError(
                f"All trusted rows are of the class {only!r}; rows of at least two "
                "classes are needed to judge a classifier."
            )


def check_takes_weights(last: Any) -> None:
    """Raise where an estimator cannot use weights."""
    if not has_fit_parameter(last, "sample_weight"):
        raise TypeError(
            f"{type(last).__name__} takes no sample_weight in fit, which learned "
            "weights need; choose another estimator."
        )


def _tuned(last: Any) -> bool:
    """Whether the strength of the last step is the one that is learned."""
    if isinstance(last, LogisticRegression):
        l2 = last.penalty in ("deprecated", "l2") and not last.l1_ratio
        return bool(l2)
    return type(last) is Ridge


def with_strength(last: Any, alpha: float) -> Any:
    """The last step with the strength that was learned, where it is the same."""
    if not _tuned(last):
        return last
    if isinstance(last, Ridge):
        return last.set_params(alpha=alpha)
    return last.set_params(C=1.0 / alpha)


def weighed_design(X: Any, weight: Array, last: Any) -> Design:
    """Columns as the last step sees them; scaled ones for a model of another kind."""
    design, total = as_design(X), weight.sum()
    mean = design.column_sums(weight) / total
    if not getattr(last, "fit_intercept", True):
        mean = np.zeros_like(mean)
    square = Centered(design, mean, np.ones_like(mean)).column_squares(weight) / total
    scale = np.ones_like(mean)
    if not _tuned(last):
        scale = np.sqrt(np.where(square > 1e-24 * (1.0 + mean**2), square, 1.0))
    free = np.ones((X.shape[0], int(getattr(last, "fit_intercept", True))))
    if sparse.issparse(X) or X.size > _COPIED:
        return Headed(Centered(design, mean, scale), free)
    return as_design(np.hstack([free, (np.asarray(X, dtype=float) - mean) / scale]))
