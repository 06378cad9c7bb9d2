"""Labels of classes as targets of a generalized linear model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight

from skbilevel._typing import Array
from skbilevel.linear_model._glm_data import GLMTarget
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

    "balanced" counts weights, not rows: an integer weight is that many rows.
    """
    if class_weight is None:
        return np.ones(len(y))
    if not isinstance(class_weight, str):
        given = np.array(list(class_weight.values()), dtype=np.float64)
        if not (np.isfinite(given) & (given >= 0.0)).all():
            raise ValueError(
                f"class_weight={class_weight} holds a weight that is negative, "
                "infinite or not a number."
            )
        return np.asarray(compute_sample_weight(class_weight, y))
    _, codes = np.unique(y, return_inverse=True)
    total = np.bincount(codes, weight)
    factor = np.zeros(len(total))
    seen = total > 0
    factor[seen] = weight.sum() / (seen.sum() * total[seen])
    return np.asarray(factor[codes])


def class_target(y: Array, outer_loss: str) -> tuple[Array, GLMTarget]:
    """Labels of rows that have a weight, and indicators of them."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "y holds one class only; a classifier needs samples of at least 2 "
            "classes that have a positive sample_weight."
        )
    two = len(classes) == 2
    loss: Loss = LogisticLoss() if two else SoftmaxLoss()
    make = OUTER_LOSSES[outer_loss]
    outer = loss if make is None else make()
    Y = codes[:, None] == ([1] if two else np.arange(len(classes)))
    return classes, GLMTarget(Y.astype(np.float64), loss, outer, strata=codes)
