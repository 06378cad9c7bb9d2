"""Second moments of augmented rows: all that least squares knows of a set of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._device_array import DeviceArray
from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import QuadraticDataFit
from skbilevel.problems._dense_spd import diagonal_of
from skbilevel.problems._sweep import RANK, ROUNDING

# Smallest eigenvalue of correlations at which columns count as independent.
_COLLINEAR = 1e-11
# A block of rows and its product stay in the cache.
_BLOCK_BYTES = 1 << 21
# Moments of rows that no set tells apart are kept while they take no more than this.
CELL_BYTES = 1 << 28


@record
class AugmentedRows:
    """Rows ``z_i = (e_i, x_i, y_i)``: unpenalized columns, penalized ones, targets.

    Parameters
    ----------
    X : ndarray, CSR array or `DeviceArray` of shape (n, m)
        All columns, penalized or not; never copied as a whole.
    y : ndarray of shape (n, t)
        Targets.
    weight : ndarray of shape (n,)
        Row weights.
    free : ndarray of int
        Columns of ``X`` whose coefficient is not penalized.
    penalized : ndarray of int
        The other columns, p of them.
    intercept : bool
        Whether the first unpenalized column is the constant one.
    shift : ndarray of shape (m,)
        Subtracted from the columns before products are formed. It is zero except for
        unpenalized columns beside an intercept, and for columns of a dense ``X`` whose
        mean is so large that products would lose digits.
    y_shift : ndarray of shape (t,)
        The same for the targets.
    standardize : bool
        Whether a shared strength refers to columns of unit variance (over each
        training set) rather than to the columns as they are.
    free_map : ndarray of shape (len(free), r) or None
        Turns the shifted unpenalized columns into r working ones; None leaves them.
    column_size : float
        Root mean square of the standard deviations of the penalized columns; one where
        a shared strength refers to columns of unit variance.
    """

    X: Any
    y: Array
    weight: Array
    free: Array
    penalized: Array
    intercept: bool
    shift: Array
    y_shift: Array
    standardize: bool = False
    free_map: Array | None = None
    column_size: float = 1.0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def n_free(self) -> int:
        """Number of unpenalized working columns, the constant one included."""
        own = len(self.free) if self.free_map is None else self.free_map.shape[1]
        return int(self.intercept) + own

    @property
    def n_penalized(self) -> int:
        """Number of penalized columns."""
        return len(self.penalized)

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return int(self.y.shape[1])

    @property
    def width(self) -> int:
        """Length of an augmented row."""
        return self.n_free + self.n_penalized + self.n_targets

    @property
    def trivial_columns(self) -> bool:
        """Whether the penalized columns are all columns, in order."""
        return bool(len(self.penalized) == self.X.shape[1])

    def take(self, rows: Array) -> AugmentedRows:
        """A copy of some rows."""
        return replace(self, X=self.X[rows], y=self.y[rows], weight=self.weight[rows])

    def free_block(self, rows: Array) -> Array:
        """Unpenalized working columns (n_rows, n_free) of some rows."""
        out = np.ones((len(rows), self.n_free))
        if len(self.free):
            block = some_columns(self.X, rows, self.free) - self.shift[self.free]
            block = block if self.free_map is None else block @ self.free_map
            out[:, int(self.intercept) :] = block
        return out

    def penalized_block(self, rows: Array, columns: Array) -> Array:
        """Some of the penalized columns of some rows, dense and shifted."""
        index = self.penalized[columns]
        return np.asarray(some_columns(self.X, rows, index) - self.shift[index])

    def targets(self, rows: Array) -> Array:
        """Shifted targets of some rows."""
        return np.asarray(self.y[rows] - self.y_shift)

    def dense(self, rows: Array) -> Array:
        """Augmented rows as a dense array of shape (n_rows, width)."""
        out = np.empty((len(rows), self.width))
        out[:, : self.n_free] = self.free_block(rows)
        stop = self.n_free + self.n_penalized
        block = self._penalized(self.X[rows])
        np.subtract(block, self.shift[self.penalized], out=out[:, self.n_free : stop])
        out[:, stop:] = self.targets(rows)
        return out

    def predict(self, rows: Array, coef: Array) -> Array:
        """``(e_i, x_i) @ coef`` of some rows, for coefficients (n_free + p, k)."""
        m = self.n_free
        out = np.asarray(self.free_block(rows) @ coef[:m])
        out -= self.shift[self.penalized] @ coef[m:]
        for part in self._blocks(len(rows)):
            out[part] += self._penalized(self.X[rows[part]]) @ coef[m:]
        return out

    def _penalized(self, block: Any) -> Any:
        """The penalized columns of rows with all columns; no copy of all of them."""
        return block if self.trivial_columns else block[:, self.penalized]

    def _blocks(self, n_rows: int) -> Iterator[slice]:
        step = max(256, _BLOCK_BYTES // (8 * self.width))
        if sparse.issparse(self.X):
            step = max(1, n_rows)
        elif isinstance(self.X, DeviceArray):
            step = self.X.device.block_rows(self.width)
        return (slice(start, start + step) for start in range(0, n_rows, step))

    def moment(self, rows: Array) -> Array:
        """``sum_i s_i z_i z_i^T`` over some rows, shape (width, width)."""
        total = np.zeros((self.width, self.width))
        if sparse.issparse(self.X) or isinstance(self.X, DeviceArray):
            parts = self._blocks(len(rows))
            return sum((self._split_moment(rows[part]) for part in parts), total)
        root = np.sqrt(self.weight[rows])
        weighted = bool((root != 1.0).any())
        for part in self._blocks(len(rows)):
            block = self.dense(rows[part])
            if weighted:
                block *= root[part, None]
            total += block.T @ block
        return total

    def _split_moment(self, rows: Array) -> Array:
        """The same, penalized columns and the others apart: those are no array here."""
        root = np.sqrt(self.weight[rows])
        block = self.X[rows]
        if isinstance(block, DeviceArray):
            block = (self._penalized(block) - self.shift[self.penalized]) * root[
                :, None
            ]
        else:
            block = block[:, self.penalized].astype(np.float64)
            block = sparse.csr_array(block.multiply(root[:, None]))
        side = np.hstack([self.free_block(rows), self.targets(rows)]) * root[:, None]
        m, stop = self.n_free, self.n_free + self.n_penalized
        out = np.empty((self.width, self.width))
        gram = block.T @ block
        out[m:stop, m:stop] = gram.toarray() if sparse.issparse(gram) else gram
        cross = block.T @ side
        outer = side.T @ side
        index = np.r_[0:m, stop : self.width]
        out[m:stop, index] = cross
        out[np.ix_(index, range(m, stop))] = cross.T
        out[np.ix_(index, index)] = outer
        return out


def some_columns(X: Any, rows: Array, columns: Array) -> Array:
    """Some columns of some rows, dense and in double precision."""
    if sparse.issparse(X):
        return np.asarray(X[rows][:, columns].toarray(), dtype=np.float64)
    return np.asarray(X[np.ix_(rows, columns)], dtype=np.float64)


@record
class CellMoments:
    """Moments of disjoint cells of rows, from one pass; sets are sums of cells.

    Sums of cells, not differences: what a training set knows holds no digit of a
    row outside of it.
    """

    cell: Array
    moments: Array

    @classmethod
    def of(cls, rows: AugmentedRows, cell: Array) -> CellMoments:
        """One pass over the rows; ``cell`` numbers each row's cell from 0."""
        order = np.argsort(cell, kind="stable")
        bounds = np.searchsorted(cell[order], np.arange(cell.max() + 2))
        stack = [rows.moment(order[a:b]) for a, b in pairwise(bounds)]
        return cls(cell, np.stack(stack))

    def sums(self, sets: Sequence[Array]) -> Array:
        """Moments (len(sets), width, width) of unions of whole cells."""
        member = np.zeros((len(sets), len(self.moments)))
        for row, index in zip(member, sets, strict=True):
            row[self.cell[index]] = 1.0
        return np.tensordot(member, self.moments, axes=1)


