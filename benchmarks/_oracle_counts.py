"""What the solvers ask of the data: factorizations and products, not seconds.

Counts do not depend on the machine. The problem is five-fold cross-validation
of ridge with ten group strengths; all solvers see the same one.
"""

from typing import Any

import numpy as np
from _timing import cpu_time
from threadpoolctl import threadpool_limits

SHAPES = ((300, 60), (1000, 300), (200, 1000))
N_GROUPS = 10
HEADER = ("n x p", "solver", "value", "outer", "evaluations", "factorizations")
HEADER += ("Hessian products", "products with X", "cpu s")


# These factor a Gram matrix, so they take moments in place of rows.
NEED_MOMENTS = frozenset({"cholesky", "stale"})


def make_problem(n: int, p: int, moments: bool) -> Any:
    """Return the bilevel problem, kept as rows or as moments of the folds."""
    from skbilevel.problems import (
        BilevelProblem,
        GroupStrengths,
        as_design,
        moments_of,
        quadratic_task,
        rows_task,
    )

    rng = np.random.default_rng(0)
    groups = np.arange(p) % N_GROUPS
    X = rng.standard_normal((n, p))
    w = np.exp(-groups) * rng.standard_normal(p)
    Y = (X @ w + np.linalg.norm(w) * rng.standard_normal(n))[:, None]
    design, weights, fold = as_design(X), np.ones(n), np.arange(n) % 5
    tasks = tuple(
        rows_task(
            design,
            Y,
            weights,
            np.flatnonzero(fold != k),
            np.flatnonzero(fold == k),
            np.ones((n, 1)),
        )
        for k in range(5)
    )
    if moments:
        tasks = tuple(
            quadratic_task(moments_of(task.inner), moments_of(task.outer), n)
            for task in tasks
        )
    strengths = GroupStrengths(groups, 1.0 / n)
    return BilevelProblem(tasks, strengths, strengths.bounds(0, 1e6))


def run_solver(n: int, p: int, name: str) -> dict[str, Any]:
    """Solve once and return the row of the table."""
    from skbilevel.solvers import SOLVERS

    problem = make_problem(n, p, name in NEED_MOMENTS)
    solver, start = SOLVERS[name], np.ones(N_GROUPS)
    result, seconds = cpu_time(lambda: solver.solve(problem, start))
    counts = result.counts
    figures = [result.value, result.n_iter, counts.n_evaluations]
    figures += [counts.n_factorizations, counts.n_hvp, counts.n_products, seconds]
    return dict(zip(HEADER, [f"{n} x {p}", name, *figures], strict=True))


def run_oracle_counts(size: str) -> list[dict[str, Any]]:
    """Return one row per shape and solver."""
    from skbilevel.solvers import SOLVERS

    shapes = SHAPES[:1] if size == "small" else SHAPES
    with threadpool_limits(1):
        return [run_solver(n, p, name) for n, p in shapes for name in SOLVERS]
