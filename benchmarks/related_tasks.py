"""Related tasks: ``MetaRidge`` and ``MetaLogistic`` beside models of all and of each.

``python benchmarks/related_tasks.py`` prints the tables of the page of results, and
``--cases times`` the CPU times of fits to all rows and of `adapt`, and
``--cases reach`` how far known tasks could go. 30 % of
the tasks are new: models do not see them, adapt to m of their rows and are judged on
the others. Of the known tasks 30 % of the rows are held out. Targets and columns are
standardized on the training rows; figures are mean squared errors, averaged over
splits. No set confirms the rules: all of them were looked at while rules of the search
and of the guard were chosen. ``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from _data import loader
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from skbilevel import MetaLogistic, MetaRidge

SETS = (
    "ames_housing",
    "chem97_alevel",
    "exam_schools",
    "hsb82_maths",
    "parkinsons_telemonitoring",
    "school_ilea",
)
CLASSES = "contraception_districts"
AMES = [
    *("Lot_Frontage", "Lot_Area", "Year_Built", "Year_Remod_Add", "Total_Bsmt_SF"),
    *("First_Flr_SF", "Second_Flr_SF", "Gr_Liv_Area", "Full_Bath", "Half_Bath"),
    *("Bedroom_AbvGr", "TotRms_AbvGrd", "Fireplaces", "Garage_Cars", "Garage_Area"),
]
SIZES = (0, 1, 2, 5, 10, 20)
FAMILIES = ("pooled", "intercept", "two", "feature")
ALPHAS = np.logspace(-3, 5, 41)
NEW = HELD_OUT = 0.3


@dataclass(frozen=True)
class Rows:
    """Some rows of a set."""

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray

    def take(self, index: np.ndarray) -> "Rows":
        """Those of an index or a mask."""
        return Rows(self.X[index], self.y[index], self.task[index])


def load_tasks(name: str) -> Rows:
    """One of the sets, with places of tasks."""
    X, y, info = loader().load(name)
    if name == "ames_housing":
        task = X["Neighborhood"].to_numpy()
        X, y = X[AMES].to_numpy(dtype=float), np.log(y)
    else:
        task = info["subject" if name == "parkinsons_telemonitoring" else "tasks"]
    X = np.asarray(X, dtype=float)
    return Rows(X, y, np.unique(task, return_inverse=True)[1])


def ranks(task: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place of every row in a random order of its task."""
    order = np.lexsort((rng.random(len(task)), task))
    _, first, count = np.unique(task[order], return_index=True, return_counts=True)
    out = np.empty(len(task), dtype=int)
    out[order] = np.arange(len(task)) - np.repeat(first, count)
    return out


def split(rows: Rows, seed: int) -> tuple[Rows, Rows, Rows, np.ndarray]:
    """Training rows, held-out rows of known tasks, rows of new tasks, their ranks."""
    rng = np.random.default_rng(seed)
    n_tasks = rows.task.max() + 1
    new = rng.permutation(n_tasks) < round(NEW * n_tasks)
    is_new = new[rows.task]
    held_out = ~is_new & (rng.random(len(rows.y)) < HELD_OUT)
    train = ~is_new & ~held_out
    # Every known task has a row to learn from.
    scaler = StandardScaler().fit(rows.X[train])
    mean, std = rows.y[train].mean(), rows.y[train].std()
    rows = Rows(scaler.transform(rows.X), (rows.y - mean) / std, rows.task)
    known = held_out & np.isin(rows.task, rows.task[train])
    fresh = rows.take(is_new)
    return rows.take(train), rows.take(known), fresh, ranks(fresh.task, rng)


def squared(y: np.ndarray, predicted: np.ndarray) -> float:
    """Mean squared error."""
    return float(np.mean((y - predicted) ** 2))


def by_task(train: Rows, test: Rows) -> np.ndarray:
    """One RidgeCV per task; tasks of fewer than three rows have their mean."""
    out = np.empty(len(test.y))
    for task in np.unique(test.task):
        own, to = train.task == task, test.task == task
        if own.sum() < 3:
            out[to] = train.y[own].mean() if own.any() else 0.0
            continue
        out[to] = RidgeCV(ALPHAS).fit(train.X[own], train.y[own]).predict(test.X[to])
    return out


def one_hot(rows: Rows, n_tasks: int) -> np.ndarray:
    """Columns, and one per task."""
    return np.hstack([rows.X, np.eye(n_tasks)[rows.task]])


def peers(train: Rows, known: Rows, fresh: Rows, rank: np.ndarray) -> dict:
    """Errors by method and place."""
    found: dict[tuple[str, str], float] = {}
    start = time.perf_counter()
    pooled = RidgeCV(ALPHAS).fit(train.X, train.y)
    found["RidgeCV", "seconds"] = time.perf_counter() - start
    found["RidgeCV", "known"] = squared(known.y, pooled.predict(known.X))
    n_tasks = int(max(train.task.max(), fresh.task.max())) + 1
    if n_tasks < 500:
        model = RidgeCV(ALPHAS).fit(one_hot(train, n_tasks), train.y)
        found["one-hot", "known"] = squared(
            known.y, model.predict(one_hot(known, n_tasks))
        )
    found["own", "known"] = squared(known.y, by_task(train, known))
    for m in SIZES:
        few, rest = fresh.take(rank < m), fresh.take(rank >= m)
        if len(rest.y):
            found["RidgeCV", f"{m}"] = squared(rest.y, pooled.predict(rest.X))
            if m >= 5:
                found["own", f"{m}"] = squared(rest.y, by_task(few, rest))
    return found