@record
class RowMoments:
    """The interface of `CellMoments`, summing rows anew for every set."""

    rows: AugmentedRows

    def sums(self, sets: Sequence[Array]) -> Array:
        """Moments (len(sets), width, width) of arbitrary sets of rows."""
        return np.stack([self.rows.moment(index) for index in sets])


@dataclass(frozen=True, eq=False)
class Swept(QuadraticDataFit):
    """Moments after the unpenalized columns are projected out of a training set.

    Any number of leading batch dimensions. ``free`` maps unpenalized columns to
    penalized ones and targets: their least-squares coefficients (minimum norm where
    they are collinear).
    """

    free: Array


def sweep_map(moment: Array, n_free: int) -> Array:
    """Coefficients (..., n_free, width - n_free) of the rest on the free columns."""
    if n_free == 1:
        head = moment[..., :1, :1]
        safe = np.where(head > 0, head, 1.0)
        return np.asarray(moment[..., :1, 1:] / safe)
    shape = (*moment.shape[:-2], n_free, moment.shape[-1] - n_free)
    out = np.empty(shape)
    if not out.size:
        return out
    width = moment.shape[-1]
    for source, target in zip(
        moment.reshape(-1, width, width), out.reshape(-1, *shape[-2:]), strict=True
    ):
        target[...] = _solve_free(source[:n_free, :n_free], source[:n_free, n_free:])
    return out


