"""ijcnn1 with one strength per feature: the problem, F by Newton's method, runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from _bilevel_traces import deterministic, follow, stochastic
from _data import raw
from scipy import special

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    LogisticLoss,
    OracleProblem,
    as_design,
    linear_oracles,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers import minimize_bilevel

LIMIT = 12.0


def problem_of(X: np.ndarray, y: np.ndarray, train: np.ndarray) -> OracleProblem:
    """Return it with strengths ``exp(t)``, ``|t| <= 12`` and ``t = 0`` to start.

    theta is ``13 - t``: this package's coordinate is the logarithm of the variance.
    """
    n, p = X.shape
    loss, ones = LogisticLoss(), np.ones(n)
    made = GLMTasks(as_design(X), y[:, None], ones, loss, loss, np.zeros((n, 0)))
    task = made.fold(np.flatnonzero(train), np.flatnonzero(~train))
    v0 = np.exp(-LIMIT) / train.sum()
    shared = FeatureStrengths(p, v0)
    bounds = shared.bounds(v0, v0 * np.exp(2 * LIMIT))
    problem = BilevelProblem((replace(task, v_scale=1.0),), shared, bounds)
    return linear_oracles(problem, np.full(p, 1.0 + LIMIT))


def exact_value(
    X: np.ndarray, y: np.ndarray, train: np.ndarray, problem: OracleProblem
) -> Callable[[np.ndarray], float]:
    """Return F, by Newton's method from where it ended last."""
    A, a = X[train], y[train]
    known = [np.zeros(X.shape[1])]

    def value(theta: np.ndarray) -> float:
        w, alpha = known[0], np.exp(1.0 + LIMIT - theta)
        for _ in range(100):
            mu = special.expit(A @ w)
            grad = A.T @ (mu - a) / len(a) + alpha * w
            H = (A.T * (mu * (1 - mu))) @ A / len(a) + np.diag(alpha)
            step = np.linalg.solve(H, grad)
            w = w - step
            if grad @ step < 1e-24:
                break
        known[0] = w
        return float(problem.outer.at(theta, w).value)

    return value


def run(seeds: int, passes: float, rows: int | None) -> dict[str, Any]:
    """Return the medians of all solvers."""
    X, labels, info = raw("ijcnn1")
    y, train = (labels > 0).astype(float), ~info["is_test"]
    if rows is not None:
        X, y, train = X[::rows], y[::rows], train[::rows]
    problem = problem_of(X, y, train)
    value = exact_value(X, y, train, problem)
    best = minimize_bilevel(problem, "newton", tol=1e-9, max_iter=500)
    start, end = value(problem.theta0), value(best.theta)

    def gap(theta: np.ndarray) -> float:
        return max((value(theta) - end) / (start - end), 1e-16)

    found: dict[str, Any] = {}
    for name, solver in stochastic(passes).items():
        many = 1 if name == "SABA, one gamma" else seeds
        found[name] = follow(solver, problem, gap, many, passes)
        print("ijcnn1", name, found[name]["gap"][-1], flush=True)
    for name, solver in deterministic().items():
        found[name] = follow(solver, problem, gap, 1, 15 * passes)
        print("ijcnn1", name, found[name]["gap"][-1], flush=True)
    counts = [int(train.sum()), int((~train).sum())]
    return {"runs": found, "start": start, "best": end, "rows": counts}
