"""Rows as closed-form criteria need them: weighted, and swept of free columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._datafit import QuadraticDataFit
from skbilevel.problems._design import Design
from skbilevel.problems._rows_datafit import RowsDataFit, moments_of
from skbilevel.problems._sweep import Sweep

# Swept rows up to this size are kept instead of being made anew at every call.
_KEEP_BYTES = 1 << 26


@dataclass(frozen=True)
class SweptRows:
    """Rows times the roots of their weights, unpenalized columns projected out."""

    design: Design
    y: Array
    weight: Array
    free: Array | None = None

    @property
    def n_features(self) -> int:
        """Number of columns of the design."""
        return self.design.shape[1]

    @cached_property
    def fit(self) -> RowsDataFit:
        """The rows as a data fit."""
        free = self.free
        sweep = (
            None if free is None or not free.shape[1] else Sweep.of(free, self.weight)
        )
        return RowsDataFit(self.design, self.y, self.weight, sweep)

    @cached_property
    def root(self) -> Array:
        """Square roots of the weights."""
        return np.sqrt(self.weight)

    @cached_property
    def target(self) -> Array:
        """Swept targets times the roots of the weights, shape (n, t)."""
        return self.root[:, None] * self.fit.target

    @cached_property
    def moments(self) -> QuadraticDataFit:
        """Gram matrix and its companions."""
        return moments_of(self.fit)

    @cached_property
    def free_leverage(self) -> Array:
        """Diagonal of the projection on the unpenalized columns."""
        sweep = self.fit.sweep
        if sweep is None:
            return np.zeros(len(self.weight))
        return np.asarray((sweep.free * sweep.maps.T).sum(axis=1))

    @property
    def free_rank(self) -> float:
        """Rank of the unpenalized columns."""
        return float(round(self.free_leverage.sum()))

    @cached_property
    def _kept(self) -> Array | None:
        n, p = self.design.shape
        if 8 * n * p > _KEEP_BYTES:
            return None
        return np.concatenate([block for _, block in self.fit.swept_blocks()])

    def row_blocks(self) -> Iterator[tuple[Array | slice, Array]]:
        """Row numbers and swept rows, a few at a time."""
        if self._kept is not None:
            return iter([(slice(None), self._kept)])
        return self.fit.swept_blocks()

    def column_blocks(self) -> Iterator[tuple[slice, Array]]:
        """Column numbers and swept columns, a few at a time."""
        if self._kept is not None:
            yield slice(None), self._kept
            return
        sweep = self.fit.sweep
        for index, block in self.design.iter_columns():
            if sweep is not None:
                block = block - sweep.free @ self.fit.free_map[:, index]
            yield index, block * self.root[:, None]
