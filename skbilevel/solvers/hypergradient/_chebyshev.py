"""Chebyshev polynomials for the adjoint system: no inner products, a known bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import AdjointSystem
from skbilevel.solvers._chebyshev import ChebyshevStages
from skbilevel.solvers._oracle_base import metric_norm


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
        q = np.zeros_like(system.b) if q0 is None else q0.copy()
        goal = tol * metric_norm(system.b, system.metric)
        budget = self.max_iter if self.n_iter is None else self.n_iter
        for _ in range(budget):
            residual = system.residual(q)
            if self.n_iter is None and metric_norm(residual, system.metric) <= goal:
                return q, True
            q = scheme.step(
                lambda y: -system.residual(y) / system.metric,
                q,
                scheme.limit,
                -residual / system.metric,
            )
        return q, self.n_iter is not None
