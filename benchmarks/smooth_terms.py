"""Smooth terms: additive models beside lines, additive models of others and boosting.

``python benchmarks/smooth_terms.py`` prints the tables of the page of results. Sets are
cut to 2,000 rows (claims to 20,000) and split as those of the other benchmarks, five
splits each. Peers (``_gams.py``) run where they are installed: pyGAM, superglm,
statsmodels, interpret, and mgcv where there is R. A method that needs more than
``--cap`` seconds for a fit is not asked again on that set. ``--counts`` is the
comparison of counts by the number of rows. ``--methods additive knots20`` compares
numbers of knots. ``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _data import MAX_ROWS, N_SPLITS, SEED, TIME_ORDERED, loader, make_splits, pick_rows
from _gams import PEERS, texts
from _halves import add_half_option, names_of_half
from _report import add_output_options, write_json
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, PoissonRegressor, RidgeCV
from sklearn.metrics import log_loss, mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    make_additive,
)
from skbilevel.preprocessing import PenalizedSplines

SQUARED = (
    *("concrete", "airfoil", "abalone", "bodyfat", "boston_housing", "autompg"),
    *("california_housing", "energy_heating", "wine_quality"),
)
COUNTS, CLASSES = ("bike_hourly", "be_mtpl97"), ("adult", "bank_marketing")
CLAIMS, CLAIM_ROWS = ("be_mtpl97",), 20_000
METHODS = ("plain", "lines", "additive", "shared", "reml", *PEERS, "boosting")
KNOTS = (6, 8, 12, 16, 20, 30, 40)
ALPHAS = np.logspace(-3, 5, 41)


@dataclass(frozen=True)
class Family:
    """What is predicted: estimators of every kind, and the loss of predictions."""

    name: str
    ours: Callable[..., object]
    peer: Callable[[], object]
    boosting: Callable[[], object]
    loss: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]


def relative_error(y: np.ndarray, predicted: np.ndarray, _: object) -> float:
    """Mean squared error in units of the variance."""
    return float(np.mean((y - predicted) ** 2) / np.var(y))


def poisson_grid() -> GridSearchCV:
    """scikit-learn's Poisson regression over 13 strengths."""
    grid = {"alpha": np.logspace(-5, 1, 13)}
    return GridSearchCV(PoissonRegressor(max_iter=1000), grid)


def logistic_grid() -> LogisticRegressionCV:
    """scikit-learn's logistic regression over ten strengths."""
    return LogisticRegressionCV(
        scoring="neg_log_loss", max_iter=2000, use_legacy_attributes=False
    )


def deviance(y: np.ndarray, mean: np.ndarray, exposure: np.ndarray | None) -> float:
    """Poisson deviance, for each unit of exposure."""
    mean = np.maximum(mean, 1e-9)
    if exposure is None:
        return float(mean_poisson_deviance(y, mean))
    rates = (y / exposure, mean / exposure)
    return float(mean_poisson_deviance(*rates, sample_weight=exposure))


def share_loss(y: np.ndarray, share: np.ndarray, _: object) -> float:
    """Log loss."""
    return float(log_loss(y, np.clip(share, 1e-12, 1 - 1e-12)))


REGRESSION = Family(
    "normal",
    BilevelRidgeCV,
    lambda: RidgeCV(ALPHAS),
    lambda: HistGradientBoostingRegressor(random_state=0),
    relative_error,
)
COUNT = Family(
    "counts",
    BilevelPoissonCV,
    poisson_grid,
    lambda: HistGradientBoostingRegressor(loss="poisson", random_state=0),
    deviance,
)
CLASS = Family(
    "classes",
    BilevelLogisticCV,
    logistic_grid,
    lambda: HistGradientBoostingClassifier(random_state=0),
    share_loss,
)


def family_of(name: str) -> Family:
    """What a set is modelled as."""
    return COUNT if name in COUNTS else CLASS if name in CLASSES else REGRESSION


