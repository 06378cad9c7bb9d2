"""Newton's method with a factor of the Hessian: over columns, or over rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._dense_spd import diagonal_of, factor_spd
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.problems._target_features import Scaled, by_columns, prepend
from skbilevel.solvers._base import InnerSolution, check_requires
from skbilevel.solvers._whitened_system import (
    solved,
    used_rows,
    whitened,
)


@dataclass(frozen=True)
class NewtonCholesky:
    """Newton steps of ``n p^2`` and ``p^3 / 3`` operations for each target.

    Rows are made dense, one training set at a time; features whose variance is zero
    are left out. The factor at the solution serves the adjoint system as well. Many
    classes share one factor as a preconditioner of conjugate gradients. Use it for up
    to some thousand columns.

    Notes
    -----
    Variances may be infinite for the first columns, which then are not penalized, and
    zero for others; of shape (m + p, t) they are each target's own. The state is the
    coefficients.
    """

    requires = frozenset({"rows", "twice_differentiable"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 1e-10
    ) -> InnerSolution:
        """Solve at variances v of shape (m + p,), the m infinite ones first."""
        check_requires(self, fit)
        assert isinstance(fit, RowsDataFit)
        free, active = count_free(fit, v), np.flatnonzero(by_columns(v).any(axis=1))
        rows, root = used_rows(fit), np.sqrt(np.where(np.isinf(v), 1.0, v)[active])
        X = _dense(fit, rows, active)
        Z = X * root if v.ndim == 1 else Scaled(X, root)
        problem = whitened(fit, rows, Z, free)
        start = None
        if state is not None:
            start = np.zeros((len(active), fit.n_targets))
            scale = by_columns(root)
            np.divide(state[active], scale, out=start, where=scale > 0.0)
        return solved(fit, v, rows, problem, active, start, tol)


def count_free(fit: RowsDataFit, v: Array) -> int:
    """Number of unpenalized columns; raises unless they are the first."""
    if fit.batch:
        raise ValueError("Newton's method solves one data fit at a time, not a stack.")
    infinite = np.isinf(by_columns(v))
    free = int(infinite.any(axis=1).sum())
    if not infinite[:free].all():
        raise ValueError(
            "Columns of infinite variance, the same of all targets, must be the first."
        )
    return free


def _dense(fit: RowsDataFit, rows: Any, columns: Array) -> Array:
    """Some columns of some rows; the others are never copied all at once."""
    index = np.arange(len(fit.weight))[rows]
    stored_dense = isinstance(fit.design.take_rows(index[:0]), np.ndarray)
    if stored_dense and 2 * len(columns) < fit.n_features:
        out = np.empty((len(index), len(columns)))
        for part, X in fit.design.iter_columns():
            place = (columns >= part.start) & (columns < part.stop)
            if place.any():
                out[:, place] = X[rows][:, columns[place] - part.start]
        return out
    block = fit.design.take_rows(index)
    block = block if len(columns) == fit.n_features else block[:, columns]
    block = block if isinstance(block, np.ndarray) else block.toarray()
    return np.asarray(block, dtype=np.float64)


# Added to a kernel, relative to its mean diagonal, so that it has a factor.
_JITTER = 1e-13


@dataclass(frozen=True)
class NewtonDual:
    """Newton steps of ``n^3`` operations on a factor of ``X diag(v) X^T``.

    No matrix of (p, p) numbers exists, nor a copy of X. Where no more features are
    left than there are rows, `NewtonCholesky` takes over. Use it for more columns
    than rows and at most some thousands of rows.

    Notes
    -----
    Variances may be infinite for the first columns, which then are not penalized, and
    zero for others; of shape (m + p, t) they are each target's own, and so are the
    factors. The state is the coefficients.
    """

    requires = frozenset({"rows", "twice_differentiable"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 1e-10
    ) -> InnerSolution:
        """Solve at variances v of shape (m + p,), the m infinite ones first."""
        check_requires(self, fit)
        assert isinstance(fit, RowsDataFit)
        free, rows = count_free(fit, v), used_rows(fit)
        n = int((fit.weight > 0).sum())
        own = by_columns(np.where(np.isinf(v), 0.0, v))
        if np.count_nonzero(own.any(axis=1)) <= n:
            return NewtonCholesky().solve(fit, v, state, tol=tol)
        head = fit.push(np.eye(fit.n_features, free))[rows]
        factors = [_root(fit.design.kernel(each), rows) for each in own.T]
        L = factors[0] if v.ndim == 1 else np.stack(factors)
        problem = whitened(fit, rows, prepend(head, L), free)
        start = None
        if state is not None:
            body = np.array(state)
            body[:free] = 0.0
            pushed = _solve_each(factors, fit.push(body)[rows])
            start = np.concatenate([state[:free], pushed])
        return solved(fit, v, rows, problem, None, start, tol)


def _solve_each(factors: list[Array], B: Array) -> Array:
    """``L^-1 B`` of one factor, or of every target's own one."""
    parts = [B] if len(factors) == 1 else [column[:, None] for column in B.T]
    pairs = zip(factors, parts, strict=True)
    solve = partial(linalg.solve_triangular, lower=True, check_finite=False)
    return np.hstack([solve(L, part) for L, part in pairs])


def _root(kernel: Array, rows: Any) -> Array:
    """Lower factor of the kernel of some rows."""
    K = kernel if isinstance(rows, slice) else kernel[rows[:, None], rows]
    # A target whose features are all removed has a kernel of zeros.
    diagonal_of(K)[...] += max(_JITTER * float(np.trace(K)) / len(K), 1e-300)
    return np.tril(factor_spd(K))
