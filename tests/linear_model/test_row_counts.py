"""A weight is a number of rows: units of weights, rows without one, repetitions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
)

CLASSES = {
    "ridge": BilevelRidgeCV,
    "indicators": BilevelRidgeClassifierCV,
    "logistic": BilevelLogisticCV,
    "softmax": BilevelLogisticCV,
    "poisson": BilevelPoissonCV,
    "gamma": BilevelGammaCV,
    "tweedie": BilevelTweedieCV,
}
# Where scikit-learn's loss is a mean over rows, the unit of weights does not matter.
MEANS = ("poisson", "gamma", "tweedie")
MODES = [{"cv": 2}, {"hyperpenalty": None}, {"feature_groups": "shared", "cv": "loo"}]


def make_data(name, n=40, p=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = 0.6 * X[:, 0] - 0.4 * X[:, 1]
    if name == "poisson":
        y = rng.poisson(np.exp(eta)).astype(float)
    elif name in MEANS:
        y = np.exp(eta) * rng.gamma(2.0, 0.5, n)
        y = y if name == "gamma" else np.where(rng.random(n) < 0.3, 0.0, y)
    else:
        y = eta + 0.7 * rng.standard_normal(n)
        ends = [-0.3, 0.4] if name == "softmax" else [0.0]
        y = y if name == "ridge" else np.digitize(y, ends)
    return X, y, rng.integers(0, 4, n)


def by_thirds(row):
    """Splits that rows and their repetitions share."""
    label = row % 3
    return [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(3)]


def unit_of(name, factor):
    return 1.0 if name in MEANS else factor


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("params", MODES, ids=str)
def test_weights_of_a_mean_below_one_have_no_unit(name, params):
    """Weights that sum to one, or exposures in years, are no numbers of rows."""
    X, y, _ = make_data(name)
    weight = np.random.default_rng(1).uniform(0.2, 1.8, len(y))
    weight *= 0.9 / weight.mean()
    a = CLASSES[name](**params).fit(X, y, sample_weight=weight)
    b = CLASSES[name](**params).fit(X, y, sample_weight=weight * 2.0**-20)
    assert_allclose(a.coef_, b.coef_, rtol=1e-12)
    assert_allclose(a.best_score_, b.best_score_, rtol=1e-12)
    assert_allclose(a.alpha_ * unit_of(name, 2.0**-20), b.alpha_, rtol=1e-12)
    assert a.coef_.any()


@pytest.mark.parametrize("name", ["ridge", "logistic", "poisson"])
def test_what_is_said_in_units_of_strengths_has_that_of_the_weights(name):
    X, y, _ = make_data(name)
    weight = np.full(len(y), 0.5)
    unit = unit_of(name, 0.5)
    for params, scaled in (
        ({"alpha_init": 3.0}, {"alpha_init": 3.0 * unit}),
        ({"alpha_bounds": (0.5, 9.0)}, {"alpha_bounds": (0.5 * unit, 9.0 * unit)}),
    ):
        a = CLASSES[name](hyperpenalty=("smooth", 0.1), **params).fit(X, y)
        b = CLASSES[name](hyperpenalty=("smooth", 0.1), **scaled)
        b.fit(X, y, sample_weight=weight)
        assert_allclose(a.coef_, b.coef_, rtol=1e-9)
        assert_allclose(a.alpha_ * unit, b.alpha_, rtol=1e-9)


def test_coefficients_solve_the_users_problem():
    X, y, _ = make_data("ridge")
    weight = np.random.default_rng(1).uniform(0.2, 1.8, len(y)) / len(y)
    model = BilevelRidgeCV(hyperpenalty=None).fit(X, y, sample_weight=weight)
    root = 1.0 / np.sqrt(model.alpha_)
    plain = Ridge(1.0, tol=1e-12).fit(X * root, y, sample_weight=weight)
    assert_allclose(model.coef_, plain.coef_ * root, rtol=1e-6)
    X, y, _ = make_data("logistic")
    model = BilevelLogisticCV().fit(X, y, sample_weight=weight)
    root = np.sqrt(model.C_)
    plain = LogisticRegression(tol=1e-10, max_iter=10_000)
    plain.fit(X * root, y, sample_weight=weight)
    assert_allclose(model.coef_, plain.coef_ * root, rtol=1e-4)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("params", MODES, ids=str)
def test_rows_of_weight_zero_are_as_if_removed(name, params):
    """Bit by bit, whatever they hold: a mean with a log link would overflow."""
    X, y, _ = make_data(name)
    weight = np.random.default_rng(1).uniform(0.2, 3.0, len(y))
    weight[:7] = weight[30] = 0.0
    kept = np.flatnonzero(weight)
    X[weight == 0.0] *= 1e8
    y[:7] = -3 if name in ("ridge", *MEANS) else 7
    X = sparse.csr_array(X) if "cv" not in params else X
    a = CLASSES[name](**params).fit(X, y, sample_weight=weight)
    b = CLASSES[name](**params).fit(X[kept], y[kept], sample_weight=weight[kept])
    assert_array_equal(a.coef_, b.coef_)
    assert_array_equal(a.alpha_, b.alpha_)
    assert a.best_score_ == b.best_score_
    if hasattr(a, "classes_"):
        assert_array_equal(a.classes_, b.classes_)


@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None}], ids=str)
def test_what_is_said_of_rows_follows_them(params):
    """Groups, splits, offsets and the scores of folds, where some have no weight."""
    X, y, _ = make_data("poisson")
    groups, offset = np.arange(40) % 11, np.sin(np.arange(40.0))
    weight = np.where(np.arange(40) % 7 < 2, 0.0, 1.0)
    offset[weight == 0.0] = 1e4
    kept = np.flatnonzero(weight)
    for cv in (None, "rows"):
        found = []
        for rows in (np.arange(40), kept):
            own = {} if cv else {"groups": groups[rows]}
            splits = by_thirds(rows) if cv else None
            model = BilevelPoissonCV(cv=splits, scoring="r2", **params)
            model.fit(
                X[rows], y[rows], sample_weight=weight[rows], offset=offset[rows], **own
            )
            found.append((model.coef_, model.best_score_))
        assert_array_equal(found[0][0], found[1][0])
        assert found[0][1] == pytest.approx(found[1][1], rel=1e-12)


# At an end of its range, where twelve rows may well be, a shared strength warns.
@pytest.mark.filterwarnings("ignore:The best shared strength")
@pytest.mark.parametrize(
    ("name", "n", "p", "seed"),
    [(name, 12, 4, 0) for name in CLASSES] + [("tweedie", 40, 6, 1)],
)
def test_rules_for_few_rows_count_weights(name, n, p, seed):
    """Twelve rows of weight three are 36 rows, and paths end where theirs do."""
    X, y, times = make_data(name, n, p, seed)
    times = times + 2 if n == 12 else times
    index = np.repeat(np.arange(n), times)
    a = CLASSES[name](cv=by_thirds(np.arange(n))).fit(X, y, sample_weight=times)
    b = CLASSES[name](cv=by_thirds(index)).fit(X[index], y[index])
    assert len(a.hyperpenalty_["family"]) > 5
    assert_allclose(a.coef_, b.coef_, rtol=1e-6, atol=1e-8)
    assert_allclose(a.best_score_, b.best_score_, rtol=1e-8)


@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None}], ids=str)
def test_folds_of_groups_count_weights(params):
    X, y, times = make_data("ridge")
    groups, index = np.sqrt(np.arange(40)).astype(int), np.repeat(np.arange(40), times)
    a = BilevelRidgeCV(**params).fit(X, y, sample_weight=times, groups=groups)
    b = BilevelRidgeCV(**params).fit(X[index], y[index], groups=groups[index])
    assert_allclose(a.coef_, b.coef_, rtol=1e-9)
    a = BilevelRidgeCV(**params).fit(X, y, groups=groups)
    b = BilevelRidgeCV(cv=GroupKFold(5), **params).fit(X, y, groups=groups)
    assert_array_equal(a.coef_, b.coef_)


@pytest.mark.parametrize("name", ["indicators", "logistic"])
def test_weights_of_classes_do_not_make_fewer_rows(name):
    X, y, times = make_data(name)
    index = np.repeat(np.arange(40), times)
    shares = {0: 0.02, 1: 0.05}
    a = CLASSES[name](cv=by_thirds(np.arange(40)), class_weight=shares)
    a.fit(X, y, sample_weight=times)
    b = CLASSES[name](cv=by_thirds(index), class_weight=shares).fit(X[index], y[index])
    assert_allclose(a.coef_, b.coef_, rtol=1e-6)
    more = {key: 20.0 * each for key, each in shares.items()}
    c = CLASSES[name](cv=by_thirds(index), class_weight=more).fit(X[index], y[index])
    assert_allclose(b.coef_, c.coef_, rtol=1e-9)
    assert_allclose(20.0 * b.alpha_, c.alpha_, rtol=1e-9)


def test_metadata_are_asked_in_the_users_weights():
    X, y, _ = make_data("ridge")
    weight, seen = np.random.default_rng(1).uniform(0.0, 0.1, len(y)), []
    weight[4] = 0.0

    def scale(X, y, sample_weight):
        seen.append(sample_weight)
        return np.log(X.std(axis=0))

    BilevelRidgeCV(feature_metadata=scale).fit(X, y, sample_weight=weight)
    longest = max(seen, key=len)
    assert_allclose(longest, np.delete(weight, 4), rtol=1e-12)


def test_no_usable_split():
    X, y, _ = make_data("ridge")
    cv, weight = [(np.arange(20), np.arange(20, 40))], np.repeat([1.0, 0.0], 20)
    for params in ({}, {"hyperpenalty": None}):
        with pytest.raises(ValueError, match="no split with training and validation"):
            BilevelRidgeCV(cv=cv, **params).fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="At least 2 rows of positive weight"):
        BilevelRidgeCV().fit(X, y, sample_weight=np.arange(40) == 3)
