"""Stochastic steps in w, the adjoint and theta: SOBA, SABA, and AmIGO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem, OuterProblem
from skbilevel.solvers._batches import Batches, Estimator, Fresh, Remembered
from skbilevel.solvers._ledger import rows_of
from skbilevel.solvers._oracle_base import check_positive
from skbilevel.solvers.stochastic._run import Steps, StochasticOptions, StochasticRun


@dataclass(frozen=True, kw_only=True)
class SOBA(StochasticOptions):
    """Stochastic steps in w, in the adjoint q and in theta, from one pair of batches.

    ::

        D_w = g_w,   D_q = g_ww q - f_w,   D_theta = f_theta - g_theta_w q
        w <- w - rho_t D_w / M_b(theta);  q <- q - rho_t D_q / M_b(theta)
        theta <- clip(theta - gamma_t D_theta)

    All directions are taken at the same old point, from one batch of each level.

    Parameters
    ----------
    step : float
        rho_0 as a fraction of the inverse metric, which is that of batches.
    reach : float
        gamma_0: a component of theta would move so far in the first pass.
    decay : tuple of float
        Exponents of rho and gamma in passes; (2/5, 3/5) are those of the paper's
        analysis, (1/2, 1/2) those of its experiments.
    batch_size : int or None
        Rows of a batch; by default as many as fill the caches of a core.
    max_passes : float
        Budget: readings of all rows.
    warm_up : int
        First passes in which theta waits for w and q; at least one.
    shared_step : bool
        Whether all components of theta share one gamma, as in the paper. By default
        each has its own, relative to its own directions: gradients in logarithms of
        strengths differ by powers of ten.
    record_every : float
        Passes between two lines of the history.
    evaluate : bool
        Whether these have the outer value, half a reading of the outer rows each.

    Notes
    -----
    A pass costs one reading of all rows; w and q share it. It ends near a minimum, at a
    distance that shrinks like a power of the passes.

    References
    ----------
    M. Dagreou, P. Ablin, S. Vaiter, T. Moreau (2022). A framework for bilevel
    optimization that enables stochastic and global variance reduction algorithms.
    NeurIPS.
    """

    decay: tuple[float, float] = (2 / 5, 3 / 5)

    def _steps(self, run: StochasticRun) -> Steps:
        pair = Fresh(run.inner), Fresh(run.outer)
        return single_loop(run, pair, self.step, self.decay[0])


def single_loop(
    run: StochasticRun,
    estimators: tuple[Estimator, Estimator],
    rho: float,
    decay: float,
) -> Steps:
    """Steps of w, q and theta from the same old point."""
    inner, outer = (each.level.batches for each in estimators)
    n_batches = max(len(inner), len(outer))

    def step(passed: float) -> None:
        D_w, D_q, D_theta = directions(run, estimators, inner.draw(), outer.draw())
        # The metric of the old theta, as the directions.
        run.move_inner(rho * (1.0 + passed) ** -decay, D_w, D_q)
        run.move_outer(D_theta, 1.0 / n_batches)

    problem = run.problem
    rows = rows_of(problem.inner) / len(inner) + rows_of(problem.outer) / len(outer)
    return step, rows


def directions(
    run: StochasticRun, estimators: tuple[Estimator, Estimator], i: int, j: int
) -> tuple[Array, Array, Array]:
    """``(D_w, D_q, D_theta)`` at the point of a run, from one batch of each level."""
    at = run.theta, run.w, run.q
    g_w, g_wwq, cross = estimators[0].estimate(i, *at)
    f_w, f_theta = estimators[1].estimate(j, *at)
    return g_w, g_wwq - f_w, np.asarray(f_theta - cross)


@dataclass(frozen=True, kw_only=True)
class SABA(StochasticOptions):
    """`SOBA` with constant steps and all sums replaced by their SAGA estimates.

    ::

        S[phi] = weight_k (phi_k(new) - phi_k(memory)) + mean(memory)

    for phi in g_w, g_ww q, g_theta_w q over inner batches and f_w, f_theta over outer
    ones. Rows of linear models are remembered as 2 K t numbers inside and K t outside
    (K tasks, t targets): 2 n + m of them for one task. The memory of other problems has
    whole derivatives, one line for every batch.

    Parameters
    ----------
    step : float
        rho as a fraction of the inverse metric, which is that of batches.
    reach : float
        A component of theta would move so far in the first pass; gamma follows the
        curvature from there.
    batch_size, max_passes, warm_up, shared_step, record_every, evaluate
        As for `SOBA`.

    Notes
    -----
    A pass costs one reading of all rows, and the memory one more at the beginning.
    Noise vanishes with the distance to the minimum: convergence is linear where F is
    well conditioned in theta.

    References
    ----------
    M. Dagreou, P. Ablin, S. Vaiter, T. Moreau (2022). A framework for bilevel
    optimization that enables stochastic and global variance reduction algorithms.
    NeurIPS.
    """

    def _steps(self, run: StochasticRun) -> Steps:
        at = run.theta, run.w, run.q
        pair = Remembered(run.inner, *at), Remembered(run.outer, *at)
        return single_loop(run, pair, self.step, 0.0)


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

    def _steps(self, run: StochasticRun) -> Steps:
        inner, outer = run.inner.batches, run.outer.batches
        n, m = rows_of(run.problem.inner), rows_of(run.problem.outer)
        rows = (self.n_inner + self.n_linear + 1) * n / len(inner) + m / len(outer)
        share = min(1.0, rows / run.ledger.n_rows)

        def step(passed: float) -> None:
            rho = self.step * (1.0 + passed) ** -self.decay[0]
            run.move_outer(self._descend(run, rho), share)

        return step, rows

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
