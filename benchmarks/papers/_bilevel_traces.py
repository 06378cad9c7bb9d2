"""Runs of solvers as traces of theta, and what they were worth, on a grid of passes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from _common import median

from skbilevel.problems import OracleProblem
from skbilevel.solvers import (
    LBFGSB,
    ORACLE_SOLVERS,
    ConjugateGradient,
    DoubleLoop,
    GradientDescent,
    ImplicitGradient,
)
from skbilevel.solvers.stochastic import SABA, SOBA, AmigoSGD

# The last pass that is looked at, and the growth from one look to the next.
FIRST, GROWTH = 2.0, 1.2


def stochastic(passes: float) -> dict[str, Any]:
    """Return the stochastic solvers, with their own settings but the budget."""
    options = {"max_passes": passes, "record_every": 1.0, "evaluate": False}
    return {
        "SABA": SABA(**options),
        "SABA, one gamma": SABA(shared_step=True, **options),
        "SOBA": SOBA(**options),
        "AmIGO-SGD": AmigoSGD(**options),
    }


def deterministic() -> dict[str, Any]:
    """Return the solvers that read all rows at a time."""
    pair = GradientDescent(n_iter=10), ImplicitGradient(ConjugateGradient(n_iter=10))
    return {
        "AmIGO-CG": ORACLE_SOLVERS["amigo-cg"],
        "AmIGO-GD": ORACLE_SOLVERS["amigo-gd"],
        "AmIGO-CG, L-BFGS-B": DoubleLoop(*pair, LBFGSB()),
    }


def follow(
    solver: Any,
    problem: OracleProblem,
    gap: Callable[[np.ndarray], float],
    seeds: int,
    passes: float,
) -> dict[str, Any]:
    """Return medians of the gap and of seconds on a grid of passes."""
    grid = FIRST * GROWTH ** np.arange(int(np.log(passes / FIRST) / np.log(GROWTH)) + 1)
    gaps, seconds = [], []
    for seed in range(seeds):
        trace: list[tuple[float, float, np.ndarray]] = [(0.0, 0.0, problem.theta0)]

        def look(info: Any, trace: list = trace) -> bool:
            trace.append((info.passes, info.seconds, info.theta.copy()))
            return bool(info.passes > passes)

        solver.solve_oracles(
            problem,
            problem.theta0,
            tol=0.0,
            max_iter=10_000,
            random_state=seed,
            on_iter=look,
        )
        known = np.array([line[0] for line in trace])
        chosen = np.searchsorted(known, grid, side="right") - 1
        values = {k: gap(trace[k][2]) for k in np.unique(chosen)}
        gaps.append([values[k] for k in chosen])
        seconds.append([trace[k][1] for k in chosen])
    return {
        "passes": grid.tolist(),
        "gap": median(gaps).tolist(),
        "worst": np.max(gaps, axis=0).tolist(),
        "seconds": median(seconds).tolist(),
        "seeds": seeds,
    }


def first_below(run: dict[str, Any], level: float, name: str = "passes") -> float:
    """Return where the median stays below a level, or NaN."""
    above = np.flatnonzero(np.array(run["gap"]) >= level)
    k = above[-1] + 1 if len(above) else 0
    return float(run[name][k]) if k < len(run["gap"]) else float("nan")
