"""Solvers of the adjoint system, from exact ones to a few terms of a series."""

from __future__ import annotations

from dataclasses import dataclass

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import AdjointSystem, solve_by_cg, solve_dense
from skbilevel.solvers.hypergradient._fixed_point import FixedPoint


@dataclass(frozen=True)
class DirectSolve:
    """Cholesky's factorization of the Hessian; exact, O(p^3)."""

    def solve(
        self, system: AdjointSystem, q0: Array | None, *, tol: float
    ) -> tuple[Array, bool]:
        """Solve exactly."""
        return solve_dense(system.matrix(), system.b), True


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
