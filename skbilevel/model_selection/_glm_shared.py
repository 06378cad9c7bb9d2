"""The best shared strength of a generalized linear model, by resampling.

One rotation of the rows serves all strengths: with ``X X^T = U S U^T`` the columns
``U sqrt(S)`` stand for those of X, so that a penalty ``1 / v`` is all that changes
along the path. Rows that are not trained on are rows of the same matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._resampling import Pair
from skbilevel.problems import Loss
from skbilevel.solvers._whitened import (
    Whitened,
    WhitenedSolution,
    minimize_whitened,
)

# Steps of log v, and by how much the path goes below and above what one row in the
# direction of the largest variance says.
_STEP = 1.5
_BELOW, _ABOVE = 3.0, 30.0
# The path ends so many steps beyond its minimum.
_RISES = 2
_TOL = 1e-7


@dataclass(frozen=True)
class SharedPath:
    """Losses along a path of shared strengths.

    Parameters
    ----------
    grid : ndarray of shape (c,)
        Increasing ``log v``.
    loss : ndarray of shape (k, c)
        Total losses of the validation sets.
    weight : ndarray of shape (k,)
        Their weights.
    """

    grid: Array
    loss: Array
    weight: Array

    @property
    def mean(self) -> Array:
        """Mean losses (c,)."""
        return np.asarray(self.loss.sum(axis=0) / self.weight.sum())


@dataclass(frozen=True)
class RotatedRows:
    """Rows of a training set in at most as many columns as it has rows.

    Parameters
    ----------
    Z : ndarray of shape (n, m + r)
        Unpenalized columns, then rotated ones.
    n_free : int
        Number m of unpenalized columns.
    y, weight, offset : ndarray
        Targets, weights and offsets of the rows.
    loss : Loss
        The loss.
    """

    Z: Array
    n_free: int
    y: Array
    weight: Array
    offset: Array | None
    loss: Loss

    def problem(self, index: Array, v: float) -> Whitened:
        """The problem of some of the rows at a shared variance."""
        offset = None if self.offset is None else self.offset[index]
        return Whitened(
            self.Z[index],
            self.n_free,
            self.y[index],
            self.weight[index],
            self.loss,
            offset,
            1.0 / v,
        )

    def solve(
        self, index: Array, v: float, start: Array | None = None, tol: float = 1e-9
    ) -> WhitenedSolution:
        """The solution of some of the rows at a shared variance."""
        return minimize_whitened(self.problem(index, v), start, tol=tol)

    def eta(self, index: Array, T: Array) -> Array:
        """Predictions of some of the rows."""
        eta = self.Z[index] @ T
        return eta if self.offset is None else eta + self.offset[index]


def shared_path(
    rows: RotatedRows, pairs: Sequence[Pair], scale: float, ceiling: float
) -> SharedPath:
    """Walk from strong to weak regularization until the loss rises for good.

    ``pairs`` are positions in ``rows``; ``scale`` is the largest eigenvalue of
    ``X^T S D X`` of all rows, ``ceiling`` the largest ``log v``.
    """
    start = -np.log(max(scale, 1e-300)) - _BELOW
    grid = np.arange(start, min(start + _BELOW + _ABOVE, ceiling), _STEP)
    grid = grid if len(grid) else np.array([ceiling])
    weight = np.array([rows.weight[b].sum() for _, b in pairs])
    warm: list[Array | None] = [None] * len(pairs)
    columns: list[Array] = []
    for log_v in grid:
        column = np.empty(len(pairs))
        for k, (a, b) in enumerate(pairs):
            T = rows.solve(a, float(np.exp(log_v)), warm[k], _TOL).T
            warm[k] = T
            loss = rows.loss.value(rows.eta(b, T), rows.y[b]).sum(axis=-1)
            column[k] = rows.weight[b] @ loss
        columns.append(column)
        if len(columns) > _RISES + int(np.argmin([each.sum() for each in columns])):
            break
    loss = np.stack(columns, axis=1)
    return SharedPath(grid[: loss.shape[1]], loss, weight)
