"""Errors of sparse coefficients on rows outside of a training set.

Unpenalized columns are taken out of the rows as the training set fits them, so that the
error of penalized coefficients alone is that of the whole model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._active_set import Moments
from skbilevel.problems._kernel import KernelRows


class HeldOutRows(Protocol):
    """Rows that coefficients of a training set are judged on."""

    def error(self, active: Array, w: Array) -> Array:
        """Weighted sums of squared errors (c,) of coefficients (k, c) of columns."""

    def moments(self, active: Array) -> Moments:
        """All that this error depends on."""


@dataclass(frozen=True)
class HeldOutMoments:
    """`HeldOutRows` of which the moments of all columns are known."""

    whole: Moments

    def error(self, active: Array, w: Array) -> Array:
        """Weighted sums of squared errors (c,) of coefficients (k, c) of columns."""
        return self.whole.of(active).error(w)

    def moments(self, active: Array) -> Moments:
        """All that this error depends on."""
        return self.whole.of(active)


@dataclass(frozen=True)
class HeldOutColumns:
    """`HeldOutRows` whose columns are read when they are asked for.

    Parameters
    ----------
    rows : KernelRows
        All rows.
    train, valid : ndarray of int
        Rows of the training set, and those that it is judged on.
    sweep_train : ndarray of shape (n_free, len(train))
        Regresses a column of the training rows on the unpenalized columns.
    """

    rows: KernelRows
    train: Array
    sweep_train: Array
    valid: Array

    def _swept(self, of_train: Array, of_valid: Array) -> Array:
        rest = of_valid - self.rows.free[self.valid] @ (self.sweep_train @ of_train)
        return np.asarray(self.rows.root_weight[self.valid][:, None] * rest)

    @cached_property
    def _y(self) -> Array:
        y = self.rows.y
        return self._swept(y[self.train], y[self.valid])[:, 0]

    def _columns(self, active: Array) -> tuple[Array, Array]:
        """Some columns of the training rows, and of the others."""
        block = self.rows.columns(active)
        return block[self.train], block[self.valid]

    def error(self, active: Array, w: Array) -> Array:
        """Weighted sums of squared errors (c,) of coefficients (k, c) of columns."""
        fitted = self.rows.columns(active) @ w
        fitted = self._swept(fitted[self.train], fitted[self.valid])
        return np.asarray(((self._y[:, None] - fitted) ** 2).sum(axis=0))

    def moments(self, active: Array) -> Moments:
        """All that this error depends on."""
        block = self._swept(*self._columns(active))
        return Moments(block.T @ block, block.T @ self._y, float(self._y @ self._y))
