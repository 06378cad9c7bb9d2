"""The adjoint system by the adjoint of the inner solver's own iteration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._adjoint_system import AdjointSystem


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
        q = np.zeros_like(system.b) if q0 is None else q0.copy()
        root, moved = np.sqrt(system.metric), np.zeros_like(q)
        goal = tol * float(np.linalg.norm(system.b / root))
        budget = self.max_iter if self.n_iter is None else self.n_iter
        for _ in range(budget):
            residual = system.residual(q)
            if self.n_iter is None and np.linalg.norm(residual / root) <= goal:
                return q, True
            moved = self.momentum * moved + self.step * residual / system.metric
            q = q + moved
        return q, self.n_iter is not None
