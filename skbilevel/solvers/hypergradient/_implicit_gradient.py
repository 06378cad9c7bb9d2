"""Implicit differentiation of problems known through oracles.

All are ``F' = f_theta - cross(q)``; they differ in what stands for ``g_ww^-1 f_w``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import AdjointSolver, AdjointSystem
from skbilevel.solvers._oracle_base import (
    HypergradientRequest,
    HypergradientValue,
    metric_norm,
)
from skbilevel.solvers._pcg import coupled_gradients
from skbilevel.solvers.hypergradient._linear_solvers import ConjugateGradient


class ByAdjoint:
    """``F' = f_theta - cross(q)`` with some ``q`` that depends on ``b = f_w``."""

    def _adjoint(self, request: HypergradientRequest, b: Array) -> tuple[Array, bool]:
        """``q`` and whether it is as accurate as was wanted."""
        raise NotImplementedError

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and gradient at the end of the inner descent."""
        descent = request.descent
        outer = request.problem.outer.at(request.theta, descent.w)
        q, converged = self._adjoint(request, outer.grad)
        grad = outer.grad_theta - descent.point.cross(q)
        return HypergradientValue(outer.value, grad, q, converged)


@dataclass(frozen=True)
class ImplicitGradient(ByAdjoint):
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

    def _adjoint(self, request: HypergradientRequest, b: Array) -> tuple[Array, bool]:
        system = AdjointSystem.of(request, b)
        return self.linear_solver.solve(system, request.adjoint, tol=request.tol)


@dataclass(frozen=True)
class SHINE(ByAdjoint):
    """``F' = f_theta - cross(q)`` with ``q = B f_w``, B the inner solver's inverse.

    ::

        q_0 = B f_w
        r_0 = f_w - g_ww q_0
        q   = q_0 + (n steps of conjugate gradients on g_ww d = r_0)   refine=n

    and, where ``|r| > threshold |f_w|`` in the norm of ``M^-1``, q is what
    ``fallback`` makes of it.

    Parameters
    ----------
    refine : int
        Steps of conjugate gradients, preconditioned by B.
    threshold : float or None
        Largest relative residual that is trusted; None trusts always and saves the
        Hessian product of the test.
    fallback : AdjointSolver
        Solves the adjoint system from q where the test fails. `ConjugateGradient`
        goes on to the tolerance; ``NeumannSeries(1)`` is the scaled Jacobian-free
        direction.

    Notes
    -----
    Cost: no Hessian product with ``refine=0, threshold=None``, one for the test, one
    for each step of refinement, and one cross product. The inner solver has to
    provide ``inverse_hessian``: `LBFGS`, best with ``opa``.

    References
    ----------
    Z. Ramzi, F. Mannel, S. Bai, J.-L. Starck, P. Ciuciu, T. Moreau (2022). SHINE:
    SHaring the INverse Estimate from the forward pass for bi-level optimization and
    implicit models. ICLR.
    """

    refine: int = 0
    threshold: float | None = 1.0
    fallback: AdjointSolver = field(default_factory=ConjugateGradient)
    requires = frozenset({"inverse_hessian"})

    def _adjoint(self, request: HypergradientRequest, b: Array) -> tuple[Array, bool]:
        """Refined, and replaced where it is not to be trusted."""
        system, inverse = AdjointSystem.of(request, b), request.descent.memory.apply
        q = inverse(b)
        if not self.refine and self.threshold is None:
            return q, True
        more, residual, _ = coupled_gradients(
            system.point.hvp, system.residual(q), inverse, tol=0.0, max_iter=self.refine
        )
        q = q + more
        if self.threshold is None:
            return q, True
        left = metric_norm(residual, system.metric)
        if left <= self.threshold * metric_norm(b, system.metric):
            return q, True
        return self.fallback.solve(system, q, tol=request.tol)


@dataclass(frozen=True)
class JacobianFree(ByAdjoint):
    """``F' = f_theta - cross(q)`` with a diagonal in the place of the Hessian.

    ::

        q = f_w / M     scaled
        q = f_w         as published

    Parameters
    ----------
    scaled : bool
        Whether to divide by the metric M of the inner problem. The published form is
        that of fixed points ``w = h(w)``, whose Jacobian is near the identity. The
        Hessian of a loss has units, and is far from it: f_w itself is then of no
        particular length, and with strengths of different sizes it points elsewhere.

    Notes
    -----
    The scaled form is the first term of the Neumann series, hence too short, never
    too long. With one strength for all features both forms are proportional. Cost:
    no Hessian product, one cross product. The error does not shrink with the inner
    tolerance.

    References
    ----------
    S. W. Fung, H. Heaton, Q. Li, D. McKenzie, S. Osher, W. Yin (2022). JFB:
    Jacobian-free backpropagation for implicit networks. AAAI.
    """

    scaled: bool = True
    requires = frozenset[str]()

    def _adjoint(self, request: HypergradientRequest, b: Array) -> tuple[Array, bool]:
        if not self.scaled:
            return b, True
        return b / AdjointSystem.of(request, b).metric, True
