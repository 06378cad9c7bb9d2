"""What differs between the two batteries: sets, peers, how a fit is measured."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import sklearn
from _glm_data import WeightedSet, classification_battery, counts_battery
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegressionCV, PoissonRegressor
from sklearn.metrics import accuracy_score, log_loss, mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

CS = np.logspace(-4, 4, 17)
ALPHAS = np.logspace(-6, 2, 17)
L1, L2 = "LogisticRegressionCV l1", "LogisticRegressionCV l2"
PRIOR, MEAN = "prior", "mean"
GRID = "GridSearchCV"
BEST = "best grid point"

Scores = dict[str, float]


def logistic_cv(l1_ratio: float, **params: Any) -> LogisticRegressionCV:
    """Return the cross-validated peer, in the words of the installed release."""
    words: dict[str, Any] = {"penalty": "l1" if l1_ratio else "l2"}
    if "use_legacy_attributes" in signature(LogisticRegressionCV).parameters:
        words = {"l1_ratios": (l1_ratio,), "use_legacy_attributes": False}
    params = {"Cs": CS, "max_iter": 1000, **params}
    return LogisticRegressionCV(cv=5, scoring="neg_log_loss", **params, **words)


class WeightedGrid(GridSearchCV):
    """Grid search over Poisson regressions; weights count in fits and in scores."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "WeightedGrid":
        """Search with the weights routed to both."""
        with sklearn.config_context(enable_metadata_routing=True):
            return super().fit(X, y, sample_weight=sample_weight)


def poisson_grid() -> WeightedGrid:
    """Return the grid search that stands for a Poisson regression with CV."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = PoissonRegressor(max_iter=1000)
        model.set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
    return WeightedGrid(model, {"alpha": ALPHAS}, cv=5)


def timed_fit(model: Any, *args: Any, **kwargs: Any) -> Scores:
    """Fit with one thread; return CPU seconds, wall seconds, number of warnings.

    ``cpu`` is the time to compare: with one thread it is the wall time of an
    idle machine, whatever else is running.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(*args, **kwargs)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall, "cpu": cpu, "warnings": len(caught)}


def measure_classifier(model: Any, data: WeightedSet, split: int) -> Scores:
    """Return log loss and accuracy on the test rows, and the time of the fit."""
    X, y, _, X_test, y_test, _ = data.scaled(split)
    with threadpool_limits(1):
        result = timed_fit(model, X, y)
        proba = model.predict_proba(X_test)
    result["loss"] = float(log_loss(y_test, proba, labels=model.classes_))
    result["accuracy"] = float(accuracy_score(y_test, model.predict(X_test)))
    return result


def measure_counts(model: Any, data: WeightedSet, split: int) -> Scores:
    """Return the mean Poisson deviance on the test rows, and the time of the fit."""
    X, y, weights, *test = data.scaled(split)
    with threadpool_limits(1):
        result = timed_fit(model, X, y, sample_weight=weights)
    return result | {"loss": deviance(model, *test)}


def deviance(model: Any, X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted mean Poisson deviance."""
    # Deviance is defined for positive means only; a mean may underflow.
    mean = np.maximum(model.predict(X), np.finfo(float).tiny)
    return float(mean_poisson_deviance(y, mean, sample_weight=weights))


def measure_grid(model: WeightedGrid, data: WeightedSet, split: int) -> Scores:
    """Return the least test deviance on the grid: hindsight, not a method."""
    results = [
        measure_counts(PoissonRegressor(alpha=alpha, max_iter=1000), data, split)
        for alpha in model.param_grid["alpha"]
    ]
    cpu = sum(result["cpu"] for result in results)
    return min(results, key=lambda result: result["loss"]) | {"cpu": cpu}


def two_classes(data: WeightedSet) -> bool:
    """Say whether liblinear can fit the set."""
    return data.n_classes == 2


def always(data: WeightedSet) -> bool:
    """Suit every set."""
    return True


@dataclass(frozen=True)
class Peer:
    """How to build a peer, which sets it suits, and how it is measured."""

    make: Callable[[], Any]
    measure: Callable[[Any, WeightedSet, int], Scores]
    suits: Callable[[WeightedSet], bool] = always
    # About how many times dearer than the reference: the cheap ones run first.
    price: float = 1.0


@dataclass(frozen=True)
class Family:
    """A battery, its peers and its loss."""

    name: str
    estimator: str
    battery: Callable[[list[str] | None, str | None], Iterator[WeightedSet]]
    measure: Callable[[Any, WeightedSet, int], Scores]
    # Whether y holds labels.
    classes: bool
    peers: Mapping[str, Peer]
    # Whom losses are divided by.
    reference: str
    # From whom the best is picked per set, with hindsight.
    rivals: tuple[str, ...]
    # Those whose times are added up; the reference's alone is given too.
    timed: tuple[str, ...]
    # Added to both losses of a ratio: near zero a ratio means nothing.
    offset: float
    # Sets on which the reference loses at least this much are also reported
    # on their own: on the others the ratio is that of two small numbers.
    ordinary: float
    # Figures of the summary that the default has to reach.
    targets: tuple[tuple[str, str, float], ...]


FAMILIES = {
    "classification": Family(
        name="classification",
        estimator="skbilevel.BilevelLogisticCV",
        battery=classification_battery,
        measure=measure_classifier,
        classes=True,
        peers={
            PRIOR: Peer(lambda: DummyClassifier(strategy="prior"), measure_classifier),
            L2: Peer(lambda: logistic_cv(0.0), measure_classifier),
            L1: Peer(
                lambda: logistic_cv(1.0, solver="liblinear"),
                measure_classifier,
                two_classes,
                price=10.0,
            ),
        },
        reference=L2,
        rivals=(L2, L1),
        timed=(L2, L1),
        offset=0.01,
        ordinary=0.15,
        targets=(
            ("clipped mean", "<=", -0.02),
            ("share of sets > +2 %", "<=", 0.15),
            ("worst set", "<=", 0.10),
            ("accuracy, points", ">=", 0.2),
            ("to honest best", "<=", 0.0),
            ("worst set's time / all peers", "<=", 1.5),
            ("median fit / all peers", "<=", 0.5),
        ),
    ),
    "counts": Family(
        name="counts",
        estimator="skbilevel.BilevelPoissonCV",
        battery=counts_battery,
        measure=measure_counts,
        classes=False,
        peers={
            MEAN: Peer(DummyRegressor, measure_counts),
            GRID: Peer(poisson_grid, measure_counts),
            BEST: Peer(poisson_grid, measure_grid),
        },
        reference=GRID,
        rivals=(BEST,),
        timed=(GRID,),
        offset=0.0,
        ordinary=0.0,
        targets=(
            ("clipped mean", "<", 0.0),
            ("worst set", "<=", 0.02),
        ),
    ),
}