@dataclass(frozen=True)
class Table:
    """A set as a data frame, targets, and the exposure of claims."""

    X: pd.DataFrame
    y: np.ndarray
    exposure: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Table":
        """Some of the rows."""
        exposure = None if self.exposure is None else self.exposure[rows]
        return Table(self.X.iloc[rows].reset_index(drop=True), self.y[rows], exposure)


def load_table(name: str, max_rows: int | None = None) -> Table:
    """A set, cut to size as those of the other benchmarks."""
    X, y, more = loader().load(name)
    X = pd.DataFrame(X)
    X.columns = [str(each) for each in X.columns]
    # Places in a country of a thousand codes are their longitude and latitude.
    X = X.drop(columns="postcode", errors="ignore")
    default = CLAIM_ROWS if name in CLAIMS else MAX_ROWS
    rng = np.random.default_rng(SEED)
    n = max_rows or default
    rows = pick_rows(len(y), n, name in TIME_ORDERED, rng)
    X[texts(X)] = X[texts(X)].fillna("missing")
    exposure = np.asarray(more["expo"], dtype=float) if name in CLAIMS else None
    return Table(X, np.asarray(y, dtype=float), exposure).take(rows)


def lines(model: object, X: pd.DataFrame) -> object:
    """A model of scaled columns and one-hot codes."""
    names = texts(X)
    codes = (OneHotEncoder(handle_unknown="ignore"), names)
    return make_pipeline(
        make_column_transformer(codes, remainder=StandardScaler()), model
    )


def coded(X: pd.DataFrame) -> object:
    """Categories as whole numbers in front, -1 for those that are not known."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((codes, texts(X)), remainder="passthrough")


class Ours:
    """A pipeline whose exposure is an offset, or weights of rates."""

    seconds: float | None = None

    def __init__(self, model: object, as_offset: bool) -> None:
        self.model, self.as_offset = model, as_offset

    def fit(self, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None) -> None:
        """Fit the pipeline."""
        if exposure is None:
            self.model.fit(X, y)
            return
        last = self.model.steps[-1][0]
        if self.as_offset:
            self.model.fit(X, y, **{f"{last}__offset": np.log(exposure)})
        else:
            self.model.fit(X, y / exposure, **{f"{last}__sample_weight": exposure})

    def predict(self, X: pd.DataFrame, exposure: np.ndarray | None) -> np.ndarray:
        """Means."""
        if hasattr(self.model, "predict_proba"):
            return self.model.predict_proba(X)[:, 1]
        mean = self.model.predict(X)
        return mean if exposure is None else mean * exposure


def contenders(family: Family, X: pd.DataFrame) -> Iterator[tuple[str, object]]:
    """Every method, by name."""
    yield "plain", Ours(lines(family.peer(), X), as_offset=False)
    yield "lines", Ours(lines(family.ours(), X), as_offset=True)
    yield "additive", Ours(make_additive(family.ours()), as_offset=True)
    shared = family.ours(feature_groups="shared")
    yield "shared", Ours(make_additive(shared), as_offset=True)
    reml = family.ours(hyperpenalty=None, cv="reml")
    yield "reml", Ours(make_additive(reml), as_offset=True)
    for k in KNOTS:
        curves = make_additive(family.ours(), smooth=PenalizedSplines(k))
        yield f"knots{k}", Ours(curves, as_offset=True)
    for name, peer in PEERS.items():
        if peer is not None:
            yield name, peer(family.name)
    boosting = make_pipeline(coded(X), family.boosting())
    yield "boosting", Ours(boosting, as_offset=False)


def measured(family: Family, model: object, train: Table, test: Table) -> tuple:
    """Loss on new rows, and seconds of the fit."""
    start = time.process_time()
    model.fit(train.X, train.y, train.exposure)
    seconds = time.process_time() - start
    mean = np.asarray(model.predict(test.X, test.exposure)).ravel()
    seconds = seconds if model.seconds is None else model.seconds
    return family.loss(test.y, mean, test.exposure), seconds


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise where what is inside takes longer; programs that it started are ended."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def run(
    name: str, options: argparse.Namespace, methods: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Median loss and seconds of every method on a set."""
    table, family = load_table(name, options.rows), family_of(name)
    found: dict[str, list[tuple[float, float]]] = {}
    for train, test in make_splits(name, len(table.y), None)[1][: options.splits]:
        parts = table.take(train), table.take(test)
        for method, model in contenders(family, table.X):
            rows = found.setdefault(method, []) if method in methods else None
            if rows is not None and not np.isnan(rows).any():
                rows.append(attempted(name, method, family, model, parts, options.cap))
    return {method: tuple(np.median(rows, axis=0)) for method, rows in found.items()}


