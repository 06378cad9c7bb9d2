"""A setting of stocBiO: mini-batches inside, a Neumann series of fresh batches."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel.problems import OracleProblem
from skbilevel.solvers import IterInfo, Result, Status
from skbilevel.solvers._ledger import counted
from skbilevel.solvers._oracle_base import metric_of


@dataclass(frozen=True)
class StocBiO:
    """T stochastic steps in w, N terms of a series from zero, one step in theta.

    Every gradient and every product has a batch of its own; w is warm, q is not.

    Parameters
    ----------
    n_inner, n_terms : int
        T and N.
    step : float
        Fraction of the inverse metric of all rows.
    outer_step : float
        Length of a step in theta, times the gradient.
    batch_size : int
        Rows of a batch.
    """

    n_inner: int
    n_terms: int
    step: float
    outer_step: float
    batch_size: int
    requires = frozenset({"row_batches"})

    def solve_oracles(
        self,
        problem: OracleProblem,
        theta0: np.ndarray,
        *,
        tol: float,
        max_iter: int,
        random_state: int = 0,
        on_iter: Any = None,
    ) -> Result:
        """Run until the callback says so."""
        began, rng = perf_counter(), np.random.default_rng(random_state)
        problem, ledger = counted(problem)
        theta, w = theta0, problem.w0
        known: dict[str, list[float]] = {"value": []}
        for k in range(max_iter):
            steps = self.step / metric_of(problem.inner, theta, w)
            for _ in range(self.n_inner):
                w = w - steps * self._batch(problem.inner, rng).at(theta, w).grad
            outer = self._batch(problem.outer, rng).at(theta, w)
            term = steps * outer.grad
            q = term
            for _ in range(self.n_terms - 1):
                product = self._batch(problem.inner, rng).at(theta, w).hvp(term)
                term = term - steps * product
                q = q + term
            grad = outer.grad_theta - self._batch(problem.inner, rng).at(
                theta, w
            ).cross(q)
            theta = np.clip(theta - self.outer_step * grad, *problem.box)
            value = problem.outer.at(theta, w).value
            known["value"].append(value)
            seconds = perf_counter() - began
            info = IterInfo(k, theta, value, 0.0, 0.0, ledger.passes, seconds)
            if on_iter is not None and on_iter(info):
                break
        history = {name: np.array(column) for name, column in known.items()}
        return Result(
            theta,
            np.empty(0),
            value,
            Status.STOPPED,
            len(known["value"]),
            history,
            ledger.total,
            w=w,
        )

    def _batch(self, level: Any, rng: np.random.Generator) -> Any:
        size = min(self.batch_size, level.n_rows)
        return level.take(rng.choice(level.n_rows, size, replace=False))