def ours(
    make: Callable[..., MetaRidge],
    name: str,
    train: Rows,
    known: Rows,
    fresh: Rows,
    rank: np.ndarray,
) -> dict:
    """The same of one of our models."""
    start = time.perf_counter()
    model = make().fit(train.X, train.y, tasks=train.task)
    found = {(name, "seconds"): time.perf_counter() - start}
    found[name, "known"] = squared(known.y, model.predict(known.X, tasks=known.task))
    for m in SIZES:
        few, rest = fresh.take(rank < m), fresh.take(rank >= m)
        if len(rest.y):
            own = model.adapt(few.X, few.y, tasks=few.task) if m else model
            found[name, f"{m}"] = squared(rest.y, own.predict(rest.X, tasks=rest.task))
    return found


def main() -> None:
    """Print a table per set, and the figures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=["errors"], choices=CASES)
    options = parser.parse_args()
    for case in options.cases:
        CASES[case](options)


def errors(options: argparse.Namespace) -> None:
    """Errors of every set, ratios, and log losses of the one with classes."""
    every = {name: table(name, options.splits) for name in options.sets}
    summarize(every)
    classes(options.splits)


def times(options: argparse.Namespace) -> None:
    """CPU time of fits to all rows of a set, and of `adapt` to a new task."""
    print("\n| what | CPU time |\n|---|---|")
    for name in options.sets:
        rows = load_tasks(name)
        X = StandardScaler().fit_transform(rows.X)
        y = (rows.y - rows.y.mean()) / rows.y.std()
        spent = seconds(lambda X=X, y=y, t=rows.task: MetaRidge().fit(X, y, tasks=t), 3)
        print(f"| {name}, all rows: fit | {spent:.2f} s |")
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((1800, 30)), np.repeat(np.arange(60), 30)
    effect = 1.0 + 0.5 * rng.standard_normal((60, 30))
    y = (X * effect[task]).sum(axis=1) + rng.standard_normal(1800)
    names = [f"x{j}" for j in range(30)]
    for kind, make in {"array": np.asarray, "data frame": pd.DataFrame}.items():
        columns = {"columns": names} if make is pd.DataFrame else {}
        table, new = make(X, **columns), np.full(5, 99)
        model = MetaRidge(strengths="feature").fit(table, y, tasks=task)
        few, of = table[:5], y[:5]
        spent = seconds(lambda m=model, X=few, y=of, t=new: m.adapt(X, y, tasks=t), 301)
        print(f"| adapt to five rows of 30 columns, {kind} | {1e3 * spent:.2f} ms |")


def seconds(call: Callable[[], object], n: int) -> float:
    """Median CPU time of so many calls, after one that is not counted."""
    spent = []
    for _ in range(n + 1):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return float(np.median(spent[1:]))


def reach(options: argparse.Namespace) -> None:
    """Errors of known tasks that any strengths could have, and of a mixed model.

    "hindsight" is the best of all families and criteria in each split. "any strengths"
    are those of "feature" that are best for the judged rows themselves: no criterion
    can be better, whatever it is.
    """
    columns = ("default", "hindsight", "any strengths", "one-hot", "own", "MixedLM")
    print("\n| set | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in options.sets:
        rows = load_tasks(name)
        found = [reached(*split(rows, seed)[:2]) for seed in range(options.splits)]
        cells = [f"{value:.4f}" for value in np.mean(found, axis=0)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def reached(train: Rows, known: Rows) -> list[float]:
    """Of one split: what `reach` says."""
    fitted = {
        (strengths, criterion): MetaRidge(strengths=strengths, criterion=criterion)
        for strengths in ("auto", *FAMILIES)
        for criterion in ("evidence", "new-tasks", "known-tasks")
    }
    found = {}
    for key, model in fitted.items():
        model.fit(train.X, train.y, tasks=train.task)
        found[key] = squared(known.y, model.predict(known.X, tasks=known.task))
    n_tasks, wide_error = int(train.task.max()) + 1, np.nan
    if n_tasks < 500:
        wide = RidgeCV(ALPHAS).fit(one_hot(train, n_tasks), train.y)
        wide_error = squared(known.y, wide.predict(one_hot(known, n_tasks)))
    return [
        found["auto", "evidence"],
        min(found.values()),
        with_any_strengths(train, known),
        wide_error,
        squared(known.y, by_task(train, known)),
        mixed_error(train, known),
    ]


def with_any_strengths(train: Rows, known: Rows) -> float:
    """Error at the strengths that minimize this very error."""
    n = len(train.y)
    judged = [(np.arange(n), n + np.arange(len(known.y)))]
    X, y = np.concatenate([train.X, known.X]), np.concatenate([train.y, known.y])
    model = MetaRidge(
        strengths="feature", criterion="known-tasks", cv=judged, max_iter=1000
    ).fit(X, y, tasks=np.concatenate([train.task, known.task]))
    # Minus half the mean square, of the target of all rows in units of its deviation.
    return float(-2.0 * model.best_score_ * y.var())


def mixed_error(train: Rows, known: Rows) -> float:
    """Error of statsmodels with random intercepts, where it is installed."""
    from mixed_models import independent, mixed

    own = independent(train.X)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted, _ = mixed(False)(
                Rows(train.X[:, own], train.y, train.task),
                Rows(known.X[:, own], known.y, known.task),
            )
    except ImportError:
        return float("nan")
    return squared(known.y, predicted)


CASES = {"errors": errors, "times": times, "reach": reach}


def table(name: str, n_splits: int) -> dict[tuple[str, str], float]:
    """Errors averaged over splits, printed."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    rows = load_tasks(name)
    for seed in range(n_splits):
        parts = split(rows, seed)
        found = peers(*parts)
        found |= ours(MetaRidge, "MetaRidge()", *parts)
        for family in FAMILIES:
            found |= ours(
                lambda family=family: MetaRidge(strengths=family), family, *parts
            )
        for key, value in found.items():
            sums[key].append(value)
    means = {key: float(np.mean(values)) for key, values in sums.items()}
    columns = ["known", *map(str, SIZES), "seconds"]
    print(f"\n{name}: {rows.X.shape}, {rows.task.max() + 1} tasks")
    print("| method | " + " | ".join(columns) + " |\n|---" * 1 + "|" + "---|" * 8)
    for method in dict.fromkeys(method for method, _ in means):
        cells = [f"{means.get((method, c), np.nan):.4f}" for c in columns]
        print(f"| {method} | " + " | ".join(cells).replace("nan", "") + " |")
    return means


