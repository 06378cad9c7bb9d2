"""How often 95 % bands of terms hold the true curve: coverage by simulation.

``python benchmarks/bands.py`` prints the table of the page of results. Every row of the
table is a setting; a draw has four columns, whose terms are a wave, a bump, a line and
nothing. Coverage is the share of rows where the band holds the true term (both around
their means), averaged over rows and draws.
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    make_additive,
)
from skbilevel.inspection import TermsDisplay

TERMS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: np.sin(2.0 * np.pi * x),
    lambda x: 1.5 * np.exp(-(((x - 0.6) / 0.12) ** 2)),
    lambda x: 2.0 * x,
    np.zeros_like,
)
NAMES = ("wave", "bump", "line", "nothing")


@dataclass(frozen=True)
class Setting:
    """An estimator, and how targets are drawn around a sum of terms."""

    name: str
    estimator: object
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    n_rows: int


def normal(noise: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Targets with normal errors."""
    return lambda f, rng: f + noise * rng.standard_normal(len(f))


def counts(f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts."""
    return rng.poisson(np.exp(f))


def scattered(f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts whose variance is three times their mean."""
    return rng.negative_binomial(np.exp(f) / 2.0, 1.0 / 3.0)


def classes(f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two classes."""
    return rng.random(len(f)) < 1.0 / (1.0 + np.exp(1.0 - f))


PLAIN = {"hyperpenalty": None}
SETTINGS = (
    Setting("ridge, noise .5", BilevelRidgeCV(), normal(0.5), 250),
    Setting("ridge, noise .5", BilevelRidgeCV(), normal(0.5), 1000),
    Setting("ridge, noise 1.5", BilevelRidgeCV(), normal(1.5), 250),
    Setting(
        "ridge, one strength", BilevelRidgeCV(feature_groups="shared"), normal(0.5), 250
    ),
    Setting("ridge, folds alone", BilevelRidgeCV(**PLAIN), normal(0.5), 250),
    Setting("ridge, REML", BilevelRidgeCV(cv="reml", **PLAIN), normal(0.5), 250),
    Setting("Poisson", BilevelPoissonCV(), counts, 500),
    Setting("Poisson, dispersion 3", BilevelPoissonCV(), scattered, 500),
    Setting("logistic", BilevelLogisticCV(), classes, 1000),
)


def coverage(setting: Setting, seed: int) -> np.ndarray:
    """Share of rows that the band of each term holds."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.0, 1.0, (setting.n_rows, len(TERMS)))
    true = np.column_stack([f(x) for f, x in zip(TERMS, X.T, strict=True)])
    model = make_additive(setting.estimator).fit(X, setting.draw(true.sum(1), rng))
    shown = TermsDisplay.from_estimator(model, X)
    error = abs(shown.effects - (true - true.mean(axis=0)))
    # Rounding of a term that is nothing and was removed is no error.
    return (error <= 1.959964 * shown.stds + 1e-12).mean(axis=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    warnings.simplefilter("ignore")
    import matplotlib.pyplot as plt

    print("| setting | rows | " + " | ".join(NAMES) + " | mean |")
    print("|---" * (len(NAMES) + 3) + "|")
    for setting in SETTINGS:
        found = []
        for seed in range(draws):
            found.append(coverage(setting, seed))
            plt.close("all")
        found = np.mean(found, axis=0)
        cells = [f"{each:.3f}" for each in (*found, found.mean())]
        print(
            f"| {setting.name} | {setting.n_rows} | {' | '.join(cells)} |", flush=True
        )


if __name__ == "__main__":
    main()
