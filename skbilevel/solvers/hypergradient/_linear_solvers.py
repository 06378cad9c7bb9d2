"""Solvers of the adjoint system, from exact ones to a few terms of a series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import (
    AdjointSystem,
    hessian_of,
    solve_by_cg,
    solve_dense,
)
from skbilevel.solvers._chebyshev import ChebyshevStages
from skbilevel.solvers._oracle_base import metric_norm


@dataclass(frozen=True)
class DirectSolve:
    """Cholesky's factorization of the Hessian; exact, O(p^3)."""

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Solve exactly."""
        matrix = hessian_of(system.point, len(system.b), system.dense)
        return solve_dense(matrix, system.b), True


@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients; one Hessian product per step.

    Parameters
    ----------
    n_iter : int or None
        Budget of steps; None goes on to the tolerance.
    precondition : bool
        Whether to use the metric ``diag(M)`` of the inner problem.
    max_iter : int
        Largest number of steps without a budget.
    """

    n_iter: int | None = None
    precondition: bool = True
    max_iter: int = 5000

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Solve from ``q0``."""
        q, converged = solve_by_cg(
            system.point.hvp,
            system.b,
            q0,
            system.metric if self.precondition else None,
            tol=tol if self.n_iter is None else 0.0,
            max_iter=self.max_iter if self.n_iter is None else self.n_iter,
        )
        return q, converged or self.n_iter is not None


def iterated(
    system: AdjointSystem,
    q: Array | None,
    step: Callable[[Array, Array], Array],
    tol: float,
    n_iter: int | None,
    max_iter: int,
) -> tuple[Array, bool]:
    """Steps from q and its residual: a budget of them, or as many as ``tol`` takes."""
    q = np.zeros_like(system.b) if q is None else q.copy()
    goal = tol * metric_norm(system.b, system.metric)
    for _ in range(max_iter if n_iter is None else n_iter):
        residual = system.residual(q)
        if n_iter is None and metric_norm(residual, system.metric) <= goal:
            return q, True
        q = step(q, residual)
    return q, n_iter is not None


@dataclass(frozen=True)
class GradientSteps:
    """Gradient descent on ``0.5 q.Hq - b.q``; one Hessian product per step.

    ::

        q <- q - step * M^-1 (H q - b)

    Parameters
    ----------
    n_iter : int or None
        Budget of steps; None goes on to the tolerance.
    step : float
        Fraction of the inverse metric, below 2.
    max_iter : int
        Largest number of steps without a budget.
    """

    n_iter: int | None = None
    step: float = 1.0
    max_iter: int = 20_000

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Descend from ``q0``; tol bounds the residual relative to ``b``."""
        at_rest = FixedPoint(self.n_iter, 0.0, self.step, self.max_iter)
        return at_rest.solve(system, q0, tol=tol)


@dataclass(frozen=True)
class NeumannSeries:
    """The first terms of ``H^-1 = sum_k (I - M^-1 H)^k M^-1``, always from zero.

    It equals `GradientSteps` without a warm start; the name is that of the literature.

    Parameters
    ----------
    n_terms : int
        Number of terms; one Hessian product for each but the first.
    step : float
        Fraction of the inverse metric.
    """

    n_terms: int = 10
    step: float = 1.0

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Add up the terms; ``q0`` is not looked at."""
        return GradientSteps(self.n_terms, self.step).solve(system, None, tol=tol)


@dataclass(frozen=True)
class FixedPoint:
    """Approximate implicit differentiation by a fixed point (AID-FP).

    The inner solution is a fixed point of the heavy-ball map with momentum b and step
    a in the metric M::

        (w, u)  ->  (w - a M^-1 g_w(theta, w) + b (w - u), w)

    The adjoint state v solves ``v = J^T v + (f_w, 0)`` with J its derivative.
    Iterating this, with ``q = a M^-1 v``, is

    ::

        q_k+1 <- q_k - a M^-1 (g_ww q_k - f_w) + b (q_k - q_k-1)

    Parameters
    ----------
    n_iter : int or None
        Budget of steps; None goes on to the tolerance.
    momentum : float
        b in [0, 1); 0 is `GradientSteps`.
    step : float
        a, a fraction of the inverse metric, below ``2 (1 + b)``.
    max_iter : int
        Largest number of steps without a budget.

    Notes
    -----
    One Hessian product per step, none for the first one from zero. A guess is started
    from at rest. The published baseline has no warm start: a `DoubleLoop` with
    ``warm_start=("inner",)``. With momentum the residual does not fall in every step,
    so a small budget can end on a worse q than fewer steps would.

    References
    ----------
    R. Grazzi, L. Franceschi, M. Pontil, S. Salzo (2020). On the iteration complexity
    of hypergradient computation. ICML.
    """

    n_iter: int | None = None
    momentum: float = 0.9
    step: float = 1.0
    max_iter: int = 20_000

    def __post_init__(self) -> None:
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError("The momentum of FixedPoint must be in [0, 1).")

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Iterate from ``q0``; tol bounds the residual relative to ``b``."""
        moved = np.zeros_like(system.b)

        def step(q: Array, residual: Array) -> Array:
            nonlocal moved
            moved = self.momentum * moved + self.step * residual / system.metric
            return q + moved

        return iterated(system, q0, step, tol, self.n_iter, self.max_iter)


@dataclass(frozen=True)
class Chebyshev:
    """Stabilized steps on ``H q = b``; `ChebyshevStages` applied to ``M^-1 (H q - b)``.

    ::

        q - q* <- T_s(w0 - w1 a M^-1 H) / T_s(w0) (q - q*),   a = (1 + w0) / w1

    Parameters
    ----------
    n_stages : int
        s, Hessian products per step.
    n_iter : int or None
        Budget of steps; None goes on to the tolerance.
    damping : float
        Directions whose eigenvalue of ``M^-1 H`` is above about ``damping / (2 s^2)``
        shrink by ``1 / T_s(w0)``, about ``1 / cosh(sqrt(2 damping))``, in every step,
        flatter ones by less. ``2 s^2`` over the condition number is best.
    max_iter : int
        Largest number of steps without a budget.

    Notes
    -----
    Unlike conjugate gradients its steps depend on bounds alone, so that it remains
    stable where Hessian products are noisy, and q is a linear function of b.
    """

    n_stages: int = 10
    n_iter: int | None = None
    damping: float = 2.0
    max_iter: int = 2000

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Iterate from ``q0``; tol bounds the residual relative to ``b``."""
        scheme = ChebyshevStages(self.n_stages, self.damping)

        def step(q: Array, residual: Array) -> Array:
            return scheme.step(
                lambda y: -system.residual(y) / system.metric,
                q,
                scheme.limit,
                -residual / system.metric,
            )

        return iterated(system, q0, step, tol, self.n_iter, self.max_iter)
