"""The adjoint system ``g_ww q = f_w`` and those who solve it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import linalg

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint
from skbilevel.solvers._oracle_base import HypergradientRequest, metric_of
from skbilevel.solvers._pcg import conjugate_gradients

# Up to so many unknowns a Hessian that is not given as an array is made by products.
_DENSE_UP_TO = 200
# Singular values below this share of the largest are zeros.
_RANK = 1e-12


@record
class AdjointSystem:
    """``g_ww q = b`` at one inner point.

    Parameters
    ----------
    point : InnerPoint
        Its Hessian is the matrix.
    metric : ndarray of shape (p,)
        M with ``g_ww <= diag(M)``.
    b : ndarray of shape (p,)
        Right-hand side.
    dense : bool
        Whether the point has the Hessian as an array.
    """

    point: InnerPoint
    metric: Array
    b: Array
    dense: bool = False

    @classmethod
    def of(cls, request: HypergradientRequest, b: Array) -> AdjointSystem:
        """At the end of the inner descent."""
        inner, descent = request.problem.inner, request.descent
        metric = metric_of(inner, request.theta, descent.w)
        return cls(descent.point, metric, b, "dense_hessian" in inner.provides)

    def residual(self, q: Array) -> Array:
        """``b - g_ww q``, without a product where q is zero."""
        return self.b - self.point.hvp(q) if q.any() else self.b.copy()


class AdjointSolver(Protocol):
    """Solves an adjoint system from a guess."""

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Solution and whether it is as accurate as was wanted."""


def hessian_of(point: InnerPoint, size: int, dense: bool) -> Array:
    """The Hessian as an array; by products with unit vectors where it is not given."""
    if dense:
        return np.asarray(point.hessian())  # type: ignore[attr-defined]
    if size > _DENSE_UP_TO:
        raise ValueError(
            f"A direct solve with {size} unknowns needs the Hessian as an array: give "
            "the inner problem one, or choose an iterative linear solver."
        )
    return np.stack([point.hvp(unit) for unit in np.eye(size)], axis=1)


def solve_dense(matrix: Array, b: Array) -> Array:
    """Cholesky's factorization, or the shortest solution where there are many.

    A softmax with unpenalized intercepts is such a case: one constant for all classes
    changes nothing. What is not finite has no solution.
    """
    if not (np.isfinite(matrix).all() and np.isfinite(b).all()):
        return np.full_like(b, np.nan)
    try:
        return np.asarray(linalg.cho_solve(linalg.cho_factor(matrix, lower=True), b))
    except linalg.LinAlgError:
        return np.asarray(linalg.lstsq(matrix, b, cond=_RANK)[0])


def solve_by_cg(
    apply: Callable[[Array], Array],
    b: Array,
    q0: Array | None,
    metric: Array | None,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Array, bool]:
    """Conjugate gradients on one vector, preconditioned by a metric."""
    inverse = 1.0 if metric is None else 1.0 / metric[:, None]
    x, _, converged = conjugate_gradients(
        lambda d: apply(d[:, 0])[:, None],
        b[:, None],
        None if q0 is None else q0[:, None],
        lambda r: np.asarray(inverse * r),
        tol=tol,
        max_iter=max_iter,
    )
    return x[:, 0], converged
