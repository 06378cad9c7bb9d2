"""Rows seen through their kernel X diag(v) X^T: the dual of ridge, for p > n."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from skbilevel._typing import Array
from skbilevel.problems._moments import AugmentedRows

_COLUMNS = 2048


@dataclass(frozen=True)
class KernelRows:
    """Products with the penalized columns and (n, n) kernels of all rows.

    Training sets are index arrays into the rows: kernels of all rows are formed and
    their entries outside a training set are never read, so nothing is copied per
    fold and nothing leaks.
    """

    rows: AugmentedRows

    @cached_property
    def _X(self) -> Array | sparse.csr_array:
        """Penalized columns; a view wherever nothing has to be taken out."""
        rows = self.rows
        X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
        if sparse.issparse(X):
            return sparse.csr_array(X.astype(np.float64))
        shift = rows.shift[rows.penalized]
        X = np.asarray(X, dtype=np.float64)
        return X - shift if shift.any() else X

    @cached_property
    def free(self) -> Array:
        """Unpenalized columns of all rows, the constant one first."""
        return self.rows.free_block(np.arange(self.rows.n_rows))

    @cached_property
    def y(self) -> Array:
        """Shifted targets of all rows."""
        return self.rows.targets(np.arange(self.rows.n_rows))

    @cached_property
    def root_weight(self) -> Array:
        """Square roots of the row weights."""
        return np.sqrt(self.rows.weight)

    def weight_of(self, index: Array) -> float:
        """Total weight of some rows."""
        return float(self.rows.weight[index].sum())

    def matvec(self, W: Array) -> Array:
        """``X W``."""
        return np.asarray(self._X @ W)

    def rmatvec(self, R: Array) -> Array:
        """``X^T R``."""
        return np.asarray(self._X.T @ R)

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T`` of all rows."""
        if sparse.issparse(self._X):
            scaled = sparse.csr_array(self._X.multiply(np.sqrt(v)[None, :]))
            return np.asarray((scaled @ scaled.T).toarray())
        total = np.zeros((self.rows.n_rows, self.rows.n_rows))
        root = np.sqrt(v)
        for start in range(0, len(v), _COLUMNS):
            block = self._X[:, start : start + _COLUMNS] * root[start : start + _COLUMNS]
            total += block @ block.T
        return total

    def columns(self, active: Array) -> Array:
        """Some columns of all rows as a dense block."""
        block = self._X[:, active]
        return np.asarray(block.toarray() if sparse.issparse(block) else block)

    def column_blocks(self) -> Iterator[tuple[slice, Array]]:
        """Dense blocks of a few thousand columns, for sums over columns."""
        p = self.rows.n_penalized
        X = self._X.tocsc() if sparse.issparse(self._X) else self._X
        for start in range(0, p, _COLUMNS):
            index = slice(start, min(start + _COLUMNS, p))
            block = X[:, index]
            yield index, block.toarray() if sparse.issparse(block) else block

    def sweep_map(self, train: Array) -> Array:
        """Matrix (n_free, n_train) that regresses a column on the free columns."""
        E, s = self.free[train], self.rows.weight[train]
        if E.shape[1] == 0:
            return np.zeros((0, len(train)))
        if E.shape[1] == 1 and self.rows.intercept:
            total = s.sum()
            return (s / (total if total > 0 else 1.0))[None]
        root = np.sqrt(s)[:, None]
        return np.asarray(np.linalg.pinv(E * root) * root.T)

    def center(
        self, block: Array, E_left: Array, sweep_train: Array, E_train: Array
    ) -> Array:
        """Kernel of swept rows from raw kernel columns.

        ``block`` is (rows, train) with the training rows first; ``E_left`` are the
        unpenalized columns of its rows.
        """
        m = block.shape[1]
        block = block - E_left @ (sweep_train @ block[:m])
        return np.asarray(block - (block @ sweep_train.T) @ E_train.T)


def dual_factor(
    kernel: Array, root_weight: Array
) -> tuple[tuple[Array, bool], float]:
    """Cholesky factor and log determinant of ``I + sqrt(s) K sqrt(s)``."""
    K = root_weight[:, None] * kernel * root_weight
    K[np.arange(len(K)), np.arange(len(K))] += 1.0
    factor = linalg.cho_factor(K, lower=True, check_finite=False)
    return factor, 2.0 * float(np.log(np.diag(factor[0])).sum())
