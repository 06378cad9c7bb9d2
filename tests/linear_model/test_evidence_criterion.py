"""Ridge strengths of largest evidence, by name."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.linear_model import ARDRegression
from sklearn.model_selection import KFold, cross_val_predict

from skbilevel import BilevelLogisticCV, BilevelPoissonCV, BilevelRidgeCV
from skbilevel import BilevelRidgeClassifierCV as Classifier

EVIDENCE = {"hyperpenalty": None, "cv": "evidence"}


def make_data(n, p, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    w = rng.standard_normal(p) * np.array([1.0, 0.3, 0.1])[np.arange(p) % 3]
    return X, 5.0 + 3.0 * (X @ w + rng.standard_normal(n))


def objective(X, y, alpha):
    """Minus 2 / n times the log evidence, by dense algebra."""
    n = len(y)
    X, y = X - X.mean(axis=0), y - y.mean()
    C = np.eye(n) + (X / alpha) @ X.T
    Q = y @ np.linalg.solve(C, y) + 1e-4 * (y @ y)
    return ((n - 1) * np.log(Q / n) + np.linalg.slogdet(C)[1]) / n


@pytest.mark.parametrize("shape", [(60, 9), (30, 45)])
def test_groups_have_the_largest_evidence(shape):
    X, y = make_data(*shape)
    labels = np.arange(shape[1]) % 3
    model = BilevelRidgeCV(feature_groups=labels, tol=1e-6, **EVIDENCE).fit(X, y)

    def of_groups(log_alpha):
        return objective(X, y, np.exp(log_alpha)[labels])

    best = min(
        (minimize(of_groups, start, method="Nelder-Mead") for start in np.eye(3) - 1),
        key=lambda found: found.fun,
    )
    own = objective(X, y, model.alpha_)
    assert own < best.fun + 1e-4
    power = shape[0] / (shape[0] - 1.0)
    np.testing.assert_allclose(-model.best_score_, np.exp(power * own), rtol=1e-6)


def test_strengths_of_features_are_those_of_ard():
    """scikit-learn leaves the intercept out of the degrees of freedom."""
    X, y = make_data(400, 6)
    model = BilevelRidgeCV(tol=1e-6, **EVIDENCE).fit(X, y)
    ard = ARDRegression(max_iter=2000, tol=1e-8, threshold_lambda=1e12).fit(X, y)
    np.testing.assert_allclose(model.coef_, ard.coef_, rtol=0.02, atol=0.02)
    clear = ard.lambda_ < 10.0 * np.median(ard.lambda_)
    np.testing.assert_allclose(
        model.alpha_[clear], (ard.lambda_ / ard.alpha_)[clear], rtol=0.1
    )


@pytest.mark.parametrize("hyperpenalty", [None, ("smooth", 0.1)])
@pytest.mark.parametrize("shape", [(60, 6), (20, 30)])
def test_units_do_not_matter(shape, hyperpenalty):
    X, y = make_data(*shape)
    model = BilevelRidgeCV(
        cv="evidence", hyperpenalty=hyperpenalty, feature_groups="shared"
    )
    a, b = (clone(model).fit(X, each) for each in (y, 1e3 * y))
    np.testing.assert_allclose(a.alpha_, b.alpha_, rtol=1e-6)
    np.testing.assert_allclose(1e6 * a.best_score_, b.best_score_, rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 5), (15, 40)])
def test_a_weight_is_a_repetition(shape):
    X, y = make_data(*shape)
    times = np.arange(len(y)) % 3 + 1
    model = BilevelRidgeCV(feature_groups=np.arange(shape[1]) % 3, tol=1e-6, **EVIDENCE)
    a = clone(model).fit(X, y, sample_weight=times.astype(float))
    b = clone(model).fit(np.repeat(X, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a.best_score_, b.best_score_, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(60, 9), (20, 45)])
def test_sparse_columns_are_columns(shape, weighted):
    X, y = make_data(*shape)
    rng = np.random.default_rng(1)
    X = np.where(rng.random(shape) < 0.5, X, 0.0)
    weight = rng.uniform(0.2, 3.0, shape[0]) if weighted else None
    model = BilevelRidgeCV(feature_groups=np.arange(shape[1]) % 3, tol=1e-6, **EVIDENCE)
    a, b = (clone(model).fit(each, y, weight) for each in (X, sparse.csr_array(X)))
    np.testing.assert_allclose(b.alpha_, a.alpha_, rtol=1e-3)
    np.testing.assert_allclose(b.coef_, a.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(b.best_score_, a.best_score_, rtol=1e-8)


@pytest.mark.parametrize("shape", [(60, 9), (20, 45)])
def test_targets_share_the_mean_of_their_evidences(shape):
    """Each target has a noise variance of its own, all have the same strengths."""
    X, y = make_data(*shape)
    other = make_data(*shape, seed=1)[1]
    Y, labels = np.column_stack([y, 0.1 * other]), np.arange(shape[1]) % 3
    model = BilevelRidgeCV(feature_groups=labels, tol=1e-6, **EVIDENCE).fit(X, Y)
    assert model.coef_.shape == (2, shape[1])

    def mean_of(alpha):
        return np.mean([objective(X, each, alpha) for each in Y.T])

    own = mean_of(model.alpha_)
    power = shape[0] / (shape[0] - 1.0)
    # One strength of all targets has one unit, that of all targets together.
    scale = np.exp(power * own)
    unit = np.log(-model.best_score_ / scale)
    again = BilevelRidgeCV(feature_groups="shared", **EVIDENCE).fit(X, Y)
    scale = np.exp(power * mean_of(again.alpha_))
    np.testing.assert_allclose(np.log(-again.best_score_ / scale), unit, atol=1e-6)
    for factor in (0.8, 1.25):
        for j in range(3):
            moved = model.alpha_ * np.where(labels == j, factor, 1.0)
            assert own < mean_of(moved) + 1e-6


def test_a_smooth_hyperpenalty_draws_strengths_together():
    X, y = make_data(60, 9)
    loose, tight = (
        BilevelRidgeCV(cv="evidence", hyperpenalty=("smooth", value)).fit(X, y)
        for value in (0.01, 10.0)
    )
    assert np.ptp(np.log(tight.alpha_)) < 0.1 * np.ptp(np.log(loose.alpha_))


def test_scoring_is_of_rows_left_out():
    X, y = make_data(40, 5)
    params = {"feature_groups": "shared", "scoring": "r2", **EVIDENCE}
    model = BilevelRidgeCV(**params).fit(X, y)
    predicted = cross_val_predict(_ridge(model), X, y, cv=KFold(40))
    expected = 1.0 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    np.testing.assert_allclose(model.best_score_, expected, rtol=1e-6)


def _ridge(model):
    plain = model.to_sklearn()
    return plain.set_params(alpha=float(model.alpha_[0]))


def test_classes():
    X, y = make_data(60, 9)
    model = Classifier(feature_groups="shared", **EVIDENCE).fit(X, y > y.mean())
    assert model.score(X, y > y.mean()) > 0.8


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (BilevelRidgeCV(cv="evidence"), "hyperpenalty"),
        (BilevelLogisticCV(**EVIDENCE), "normal errors"),
        (BilevelPoissonCV(cv="evidence"), "normal errors"),
        (BilevelRidgeCV(solver="hoag", **EVIDENCE), "held-out"),
    ],
)
def test_where_it_is_not_defined(model, match):
    X, y = make_data(60, 3)
    with pytest.raises(ValueError, match=match):
        model.fit(X, (y > y.mean()).astype(int))


def test_rows_cannot_be_kept_together():
    X, y = make_data(60, 3)
    with pytest.raises(ValueError, match="judges all rows"):
        BilevelRidgeCV(**EVIDENCE).fit(X, y, groups=np.arange(60) // 2)
