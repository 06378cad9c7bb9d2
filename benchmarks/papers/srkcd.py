"""SRKCD: how far stabilized steps reach, and what they gain at equal gradients.

    python benchmarks/papers/srkcd.py
    python benchmarks/papers/srkcd.py --quick

Protocol. The paper's own network experiments could not be checked (architecture and
numbers are not at hand), so none of them is claimed. Three experiments instead:

1. Largest stable step, in units of 1/L, by bisection on a quadratic with 200
   eigenvalues in (0, 1]: 400 steps must not increase the norm. Against s stages, for
   two dampings, beside ``2 w0 / w1``.
2. Stiff least squares, n = 2,000 rows and p = 60 columns with scales from 1 to 1/100
   (the Hessian's condition is about 10^4), noise 0.1: training loss above its minimum
   after up to {PASSES} gradients of every row, in batches of 50 and with all rows, for
   SGD (which is one stage) and s = 2, 3, 5, 10. Every method takes the best of the
   steps ``c / (1 + epoch)^d`` with c in {GRID} of its limit of stability and
   d in (0, 1), chosen on seed 0.
3. Logistic regression with one strength per feature, log-uniform from 1e-3 to 1e3, on
   2,000 rows of the mushrooms data (one-hot): the same race, in the metric
   ``L + alpha_j`` and without it, where the strongest penalty alone sets the step.

Batches are shuffled without replacement. Seeds 0 to 4, medians.

What agrees with the paper. The largest stable step grows with the square of the
stages, 1.94 s^2 for damping 0.05 and 1.82 to 1.84 s^2 for 2/13 from three stages on,
and is that of the formula to four digits. Where the problem is stiff this is a gain at
equal numbers of gradients: on least squares ten stages end at 0.18 where SGD ends at
1.58, with all rows at 1.6 against 8.8; without a metric for the strengths at 0.038
against 0.142.

What does not. In the metric, which takes the stiffness of penalties away, there is
little left to gain with batches: five stages end at 0.0005, SGD at 0.0007, two, three
and ten stages between 0.001 and 0.002, because long steps amplify the noise of batches;
in an earlier run SGD was lowest. With all rows five stages are best, at 0.005 against
0.044. And the metric is worth more than stages: SGD in it is at 0.003 after 30
gradients, ten stages without it at 0.038 after 120.

Reference: T. Stillfjord, M. Williamson (2023). SRKCD: a stabilized Runge-Kutta method
for stochastic optimization. J. Comput. Appl. Math. 417.
"""

import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.extend(str(folder) for folder in Path(__file__).parents[:2])

import numpy as np
from _common import markdown, median, options, write_figure, write_page
from _data import loader

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    LogisticLoss,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers._chebyshev import ChebyshevStages
from skbilevel.solvers.inner import SRKCD, Newton

STAGES = (1, 2, 3, 5, 10)
GRID = (0.03, 0.1, 0.3, 0.9)
PASSES, SEEDS, BATCH = 120, 5, 50


def largest_step(stages: int, damping: float) -> float:
    """Bisection on a quadratic with eigenvalues up to 1."""
    h = np.linspace(1e-3, 1.0, 200)
    scheme = ChebyshevStages(stages, damping)

    def grows(size: float) -> bool:
        w = np.ones_like(h)
        for _ in range(400):
            w = scheme.step(lambda y: h * y, w, size, h * w)
            if not np.abs(w).max() <= 1.0 + 1e-9:
                return True
        return False

    low, high = 0.5, 4.0 * stages**2
    while high - low > 1e-4 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if grows(middle) else (middle, high)
    return low


@dataclass(frozen=True)
class Plain:
    """An inner problem without its metric: one number bounds the Hessian."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def smoothness(self) -> Any:
        """The largest component of the metric."""
        return lambda theta: float(np.max(self.inner.smoothness(theta)))

    @property
    def row_smoothness(self) -> Any:
        """That of the problem."""
        return self.inner.row_smoothness


def least_squares(n: int, p: int) -> tuple[Any, np.ndarray]:
    """Stiff least squares with a penalty of ``1e-5 / 2 |w|^2``."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) * np.geomspace(1.0, 0.01, p)
    w = rng.standard_normal(p) / np.geomspace(1.0, 0.01, p)
    y = X @ w + 0.1 * rng.standard_normal(n)
    everything = np.arange(n)
    task = rows_task(as_design(X), y[:, None], np.ones(n), everything, np.arange(1))
    shared = FeatureStrengths(p, 1e5 / n)
    bounds = shared.bounds(1e5 / n, 1e6 / n)
    problem = BilevelProblem((task,), shared, bounds)
    return linear_oracles(problem, bounds[0]).inner, bounds[0]


def strong_features(max_rows: int | None) -> tuple[Any, np.ndarray]:
    """Logistic regression with strengths from 1e-3 to 1e3 beside a mean of losses."""
    X, y, _ = loader().load("mushrooms")
    order = np.random.default_rng(0).permutation(X.shape[0])[:max_rows]
    X, y = np.asarray(X[order].todense()), (y[order] > 0)[:, None].astype(float)
    (n, p), loss = X.shape, LogisticLoss()
    made = GLMTasks(as_design(X), y, np.ones(n), loss, loss, np.ones((n, 1)))
    task = made.fold(np.arange(n), np.arange(1))
    low, high = 1e-3 / n, 1e3 / n
    shared = FeatureStrengths(p, low)
    bounds = shared.bounds(low, high)
    rng = np.random.default_rng(1)
    theta = bounds[0] + rng.random(p) * (bounds[1] - bounds[0])
    problem = BilevelProblem((task,), shared, bounds)
    return linear_oracles(problem, theta).inner, theta


