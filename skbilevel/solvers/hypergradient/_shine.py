"""Hypergradients with the inverse Hessian that the inner solver has built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import AdjointSolver, AdjointSystem
from skbilevel.solvers._oracle_base import (
    HypergradientRequest,
    HypergradientValue,
    metric_norm,
)
from skbilevel.solvers.hypergradient._linear_solvers import ConjugateGradient


@dataclass(frozen=True)
class SHINE:
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

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and gradient at the end of the inner descent."""
        descent = request.descent
        outer = request.problem.outer.at(request.theta, descent.w)
        system = AdjointSystem.of(request, outer.grad)
        q, converged = self._adjoint(system, descent.memory.apply, request.tol)
        grad = outer.grad_theta - descent.point.cross(q)
        return HypergradientValue(outer.value, grad, q, converged)

    def _adjoint(
        self, system: AdjointSystem, inverse: Callable[[Array], Array], tol: float
    ) -> tuple[Array, bool]:
        """Refined, and replaced where it is not to be trusted."""
        q = inverse(system.b)
        if not self.refine and self.threshold is None:
            return q, True
        residual = system.residual(q)
        q, residual = _refined(system, q, residual, inverse, self.refine)
        if self.threshold is None:
            return q, True
        left = metric_norm(residual, system.metric)
        if left <= self.threshold * metric_norm(system.b, system.metric):
            return q, True
        return self.fallback.solve(system, q, tol=tol)


def _refined(
    system: AdjointSystem,
    q: Array,
    residual: Array,
    inverse: Callable[[Array], Array],
    n_steps: int,
) -> tuple[Array, Array]:
    """Solution and residual after some steps of preconditioned conjugate gradients."""
    direction, last = np.zeros_like(q), np.inf
    for _ in range(n_steps):
        z = inverse(residual)
        size = float(residual @ z)
        if not size > 0.0:
            break
        direction = z + size / last * direction
        product = system.point.hvp(direction)
        length = size / float(direction @ product)
        q, residual = q + length * direction, residual - length * product
        last = size
    return q, residual
