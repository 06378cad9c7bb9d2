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
from skbilevel.problems._kernel import KernelSet


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
    train : KernelSet
        The training set.
    valid : ndarray of int
        Rows that it is judged on.
    """

    train: KernelSet
    valid: Array

    def _swept(self, values: Array) -> Array:
        return self.train.swept(values, self.valid)

    @cached_property
    def _y(self) -> Array:
        return self._swept(self.train.rows.y)[:, 0]

    def error(self, active: Array, w: Array) -> Array:
        """Weighted sums of squared errors (c,) of coefficients (k, c) of columns."""
        fitted = self._swept(self.train.rows.columns(active) @ w)
        return np.asarray(((self._y[:, None] - fitted) ** 2).sum(axis=0))

    def moments(self, active: Array) -> Moments:
        """All that this error depends on."""
        block = self._swept(self.train.rows.columns(active))
        return Moments(block.T @ block, block.T @ self._y, float(self._y @ self._y))
