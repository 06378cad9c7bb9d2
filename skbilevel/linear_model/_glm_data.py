"""Prepared rows of generalized linear models: targets, losses, offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
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
    counts, alpha_unit
        As in `Prepared`; scikit-learn's loss is a sum over rows or their mean.
    loss, outer : Loss
        The losses inside and outside.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    strata : ndarray of shape (n,) or None
        Class codes.
    level : float
        Part of ``offset`` that belongs to the intercept.
    """

    loss: Loss
    outer: Loss
    offset: Array | None
    strata: Array | None
    level: float = 0.0

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
    counts: RowCounts,
    mean_loss: bool,
    free: Array,
    intercept: bool,
    grouped: bool,
) -> PreparedGLM:
    """Choose shifts; ``free`` is a mask of unpenalized columns."""
    columns = Columns.of(X, counts.weight, free, intercept, grouped)
    return PreparedGLM(
        columns.rows(target.y, np.zeros(target.y.shape[1])),
        counts,
        float(counts.weight.sum()) if mean_loss else 1.0 / counts.unit,
        target.loss,
        target.outer,
        target.offset,
        target.strata,
        target.level,
    )
