"""Implicit differentiation of problems known through oracles."""

from __future__ import annotations

from dataclasses import dataclass, field

from skbilevel.solvers._adjoint_system import AdjointSolver, AdjointSystem
from skbilevel.solvers._oracle_base import (
    HypergradientRequest,
    HypergradientValue,
)
from skbilevel.solvers.hypergradient._linear_solvers import ConjugateGradient


@dataclass(frozen=True)
class ImplicitGradient:
    """``F' = f_theta - cross(q)`` with ``g_ww q = f_w``.

    Parameters
    ----------
    linear_solver : AdjointSolver
        `DirectSolve`, `ConjugateGradient`, `GradientSteps`, `NeumannSeries`,
        `Chebyshev` or anything with their method.

    Notes
    -----
    Exact where w and q are; its error is of first order in theirs. Cost: the linear
    solver's Hessian products and one cross product.
    """

    linear_solver: AdjointSolver = field(default_factory=ConjugateGradient)
    requires = frozenset[str]()

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and gradient at the end of the inner descent."""
        descent = request.descent
        outer = request.problem.outer.at(request.theta, descent.w)
        system = AdjointSystem.of(request, outer.grad)
        q, converged = self.linear_solver.solve(
            system, request.adjoint, tol=request.tol
        )
        grad = outer.grad_theta - descent.point.cross(q)
        return HypergradientValue(outer.value, grad, q, converged)
