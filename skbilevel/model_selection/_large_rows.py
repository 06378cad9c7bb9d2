"""Which problems are large, and their columns as training sets share them.

In text most columns occur in one row only. All of these that one row has act on its
prediction alone, as a single column with the variance ``sum_j v_j x_j^2``: the model
is the same, and has half as many coefficients.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems import (
    Centered,
    Design,
    Headed,
    Loss,
    RowsDataFit,
    SparseDesign,
    as_design,
)
from skbilevel.problems._design import SingleDesign
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.problems._summed_rows import SummedRows
from skbilevel.problems._target_features import by_columns
from skbilevel.solvers import choose_regime, too_many_factors

# A sparse X with more rows and columns, or more entries in all, is not made dense.
_DENSE_SIDE, _DENSE_ENTRIES = 500, 20_000_000
# Up to this many columns, and fewer than rows, the guard forms Gram matrices.
_GRAM_UP_TO = 1500
# Variances whose product with the largest curvature of a column exceeds this are
# beyond what products of so many bytes a number can tell from infinity.
_SAFE = {4: 1e8, 8: 1e12}


def is_large(rows: AugmentedRows) -> bool:
    """Whether neither Gram matrices nor kernels are within reach of the guard."""
    if isinstance(rows, SummedRows):
        return False
    p = rows.n_penalized
    regime = choose_regime(rows.n_rows, p, sparse.issparse(rows.X))
    return regime == "matrix-free" or (regime == "primal" and p > _GRAM_UP_TO)


def is_large_ridge(rows: AugmentedRows) -> bool:
    """The same, and wide sparse rows.

    Kernels take up to fifteen times as long there and are no better on texts.
    """
    wide = _DENSE_SIDE < rows.n_rows < rows.n_penalized
    return is_large(rows) or (wide and sparse.issparse(rows.X))


def is_large_glm(rows: AugmentedRows, by_target: bool = False) -> bool:
    """Whether strengths are tuned through products with X only.

    Where neither Gram matrices nor kernels are within reach of the ridge guard
    (`is_large`), and for a sparse X with more than 500 rows and columns or more
    than 20 million entries, zeros included: there, products cost far less than dense
    Newton steps for every class. Classes with strengths of their own (``by_target``)
    need a matrix of the smaller side each, and more than 50 million numbers in all are
    too many.
    """
    n, p = rows.n_rows, rows.n_penalized
    if by_target and too_many_factors(n, p, rows.n_targets):
        return True
    wide = min(n, p) > _DENSE_SIDE or n * p > _DENSE_ENTRIES
    return is_large(rows) or (sparse.issparse(rows.X) and wide)


@record
class CollapsedColumns:
    """Working columns: free ones, those of several rows, one for rows with own ones.

    Parameters
    ----------
    n_free : int
        Unpenalized columns, which come first.
    kept : ndarray of int
        Penalized columns that are columns of their own.
    lone : ndarray of int
        Penalized columns that occur in one row only.
    owner : ndarray of int
        Place of that row among the rows with such columns.
    value : ndarray of float
        What the column holds there.
    rows : ndarray of int
        Rows with such columns.
    """

    n_free: int
    kept: Array
    lone: Array
    owner: Array
    value: Array
    rows: Array

    @property
    def n_penalized(self) -> int:
        """Penalized columns."""
        return len(self.kept) + len(self.lone)

    def variances(self, v: Array) -> Array:
        """Variances of the working columns from those of the penalized ones."""
        if v.ndim == 2:
            return np.stack([self.variances(each) for each in v.T], axis=1)
        own = np.bincount(self.owner, v[self.lone] * self.value**2, len(self.rows))
        return np.concatenate([np.full(self.n_free, np.inf), v[self.kept], own])

    def spread(self, working: Array, power: int) -> Array:
        """Sums over powers of the penalized columns from those of the working ones.

        With power 2 this takes a gradient in the working variances to one in ``v``.
        """
        out = np.empty((self.n_penalized, *working.shape[1:]))
        stop = self.n_free + len(self.kept)
        out[self.kept] = working[self.n_free : stop]
        factor = (self.value**power).reshape(-1, *[1] * (working.ndim - 1))
        out[self.lone] = factor * working[stop:][self.owner]
        return out

    def working(self, coef: Array) -> Array:
        """Working coefficients of coefficients (n_free + p, t) that solve a problem."""
        head, w = coef[: self.n_free], coef[self.n_free :]
        own = np.zeros((len(self.rows), coef.shape[1]))
        np.add.at(own, self.owner, self.value[:, None] * w[self.lone])
        return np.concatenate([head, w[self.kept], own])

    def coefficients(self, W: Array, v: Array) -> Array:
        """Coefficients (n_free + p, t) at ``v`` from those of the working columns."""
        m, stop = self.n_free, self.n_free + len(self.kept)
        out = np.empty((m + self.n_penalized, W.shape[1]))
        out[:m], out[m + self.kept] = W[:m], W[m:stop]
        own = by_columns(self.variances(v)[stop:])
        share = np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)[self.owner]
        share *= by_columns(v)[self.lone] * self.value[:, None]
        out[m + self.lone] = share * W[stop:][self.owner]
        return out


@record
class LargeProblem:
    """Rows, losses and working columns, shared by all training sets.

    Parameters
    ----------
    rows : AugmentedRows
        The rows; ``y`` holds class indicators, 0 and 1, counts, amounts, or targets.
    loss, outer : Loss
        The loss inside and the one that candidates are scored by.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    design : Design
        Working columns in the precision of the data.
    layout : CollapsedColumns
        Which these are.
    """

    rows: AugmentedRows
    loss: Loss
    outer: Loss
    offset: Array | None
    design: Design
    layout: CollapsedColumns

    @classmethod
    def of(
        cls, rows: AugmentedRows, loss: Loss, outer: Loss, offset: Array | None
    ) -> LargeProblem:
        """One copy of a sparse X by columns, none of a dense one."""
        if rows.y_shift.any():
            y, none = rows.targets(np.arange(rows.n_rows)), np.zeros_like(rows.y_shift)
            rows = replace(rows, y=y, y_shift=none)
        if sparse.issparse(rows.X):
            design, layout = _sparse_columns(rows)
        else:
            design, layout = _dense_columns(rows)
        return cls(rows, loss, outer, offset, design, layout)

    @cached_property
    def fast(self) -> Design:
        """Working columns in single precision where they are sparse."""
        if sparse.issparse(self.rows.X):
            return SingleDesign.of(self.design)
        return self.design

    @property
    def precision(self) -> type[np.floating[Any]]:
        """Of products while tuning, and of working coefficients."""
        return np.float32 if sparse.issparse(self.rows.X) else np.float64

    @cached_property
    def present(self) -> sparse.csc_array | None:
        """Where working columns are not zero; None for a dense X."""
        if not isinstance(self.design, SparseDesign):
            return None
        X = self.design.X
        data = (X.data != 0).astype(np.float32)
        return sparse.csc_array((data, X.indices, X.indptr), shape=X.shape)

    def ceiling(self, index: Array) -> float:
        """Largest ``log v`` that is numerically safe."""
        fit = self.fit(index)
        squares = fit.design.column_squares(fit.weight)[self.layout.n_free :]
        top = float(np.max(squares, initial=0.0))
        safe = _SAFE[np.dtype(self.precision).itemsize]
        return float(np.log(safe / top)) if top > 0 else 0.0

    def weight_of(self, index: Array) -> Array:
        """Weights (n,) of some rows, zero for the others."""
        weight = np.zeros(self.rows.n_rows)
        weight[index] = self.rows.weight[index]
        return weight

    def fit(self, index: Array, exact: bool = False) -> RowsDataFit:
        """Some rows as a data fit."""
        return self._fit(index, self.loss, exact)

    def score(self, index: Array) -> RowsDataFit:
        """Some rows under the outer loss."""
        return self._fit(index, self.outer, False)

    def _fit(self, index: Array, loss: Loss, exact: bool) -> RowsDataFit:
        design, weight = self.design if exact else self.fast, self.weight_of(index)
        return RowsDataFit(design, self.rows.y, weight, None, loss, self.offset)

    def base(self, index: Array) -> Array | float:
        """``log v`` at which columns have the variance 1 in these rows, or zero."""
        if not self.rows.standardize:
            return 0.0
        weight = self.weight_of(index)
        total = max(float(weight.sum()), 1e-300)
        spread = self.layout.spread
        square = spread(self.design.column_squares(weight), 2)
        square -= spread(self.design.column_sums(weight), 1) ** 2 / total
        return np.asarray(2.0 * np.log(unit_metric(np.maximum(square, 0.0), total)))


def _sparse_columns(rows: AugmentedRows) -> tuple[Design, CollapsedColumns]:
    X = sparse.csc_array(rows.X, dtype=np.float64)
    X = X if rows.trivial_columns else X[:, rows.penalized]
    count = np.diff(X.indptr)
    lone = np.flatnonzero(count == 1)
    kept = np.flatnonzero(count != 1)
    first = X.indptr[lone]
    own, owner = np.unique(X.indices[first], return_inverse=True)
    layout = CollapsedColumns(rows.n_free, kept, lone, owner, X.data[first], own)
    n = X.shape[0]
    unit = sparse.csc_array(
        (np.ones(len(own)), (own, np.arange(len(own)))), shape=(n, len(own))
    )
    head = sparse.csc_array(rows.free_block(np.arange(n)))
    parts = [head, X[:, kept], unit]
    return as_design(sparse.hstack(parts, format="csc")), layout


def _dense_columns(rows: AugmentedRows) -> tuple[Design, CollapsedColumns]:
    X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
    design, shift = as_design(X), rows.shift[rows.penalized]
    if shift.any():
        design = Centered(design, shift, np.ones(len(shift)))
    none = np.empty(0, dtype=int)
    kept = np.arange(rows.n_penalized)
    layout = CollapsedColumns(rows.n_free, kept, none, none, np.empty(0), none)
    return Headed(design, rows.free_block(np.arange(rows.n_rows))), layout
