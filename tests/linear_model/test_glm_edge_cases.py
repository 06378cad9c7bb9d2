"""Bad input and edge cases of logistic regression and the log-link models."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelTweedieCV,
)

N, P = 80, 5
COUNTS = [BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV]
BOUNDARY = pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((N, P))


@pytest.fixture
def classes(X):
    noise = np.random.default_rng(1).logistic(size=N)
    return (X[:, 0] + noise > 0).astype(int) + (X[:, 1] + noise > 1.5)


@pytest.fixture
def amounts(X):
    return np.random.default_rng(1).gamma(3.0, np.exp(0.4 * X[:, 0]) / 3.0)


def finite(model, X):
    parts = [model.coef_, model.intercept_, model.predict(X).astype(float)]
    assert all(np.isfinite(part).all() for part in parts)
    assert np.isfinite(model.best_score_)
    assert (model.alpha_ >= 0.0).all()
    return model


# Targets that no model can use.


@pytest.mark.parametrize("estimator", COUNTS)
def test_negative_targets(estimator, X, amounts):
    amounts[3] = -2.5
    with pytest.raises(ValueError, match=r"negative values, the smallest is -2\.5"):
        estimator().fit(X, amounts)
    model = estimator().fit(X, abs(amounts))
    with pytest.raises(ValueError, match="negative values"):
        model.score(X, amounts)


def test_zero_amounts(X, amounts):
    amounts[:7] = 0.0
    for model in (BilevelGammaCV(), BilevelTweedieCV(power=2)):
        with pytest.raises(ValueError, match=r"7 zeros.*BilevelTweedieCV takes zeros"):
            model.fit(X, amounts)
    finite(BilevelTweedieCV().fit(X, amounts), X)
    finite(BilevelPoissonCV().fit(X, amounts), X)


@pytest.mark.parametrize("estimator", COUNTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_must_be_finite(estimator, bad, X, amounts):
    amounts[2] = bad
    with pytest.raises(ValueError, match="Input y contains"):
        estimator().fit(X, amounts)


@pytest.mark.parametrize("power", [0, 0.5, 2.5, 3, -1])
def test_powers_that_are_not_convex(power, X, amounts):
    with pytest.raises(ValueError, match="power"):
        BilevelTweedieCV(power=power).fit(X, amounts)


def test_offsets_are_checked(X, amounts):
    model = BilevelPoissonCV(feature_groups="shared")
    with pytest.raises(ValueError, match=r"offset has shape \(3,\), but X has 80 rows"):
        model.fit(X, amounts, offset=np.zeros(3))
    with pytest.raises(ValueError, match="Input offset contains infinity"):
        model.fit(X, amounts, offset=np.r_[-np.inf, np.zeros(N - 1)])
    with pytest.raises(ValueError, match="give the logarithm of the exposure"):
        model.fit(X, amounts, offset=np.arange(N) * 365.0)
    model.fit(X, amounts)
    with pytest.raises(ValueError, match="offset has shape"):
        model.predict(X, offset=np.zeros((N, 1)))


def test_one_class(X):
    with pytest.raises(ValueError, match="one class"):
        BilevelLogisticCV().fit(X, np.ones(N))
    weight = np.r_[np.ones(40), np.zeros(40)]
    with pytest.raises(ValueError, match="one class"):
        BilevelLogisticCV().fit(X, np.arange(N) >= 40, sample_weight=weight)


def test_continuous_targets_are_no_classes(X, amounts):
    with pytest.raises(ValueError, match="Unknown label type"):
        BilevelLogisticCV().fit(X, amounts)


@pytest.mark.parametrize("value", ["gcv", "nope"])
def test_criteria_that_do_not_exist(value, X, classes, amounts):
    with pytest.raises(ValueError, match="cv"):
        BilevelLogisticCV(cv=value).fit(X, classes)
    with pytest.raises(ValueError, match="cv"):
        BilevelPoissonCV(cv=value).fit(X, amounts)


def test_missing_values(X, classes, amounts):
    X[0, 0] = np.nan
    for model, y in [(BilevelLogisticCV(), classes), (BilevelPoissonCV(), amounts)]:
        with pytest.raises(ValueError, match=r"(?s)contains NaN"):
            model.fit(X, y)


# Targets that degenerate.


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_counts_that_are_all_zero(X, hyperpenalty):
    y, offset = np.zeros(N), np.cos(np.arange(N))
    for estimator in (BilevelPoissonCV, BilevelTweedieCV):
        model = estimator(hyperpenalty=hyperpenalty).fit(X, y, offset=offset)
        finite(model, X)
        assert_array_equal(model.coef_, 0.0)
        assert_array_equal(model.alpha_, np.inf)
        # Half an event among all rows.
        assert_allclose(model.predict(X, offset=offset).sum(), 0.5)
        assert model.score(X, y, offset=offset) == 0.0
    grouped = BilevelPoissonCV(feature_groups=[0, 0, 1, 1, 1], unpenalized=[0])
    finite(grouped.fit(X, y), X)
    scored = BilevelPoissonCV(scoring="neg_mean_poisson_deviance").fit(X, y)
    assert_allclose(scored.best_score_, -2.0 * 0.5 / N)
    through = BilevelPoissonCV(hyperpenalty=hyperpenalty, fit_intercept=False)
    finite(through.fit(X, y), X)


@BOUNDARY
def test_one_count_that_is_not_zero(X):
    y = np.zeros(N)
    y[5] = 1.0
    model = finite(BilevelPoissonCV().fit(X, y), X)
    assert_allclose(model.predict(X).sum(), 1.0, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@BOUNDARY
@pytest.mark.parametrize("estimator", COUNTS)
def test_constant_targets(estimator, X):
    model = finite(estimator().fit(X, np.full(N, 3.0)), X)
    assert_allclose(model.predict(X), 3.0, rtol=1e-6)
    assert model.score(X, np.full(N, 3.0)) == 1.0


@pytest.mark.parametrize("estimator", COUNTS)
@pytest.mark.parametrize("factor", [1e-8, 1e12])
def test_targets_of_any_scale(estimator, factor, X, amounts):
    model = finite(estimator().fit(X, amounts * factor), X)
    assert_allclose(model.predict(X).mean(), factor * amounts.mean(), rtol=0.3)
    assert model.score(X, amounts * factor) > 0.1


# Weights.


def test_exposure_of_zero_is_no_row(X, amounts):
    weight = np.ones(N)
    weight[::4] = 0.0
    amounts[::4] = 1e9
    kept = weight > 0
    model = BilevelPoissonCV().fit(X, amounts, sample_weight=weight)
    plain = BilevelPoissonCV().fit(X[kept], amounts[kept])
    assert_allclose(model.coef_, plain.coef_, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="weight"):
        BilevelPoissonCV().fit(X, amounts, sample_weight=np.zeros(N))


@pytest.mark.parametrize("scale", [0.1, 1e6])
def test_the_scale_of_weights(scale, X, amounts, classes):
    weight = 1.0 + np.arange(N) % 2
    plain = BilevelPoissonCV(hyperpenalty=None, feature_groups="shared")
    a = plain.fit(X, amounts, sample_weight=weight).alpha_
    b = plain.fit(X, amounts, sample_weight=scale * weight).alpha_
    assert_allclose(a, b, rtol=1e-2)
    finite(BilevelPoissonCV().fit(X, amounts, sample_weight=scale * weight), X)
    finite(BilevelLogisticCV().fit(X, classes, sample_weight=scale * weight), X)


# Classes that are rare or separable.


@BOUNDARY
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_separable_classes(hyperpenalty, X):
    y = (X[:, 0] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        model = BilevelLogisticCV(hyperpenalty=hyperpenalty).fit(X, y)
    finite(model, X)
    assert model.score(X, y) > 0.95
    assert np.isfinite(model.predict_log_proba(X)).all()


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@BOUNDARY
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_a_class_with_few_members(members, hyperpenalty, X, classes):
    y = np.minimum(classes, 1)
    y[:members] = 2
    model = BilevelLogisticCV(hyperpenalty=hyperpenalty).fit(X, y)
    finite(model, X)
    assert model.classes_.tolist() == [0, 1, 2]
    assert 0.0 < model.predict_proba(X)[:, 2].max() < 1.0
    binary = BilevelLogisticCV(hyperpenalty=hyperpenalty).fit(X, y == 2)
    finite(binary, X)


@BOUNDARY
@BOUNDARY
def test_splits_without_a_class(X):
    y = np.repeat([0, 1, 2, 3], N // 4)
    splits = [(np.arange(N)[y != k], np.flatnonzero(y == k)) for k in range(4)]
    finite(BilevelLogisticCV(cv=splits).fit(X, y), X)
    finite(BilevelLogisticCV(cv=splits, hyperpenalty=None).fit(X, y), X)
    binary = np.repeat([0, 1], N // 2)
    halves = [(np.arange(40), np.arange(40, 80)), (np.arange(40, 80), np.arange(40))]
    finite(BilevelLogisticCV(cv=halves).fit(X, binary), X)
    # The scorer is told all classes.
    model = BilevelLogisticCV(cv=splits, scoring="neg_log_loss").fit(X, y)
    assert np.isfinite(model.best_score_)


@BOUNDARY
def test_many_classes():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 4)
    X = rng.standard_normal((30, 8))[y] * 2.0 + rng.standard_normal((120, 8))
    model = finite(BilevelLogisticCV(cv=2).fit(X, y), X)
    assert model.score(X, y) > 0.6


# Rows and columns.


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@BOUNDARY
@pytest.mark.parametrize("n", [2, 3, 5, 10, 19])
def test_few_rows(n, X, amounts):
    y = np.arange(n) % 2
    model = finite(BilevelLogisticCV().fit(X[:n], y), X)
    assert np.ptp(model.alpha_) <= 1e-9 * model.alpha_.max()
    finite(BilevelPoissonCV().fit(X[:n], amounts[:n]), X)
    finite(BilevelGammaCV().fit(X[:n], amounts[:n]), X)


@BOUNDARY
def test_constant_columns(X, classes, amounts):
    padded = np.column_stack([X, np.full(N, 7.0), np.zeros(N)])
    for model, y in [(BilevelLogisticCV(), classes), (BilevelPoissonCV(), amounts)]:
        assert abs(finite(model.fit(padded, y), padded).coef_[..., P:]).max() < 1e-6
    only = BilevelLogisticCV().fit(np.ones((N, 3)), classes)
    assert_array_equal(only.coef_, 0.0)
    share = np.bincount(classes) / N
    assert_allclose(only.predict_proba(np.ones((1, 3)))[0], share, atol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_more_columns_than_rows(make, X, classes, amounts):
    wide = np.hstack([X, np.random.default_rng(3).standard_normal((N, 2 * N))])
    model = finite(BilevelLogisticCV(cv=3).fit(make(wide), classes), make(wide))
    root = np.sqrt(model.C_)
    reference = LogisticRegression(tol=1e-10, max_iter=10_000).fit(wide * root, classes)
    assert_allclose(model.coef_, reference.coef_ * root, atol=1e-4)
    finite(BilevelPoissonCV(cv=3).fit(make(wide), amounts), make(wide))


def test_a_large_mean_costs_no_digits(X, classes, amounts):
    far = X + 1e8
    a, b = BilevelLogisticCV().fit(far, classes), BilevelLogisticCV().fit(X, classes)
    assert_allclose(a.coef_, b.coef_, rtol=1e-4, atol=1e-5)
    assert_allclose(a.predict_proba(far), b.predict_proba(X), atol=1e-4)
    a, b = BilevelPoissonCV().fit(far, amounts), BilevelPoissonCV().fit(X, amounts)
    assert_allclose(a.predict(far), b.predict(X), rtol=1e-4)


@BOUNDARY
def test_columns_of_very_different_scale(X, classes, amounts):
    scale = np.logspace(-6, 6, P)
    a = BilevelLogisticCV().fit(X * scale, classes)
    finite(a, X * scale)
    assert a.score(X * scale, classes) > 0.5
    finite(BilevelPoissonCV().fit(X * scale, amounts), X * scale)


@BOUNDARY
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_a_row_of_huge_leverage(size, X, classes, amounts):
    X[0] *= size
    finite(BilevelLogisticCV().fit(X, classes), X)
    model = BilevelPoissonCV().fit(X, amounts)
    finite(model, X)
    assert model.score(X[1:], amounts[1:]) > -1.0
    finite(BilevelGammaCV().fit(X, amounts), X)


@BOUNDARY
def test_fully_unpenalized(X, classes, amounts):
    every = np.ones(P, dtype=bool)
    model = BilevelLogisticCV(unpenalized=every).fit(X, classes)
    assert_array_equal(model.alpha_, 0.0)
    assert_array_equal(model.C_, np.inf)
    finite(BilevelPoissonCV(unpenalized=every).fit(X, amounts), X)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_d2_has_no_unit(unit):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = np.exp(X[:, 0]) * rng.gamma(2.0, 0.5, 60) + 1e-3
    for kind in (BilevelGammaCV, BilevelTweedieCV, BilevelPoissonCV):
        model = kind(hyperpenalty=None).fit(X, y)
        plain, wrong = model.score(X, y), model.score(X[::-1], y)
        model.intercept_ += np.log(unit)
        assert_allclose(model.score(X, unit * y), plain, rtol=1e-6)
        assert_allclose(model.score(X[::-1], unit * y), wrong, rtol=1e-6)


def test_offsets_of_rows_without_a_weight_do_not_matter():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    y = rng.gamma(2.0, np.exp(X[:, 0]))
    weight, offset = np.ones(100), np.zeros(100)
    weight[5], offset[5] = 0.0, 1e4
    for kind in (BilevelGammaCV, BilevelTweedieCV, BilevelPoissonCV):
        plain = kind(hyperpenalty=None).fit(X, y, sample_weight=weight)
        model = kind(hyperpenalty=None).fit(X, y, sample_weight=weight, offset=offset)
        assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-8)
        for far in (offset, -offset):
            score = model.score(X, y, sample_weight=weight, offset=far)
            assert_allclose(score, plain.score(X, y, sample_weight=weight), rtol=1e-6)


def test_errors_come_before_the_search():
    X = np.random.default_rng(0).standard_normal((40, 2))
    y = (X[:, 0] > 0).astype(int)
    with pytest.raises(ValueError, match="acuracy"):
        BilevelLogisticCV(scoring="acuracy", max_iter=1).fit(X, y)
