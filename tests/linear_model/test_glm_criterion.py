"""Generalized linear models tuned without the guard: criteria, limits, repetition."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelTweedieCV,
)
from skbilevel.exceptions import BoundaryWarning

LOG_LINKS = [BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV]
CRITERIA = {
    "folds": {},
    "hold-out": {"cv": [(np.arange(80), np.arange(80, 120))]},
    "loo": {"cv": "loo"},
}


def draw(estimator, n=120, p=8, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = 0.7 * X[:, 0] - 0.5 * X[:, 1]
    if estimator is BilevelLogisticCV:
        scores = np.column_stack([eta * k for k in np.linspace(-2, 2, classes)])
        return X, (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    y = rng.gamma(3.0, size=n) * np.exp(eta)
    return X, y if estimator is BilevelGammaCV else rng.poisson(y).astype(float)


def tuned(estimator, **kwargs):
    return estimator(**{"hyperpenalty": None, **kwargs})


CHECKED = [
    tuned(BilevelLogisticCV, cv=2),
    tuned(BilevelLogisticCV, cv="loo", feature_groups="shared"),
    tuned(BilevelGammaCV, cv="loo"),
]


# Random labels that more columns than rows of a training set separate: without the
# guard strengths run to where rounding decides about their digits from the fourth on.
SEPARABLE = "check_sample_weight_equivalence"


# Targets of the checks are noise or are fitted exactly: the search says so.
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    name = getattr(check, "func", check).__name__
    classes = isinstance(estimator, BilevelLogisticCV)
    if classes and estimator.feature_groups is None and name.startswith(SEPARABLE):
        pytest.skip("see test_a_weight_is_a_repetition")
    check(estimator)


# One hold-out may well prefer coefficients that are not shrunk at all.
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("setting", CRITERIA.values(), ids=list(CRITERIA))
@pytest.mark.parametrize("estimator", [BilevelLogisticCV, *LOG_LINKS])
def test_noise_is_shrunk_more_than_signal(estimator, setting):
    X, y = draw(estimator)
    model = tuned(estimator, **setting).fit(X, y)
    shared = tuned(estimator, feature_groups="shared", **setting).fit(X, y)
    assert model.alpha_[:2].max() < np.median(model.alpha_[2:])
    assert model.best_score_ > shared.best_score_
    assert (np.atleast_2d(model.coef_)[:, np.isinf(model.alpha_)] == 0).all()


@pytest.mark.parametrize("cv", [None, "loo"])
def test_sparse_and_dense_rows_agree(cv):
    X, y = draw(BilevelLogisticCV, classes=3)
    X[np.abs(X) < 0.7] = 0.0
    dense = tuned(BilevelLogisticCV, cv=cv).fit(X, y)
    other = tuned(BilevelLogisticCV, cv=cv).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(other.coef_, dense.coef_, atol=1e-3)
    np.testing.assert_allclose(other.best_score_, dense.best_score_, rtol=1e-6)


@pytest.mark.parametrize("cv", ["loo", "folds"])
def test_columns_of_other_scales_or_means_change_nothing(cv):
    X, y = draw(BilevelPoissonCV)
    X = StandardScaler().fit_transform(X)
    label = np.arange(len(y)) % 4
    folds = [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(4)]
    setting = {"cv": "loo" if cv == "loo" else folds, "tol": 1e-5}
    plain = tuned(BilevelPoissonCV, **setting).fit(X, y)
    moved = X * 10.0 ** np.arange(-3, 5) + 1e3
    other = tuned(BilevelPoissonCV, **setting).fit(moved, y)
    np.testing.assert_allclose(other.predict(moved), plain.predict(X), rtol=1e-3)


def test_a_weight_is_a_repetition():
    X, y = draw(BilevelLogisticCV, n=60)
    weight = np.random.default_rng(1).integers(1, 4, len(y))
    label = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), weight)

    def fit(index, sample_weight):
        own = label[index]
        folds = [(np.flatnonzero(own != k), np.flatnonzero(own == k)) for k in range(3)]
        model = tuned(BilevelLogisticCV, cv=folds, tol=1e-8, max_iter=500)
        return model.fit(X[index], y[index], sample_weight=sample_weight)

    one, two = fit(np.arange(len(y)), weight), fit(rows, None)
    np.testing.assert_allclose(one.coef_, two.coef_, atol=1e-5)


def test_left_out_predictions_are_nearly_those_of_explicit_fits():
    X, y = draw(BilevelLogisticCV, n=50, p=4)
    model = tuned(
        BilevelLogisticCV, feature_groups="shared", cv="loo", scoring="neg_log_loss"
    ).fit(X, y)
    reference = LogisticRegression(C=1.0 / model.alpha_[0], tol=1e-8)
    folds = [(np.delete(np.arange(50), i), [i]) for i in range(50)]
    proba = cross_val_predict(reference, X, y, cv=folds, method="predict_proba")
    expected = np.log(proba[np.arange(50), y]).mean()
    assert abs(model.best_score_ - expected) < 0.01 * abs(expected)


def test_the_shared_strength_is_the_best_of_a_grid():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    folds = list(StratifiedKFold(5).split(X, y))
    model = tuned(BilevelLogisticCV, feature_groups="shared", cv=folds).fit(X, y)
    losses = []
    for factor in (0.5, 1.0, 2.0):
        total = 0.0
        for train, valid in folds:
            # Strengths are in units of the mean loss.
            C = factor / model.alpha_[0] * len(y) / len(train)
            fitted = LogisticRegression(C=C, tol=1e-8).fit(X[train], y[train])
            proba = fitted.predict_proba(X[valid])
            total -= np.log(proba[np.arange(len(valid)), y[valid]]).sum()
        losses.append(total / len(y))
    assert losses[1] < min(losses[0], losses[2])
    np.testing.assert_allclose(-model.best_score_, losses[1], rtol=1e-4)


@pytest.mark.parametrize("cv", [None, "loo"])
@pytest.mark.parametrize("classes", [2, 3])
def test_separable_classes(cv, classes):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 5))
    y = np.digitize(X[:, 0], [0.0] if classes == 2 else [-0.4, 0.4])
    X[:, 0] += np.sign(X[:, 0]) + y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = tuned(BilevelLogisticCV, cv=cv).fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) > 0.98


def test_a_class_missing_from_training_sets():
    X, y = draw(BilevelLogisticCV, n=60, classes=3)
    y[:] = np.minimum(y, 1)
    y[:2] = 2
    folds = [(np.arange(2, 60), np.arange(2)), (np.arange(30), np.arange(30, 60))]
    model = tuned(BilevelLogisticCV, cv=folds).fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.best_score_)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize("cv", [None, "loo"])
def test_counts_that_are_all_zero(cv):
    X, _ = draw(BilevelPoissonCV)
    model = tuned(BilevelPoissonCV, cv=cv).fit(X, np.zeros(len(X)))
    assert model.predict(X).max() < 0.01


def test_too_many_unknowns_for_leave_one_out():
    X = np.random.default_rng(0).standard_normal((900, 800))
    y = np.arange(900) % 9
    with pytest.raises(ValueError, match="give a number of folds"):
        tuned(BilevelLogisticCV, cv="loo").fit(X, y)


@pytest.mark.parametrize("solver", ["exact", "amigo", "cholesky", "dual"])
def test_solvers_agree(solver):
    X, y = draw(BilevelLogisticCV, n=60, p=6)
    # Without a hyperpenalty there are several minima, which rounding decides between.
    setting = {"tol": 1e-8, "max_iter": 500, "hyperpenalty": ("smooth", 0.1)}
    one = tuned(BilevelLogisticCV, **setting).fit(X, y)
    two = tuned(BilevelLogisticCV, solver=solver, **setting).fit(X, y)
    np.testing.assert_allclose(two.best_score_, one.best_score_, rtol=1e-6)
    np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-3)


def scales(X, y, weight):
    """Metadata that depend on the training rows."""
    return np.log(X.std(axis=0))[:, None]


@pytest.mark.parametrize("metadata", [np.arange(8.0)[:, None], scales])
@pytest.mark.parametrize("cv", [None, "loo"])
def test_strengths_are_a_function_of_metadata(metadata, cv):
    X, y = draw(BilevelLogisticCV)
    X = X * np.linspace(0.5, 2.0, 8)
    model = tuned(BilevelLogisticCV, feature_metadata=metadata, cv=cv).fit(X, y)
    Z = metadata(X, y, None) if callable(metadata) else metadata
    Z = np.column_stack([np.ones(8), Z])
    log_alpha = np.log(model.alpha_)
    fitted = Z @ np.linalg.lstsq(Z, log_alpha, rcond=None)[0]
    np.testing.assert_allclose(log_alpha, fitted, atol=1e-6)


@pytest.mark.parametrize("cv", [None, "loo"])
@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelPoissonCV])
def test_words_about_strengths_are_kept(estimator, cv):
    X, y = draw(estimator)
    bounds = (2.0, 3.0)
    kept = tuned(estimator, cv=cv, alpha_bounds=bounds).fit(X, y)
    assert kept.alpha_.min() >= 2.0 * (1 - 1e-9)
    assert kept.alpha_.max() <= 3.0 * (1 + 1e-9)
    free = tuned(estimator, cv=cv, unpenalized=[3], fit_intercept=False).fit(X, y)
    assert free.alpha_[3] == 0.0
    assert free.intercept_ == 0.0
    known = {"alpha_init": kept.alpha_, "max_iter": 200, "tol": 1e-6}
    again = tuned(estimator, cv=cv, **known).fit(X, y)
    assert again.best_score_ >= kept.best_score_


def test_nothing_happens_in_silence(capsys):
    X, y = draw(BilevelLogisticCV)
    with pytest.warns(ConvergenceWarning, match="Reached a validation loss of"):
        tuned(BilevelLogisticCV, max_iter=2, verbose=1).fit(X, y)
    assert "validation loss" in capsys.readouterr().out
