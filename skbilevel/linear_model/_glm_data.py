"""Prepared rows of generalized linear models: targets, losses, offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._data import Columns, Prepared
from skbilevel.problems import Loss, SoftmaxLoss


@dataclass(frozen=True)
class GLMTarget:
    """What a generalized linear model predicts, and how it is judged.

    Parameters
    ----------
    y : ndarray of shape (n, t)
        Class indicators, 0 and 1 for two classes, counts or amounts.
    loss : Loss
        The loss inside.
    outer : Loss
        The validation loss.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    strata : ndarray of shape (n,) or None
        Class codes, which folds share out evenly.
    level : float
        What ``offset`` holds beyond the user's: the published intercept gets it.
    """

    y: Array
    loss: Loss
    outer: Loss
    offset: Array | None = None
    strata: Array | None = None
    level: float = 0.0


@dataclass(frozen=True)
class PreparedGLM(Prepared):
    """Rows of a generalized linear model.

    Parameters
    ----------
    rows : AugmentedRows
        The rows; ``y`` is as in `GLMTarget`.
    positive : ndarray of int
        Rows of positive weight.
    loss, outer : Loss
        The losses inside and outside.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    strata : ndarray of shape (n,) or None
        Class codes.
    unit : float
        Published strengths are 1/v over this: 1 where scikit-learn's loss is a sum
        over rows, the sum of the weights where it is a mean.
    level : float
        Part of ``offset`` that belongs to the intercept.
    """

    loss: Loss
    outer: Loss
    offset: Array | None
    strata: Array | None
    unit: float = 1.0
    level: float = 0.0

    @property
    def alpha_unit(self) -> float:
        """Published strengths are 1/v over this."""
        return self.unit

    def coefficients(self, coef: Array) -> tuple[Array, Array]:
        """Coefficients (t, m) of all columns and intercepts (t,) in user units.

        What is the same for all classes changes no probability: where no strength
        decides about it, its mean over the classes is set to zero.
        """
        if isinstance(self.loss, SoftmaxLoss):
            m = self.rows.n_free
            coef = coef.copy()
            coef[:m] -= coef[:m].mean(axis=1, keepdims=True)
        out, intercept = super().coefficients(coef)
        return out, intercept + self.level


def prepare_glm(
    X: Any,
    target: GLMTarget,
    weight: Array,
    mean_loss: bool,
    free: Array,
    intercept: bool,
    grouped: bool,
) -> PreparedGLM:
    """Choose shifts; ``free`` is a mask of unpenalized columns."""
    columns = Columns.of(X, weight, free, intercept, grouped)
    return PreparedGLM(
        columns.rows(target.y, np.zeros(target.y.shape[1])),
        columns.positive,
        target.loss,
        target.outer,
        target.offset,
        target.strata,
        float(weight.sum()) if mean_loss else 1.0,
        target.level,
    )
