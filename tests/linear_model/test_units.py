"""Units of the columns, and columns that explain each other."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.optimize import minimize

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
)

N, P = 50, 5
ESTIMATORS = (
    BilevelRidgeCV,
    BilevelRidgeClassifierCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
)
MODES = (
    {},
    {"hyperpenalty": None},
    {"hyperpenalty": None, "cv": "loo"},
    {"feature_groups": "shared"},
)
FORMATS = (np.asarray, sparse.csr_array)


def table(n=N, p=P, seed=0):
    """Features, and a linear prediction with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X[:, 0] - 0.6 * X[:, 1] + 0.7 * rng.standard_normal(n)


def targets(estimator, eta):
    if estimator is BilevelRidgeCV:
        return eta
    if estimator is BilevelPoissonCV:
        return np.round(np.exp(0.5 * eta))
    return (eta > 0).astype(int)


def eta_of(model, X):
    decide = getattr(model, "decision_function", None)
    return model.predict(X) if decide is None else decide(X)


def assert_same(a, X, b, Z, tol):
    first = eta_of(a, X)
    assert_allclose(eta_of(b, Z), first, rtol=0, atol=tol * np.ptp(first))


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("convert", FORMATS)
@pytest.mark.parametrize("params", MODES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_units_of_unpenalized_columns_change_nothing(estimator, params, convert):
    X, eta = table()
    y, unit = targets(estimator, eta), np.array([1e-12, 1.0, 1e12, 1e6, 1.0])
    fits = [
        estimator(unpenalized=[0, 2, 3], **params).fit(convert(Z), y)
        for Z in (X, X * unit)
    ]
    assert_same(fits[0], convert(X), fits[1], convert(X * unit), 1e-4)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("shape", [(N, P), (24, 30)])
@pytest.mark.parametrize(("convert", "unit"), zip(FORMATS, (1024.0, 3e-9), strict=True))
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_unit_of_all_columns_changes_nothing(estimator, convert, unit, shape):
    X, eta = table(*shape)
    y = targets(estimator, eta)
    plain = estimator().fit(convert(X), y)
    other = estimator().fit(convert(X * unit), y)
    assert_same(plain, convert(X), other, convert(X * unit), 1e-5)
    assert_allclose(other.alpha_, plain.alpha_ * unit**2, rtol=1e-3)


def test_the_unit_of_columns_and_many_classes():
    X, eta = table(60, 4)
    y = np.digitize(eta, [-0.7, 0.7])
    a, b = BilevelLogisticCV().fit(X, y), BilevelLogisticCV().fit(1024 * X, y)
    assert_allclose(1024 * b.coef_, a.coef_, rtol=1e-9)


def dependent(n):
    """Six columns, the first five dependent: a sum, zeros, a copy in another unit."""
    rng = np.random.default_rng(1)
    a, b, c = rng.standard_normal((3, n))
    X = np.c_[a, b, a + b, np.zeros(n), 1e-9 * a, c]
    return X, a - b + 0.5 * c + 0.3 * rng.standard_normal(n)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("convert", FORMATS)
@pytest.mark.parametrize("params", MODES)
def test_dependent_unpenalized_columns_of_ridge(params, convert, fit_intercept):
    for n, unit in ((9, 1e-8), (60, 1.0), (60, 1e-8)):
        X, y = dependent(n)
        model = BilevelRidgeCV(
            unpenalized=range(5), fit_intercept=fit_intercept, **params
        ).fit(convert(X * unit), y)
        alpha = model.alpha_ / unit**2
        kept = np.isfinite(alpha)
        root = np.sqrt(np.diag(alpha[kept]))
        one = np.full((n, int(fit_intercept)), 1.0)
        A = np.block([[X[:, kept], one], [root, np.zeros((len(root), one.shape[1]))]])
        best = np.linalg.lstsq(A, np.r_[y, np.zeros(len(root))], rcond=1e-11)[0]
        assert_allclose(model.predict(convert(X * unit)), A[:n] @ best, atol=1e-6)
        # The shortest coefficients, once columns have one size.
        assert model.coef_[3] == 0.0
        assert_allclose(model.coef_[4] * 1e-9, model.coef_[0], atol=1e-9 / unit)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None}])