def _solve_free(gram: Array, cross: Array) -> Array:
    """Least squares from moments, of minimum norm only where columns are collinear."""
    size = np.sqrt(np.maximum(np.diagonal(gram), 0.0))
    size = np.where(size > 0.0, size, 1.0)[:, None]
    unit, cross = gram / size / size.T, cross / size
    if np.linalg.eigvalsh(unit)[0] > _COLLINEAR:
        return np.asarray(np.linalg.solve(unit, cross) / size)
    inverse = np.linalg.pinv(unit, rcond=RANK**2, hermitian=True)
    return np.asarray(inverse @ cross / size)


def sweep(
    moment: Array, n_free: int, n_penalized: int, weight: Array, free: Array
) -> Swept:
    """Express ``moment`` for rows from which ``free`` predictions are subtracted.

    With ``free`` from the same rows this is the Schur complement; with ``free`` of
    a training set it gives the moments of its validation rows. What the predictions
    explain but for rounding is zero.
    """
    rest = moment[..., n_free:, n_free:]
    if n_free == 1:
        f, c = free[..., 0, :], moment[..., 0, 1:]
        half = c - 0.5 * moment[..., :1, 0] * f
        rest = rest - f[..., :, None] * half[..., None, :]
        rest -= half[..., :, None] * f[..., None, :]
    elif n_free:
        cross = np.swapaxes(free, -1, -2) @ moment[..., :n_free, n_free:]
        both = np.swapaxes(free, -1, -2) @ (moment[..., :n_free, :n_free] @ free)
        rest = rest - cross - np.swapaxes(cross, -1, -2) + both
    if n_free:
        square = np.maximum(np.diagonal(moment, axis1=-2, axis2=-1), 0.0)
        moved = (abs(free) * np.sqrt(square[..., :n_free, None])).sum(axis=-2)
        left = diagonal_of(rest) > ROUNDING * (square[..., n_free:] + moved**2)
        if not left.all():
            rest = rest * left[..., :, None] * left[..., None, :]
    p = n_penalized
    yy = np.diagonal(rest[..., p:, p:], axis1=-2, axis2=-1)
    return Swept(
        rest[..., :p, :p], rest[..., :p, p:], np.maximum(yy, 0.0), weight, free
    )


def unit_metric(square: Array, weight: Array | float) -> Array:
    """Factors that give columns of squared norm ``square`` unit variance."""
    safe = np.where(square > 0, square, 1.0)
    return np.where(square > 0, np.sqrt(weight) / np.sqrt(safe), 1.0)


def scaled(moments: Swept, metric: Array) -> Swept:
    """Moments of columns multiplied by ``metric`` (..., p)."""
    if (metric == 1.0).all():
        return moments
    gram = metric[..., :, None] * moments.gram * metric[..., None, :]
    return replace(moments, gram=gram, cross=metric[..., None] * moments.cross)