def loss_gap(problem: tuple, best: float, solver: SRKCD, seed: int) -> float:
    """Training loss above its minimum after the budget of the solver."""
    inner, theta = problem
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        start = np.zeros(inner.strengths.size)
        w = solver.solve(inner, theta, start, threshold=0.0, rng=rng).w
        gap = inner.at(theta, w).value - best
    return max(float(gap), 1e-16) if np.isfinite(gap) else np.inf


def race(problem: tuple, batch: int | None, budgets: list[int], seeds: int) -> dict:
    """Medians of gaps at every budget, and the tuned step, by number of stages."""
    inner, theta = problem
    rng = np.random.default_rng(0)
    start = np.zeros(inner.strengths.size)
    exact = Newton().solve(inner, theta, start, threshold=1e-13, rng=rng)
    best = exact.point.value
    found = {}
    for stages in STAGES:
        choices = [
            SRKCD(stages, batch_size=batch, step=c, decay=d, n_passes=budgets[-1])
            for c, d in product(GRID, (0.0, 1.0) if batch else (0.0,))
        ]
        ends = [loss_gap(problem, best, solver, 0) for solver in choices]
        solver = choices[int(np.argmin(ends))]
        curves = [
            [
                loss_gap(problem, best, replace(solver, n_passes=b), seed)
                for b in budgets
            ]
            for seed in range(seeds if batch else 1)
        ]
        found[stages] = (median(curves), solver.step, solver.decay)
    return found


def label_of(stages: int) -> str:
    """One stage is SGD."""
    return "SGD" if stages == 1 else f"s = {stages}"


def draw(steps: dict, races: dict[str, dict], budgets: list[int]) -> Any:
    """Stable steps, and loss against gradients."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 4, figsize=(13.5, 6.2), layout="constrained")
    axes = [grid[0, 0], *grid[0, 1:3], *grid[1]]
    grid[0, 3].axis("off")
    stages = np.array(sorted({s for s, _ in steps}))
    for color, damping in enumerate(sorted({d for _, d in steps})):
        measured = [steps[s, damping] for s in stages]
        axes[0].loglog(stages, measured, f"C{color}o", label=f"damping {damping:.2f}")
    axes[0].loglog(stages, 2.0 * stages**2, "k--", lw=1, label="$2 s^2$")
    axes[0].set_xlabel("stages s")
    axes[0].set_ylabel("largest stable step times L")
    axes[0].set_title("stability")
    axes[0].legend()
    for ax, (name, found) in zip(axes[1:], races.items(), strict=True):
        for color, (s, (curve, _, _)) in enumerate(found.items()):
            ax.semilogy(budgets, curve, f"C{color}o-", label=label_of(s), ms=3)
        ax.set_title(name)
        ax.set_xlabel("gradients of every row")
        ax.set_xticks(budgets)
    for ax in (axes[1], axes[3]):
        ax.set_ylabel("loss above its minimum")
    handles, labels = axes[1].get_legend_handles_labels()
    grid[0, 3].legend(handles, labels, loc="center", title="right of the first panel")
    for ax in axes:
        ax.grid(alpha=0.3, which="both")
    return figure


def main() -> None:
    """Run, and write the page and the figure."""
    args = options(__doc__)
    began = perf_counter()
    quick = args.quick
    rows = 200 if quick else 2000
    budgets = [5, 10] if quick else [30, 60, PASSES]
    squares = least_squares(rows, 60)
    inner, theta = strong_features(rows)
    seeds = 1 if quick else SEEDS
    kinds = [(s, d) for d in (0.05, 2 / 13) for s in STAGES]
    steps = {(s, d): largest_step(s, d) for s, d in kinds}
    tasks = {
        "stiff squares, batches": (squares, BATCH),
        "stiff squares, all rows": (squares, None),
        "strengths, batches": ((inner, theta), BATCH),
        "strengths, all rows": ((inner, theta), None),
        "no metric, batches": ((Plain(inner), theta), BATCH),
        "no metric, all rows": ((Plain(inner), theta), None),
    }
    races = {}
    for name, (problem, batch) in tasks.items():
        races[name] = race(problem, batch, budgets, seeds)
        print(name, round(perf_counter() - began), "s")
    stable = [
        [s, d, steps[s, d], ChebyshevStages(s, d).stable, steps[s, d] / s**2]
        for s, d in kinds
    ]
    ends = [
        [name if s == 1 else "", label_of(s), *map(float, curve), c, d]
        for name, found in races.items()
        for s, (curve, c, d) in found.items()
    ]
    text = str(__doc__).split("\n\n", 2)[2]
    text = text.replace("{PASSES}", str(PASSES)).replace("{GRID}", str(GRID))
    header = ["stages", "damping", "measured", "2 w0 / w1", "measured / s^2"]
    lines = ["problem", "method", *[f"gap at {b}" for b in budgets], "c", "d"]
    page = "\n\n".join(
        [
            "# SRKCD",
            text,
            "![Stable steps and loss](../_static/papers/srkcd.png)",
            "## Largest stable step",
            markdown(header, stable),
            "## Loss above its minimum after equal numbers of gradients, medians",
            markdown(lines, ends),
        ]
    )
    print(page)
    if not quick:
        write_page(args.out, "srkcd", page)
        write_figure(args.out, "srkcd", draw(steps, races, budgets))


if __name__ == "__main__":
    main()
