"""Conjugate gradients preconditioned by the factorization of earlier variances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit, zeros
from skbilevel.solvers._base import Counts, InnerSolution, check_requires
from skbilevel.solvers.inner._cg import IterativeSystem
from skbilevel.solvers.inner._cholesky import CholeskySystem, gram_of


@dataclass(frozen=True)
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
