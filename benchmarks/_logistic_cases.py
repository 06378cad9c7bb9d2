"""Cases of ``speed.py`` for logistic regression: small data, groups, p >> n."""

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _contenders import Fit
from _glm_data import load_classification
from _glm_families import logistic_cv
from _timing import cpu_time, medians, race
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

N_ROWS, N_TEST = 600, 20_000
GROUPS = np.repeat(np.arange(6), 10)
# Spread of the coefficients in each group, in the proportions of the regression
# case; the last two carry nothing. The margins then have a spread of about two.
SPREAD = np.array([0.6, 0.2, 0.06, 0.02, 0.0, 0.0])
MANY_CS = np.logspace(-4, 4, 30)
MICROARRAYS = (
    "colon_groups ma_alon ma_christensen ma_golub ma_gordon ma_singh ma_sorlie ma_su "
    "ma_west nutrimouse prostate_ge tcga_breast verlaat_methylation"
).split()
ONE, CV = "LogisticRegression", "LogisticRegressionCV"
OURS = "default"


def ours(**params: Any) -> Fit:
    """Fit BilevelLogisticCV."""
    from skbilevel import BilevelLogisticCV

    return lambda X, y: BilevelLogisticCV(**params).fit(X, y)


def one_fit() -> Fit:
    """Fit LogisticRegression once, as it is."""
    return lambda X, y: LogisticRegression(max_iter=1000).fit(X, y)


def cross_validated(**params: Any) -> Fit:
    """Fit LogisticRegressionCV with an l2 penalty, 17 strengths unless told."""
    return lambda X, y: logistic_cv(0.0, **params).fit(X, y)


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """Return the 569 rows that come with scikit-learn, scaled."""
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def shared_strength() -> dict[str, Callable[[], Fit]]:
    """Return who finds one strength, and one fit at a given strength."""
    return {
        ONE: one_fit,
        f"{CV}, 30 Cs": lambda: cross_validated(Cs=MANY_CS),
        "shared, cv='loo'": lambda: ours(feature_groups="shared", cv="loo"),
        "shared, cv=5": lambda: ours(feature_groups="shared", cv=5),
        OURS: ours,
    }


def grouped_contenders() -> dict[str, Callable[[], Fit]]:
    """Return who runs on the six groups."""
    tuned = {"feature_groups": GROUPS, "hyperpenalty": None}
    return {
        CV: lambda: cross_validated(Cs=MANY_CS),
        "groups, cv=5": lambda: ours(**tuned, cv=5),
        "groups, cv='loo'": lambda: ours(**tuned, cv="loo"),
        "groups, guarded": lambda: ours(feature_groups=GROUPS),
        OURS: ours,
    }


def available(builders: dict[str, Callable[[], Fit]]) -> dict[str, Fit]:
    """Return those that can be built."""
    fits = {}
    for name, build in builders.items():
        try:
            fits[name] = build()
        except ImportError:
            continue
    return fits


def draw_groups(seed: int) -> tuple[np.ndarray, ...]:
    """Return X, y, the test rows and their true probabilities."""
    rng = np.random.default_rng(seed)
    w = SPREAD[GROUPS] * rng.standard_normal(len(GROUPS))
    X = rng.standard_normal((N_ROWS, len(GROUPS)))
    y = (rng.random(N_ROWS) < expit(X @ w)).astype(int)
    X_test = rng.standard_normal((N_TEST, len(GROUPS)))
    return X, y, X_test, expit(X_test @ w)


def expected_loss(model: Any, X: np.ndarray, truth: np.ndarray) -> float:
    """Return the log loss expected at these rows, their labels averaged out."""
    log_proba = model.predict_log_proba(X)
    return float(-np.mean(truth * log_proba[:, 1] + (1 - truth) * log_proba[:, 0]))


def run_logistic_groups(seeds: int) -> tuple[Sequence[str], list[list]]:
    """Return the header and one row per method."""
    fits = available(grouped_contenders())
    losses: dict[str, list[float]] = {name: [] for name in fits}
    times: dict[str, list[float]] = {name: [] for name in fits}
    for fit in fits.values():
        # First calls import modules.
        cpu_time(fit, *draw_groups(seeds)[:2])
    for seed in range(seeds):
        X, y, X_test, truth = draw_groups(seed)
        for name, fit in fits.items():
            model, seconds = cpu_time(fit, X, y)
            losses[name].append(expected_loss(model, X_test, truth))
            times[name].append(seconds)
    header = ("method", "seeds", "test log loss", "/ CV", "se", "worst / CV")
    header += ("cpu s", "time / CV")
    return header, [group_row(name, losses, times) for name in fits]


def group_row(name: str, losses: dict, times: dict) -> list:
    """Return the figures of one method; ratios are taken seed by seed."""
    loss, base = np.array(losses[name]), np.array(losses[CV])
    ratio = loss / base
    slowdown = np.median(np.array(times[name]) / np.array(times[CV]))
    error = np.std(ratio, ddof=1) / np.sqrt(len(ratio)) if len(ratio) > 1 else np.nan
    figures = [loss.mean(), ratio.mean(), error, ratio.max(), np.median(times[name])]
    return [name, len(loss), *map(float, [*figures, slowdown])]


def peak_megabytes(fit: Fit, X: np.ndarray, y: np.ndarray) -> float:
    """Return the most memory a fit held beyond its input."""
    tracemalloc.start()
    cpu_time(fit, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def run_microarrays(rounds: int, budget: float) -> tuple[Sequence[str], list[list]]:
    """Return the header and one row per set: all rows, all columns, scaled."""
    fits = available({CV: cross_validated, ONE: one_fit, OURS: ours})
    subject = OURS if OURS in fits else ONE
    rows = []
    for name in MICROARRAYS:
        data = load_classification(name, max_columns=None)
        X, y = scale(data.X), data.y
        n, p = X.shape
        middle = medians(race(fits, (X, y), rounds, budget))
        seconds = [middle[CV], middle[subject], middle[subject] / middle[CV]]
        peak = peak_megabytes(fits[subject], X, y)
        shape = [f"{n} x {p}", data.n_classes]
        rows.append([name, *shape, *seconds, peak, X.nbytes / 1e6, 8e-6 * p * p])
    middle_row = [float(np.median([row[k] for row in rows])) for k in (3, 4, 5)]
    rows.append(["median", "", "", *middle_row, "", "", ""])
    header = ("set", "n x p", "classes", f"{CV} s", f"{subject} s", "ratio")
    return (*header, "peak MB", "X MB", "p x p MB"), rows
