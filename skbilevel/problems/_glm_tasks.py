"""Tasks whose loss is not quadratic: unpenalized columns stay among the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task, transfer
from skbilevel.problems._design import Design
from skbilevel.problems._headed import Headed
from skbilevel.problems._losses import Loss
from skbilevel.problems._parametrizations import Parametrization
from skbilevel.problems._rows_datafit import RowsDataFit


@dataclass(frozen=True)
class GLMTasks:
    """Makes tasks of sets of the same rows.

    Parameters
    ----------
    design : Design
        Penalized columns of all rows.
    y : ndarray of shape (n, t)
        Targets: class indicators, 0 and 1, counts or amounts.
    weight : ndarray of shape (n,)
        Row weights.
    loss, outer : Loss
        Losses inside and outside.
    free : ndarray of shape (n, m)
        Unpenalized columns, the constant one among them.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    """

    design: Design
    y: Array
    weight: Array
    loss: Loss
    outer: Loss
    free: Array
    offset: Array | None = None

    @property
    def n_free(self) -> int:
        """Number of unpenalized columns."""
        return int(self.free.shape[1])

    @property
    def fit(self) -> RowsDataFit:
        """All rows; the first coefficients are those of the unpenalized columns."""
        design = Headed(self.design, self.free)
        return RowsDataFit(
            design, self.y, self.weight, loss=self.loss, offset=self.offset
        )

    def fold(
        self, train: Array, valid: Array, parametrization: Parametrization | None = None
    ) -> Task:
        """Training and validation rows; theta in units of the full data."""
        inside, outside = np.zeros(len(self.weight)), np.zeros(len(self.weight))
        inside[train], outside[valid] = self.weight[train], self.weight[valid]
        fit = self.fit
        inner = replace(fit, weight=inside)
        outer = replace(fit, weight=outside, loss=self.outer)
        scale = 1.0 / transfer(1.0, inner.weight_sum, float(self.weight.sum()))
        own = None if parametrization is None else (parametrization,)
        return Task(inner, outer, outer.weight_sum, scale, own, self.n_free)

    def everything(self) -> Task:
        """All rows inside and outside, for criteria that leave out each of them."""
        fit = self.fit
        outer = replace(fit, loss=self.outer)
        return Task(fit, outer, fit.weight_sum, n_free=self.n_free)
