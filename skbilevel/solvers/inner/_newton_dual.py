"""Newton's method in the span of the rows, for fewer rows than columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import InnerSolution, check_requires
from skbilevel.solvers._whitened_system import solved, used_rows, whitened
from skbilevel.solvers.inner._newton_cholesky import NewtonCholesky, count_free

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
    zero for others. The state is the coefficients.
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
        if np.count_nonzero(v) - free <= n:
            return NewtonCholesky().solve(fit, v, state, tol=tol)
        head = fit.push(np.eye(fit.n_features, free))[rows]
        L = _root(fit.design.kernel(np.where(np.isinf(v), 0.0, v)), rows)
        problem = whitened(fit, rows, np.hstack([head, L]), free)
        start = None
        if state is not None:
            body = np.array(state)
            body[:free] = 0.0
            pushed = fit.push(body)[rows]
            inner = linalg.solve_triangular(L, pushed, lower=True, check_finite=False)
            start = np.concatenate([state[:free], inner])
        return solved(fit, v, rows, problem, None, start, tol)


def _root(kernel: Array, rows: Any) -> Array:
    """Lower factor of the kernel of some rows."""
    K = kernel if isinstance(rows, slice) else kernel[rows[:, None], rows]
    diagonal = K.reshape(-1)[:: len(K) + 1]
    jitter = _JITTER * float(diagonal.mean())
    while True:
        diagonal += jitter
        factor, info = linalg.lapack.dpotrf(K.T, lower=1, clean=1)
        if info == 0:
            return np.asarray(factor)
        jitter *= 100.0
        if not np.isfinite(diagonal).all():
            raise FloatingPointError(
                "The inner system is not finite; restrict alpha_bounds."
            )
