"""How long does a fit take, beside the established peers?

All contenders of a case run in one process, with one BLAS thread, in
interleaved rounds; the table gives the median CPU seconds and the ratio to the
case's yardstick. What is not installed is left out.

    python benchmarks/speed.py
    python benchmarks/speed.py --cases groups-small,tall --rounds 9
    python benchmarks/speed.py --cases excess --seeds 40 --slow-seeds 5

Cases: groups-large (5000 x 500, 50 groups), groups-small (300 x 60, 6 groups),
default (5000 x 50), tall (100,000 x 200 beside one X.T @ X), wide (riboflavin
71 x 4088; needs SKBILEVEL_DATA), shape-N-P (normal columns with log-normal
coefficients: 500 x 50, 1200 x 230, 300 x 600, 70 x 4000, 1000 x 1000), groups-wide
(176 x 140, 26 groups), sparse (2,000 x 50,000), sparse-square (2,000 x 3,000),
classes (200 of them, 2,000 x 50), excess (six groups, error beyond the noise).
Of logistic regression: logistic-shared (breast cancer, one strength), logistic-
groups (600 x 60, six groups, also log loss), microarrays (13 sets with p >> n;
needs SKBILEVEL_DATA).
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from _contenders import (
    Fit,
    ard,
    elastic_net_cv,
    glum_cv,
    grid_search,
    himalaya,
    lasso_cv,
    logistic,
    optuna,
    ours,
    product,
    ridge_cv,
)
from _data import load_set
from _groups_case import run_groups
from _logistic_cases import (
    ONE,
    breast_cancer,
    run_logistic_groups,
    run_microarrays,
    shared_strength,
)
from _report import add_output_options, new_figure, save_figure, table, write_json
from _timing import medians, race
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

Data = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One shape, who runs on it, and whom the times are divided by."""

    title: str
    make: Callable[[], Data]
    yardstick: str
    contenders: dict[str, Callable[[], Fit]]


def grouped(n: int, p: int, n_groups: int) -> tuple[Callable[[], Data], np.ndarray]:
    """Return how to draw data with groups of different strength, and the labels."""
    groups = np.repeat(np.arange(n_groups), p // n_groups)

    def make() -> Data:
        rng = np.random.default_rng(0)
        spread = np.exp(rng.uniform(-4, 1, n_groups))[groups]
        X = rng.standard_normal((n, p))
        w = spread * rng.standard_normal(p)
        return X, X @ w + 2 * rng.standard_normal(n)

    return make, groups


def dense(n: int, p: int) -> Callable[[], Data]:
    """Return how to draw normal columns with log-normal coefficients."""

    def make() -> Data:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, p))
        f = X @ (rng.lognormal(0, 1.5, p) * rng.choice([-1, 1], p))
        return X, f + f.std() * rng.standard_normal(n)

    return make


def sparse_rows(p: int) -> Callable[[], Data]:
    """Return a maker of 2,000 sparse rows of a hundred entries; 200 columns count."""

    def make() -> Data:
        rng = np.random.default_rng(0)
        X = sp.random(2000, p, density=100 / p, random_state=0, format="csr")
        f = X[:, :200] @ rng.lognormal(size=200)
        return X, f + f.std() * rng.standard_normal(2000)

    return make


def many_classes() -> Data:
    """Return rows of 200 classes; those with one row only are left out."""
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((2000, 50)), rng.standard_normal((50, 200))
    y = (X @ W + 3 * rng.gumbel(size=(2000, 200))).argmax(axis=1)
    kept = np.bincount(y)[y] > 1
    return X[kept], y[kept]


SHAPES = ((500, 50), (1200, 230), (300, 600), (70, 4000), (1000, 1000))


def shapes() -> dict[str, Case]:
    """Return the cases by shape, and those that only we run."""
    fits = {"RidgeCV": ridge_cv, "ElasticNetCV": elastic_net_cv, "default": ours}
    wide = np.arange(140) * 26 // 140
    groups = {"RidgeCV": ridge_cv, "groups": lambda: ours(feature_groups=wide)}
    return {
        **{
            f"shape-{n}-{p}": Case(f"{n} x {p}", dense(n, p), "ElasticNetCV", fits)
            for n, p in SHAPES
        },
        "groups-wide": Case("176 x 140, 26 groups", dense(176, 140), "RidgeCV", groups),
        **{
            name: Case(
                f"2,000 x {p:,}, sparse", sparse_rows(p), "default", {"default": ours}
            )
            for name, p in (("sparse", 50_000), ("sparse-square", 3000))
        },
        "classes": Case(
            "200 classes, 2,000 x 50", many_classes, "default", {"default": logistic}
        ),
    }


def riboflavin() -> Data:
    """Return all 71 rows of a gene expression set, scaled."""
    data = load_set("riboflavin")
    return scale(data.X), data.y


def peers() -> dict[str, Callable[[], Fit]]:
    """Return the peers that run on every shape."""
    return {
        "RidgeCV": ridge_cv,
        "GridSearchCV(Ridge)": grid_search,
        "LassoCV": lasso_cv,
        "ElasticNetCV": elastic_net_cv,
        "ARDRegression": ard,
    }