@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelPoissonCV])
def test_dependent_unpenalized_columns_of_other_losses(estimator, params):
    X, y = dependent(80)
    noise = np.random.default_rng(2).standard_normal(80)
    y = targets(estimator, y + noise)
    logistic = estimator is BilevelLogisticCV
    for unit in (1e-8, 1e8):
        model = estimator(unpenalized=range(5), **params).fit(X * unit, y)
        alpha = model.alpha_[-1] * (1 if logistic else 80) / unit**2
        kept = np.isfinite(alpha)
        alpha, Z = (alpha if kept else 0.0), np.c_[X[:, :2], X[:, 5] * kept]

        def objective(t, Z=Z, alpha=alpha):
            eta = Z @ t[1:] + t[0]
            mean = 1.0 / (1.0 + np.exp(-eta)) if logistic else np.exp(eta)
            loss = np.logaddexp(0.0, eta) if logistic else mean
            grad = np.r_[(mean - y).sum(), Z.T @ (mean - y)]
            grad[3] += alpha * t[3]
            return (loss - y * eta).sum() + 0.5 * alpha * t[3] ** 2, grad

        found = minimize(objective, np.zeros(4), jac=True, options={"gtol": 1e-7})
        eta = X * unit @ np.ravel(model.coef_) + model.intercept_
        assert_allclose(eta, Z @ found.x[1:] + found.x[0], atol=1e-4)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_columns_of_uneven_scales_sparse_and_dense(estimator):
    X, eta = table(60, 8)
    rare = X * (np.random.default_rng(3).random(X.shape) < 0.1)
    for Z in (X * np.logspace(-1.5, 1.5, 8), rare * np.logspace(-1.5, 1.5, 8)):
        y = targets(estimator, eta)
        dense, other = estimator().fit(Z, y), estimator().fit(sparse.csr_array(Z), y)
        assert_same(dense, Z, other, Z, 1e-5)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("params", MODES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_many_unpenalized_columns(estimator, params):
    X, eta = table(30, 40)
    y = targets(estimator, eta)
    # Folds, and halves of them, that these columns explain.
    model = estimator(unpenalized=np.arange(40) < 27, **params).fit(X, y)
    assert np.isfinite(model.coef_).all()
    for k in (29, 35):
        with pytest.raises(ValueError, match="unpenalized"):
            estimator(unpenalized=np.arange(40) < k, **params).fit(X, y)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("params", MODES[:3])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_metadata_without_penalized_columns(estimator, params):
    X, eta = table(60, 3)
    model = estimator(unpenalized=range(3), feature_metadata=np.ones((3, 1)), **params)
    plain = estimator(unpenalized=range(3), **params)
    y = targets(estimator, eta)
    assert_allclose(model.fit(X, y).coef_, plain.fit(X, y).coef_)


@pytest.mark.parametrize("params", [*MODES, {"hyperpenalty": None, "cv": "gcv"}])
def test_huge_targets(params):
    X, y = table()
    plain = BilevelRidgeCV(**params).fit(X, y)
    huge = BilevelRidgeCV(**params).fit(X, 2.0**600 * y)
    assert_allclose(huge.coef_ / 2.0**600, plain.coef_)
    assert huge.best_score_ == -np.inf


def test_rows_that_are_equal_have_a_singular_kernel():
    rng = np.random.default_rng(0)
    X = np.tile(rng.poisson(0.05, (40, 120)).astype(float), (2, 1))
    y = (X[:, :10].sum(axis=1) + 0.3 * rng.standard_normal(80) > 0.5).astype(int)
    model = BilevelLogisticCV(feature_groups="shared", hyperpenalty=None)
    dense = model.fit(X, y).decision_function(X)
    for convert in (sparse.csr_array, sparse.csc_array):
        assert_allclose(model.fit(convert(X), y).decision_function(X), dense, 1e-4)


def test_nothing_is_left_and_nothing_is_printed(capfd):
    X, eta = table(30, 40)
    y = np.digitize(eta, [-0.5, 0.5])
    # Without an intercept, where every feature is removed, there are no unknowns.
    model = BilevelLogisticCV(
        fit_intercept=False, hyperpenalty=("sparse", 100.0), cv="loo"
    ).fit(X, y)
    assert not model.coef_.any()
    assert capfd.readouterr() == ("", "")


AMOUNTS = ((BilevelPoissonCV, 1.0), (BilevelTweedieCV, 1.5), (BilevelGammaCV, 2.0))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@pytest.mark.parametrize("params", [*MODES, {"hyperpenalty": None, "cv": "reml"}])
@pytest.mark.parametrize(("estimator", "power"), AMOUNTS)
def test_the_unit_of_amounts_changes_nothing(estimator, power, params, unit):
    """But the level, and what has the unit of the deviance."""
    X, eta = table(80)
    y = np.random.default_rng(1).gamma(2.0, np.exp(eta))
    y = np.ceil(y) if power == 1.0 else y * (power == 2.0 or eta > -1.0)
    plain, other = (estimator(**params).fit(X, c * y) for c in (1.0, unit))
    assert_allclose(other.coef_, plain.coef_, rtol=0, atol=1e-6)
    assert_allclose(other.intercept_ - np.log(unit), plain.intercept_, atol=1e-6)
    of_deviance = unit ** (2.0 - power)
    assert_allclose(other.alpha_ / of_deviance, plain.alpha_, rtol=1e-4)
    assert_allclose(other.dispersion_ / of_deviance, plain.dispersion_, rtol=1e-5)
    if params.get("cv") != "reml":
        assert_allclose(other.best_score_ / of_deviance, plain.best_score_, rtol=1e-5)


@pytest.mark.parametrize("estimator", [BilevelPoissonCV, BilevelTweedieCV])
@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-9])
def test_targets_that_are_all_but_the_same(estimator, spread):
    """Losses that are roundings are compared by their ratios."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((30, 3)), 3.0 + spread * rng.random(30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = estimator().fit(X, y)
        assert_allclose(model.predict(X), 3.0, rtol=1e-6)
