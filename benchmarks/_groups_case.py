"""Six groups of ten features with known coefficients: error beyond the noise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _contenders import Fit, ard, himalaya, optuna, ours, ridge_cv
from _timing import cpu_time

N_ROWS = 300
GROUPS = np.repeat(np.arange(6), 10)
# Spread of the coefficients in each group; the last two carry nothing.
SPREAD = np.array([3.0, 1.0, 0.3, 0.1, 0.0, 0.0])
NOISE = 2.0
REFERENCE = "RidgeCV"
HIMALAYA = "himalaya random search, 1000"


def make_groups(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X, y and the coefficients."""
    rng = np.random.default_rng(seed)
    w = SPREAD[GROUPS] * rng.standard_normal(len(GROUPS))
    X = rng.standard_normal((N_ROWS, len(GROUPS)))
    return X, X @ w + NOISE * rng.standard_normal(N_ROWS), w


def excess(model: Any, w: np.ndarray) -> float:
    """Return the expected test error beyond the noise, known exactly here."""
    coef = np.ravel(model.coef_)
    return float(np.sum((coef - w) ** 2) + np.ravel(model.intercept_)[0] ** 2)


def contenders(slow_seeds: int, seeds: int) -> dict[str, tuple[Callable[[], Fit], int]]:
    """Return name -> (how to build it, on how many seeds it is run)."""
    tuned = {"feature_groups": GROUPS, "hyperpenalty": None}
    return {
        REFERENCE: (ridge_cv, seeds),
        "ARDRegression": (ard, seeds),
        "groups, cv=5": (lambda: ours(**tuned, cv=5), seeds),
        "groups, cv='loo'": (lambda: ours(**tuned, cv="loo"), seeds),
        "groups, guarded": (lambda: ours(feature_groups=GROUPS), seeds),
        "default": (ours, seeds),
        "optuna TPE, 100": (lambda: optuna(GROUPS, 100), slow_seeds),
        HIMALAYA: (lambda: himalaya(GROUPS, 1000), slow_seeds),
    }


def run_groups(seeds: int, slow_seeds: int) -> tuple[Sequence[str], list[list]]:
    """Return the header and one row per method.

    ``vs RidgeCV`` and ``vs himalaya`` compare on the seeds both were run on.
    """
    errors: dict[str, np.ndarray] = {}
    times: dict[str, float] = {}
    for name, (build, count) in contenders(slow_seeds, seeds).items():
        try:
            fit = build()
        except ImportError:
            continue
        runs = []
        for seed in range(count):
            X, y, w = make_groups(seed)
            model, seconds = cpu_time(fit, X, y)
            runs.append((excess(model, w), seconds))
        errors[name] = np.array([error for error, _ in runs])
        times[name] = float(np.median([seconds for _, seconds in runs]))
    header = ("method", "seeds", "excess error", "se", "vs RidgeCV", "vs himalaya")
    header += ("cpu s", "time / himalaya")
    return header, [row(name, errors, times) for name in errors]


def row(name: str, errors: dict[str, np.ndarray], times: dict[str, float]) -> list:
    """Return the figures of one method."""
    mine = errors[name]
    se = float(np.std(mine, ddof=1) / np.sqrt(len(mine))) if len(mine) > 1 else np.nan
    against = [relative(mine, errors.get(rival)) for rival in (REFERENCE, HIMALAYA)]
    ratio = times[name] / times.get(HIMALAYA, float("nan"))
    return [name, len(mine), float(mine.mean()), se, *against, times[name], ratio]


def relative(mine: np.ndarray, rival: np.ndarray | None) -> float:
    """Return the relative difference of the means on the common seeds."""
    if rival is None:
        return float("nan")
    common = min(len(mine), len(rival))
    return float(mine[:common].mean() / rival[:common].mean() - 1)