def cases() -> dict[str, Case]:
    """Return the cases by name."""
    large, large_groups = grouped(5000, 500, 50)
    small, small_groups = grouped(300, 60, 6)
    in_large = {"feature_groups": large_groups, "hyperpenalty": None}
    in_small = {"feature_groups": small_groups, "hyperpenalty": None}
    large_fits = {
        **peers(),
        "groups, cv=5": lambda: ours(**in_large, cv=5),
        "groups, cv='loo'": lambda: ours(**in_large, cv="loo"),
        "groups, guarded": lambda: ours(feature_groups=large_groups),
    }
    small_fits = {
        **peers(),
        "glum CV": glum_cv,
        "optuna TPE, 100": lambda: optuna(small_groups, 100),
        "himalaya random search, 100": lambda: himalaya(small_groups, 100),
        "groups, cv=5": lambda: ours(**in_small, cv=5),
        "groups, cv='loo'": lambda: ours(**in_small, cv="loo"),
        "groups, guarded": lambda: ours(feature_groups=small_groups),
        "default": ours,
    }
    no_ard = {name: fit for name, fit in peers().items() if name != "ARDRegression"}
    tall = {"X.T @ X": product, "RidgeCV": ridge_cv, "default": ours}
    return {
        "groups-large": Case("5000 x 500, 50 groups", large, "RidgeCV", large_fits),
        "groups-small": Case("300 x 60, 6 groups", small, "RidgeCV", small_fits),
        "default": Case(
            "5000 x 50", grouped(5000, 50, 5)[0], "RidgeCV", peers() | {"default": ours}
        ),
        "tall": Case("100,000 x 200", grouped(100_000, 200, 5)[0], "X.T @ X", tall),
        "wide": Case(
            "riboflavin, 71 x 4088",
            riboflavin,
            "ElasticNetCV",
            no_ard | {"default": ours},
        ),
        "logistic-shared": Case(
            "breast cancer, 569 x 30", breast_cancer, ONE, shared_strength()
        ),
    }


def studies(args: argparse.Namespace) -> dict[str, tuple[str, Callable]]:
    """Return the cases with a table of their own: title and how to fill it."""
    return {
        "excess": (
            "six groups, 300 x 60: error beyond the noise",
            lambda: run_groups(args.seeds, args.slow_seeds),
        ),
        "logistic-groups": (
            "six groups, 600 x 60, two classes; CV is LogisticRegressionCV, 30 Cs",
            lambda: run_logistic_groups(args.seeds),
        ),
        "microarrays": (
            "p >> n, all columns",
            lambda: run_microarrays(args.rounds, args.budget),
        ),
    }


# These read data that are not part of the repository.
NEED_DATA = ("wide", "microarrays")


def run_case(case: Case, rounds: int, budget: float) -> list[list]:
    """Return one row per contender."""
    fits = {}
    for name, build in case.contenders.items():
        try:
            fits[name] = build()
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
    times = race(fits, case.make(), rounds, budget)
    middle = medians(times)
    unit = middle[case.yardstick]
    return [
        [name, seconds, seconds / unit, min(times[name]), len(times[name])]
        for name, seconds in middle.items()
    ]


def draw(path, results: dict[str, list[list]]) -> None:
    """Draw the ratio to the yardstick, one panel per case."""
    figure, axes = new_figure(len(results))
    for axis, (title, rows) in zip(np.ravel(axes), results.items(), strict=True):
        ratios = [row[2] for row in rows]
        theirs = [
            not row[0].startswith(("groups", "default", "shared")) for row in rows
        ]
        axis.barh(range(len(rows)), ratios, color=np.where(theirs, "C7", "C0"))
        axis.set_yticks(range(len(rows)), [row[0] for row in rows])
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set(xscale="log", xlabel="time / yardstick", title=title)
    save_figure(figure, path)


def parse_args() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="names, separated by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per fit")
    parser.add_argument(
        "--seeds", type=int, default=20, help="of excess and logistic-groups"
    )
    parser.add_argument(
        "--slow-seeds", type=int, default=3, help="of himalaya and optuna there"
    )
    add_output_options(parser)
    return parser.parse_args()


def main() -> None:
    """Run the cases."""
    args = parse_args()
    known, tables = cases() | shapes(), studies(args)
    wanted = args.cases.split(",") if args.cases else [*known, *tables]
    if not args.cases and "SKBILEVEL_DATA" not in os.environ:
        print(f"{', '.join(NEED_DATA)} left out: no SKBILEVEL_DATA", file=sys.stderr)
        wanted = [name for name in wanted if name not in NEED_DATA]
    results, content = {}, {}
    with threadpool_limits(1):
        for name in wanted:
            if name in tables:
                title, fill = tables[name]
                header, rows = fill()
            else:
                case = known[name]
                rows = run_case(case, args.rounds, args.budget)
                header = ("method", "cpu s", f"/ {case.yardstick}", "least", "runs")
                title = case.title
                results[title] = rows
            content[name] = [dict(zip(header, row, strict=True)) for row in rows]
            print(f"\n{title}\n{table(header, rows)}", flush=True)
    write_json(args.json, content)
    if args.plot and results:
        draw(args.plot, results)


if __name__ == "__main__":
    main()
