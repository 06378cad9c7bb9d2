"""What does a stochastic pass cost next to two products with the same rows?

A hold-out of half of the rows, one strength per feature, default batches: the median
CPU time of a pass of SABA and of SOBA over both halves, and that of ``X @ w`` plus
``X.T @ r`` over the same rows in the type of X, all on one thread. The target is a
ratio of at most 3.

    python benchmarks/stochastic_pass.py
    python benchmarks/stochastic_pass.py --rows 20000 --batch 512
"""

import argparse
from time import process_time

import numpy as np

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    LogisticLoss,
    OracleProblem,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers.stochastic import SABA, SOBA

PASSES = 8


def problem(X: np.ndarray, loss: str, rng: np.random.Generator) -> OracleProblem:
    """Return a hold-out with an intercept."""
    n, p = X.shape
    eta = X[:, :10] @ rng.standard_normal(10)
    halves = rng.permutation(n).reshape(2, -1)
    weight, free = np.ones(n), np.ones((n, 1))
    if loss == "squared":
        y = (eta + rng.standard_normal(n))[:, None]
        task = rows_task(as_design(X), y, weight, *halves, free)
    else:
        y = (eta + rng.logistic(size=n) > 0).astype(float)[:, None]
        made = GLMTasks(as_design(X), y, weight, LogisticLoss(), LogisticLoss(), free)
        task = made.fold(*halves)
    v0 = np.exp(-12.0) * 2.0 / n
    shared = FeatureStrengths(p, v0)
    bounds = shared.bounds(v0, v0 * np.exp(24.0))
    return linear_oracles(BilevelProblem((task,), shared, bounds), np.full(p, 13.0))


def seconds_of_pass(solver: SABA | SOBA, oracles: OracleProblem) -> float:
    """Return the median over passes, the first ones left out."""
    marks: list[tuple[float, float]] = []
    solver.solve_oracles(
        oracles,
        oracles.theta0,
        tol=0.0,
        on_iter=lambda info: marks.append((info.passes, process_time())),
    )
    passes, seconds = np.array(marks).T
    return float(np.median((np.diff(seconds) / np.diff(passes))[1:]))


def seconds_of_products(X: np.ndarray) -> float:
    """Return the median of ``X @ w`` plus ``X.T @ r``."""
    w, r = np.ones(X.shape[1], X.dtype), np.ones(len(X), X.dtype)
    times = []
    for _ in range(9):
        start = process_time()
        X @ w
        X.T @ r
        times.append(process_time() - start)
    return float(np.median(times))


def main() -> None:
    """Print one line per type, loss and solver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--batch", type=int, default=None)
    args = parser.parse_args()
    print("type     loss      solver  products  pass     ratio")
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((args.rows, args.columns), dtype=dtype)
        for loss in ("squared", "logistic"):
            oracles = problem(X, loss, rng)
            for kind in (SABA, SOBA):
                solver = kind(
                    max_passes=PASSES,
                    record_every=1,
                    evaluate=False,
                    batch_size=args.batch,
                )
                once = seconds_of_products(X)
                spent = seconds_of_pass(solver, oracles)
                print(
                    f"{np.dtype(dtype).name:8} {loss:9} {kind.__name__:7} "
                    f"{once:.4f} s  {spent:.4f} s {spent / once:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
