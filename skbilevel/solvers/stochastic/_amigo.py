"""AmIGO on mini-batches: a few stochastic steps in w and q for every one in theta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem, OracleProblem, OuterProblem
from skbilevel.solvers._base import OnIter, Result
from skbilevel.solvers._batches import Batches
from skbilevel.solvers._ledger import rows_of
from skbilevel.solvers._oracle_base import check_positive
from skbilevel.solvers.stochastic._run import StochasticOptions, StochasticRun


@dataclass(frozen=True, kw_only=True)
class AmigoSGD(StochasticOptions):
    """Warm-started stochastic steps in w, then in q, then one in theta.

    ::

        T times:  w <- w - rho g_w / M_b(theta)              each on a new batch
        f_w, f_theta on one batch
        N times:  q <- q - rho (g_ww q - f_w) / M_b(theta)   each on a new batch
        theta <- clip(theta - gamma (f_theta - g_theta_w q)) on one more batch

    Conjugate gradients are for full gradients only: on batches the directions lose
    their conjugacy. See `DoubleLoop` for them.

    Parameters
    ----------
    n_inner, n_linear : int
        T and N.
    step, reach, decay
        As for `SOBA`.
    batch_size, max_passes, warm_up, shared_step, record_every, evaluate
        As for `SOBA`.

    References
    ----------
    M. Arbel, J. Mairal (2022). Amortized implicit differentiation for stochastic
    bilevel optimization. ICLR.
    """

    n_inner: int = 10
    n_linear: int = 10
    decay: tuple[float, float] = (1 / 2, 1 / 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "n_inner", "n_linear")

    def solve_oracles(
        self,
        problem: OracleProblem,
        theta0: Array,
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        random_state: int = 0,
        on_iter: OnIter | None = None,
    ) -> Result:
        """Tune theta; the budget is ``max_passes``, ``max_iter`` is not looked at."""
        run = self.begin(problem, theta0, random_state, self.decay[1])
        rows = self._rows_per_step(run)
        share = min(1.0, rows / run.ledger.n_rows)

        def step(passed: float) -> None:
            rho = self.step * (1.0 + passed) ** -self.decay[0]
            run.move_outer(self._descend(run, rho), share)

        return run.loop(step, rows, self, tol, on_iter)

    def _rows_per_step(self, run: StochasticRun) -> float:
        inner, outer = run.inner.batches, run.outer.batches
        n, m = rows_of(run.problem.inner), rows_of(run.problem.outer)
        return (self.n_inner + self.n_linear + 1) * n / len(inner) + m / len(outer)

    def _descend(self, run: StochasticRun, rho: float) -> Array:
        """Steps in w and q, and the direction in theta after them."""
        problem, inner = run.problem, run.inner.batches
        for _ in range(self.n_inner):
            weight, point = batch_point(run, problem.inner, inner)
            run.move_inner(rho, weight * point.grad, None)
        weight, outer = batch_point(run, problem.outer, run.outer.batches)
        f_w, f_theta = weight * outer.grad, weight * outer.grad_theta
        for _ in range(self.n_linear):
            weight, point = batch_point(run, problem.inner, inner)
            run.move_inner(rho, None, weight * point.hvp(run.q) - f_w)
        weight, point = batch_point(run, problem.inner, inner)
        return np.asarray(f_theta - weight * point.cross(run.q))


def batch_point(
    run: StochasticRun, level: InnerProblem | OuterProblem, batches: Batches
) -> tuple[float, Any]:
    """Weight and oracles of the next batch of a level at the point of a run."""
    k = batches.draw()
    batch = level.take(batches.parts[k])
    return float(batches.weights[k]), batch.at(run.theta, run.w)
