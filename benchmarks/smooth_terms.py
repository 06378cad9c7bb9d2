"""Smooth terms: additive models beside lines, pyGAM and gradient boosting.

``python benchmarks/smooth_terms.py`` prints the table of the page of results. Sets are
cut to 2,000 rows and split as those of the other benchmarks, five splits each. pyGAM is
one strength for all terms by its own grid search, and runs where it is installed.
``SKBILEVEL_DATA`` names the folder of the data sets.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _data import MAX_ROWS, N_SPLITS, SEED, TIME_ORDERED, loader, make_splits, pick_rows
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

try:
    import pygam
except ImportError:
    pygam = None

SQUARED = (
    *("concrete", "airfoil", "abalone", "bodyfat", "boston_housing", "autompg"),
    *("california_housing", "energy_heating", "wine_quality"),
)
COUNTS, CLASSES = ("bike_hourly",), ("adult", "bank_marketing")
METHODS = ("plain", "lines", "additive", "shared", "pygam", "boosting")
ALPHAS = np.logspace(-3, 5, 41)


@dataclass(frozen=True)
class Family:
    """What is predicted: estimators of every kind, and the loss of predictions."""

    ours: Callable[..., object]
    peer: Callable[[], object]
    boosting: Callable[[], object]
    gam: str
    loss: Callable[[np.ndarray, np.ndarray], float]
    probability: bool = False


def relative_error(y: np.ndarray, predicted: np.ndarray) -> float:
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


REGRESSION = Family(
    BilevelRidgeCV,
    lambda: RidgeCV(ALPHAS),
    lambda: HistGradientBoostingRegressor(random_state=0),
    "LinearGAM",
    relative_error,
)
COUNT = Family(
    BilevelPoissonCV,
    poisson_grid,
    lambda: HistGradientBoostingRegressor(loss="poisson", random_state=0),
    "PoissonGAM",
    lambda y, mean: float(mean_poisson_deviance(y, np.maximum(mean, 1e-9))),
)
CLASS = Family(
    BilevelLogisticCV,
    logistic_grid,
    lambda: HistGradientBoostingClassifier(random_state=0),
    "LogisticGAM",
    lambda y, share: float(log_loss(y, np.clip(share, 1e-12, 1 - 1e-12))),
    probability=True,
)


def family_of(name: str) -> Family:
    """What a set is modelled as."""
    return COUNT if name in COUNTS else CLASS if name in CLASSES else REGRESSION


def load_table(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A set as a data frame, cut to size as those of the other benchmarks."""
    X, y, _ = loader().load(name)
    X = pd.DataFrame(X)
    X.columns = [str(each) for each in X.columns]
    rng = np.random.default_rng(SEED)
    rows = pick_rows(len(y), MAX_ROWS, name in TIME_ORDERED, rng)
    X = X.iloc[rows].reset_index(drop=True)
    X[texts(X)] = X[texts(X)].fillna("missing")
    return X, np.asarray(y, dtype=float)[rows]


def texts(X: pd.DataFrame) -> list[str]:
    """Names of the columns that are categories."""
    return [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]


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


class GridGAM:
    """pyGAM's default: 20 splines a column, one strength by a grid of 11."""

    def __init__(self, kind: str, columns: object, n_factors: int) -> None:
        self.kind, self.columns, self.n_factors = kind, columns, n_factors

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "GridGAM":
        """Search."""
        X = self.columns.fit_transform(X)
        terms = [
            pygam.f(j) if j < self.n_factors else pygam.s(j) for j in range(X.shape[1])
        ]
        whole = terms[0]
        for term in terms[1:]:
            whole = whole + term
        self.model = getattr(pygam, self.kind)(whole).gridsearch(X, y, progress=False)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Means, or shares of the second class."""
        X = self.columns.transform(X)
        # pyGAM has no level for categories that it has not seen.
        X[:, : self.n_factors] = np.maximum(X[:, : self.n_factors], 0.0)
        share = hasattr(self.model, "predict_proba")
        return self.model.predict_proba(X) if share else self.model.predict(X)


def contenders(family: Family, X: pd.DataFrame) -> Iterator[tuple[str, object]]:
    """Every method, by name."""
    yield "plain", lines(family.peer(), X)
    yield "lines", lines(family.ours(), X)
    yield "additive", make_additive(family.ours())
    yield "shared", make_additive(family.ours(feature_groups="shared"))
    if pygam is not None:
        yield "pygam", GridGAM(family.gam, coded(X), len(texts(X)))
    yield "boosting", make_pipeline(coded(X), family.boosting())


def measured(family: Family, model: object, train: tuple, test: tuple) -> tuple:
    """Loss on new rows, and seconds of the fit."""
    start = time.process_time()
    model.fit(*train)
    seconds = time.process_time() - start
    X, y = test
    if family.probability and hasattr(model, "predict_proba"):
        return family.loss(y, model.predict_proba(X)[:, 1]), seconds
    return family.loss(y, model.predict(X)), seconds


def run(name: str, n_splits: int) -> dict[str, tuple[float, float]]:
    """Median loss and seconds of every method on a set."""
    X, y = load_table(name)
    family = family_of(name)
    found: dict[str, list[tuple[float, float]]] = {}
    for train, test in make_splits(name, len(y), None)[1][:n_splits]:
        parts = [(X.iloc[rows], y[rows]) for rows in (train, test)]
        for method, model in contenders(family, X):
            try:
                result = measured(family, model, *parts)
            except (ValueError, np.linalg.LinAlgError) as error:
                if method != "pygam":
                    raise
                print(f"{name}: pyGAM failed ({error})"[:110], flush=True)
                result = (np.nan, np.nan)
            found.setdefault(method, []).append(result)
    return {method: tuple(np.median(rows, axis=0)) for method, rows in found.items()}


def cell(value: float) -> str:
    """Three digits."""
    return "failed" if np.isnan(value) else f"{value:.3g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=[*SQUARED, *COUNTS, *CLASSES])
    parser.add_argument("--splits", type=int, default=N_SPLITS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| set | " + " | ".join(METHODS) + " | additive / lines | / pygam |")
    print("|---" * (len(METHODS) + 3) + "|")
    ratios = []
    for name in options.sets:
        found = run(name, options.splits)
        nothing = (np.nan, np.nan)
        rows = [found.get(method, nothing) for method in METHODS]
        shown = [f"{cell(loss)}, {cell(seconds)} s" for loss, seconds in rows]
        own = found["additive"][0]
        ratio = [own / found.get(m, nothing)[0] for m in ("lines", "pygam")]
        ratios.append(ratio)
        print(
            f"| {name} | {' | '.join(shown)} | {ratio[0]:.3f} | {ratio[1]:.3f} |",
            flush=True,
        )
    mean = np.exp(np.nanmean(np.log(ratios), axis=0))
    print(f"\nGeometric means of the ratios: {mean[0]:.3f}, {mean[1]:.3f}")


if __name__ == "__main__":
    main()