def summarize(every: dict[str, dict[tuple[str, str], float]]) -> None:
    """Ratios that the targets are about."""
    print("\n| set | place | to RidgeCV | to best peer | to best of our four |")
    print("|---|---|---|---|---|")
    to_peer = []
    for name, means in every.items():
        for place in ("known", *map(str, SIZES)):
            own = means.get(("MetaRidge()", place))
            if own is None:
                continue
            others = [
                means[method, place]
                for method in ("RidgeCV", "one-hot", "own")
                if (method, place) in means
            ]
            best = min(means[family, place] for family in FAMILIES)
            ratios = [np.log(own / x) for x in (others[0], min(others), best)]
            if place != "0":
                to_peer.append(ratios[1])
            cells = " | ".join(f"{ratio:+.3f}" for ratio in ratios)
            print(f"| {name} | {place} | {cells} |")
    print(f"\nmean log ratio to the best peer, m = 0 left out: {np.mean(to_peer):+.3f}")


def classes(n_splits: int) -> None:
    """Print log losses on the set with two classes."""
    rows = load_tasks(CLASSES)
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(n_splits):
        train, known, fresh, rank = split(rows, seed)
        n_tasks = int(rows.task.max()) + 1
        peers = {"LogisticRegressionCV": plain, "one-hot": one_hot}
        for name, shaped in peers.items():
            shape = partial(shaped, n_tasks=n_tasks)
            model = LogisticRegressionCV(Cs=20).fit(shape(train), train.y > 0.0)
            for place, (_, rest) in places(known, fresh, rank).items():
                sums[name, place].append(
                    log_loss(rest.y > 0.0, model.predict_proba(shape(rest)))
                )
        for family in ("auto", *FAMILIES):
            model = MetaLogistic(strengths=family)
            model.fit(train.X, train.y > 0.0, tasks=train.task)
            name = "MetaLogistic()" if family == "auto" else family
            for place, (few, rest) in places(known, fresh, rank).items():
                own = model
                if len(few.y):
                    own = model.adapt(few.X, few.y > 0.0, tasks=few.task)
                proba = own.predict_proba(rest.X, tasks=rest.task)
                sums[name, place].append(log_loss(rest.y > 0.0, proba))
    print(f"\n{CLASSES}: {rows.X.shape}, {rows.task.max() + 1} tasks, log loss")
    columns = ["known", *map(str, SIZES)]
    print("| method | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for method in dict.fromkeys(method for method, _ in sums):
        cells = [f"{np.mean(sums[method, c]):.4f}" for c in columns]
        print(f"| {method} | " + " | ".join(cells) + " |")


def plain(rows: Rows, n_tasks: int) -> np.ndarray:
    """Columns alone."""
    return rows.X


def places(known: Rows, fresh: Rows, rank: np.ndarray) -> dict[str, tuple[Rows, Rows]]:
    """Rows to adapt to and to judge by, of known tasks and of new ones."""
    out = {"known": (known.take(np.zeros(len(known.y), bool)), known)}
    for m in SIZES:
        out[f"{m}"] = fresh.take(rank < m), fresh.take(rank >= m)
    return out


if __name__ == "__main__":
    main()
