"""What coordinate descent has to know of rows that are never gathered."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._kernel import KernelRows


class KernelOracle:
    """Coordinate-descent oracle on rows that are never gathered."""

    def __init__(self, rows: KernelRows, train: Array, sweep_train: Array) -> None:
        self._rows, self._train, self._sweep = rows, train, sweep_train
        self.weight = rows.weight_of(train)
        self._y = self._center(rows.y[train])
        self.yy = float((rows.rows.weight[train][:, None] * self._y**2).sum())
        self.cross = self._pull(self._y)

    def _center(self, block: Array) -> Array:
        return np.asarray(block - self._rows.free[self._train] @ (self._sweep @ block))

    def _pull(self, residual: Array) -> Array:
        """``X^T S r`` for swept columns and a swept residual."""
        rows, train = self._rows, self._train
        r = rows.rows.weight[train][:, None] * residual
        full = np.zeros((rows.rows.n_rows, r.shape[1]))
        full[train] = r - self._sweep.T @ (rows.free[train].T @ r)
        return rows.rmatvec(full)

    def _columns(self, active: Array) -> Array:
        return self._center(self._rows.columns(active)[self._train])

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some columns."""
        block, _ = self.rows_of(active)
        return np.asarray(block.T @ block)

    def rows_of(self, active: Array) -> tuple[Array, Array]:
        """Some columns of the rows, and targets, swept and root-weighted."""
        root = self._rows.root_weight[self._train][:, None]
        return root * self._columns(active), root * self._y

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns."""
        full = np.zeros((self._rows.rows.n_penalized, w.shape[1]))
        full[active] = w
        fitted = self._rows.matvec(full)[self._train]
        return self._pull(self._y - self._center(fitted))
