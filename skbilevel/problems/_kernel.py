"""Rows seen through their kernel X diag(v) X^T: the dual of ridge, for p > n."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._device_array import in_double
from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import factor_spd, preconditioned
from skbilevel.problems._design import Design, as_design
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.problems._sweep import ROUNDING, Sweep

# Columns that a block takes: as many as stay in the cache of a core.
_COLUMNS = 512
# Kernels that are kept take no more than this.
_KEPT, _KEPT_BYTES = 16, 1 << 22


@record
class Kernels:
    """Kernels ``X diag(v) X^T`` of the same rows, the latest of which are kept.

    Paths come back to where they have been: criteria share a start, and candidates
    are solved where a criterion was evaluated. A kernel of one variance for all
    columns is a multiple of ``X X^T``.

    Parameters
    ----------
    design : Design
        The rows.
    """

    design: Design
    _kept: dict[bytes, Array] = field(default_factory=dict, repr=False, compare=False)

    def at(self, v: Array) -> Array:
        """``X diag(v) X^T``, not to be written to."""
        if len(v) and (v == v[0]).all():
            return np.asarray(v[0] * self.plain)
        key = v.tobytes()
        found = self._kept.get(key)
        if found is None:
            found = self._product(v)
            limit = min(_KEPT, _KEPT_BYTES // max(found.nbytes, 1))
            # Other threads may take the same ones out.
            for old in list(self._kept)[: max(0, len(self._kept) - limit + 1)]:
                self._kept.pop(old, None)
            if limit:
                self._kept[key] = found
        return found

    @cached_property
    def plain(self) -> Array:
        """``X X^T``."""
        return self._product(np.ones(self.design.shape[1]))

    def _product(self, v: Array) -> Array:
        out = self.design.kernel(v)
        out.flags.writeable = False
        return out


@record
class KernelRows:
    """Products with the penalized columns and (n, n) kernels of all rows.

    Training sets are index arrays into the rows: kernels of all rows are formed and
    their entries outside a training set are never read, so nothing is copied per
    fold and nothing leaks.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    X : ndarray or CSC array of shape (n, p)
        Their penalized columns in double precision.
    metric : ndarray of shape (p,)
        Factors by which the columns count; variances refer to scaled columns.
    kernels : Kernels
        Those of ``X``.
    """

    rows: AugmentedRows
    X: Any
    metric: Array
    kernels: Kernels

    @classmethod
    def of(cls, rows: AugmentedRows) -> KernelRows:
        """All rows; a view wherever nothing has to be taken out or converted."""
        X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
        if sparse.issparse(X):
            # Blocks of columns are slices of a CSC matrix.
            X = sparse.csc_array(X.astype(np.float64))
        else:
            shift = rows.shift[rows.penalized]
            X = in_double(X)
            X = X - shift if shift.any() else X
        return cls(rows, X, np.ones(rows.n_penalized), Kernels(as_design(X)))

    def standardized(self, train: Array) -> KernelRows:
        """Columns scaled to unit variance over a training set."""
        chosen, weight = KernelSet(self, train), self.weight_of(train)
        metric = np.empty(self.rows.n_penalized)
        for start in range(0, len(metric), _COLUMNS):
            index = slice(start, start + _COLUMNS)
            block = self.X[:, index]
            block = block.toarray() if sparse.issparse(block) else block
            metric[index] = unit_metric((chosen.swept(block) ** 2).sum(axis=0), weight)
        return replace(self, metric=metric)

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
        return np.asarray(self.X @ (self.metric[:, None] * W))

    def rmatvec(self, R: Array) -> Array:
        """``X^T R``."""
        return np.asarray(self.metric[:, None] * (self.X.T @ R))

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T`` of all rows, not to be written to."""
        return self.kernels.at(v * self.metric**2)

    def columns(self, active: Array) -> Array:
        """Some columns of all rows as a dense block."""
        block = self.X[:, active]
        block = block.toarray() if sparse.issparse(block) else block
        return np.asarray(block * self.metric[active])

    def pull_blocks(self, R: Array) -> Iterator[tuple[slice, Array]]:
        """``X^T R`` a few thousand columns at a time, where all would be too large."""
        for start in range(0, self.rows.n_penalized, _COLUMNS):
            index = slice(start, start + _COLUMNS)
            yield index, self.metric[index, None] * (self.X[:, index].T @ R)


@record
class KernelSet:
    """A training set of `KernelRows`, whose unpenalized columns are projected out.

    Parameters
    ----------
    rows : KernelRows
        All rows.
    index : ndarray of int
        Those of the set.
    """

    rows: KernelRows
    index: Array

    @cached_property
    def root(self) -> Array:
        """Square roots of the weights of the set."""
        return np.asarray(self.rows.root_weight[self.index])

    @cached_property
    def free(self) -> Array:
        """Unpenalized columns of the set."""
        return np.asarray(self.rows.free[self.index])

    @cached_property
    def sweep(self) -> Array:
        """Matrix (n_free, len(index)) that regresses a column on the free columns."""
        return Sweep.of(self.free, self.rows.rows.weight[self.index]).maps

    @cached_property
    def y(self) -> Array:
        """Swept targets of the set, times the roots of the weights."""
        return self.swept(self.rows.y)

    def swept(self, values: Array, index: Array | None = None) -> Array:
        """Values (n, ...) of all rows without what the free columns explain in the set.

        Of some rows, by default the set, and times the roots of their weights.
        """
        index = self.index if index is None else index
        rest = values[index] - self.rows.free[index] @ (self.sweep @ values[self.index])
        return np.asarray(self.rows.root_weight[index][:, None] * rest)

    def lift(self, out: Array) -> None:
        """The transpose of sweeping, in place, for numbers (n, ...) of all rows."""
        out[self.index] -= self.sweep.T @ (self.rows.free.T @ out)

    def center(self, kernel: Array, index: Array | None = None) -> Array:
        """Kernel of swept rows from that of all rows.

        Columns are those of the set; so are rows by default, and the first ones of
        another ``index``.
        """
        index = self.index if index is None else index
        m, block = len(self.index), np.asarray(kernel[np.ix_(index, self.index)])
        before = np.diagonal(block).copy()
        block -= self.rows.free[index] @ (self.sweep @ block[:m])
        block -= (block @ self.sweep.T) @ self.free.T
        # Unpenalized columns that tell a row from all others leave rounding of it.
        explained = np.diagonal(block) <= ROUNDING * before
        block[:, explained] = 0.0
        block[:m][explained] = 0.0
        return block

    def factor(self, kernel: Array) -> tuple[tuple[Array, bool], float]:
        """`dual_factor` of the set, from the kernel of all rows."""
        return dual_factor(self.center(kernel), self.root)


def dual_factor(kernel: Array, root_weight: Array) -> tuple[tuple[Array, bool], float]:
    """Cholesky factor and log determinant of ``I + sqrt(s) K sqrt(s)``."""
    factor = factor_spd(preconditioned(kernel, root_weight))
    return (factor, True), 2.0 * float(np.log(np.diag(factor)).sum())
