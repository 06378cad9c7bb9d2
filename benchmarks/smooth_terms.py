"""Smooth terms: additive models beside lines, additive models of others and boosting.

``python benchmarks/smooth_terms.py`` prints the tables of the page of results. Sets are
cut to 2,000 rows (claims to 20,000) and split as those of the other benchmarks, five
splits each. Peers (``_gams.py``) run where they are installed: pyGAM, superglm,
statsmodels, interpret, and mgcv where there is R. ``--counts`` is the comparison of
counts by the number of rows. ``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _data import MAX_ROWS, N_SPLITS, SEED, TIME_ORDERED, loader, make_splits, pick_rows
from _gams import PEERS, texts
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

SQUARED = (
    *("concrete", "airfoil", "abalone", "bodyfat", "boston_housing", "autompg"),
    *("california_housing", "energy_heating", "wine_quality"),
)
COUNTS, CLASSES = ("bike_hourly", "be_mtpl97"), ("adult", "bank_marketing")
CLAIMS, CLAIM_ROWS = ("be_mtpl97",), 20_000
METHODS = ("plain", "lines", "additive", "shared", "reml", *PEERS, "boosting")
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


def run(
    name: str, n_splits: int, methods: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Median loss and seconds of every method on a set."""
    table, family = load_table(name), family_of(name)
    found: dict[str, list[tuple[float, float]]] = {}
    for train, test in make_splits(name, len(table.y), None)[1][:n_splits]:
        for method, model in contenders(family, table.X):
            if method in methods:
                result = attempted(name, method, family, model, table, train, test)
                found.setdefault(method, []).append(result)
    return {method: tuple(np.median(rows, axis=0)) for method, rows in found.items()}


def attempted(
    name: str,
    method: str,
    family: Family,
    model: object,
    table: Table,
    train: np.ndarray,
    test: np.ndarray,
) -> tuple:
    """One measurement; a peer that fails has none, and says why."""
    try:
        return measured(family, model, table.take(train), table.take(test))
    except Exception as error:  # a peer may raise anything
        if PEERS.get(method) is None:
            raise
        print(f"{name}: {method} failed ({error})"[:150], flush=True)
        return np.nan, np.nan


def counts_by_rows(n_splits: int) -> None:
    """bike_hourly: random training rows of several sizes, 4,000 others to test."""
    table = load_table("bike_hourly", 10**9)
    print("| rows | additive | reml | superglm |")
    print("|---" * 4 + "|")
    for n in (500, 2000, 11_643):
        found: dict[str, list[tuple]] = {}
        for seed in range(n_splits):
            order = np.random.default_rng(seed).permutation(len(table.y))
            train, test = order[:n], order[-4000:]
            for method, model in contenders(COUNT, table.X):
                if method in ("additive", "reml", "superglm"):
                    result = attempted(
                        "bike_hourly", method, COUNT, model, table, train, test
                    )
                    found.setdefault(method, []).append(result)
        cells = [np.median(rows, axis=0) for rows in found.values()]
        shown = " | ".join(f"{cell(loss)}, {cell(sec)} s" for loss, sec in cells)
        print(f"| {n} | {shown} |", flush=True)


def cell(value: float) -> str:
    """Three digits."""
    return "failed" if np.isnan(value) else f"{value:.3g}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=[*SQUARED, *COUNTS, *CLASSES])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    parser.add_argument("--counts", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.counts:
        counts_by_rows(options.splits)
        return
    methods = tuple(m for m in METHODS if m in options.methods)
    print("| set | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    ratios: dict[str, list[float]] = {m: [] for m in methods}
    for name in options.sets:
        found = run(name, options.splits, methods)
        rows = [found.get(method, (np.nan, np.nan)) for method in methods]
        shown = [f"{cell(loss)}, {cell(seconds)} s" for loss, seconds in rows]
        for method, (loss, _) in zip(methods, rows, strict=True):
            ratios[method].append(found["additive"][0] / loss)
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
    print("\nError of additive over that of each, by set and as a geometric mean:")
    for method, values in ratios.items():
        each = ", ".join(f"{value:.3f}" for value in values)
        print(f"{method}: {np.exp(np.nanmean(np.log(values))):.3f} ({each})")


if __name__ == "__main__":
    main()
