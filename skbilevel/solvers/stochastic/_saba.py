"""SABA: SOBA with a memory of every batch, which takes the noise away."""

from __future__ import annotations

from dataclasses import dataclass

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._base import OnIter, Result
from skbilevel.solvers._batch_estimators import Remembered
from skbilevel.solvers.stochastic._run import StochasticOptions
from skbilevel.solvers.stochastic._soba import single_loop


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
        run = self.begin(problem, theta0, random_state, None)
        at = run.theta, run.w, run.q
        pair = Remembered(run.inner, *at), Remembered(run.outer, *at)
        return single_loop(run, pair, self.step, 0.0, self.budget, tol, on_iter)