def attempted(
    name: str,
    method: str,
    family: Family,
    model: object,
    parts: tuple[Table, Table],
    cap: float,
) -> tuple[float, float]:
    """One measurement; a peer that fails, or is late, has none, and says why."""
    try:
        with at_most(cap):
            return measured(family, model, *parts)
    except Exception as error:  # a peer may raise anything
        if PEERS.get(method) is None and not isinstance(error, TimeoutError):
            raise
        print(f"{name}: {method} failed ({error})"[:150], flush=True)
        return np.nan, np.nan


def counts_by_rows(options: argparse.Namespace) -> None:
    """bike_hourly: random training rows of several sizes, 4,000 others to test."""
    table = load_table("bike_hourly", 10**9)
    methods, kept = ("additive", "reml", "superglm"), {}
    print(f"| rows | {' | '.join(methods)} |\n{'|---' * 4}|")
    for n in (500, 2000, 11_643):
        found: dict[str, list[tuple]] = {method: [] for method in methods}
        for seed in range(options.splits):
            order = np.random.default_rng(seed).permutation(len(table.y))
            parts = table.take(order[:n]), table.take(order[-4000:])
            for method, model in contenders(COUNT, table.X):
                if method in methods:
                    given = ("bike_hourly", method, COUNT, model, parts, options.cap)
                    found[method].append(attempted(*given))
        kept[str(n)] = {m: np.median(rows, axis=0) for m, rows in found.items() if rows}
        print(f"| {n} | {shown(kept[str(n)], methods)} |", flush=True)
        write_json(options.json, kept)


def shown(found: dict[str, tuple], methods: tuple[str, ...]) -> str:
    """Losses and seconds as cells of a table."""
    rows = [found.get(method, (np.nan, np.nan)) for method in methods]
    return " | ".join(f"{cell(loss)}, {cell(sec)} s" for loss, sec in rows)


def cell(value: float) -> str:
    """Three digits."""
    return "failed" if np.isnan(value) else f"{value:.3g}"


def by_sets(options: argparse.Namespace) -> None:
    """All methods on all sets."""
    methods, base = tuple(options.methods), options.methods[0]
    base = "additive" if "additive" in methods else base
    print("| set | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    kept = {}
    for name in names_of_half(options.sets, options.half):
        kept[name] = run(name, options, methods)
        print(f"| {name} | {shown(kept[name], methods)} |", flush=True)
        write_json(options.json, kept)
    for k, what in enumerate(("Error", "Seconds")):
        print(f"\n{what} of {base} over those of each, and their geometric mean:")
        for method in methods:
            found = [each for each in kept.values() if method in each]
            ratios = np.array([each[base][k] / each[method][k] for each in found])
            each = ", ".join(f"{value:.3f}" for value in ratios)
            mean = np.exp(np.nanmean(np.log(ratios))) if len(found) else np.nan
            print(f"{method}: {mean:.3f} ({each})")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=[*SQUARED, *COUNTS, *CLASSES])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--rows", type=int, help="of a set, instead of 2,000")
    parser.add_argument("--cap", type=float, default=600.0, help="seconds of a fit")
    parser.add_argument("--counts", action="store_true")
    add_half_option(parser)
    add_output_options(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.counts:
        counts_by_rows(options)
    else:
        by_sets(options)


if __name__ == "__main__":
    main()
