"""Features found and excess errors where k is known: ``FractionalSparseRegressor``.

``python benchmarks/sparse_recovery.py`` prints the table of the page of the paper. All
methods get the same data and k, one thread, one process. Columns are normal with
correlation ``rho^|i-j|``; k coefficients are +-(1 to 2), the others zero; ``snr`` is
the variance of the signal over that of the noise. The excess error of coefficients is
that of ``x (coef - truth)`` over that of the signal, so that no feature at all has
an excess error of 1. OMP and abess fit least squares on their features; of LassoCV
the k largest coefficients are taken in units of standard deviations, and fitted anew.
abess is used where it is installed.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from _report import table
from sklearn.linear_model import LassoCV, OrthogonalMatchingPursuit

from skbilevel import FractionalSparseRegressor

try:
    from abess.linear import LinearRegression as Abess
except ImportError:
    Abess = None

# Rows, columns, features, correlation, signal to noise.
SETTINGS = (
    (200, 500, 10, 0.0, 4.0),
    (200, 500, 10, 0.7, 4.0),
    (150, 1000, 20, 0.3, 9.0),
    (200, 500, 10, 0.7, 1.0),
    (300, 1000, 10, 0.5, 2.0),
)
Fit = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def draw(
    seed: int, n: int, p: int, k: int, rho: float, snr: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """X, y, true coefficients, covariance of the columns, variance of the signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1.0 - rho**2) * X[:, j]
    truth = np.zeros(p)
    places = rng.choice(p, k, replace=False)
    truth[places] = rng.choice([-1.0, 1.0], k) * (1.0 + rng.random(k))
    apart = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    sigma = np.where(apart == 0, 1.0, rho**apart)
    signal = float(truth @ sigma @ truth)
    y = X @ truth + np.sqrt(signal / snr) * rng.standard_normal(n)
    return X, y, truth, sigma, signal


def omp(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """scikit-learn's pursuit, which fits least squares."""
    return OrthogonalMatchingPursuit(n_nonzero_coefs=k).fit(X, y).coef_


def lasso(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """The largest coefficients of LassoCV, fitted anew."""
    sizes = np.abs(LassoCV().fit(X, y).coef_) * X.std(axis=0)
    kept, coef = np.argsort(-sizes)[:k], np.zeros(X.shape[1])
    Z = X[:, kept] - X[:, kept].mean(axis=0)
    coef[kept] = np.linalg.lstsq(Z, y - y.mean())[0]
    return coef


def best_subset(X: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Abess with k given."""
    return Abess(support_size=k).fit(X, y).coef_


def ours(method: str) -> Fit:
    """FractionalSparseRegressor with one way, or the choice."""
    return lambda X, y, k: FractionalSparseRegressor(k, method=method).fit(X, y).coef_


def contenders() -> dict[str, Fit]:
    """All that are installed."""
    known = {"OMP": omp, "LassoCV, k largest, refitted": lasso}
    if Abess is not None:
        known["abess"] = best_subset
    for method in ("auto", "lasso", "omp", "pcd"):
        known[f"FractionalSparseRegressor, {method}"] = ours(method)
    return known


def measure(n_seeds: int, n_settings: int = len(SETTINGS)) -> list[list[object]]:
    """Rows of the table: means over seeds, and the median time."""
    lines = []
    for setting in SETTINGS[:n_settings]:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(n_seeds):
            X, y, truth, sigma, signal = draw(seed, *setting)
            right = np.flatnonzero(truth)
            for name, fit in contenders().items():
                began = time.perf_counter()
                coef = fit(X, y, setting[2])
                seconds = time.perf_counter() - began
                error = coef - truth
                excess = float(error @ sigma @ error) / signal
                share = float((coef[right] != 0).mean())
                found.setdefault(name, []).append((share, excess, seconds))
        first = ", ".join(f"{value:g}" for value in setting)
        for name, runs in found.items():
            share, excess, _ = np.mean(runs, axis=0)
            middle = np.median([excess for _, excess, _ in runs])
            seconds = np.median([seconds for *_, seconds in runs])
            row = [first, name, float(share), float(excess), float(middle)]
            lines.append([*row, float(seconds)])
            first = ""
    return lines


HEADER = ("n, p, k, rho, snr", "method", "found", "excess", "median", "seconds")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    print(table(HEADER, measure(parser.parse_args().seeds)))


if __name__ == "__main__":
    main()
