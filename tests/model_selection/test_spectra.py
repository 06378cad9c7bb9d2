"""Neighbouring columns that are almost the same, and far more columns than rows.

Kernels of such rows have eigenvalues over ten decades: a small error of what multiplies
them is a large one of predictions.
"""

import warnings

import numpy as np
import pytest

from skbilevel import BilevelLogisticCV, BilevelPoissonCV
from skbilevel.exceptions import BoundaryWarning


def spectra(seed, n=110, p=300, n_curves=10):
    """Sums of smooth curves, each a third as large as the one before."""
    rng = np.random.default_rng(seed)
    amount = rng.standard_normal((n, n_curves))
    curves = np.cumsum(rng.standard_normal((n_curves, p)), axis=1)
    X = amount @ (curves * 0.3 ** np.arange(n_curves)[:, None])
    X += 1e-3 * rng.standard_normal((n, p))
    return (X - X.mean(axis=0)) / X.std(axis=0), amount[:, 5:8], rng


def targets(kind, amount, rng):
    if kind == "counts":
        return rng.poisson(np.exp(0.5 * amount[:, 0]))
    return (amount @ rng.standard_normal((3, int(kind)))).argmax(axis=1)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", ["2", "3", "6", "counts"])
def test_candidates_are_scored_as_they_are(kind, own):
    if own and kind in ("2", "counts"):
        pytest.skip("there is one set of strengths")
    for seed in range(2):
        X, amount, rng = spectra(seed)
        y = targets(kind, amount, rng)
        model = BilevelPoissonCV()
        if kind != "counts":
            model = BilevelLogisticCV(alpha_per_class=own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoundaryWarning)
            model.fit(X, y)
        loss = -np.asarray(model.hyperpenalty_["score"])
        # Nothing that the guard makes is far worse than no features at all.
        share = np.bincount(y) / len(y)
        null = -(share * np.log(np.maximum(share, 1e-300))).sum()
        assert loss.max() < 2.0 * (null if kind != "counts" else loss[0])


def test_what_comes_after_columns_of_noise_is_found():
    """The largest variances are noise here: losses rise before they fall."""
    for seed, n_classes in [(0, 2), (1, 3)]:
        X, amount, rng = spectra(seed)
        y = targets(n_classes, amount, rng)
        loss = -BilevelLogisticCV().fit(X, y).hyperpenalty_["score"].max()
        share = np.bincount(y) / len(y)
        assert loss < 0.7 * -(share * np.log(share)).sum()
