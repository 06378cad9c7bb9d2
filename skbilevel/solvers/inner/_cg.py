"""Inner solves by preconditioned conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit, Linearization, zeros
from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    LinearSolution,
    check_requires,
)
from skbilevel.solvers._pcg import Operator, conjugate_gradients
from skbilevel.solvers.inner._cholesky import CholeskySystem, gram_of
from skbilevel.solvers.inner._curved_system import Ridge


@record
class IterativeSystem:
    """``diag(1/v) + A`` through products with A; features with v = 0 stay at zero."""

    point: Linearization
    ridge: Ridge
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
        tall[...] = np.broadcast_to(v, (*fit.batch, fit.n_features))[..., None]
        if preconditioner is None:
            scale = tall / (1.0 + tall * point.diag())

            def jacobi(r: Array) -> Array:
                return np.asarray(scale * r)

            preconditioner = jacobi
        columns = int(np.prod(fit.batch, dtype=int)) * fit.n_targets
        ridge = Ridge.of(tall, tall.dtype)
        return cls(point, ridge, preconditioner, max_iter, columns)

    def _apply(self, x: Array) -> Array:
        y = self.ridge.inverse * x
        y += self.point.hvp(x)
        if self.ridge.active is not None:
            y *= self.ridge.active
        return y

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Iterate from ``x0`` to a relative error of ``tol`` in the system's norm."""
        x, n_iter, converged = conjugate_gradients(
            self._apply,
            self.ridge.restrict(b),
            None if x0 is None else self.ridge.restrict(x0),
            self.preconditioner,
            tol=tol,
            max_iter=self.max_iter,
        )
        # One more product gives the true residual, and the pull where v = 0.
        pull = b - self.point.hvp(x)
        residual = self.ridge.restrict(pull - self.ridge.inverse * x)
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


@record
class StaleState:
    """A factorization, the variances it belongs to, and the last solution."""

    factor: CholeskySystem
    v: Array
    W: Array
    n_iter: int


@dataclass(frozen=True)
class StaleCholesky:
    """Solves with the factor of earlier variances as preconditioner.

    The spectrum of the preconditioned system lies between the smallest and largest
    ratio of old and new variances, so a small outer step needs few iterations of
    ``4 p^2`` operations where a factorization takes ``p^3 / 3``. The factorization is
    renewed once a solve took more than ``refactor_after`` iterations.

    Parameters
    ----------
    refactor_after : int
        Iterations of the last solve after which the next one starts with a
        factorization.
    max_iter : int
        Iterations after which a solve gives up on the old factor.
    """

    refactor_after: int = 8
    max_iter: int = 25
    requires = frozenset({"quadratic", "dense_hessian"})

    def solve(
        self,
        fit: DataFit,
        v: Array,
        state: StaleState | None = None,
        *,
        tol: float = 1e-10,
    ) -> InnerSolution:
        """Solve at variances v, by factorization if the old factor is of no use."""
        check_requires(self, fit)
        counts = Counts()
        if state is not None and self._usable(state, v):
            tried = self._with(fit, v, state, tol)
            counts = tried.counts
            if tried.solution.converged:
                return tried
        factor = CholeskySystem.of(gram_of(fit), v)
        counts += Counts(n_factorizations=len(factor.factors))
        solution = factor.solve(fit.cross, None, tol=tol)
        fresh = StaleState(factor, np.asarray(v), solution.x, 0)
        return InnerSolution(solution, factor, fresh, counts)

    def _usable(self, state: StaleState, v: Array) -> bool:
        returning = bool(((state.v == 0) & (v > 0)).any())
        return not returning and state.n_iter <= self.refactor_after

    def _with(
        self, fit: DataFit, v: Array, state: StaleState, tol: float
    ) -> InnerSolution:
        removed = not np.all(v)

        def old_inverse(r: Array) -> Array:
            z = state.factor.precondition(r)[0]
            return np.where(np.asarray(v)[..., None] > 0, z, 0.0) if removed else z

        point = fit.at(zeros(fit))
        system = IterativeSystem.of(fit, point, v, old_inverse, self.max_iter)
        solution = system.solve(fit.cross, state.W, tol=tol)
        new = StaleState(state.factor, state.v, solution.x, solution.n_iter)
        # The adjoint has no second try, and starts from a guess that is as good.
        patient = replace(system, max_iter=10 * self.max_iter)
        return InnerSolution(solution, patient, new, solution.counts)
