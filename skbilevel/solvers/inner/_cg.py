"""Matrix-free inner solves by preconditioned conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit, Linearization, zeros
from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    LinearSolution,
    check_requires,
    expand,
)
from skbilevel.solvers._pcg import Operator, conjugate_gradients


@dataclass(frozen=True)
class IterativeSystem:
    """``diag(1/v) + A`` through products with A; features with v = 0 stay at zero."""

    point: Linearization
    active: Array | None
    inverse_v: Array
    preconditioner: Operator
    max_iter: int
    products: int

    @classmethod
    def of(
        cls,
        fit: DataFit,
        point: Linearization,
        v: Array,
        preconditioner: Operator | None,
        max_iter: int,
    ) -> IterativeSystem:
        """With Jacobi's preconditioner ``1 / (1/v + diag A)`` by default."""
        # In the memory order of products: mixed orders would cost more than these.
        tall = np.empty_like(fit.cross[..., :1])
        tall[...] = expand(v, fit)
        removed = tall == 0.0
        inverse_v = np.divide(1.0, tall, out=np.zeros_like(tall), where=~removed)
        active = None
        if removed.any():
            active = np.empty_like(tall)
            active[...] = ~removed
        if preconditioner is None:
            scale = tall / (1.0 + tall * point.diag())

            def jacobi(r: Array) -> Array:
                return np.asarray(scale * r)

            preconditioner = jacobi
        columns = int(np.prod(fit.batch, dtype=int)) * fit.n_targets
        return cls(point, active, inverse_v, preconditioner, max_iter, columns)

    def _restrict(self, x: Array) -> Array:
        """Zero where ``v = 0``."""
        return x if self.active is None else x * self.active

    def _apply(self, x: Array) -> Array:
        y = self.inverse_v * x
        y += self.point.hvp(x)
        if self.active is not None:
            y *= self.active
        return y

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Iterate from ``x0`` to a relative error of ``tol`` in the system's norm."""
        x, n_iter, converged = conjugate_gradients(
            self._apply,
            self._restrict(b),
            None if x0 is None else self._restrict(x0),
            self.preconditioner,
            tol=tol,
            max_iter=self.max_iter,
        )
        # One more product gives the true residual, and the pull where v = 0.
        pull = b - self.point.hvp(x)
        residual = self._restrict(pull - self.inverse_v * x)
        hvp = n_iter + 1 + (x0 is not None and bool(x0.any()))
        counts = Counts(n_hvp=hvp, n_products=2 * hvp * self.products)
        return LinearSolution(x, pull, residual, converged, counts, n_iter)


@dataclass(frozen=True)
class CG:
    """Conjugate gradients in the coefficients, started at the last solution.

    Parameters
    ----------
    max_iter : int
        Largest number of steps of one solve.

    Notes
    -----
    The state is the solution: amortization is nothing but passing it on. Memory is a
    few vectors per target and task. Use it where no (p, p) or (n, n) matrix fits.
    """

    max_iter: int = 2000
    requires = frozenset({"quadratic"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 1e-10
    ) -> InnerSolution:
        """Solve at variances v from the coefficients ``state``."""
        check_requires(self, fit)
        point = fit.at(zeros(fit))
        system = IterativeSystem.of(fit, point, v, None, self.max_iter)
        solution = system.solve(fit.cross, state, tol=tol)
        return InnerSolution(solution, system, solution.x, solution.counts)
