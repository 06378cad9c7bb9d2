"""Strengths of largest restricted likelihood, by name."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.linear_model import ARDRegression
from sklearn.model_selection import KFold, cross_val_predict

from skbilevel import BilevelLogisticCV, BilevelPoissonCV, BilevelRidgeCV
from skbilevel import BilevelRidgeClassifierCV as Classifier

REML = {"hyperpenalty": None, "cv": "reml"}


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
    model = BilevelRidgeCV(feature_groups=labels, tol=1e-6, **REML).fit(X, y)

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
    model = BilevelRidgeCV(tol=1e-6, **REML).fit(X, y)
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
        cv="reml", hyperpenalty=hyperpenalty, feature_groups="shared"
    )
    a, b = (clone(model).fit(X, each) for each in (y, 1e3 * y))
    np.testing.assert_allclose(a.alpha_, b.alpha_, rtol=1e-6)
    np.testing.assert_allclose(1e6 * a.best_score_, b.best_score_, rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 5), (15, 40)])
def test_a_weight_is_a_repetition(shape):
    X, y = make_data(*shape)
    times = np.arange(len(y)) % 3 + 1
    model = BilevelRidgeCV(feature_groups=np.arange(shape[1]) % 3, tol=1e-6, **REML)
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
    model = BilevelRidgeCV(feature_groups=np.arange(shape[1]) % 3, tol=1e-6, **REML)
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
    model = BilevelRidgeCV(feature_groups=labels, tol=1e-6, **REML).fit(X, Y)
    assert model.coef_.shape == (2, shape[1])

    def mean_of(alpha):
        return np.mean([objective(X, each, alpha) for each in Y.T])

    own = mean_of(model.alpha_)
    power = shape[0] / (shape[0] - 1.0)
    # One strength of all targets has one unit, that of all targets together.
    scale = np.exp(power * own)
    unit = np.log(-model.best_score_ / scale)
    again = BilevelRidgeCV(feature_groups="shared", **REML).fit(X, Y)
    scale = np.exp(power * mean_of(again.alpha_))
    np.testing.assert_allclose(np.log(-again.best_score_ / scale), unit, atol=1e-6)
    for factor in (0.8, 1.25):
        for j in range(3):
            moved = model.alpha_ * np.where(labels == j, factor, 1.0)
            assert own < mean_of(moved) + 1e-6


def test_a_smooth_hyperpenalty_draws_strengths_together():
    X, y = make_data(60, 9)
    loose, tight = (
        BilevelRidgeCV(cv="reml", hyperpenalty=("smooth", value)).fit(X, y)
        for value in (0.01, 10.0)
    )
    assert np.ptp(np.log(tight.alpha_)) < 0.1 * np.ptp(np.log(loose.alpha_))


def test_scoring_is_of_rows_left_out():
    X, y = make_data(40, 5)
    params = {"feature_groups": "shared", "scoring": "r2", **REML}
    model = BilevelRidgeCV(**params).fit(X, y)
    predicted = cross_val_predict(_ridge(model), X, y, cv=KFold(40))
    expected = 1.0 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    np.testing.assert_allclose(model.best_score_, expected, rtol=1e-6)


def _ridge(model):
    plain = model.to_sklearn()
    return plain.set_params(alpha=float(model.alpha_[0]))


def test_classes():
    X, y = make_data(60, 9)
    model = Classifier(feature_groups="shared", **REML).fit(X, y > y.mean())
    assert model.score(X, y > y.mean()) > 0.8


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (BilevelRidgeCV(cv="reml"), "hyperpenalty"),
        (BilevelPoissonCV(cv="reml"), "hyperpenalty"),
        (BilevelLogisticCV(solver="newton-cg", **REML), "factors"),
        (BilevelRidgeCV(solver="hoag", **REML), "held-out"),
    ],
)
def test_where_it_is_not_defined(model, match):
    X, y = make_data(60, 3)
    with pytest.raises(ValueError, match=match):
        model.fit(X, (y > y.mean()).astype(int))


LABELS = np.arange(6) % 3


def counts_and_classes():
    """Counts of dispersion four, and classes."""
    X, y = make_data(90, 6)
    mean = np.exp(0.1 * y)
    rng = np.random.default_rng(2)
    counts = rng.negative_binomial(mean / 3.0, 0.25).astype(float)
    return X, counts, (y > 5.0 + 3.0 * rng.standard_normal(90)).astype(float)


def laplace(X, y, weight, alpha, power):
    """Minus twice the log likelihood, with all coefficients integrated out.

    Newton's method and dense algebra; power 0 stands for classes.
    """
    Z = np.c_[np.ones(len(y)), X]
    penalty, w = np.r_[0.0, alpha], np.zeros(Z.shape[1])

    def mean_of(eta):
        return np.exp(eta) if power else 1.0 / (1.0 + np.exp(-eta))

    for _ in range(50):
        mean = mean_of(Z @ w)
        bend = weight * (mean if power else mean * (1.0 - mean))
        H = (Z.T * bend) @ Z + np.diag(penalty)
        w -= np.linalg.solve(H, Z.T @ (weight * (mean - y)) + penalty * w)
    eta, mean = Z @ w, mean_of(Z @ w)
    if not power:
        loss = np.logaddexp(0.0, eta) - y * eta
    else:
        loss = np.where(y > 0, y * np.log(np.maximum(y, 1.0) / mean), 0.0) - y + mean
    twice = 2.0 * weight @ loss + penalty @ w**2
    logdet = np.linalg.slogdet(H)[1] - np.log(alpha).sum()
    if not power:
        return twice + logdet
    null = np.full(len(y), weight @ y / weight.sum())
    deviance = np.where(y > 0, y * np.log(np.maximum(y, 1.0) / null), 0.0) - y + null
    deviance = 2.0 * weight @ deviance
    ratio = weight @ ((y - null) ** 2 / null) / deviance
    left = (weight.sum() - 1.0) / ratio
    return left * np.log(twice + 1e-4 * deviance) + logdet


@pytest.mark.parametrize("family", ["counts", "classes"])
def test_other_losses_have_the_largest_likelihood(family):
    X, counts, classes = counts_and_classes()
    weight = np.arange(90) % 3 + 1.0
    if family == "counts":
        y, model, power = counts, BilevelPoissonCV, 1.0
    else:
        y, model, power = classes, BilevelLogisticCV, 0.0
    model = model(feature_groups=LABELS, tol=1e-7, **REML).fit(X, y, weight)
    unit = weight.sum() if power else 1.0
    # Columns of an infinite strength hardly matter at a large one.
    alpha = np.minimum(model.alpha_ * unit, 1e7)
    assert (alpha < 1e7).sum() >= 4
    own = laplace(X, y, weight, alpha, power)
    for k in range(3):
        for factor in (0.8, 1.25):
            moved = alpha * np.where(LABELS == k, factor, 1.0)
            assert own < laplace(X, y, weight, moved, power) + 1e-4


def test_several_classes_and_wide_columns():
    X, _, _ = counts_and_classes()
    y = np.digitize(X[:, 0] + np.random.default_rng(0).standard_normal(90), [-1, 1])
    model = BilevelLogisticCV(feature_groups=LABELS, **REML).fit(X, y)
    assert model.group_alpha_[0] < model.group_alpha_[1:].min()
    # Columns that are there twice with half the size are one column: in the dual, too.
    wide = np.repeat(X[:20], 8, axis=1) / np.sqrt(8.0)
    labels = np.repeat(LABELS, 8)
    counts = counts_and_classes()[1][:20]
    tall = BilevelPoissonCV(feature_groups=LABELS, tol=1e-8, **REML)
    dual = BilevelPoissonCV(feature_groups=labels, tol=1e-8, **REML)
    predicted = [tall.fit(X[:20], counts).predict(X[:20])]
    predicted.append(dual.fit(wide, counts).predict(wide))
    np.testing.assert_allclose(*predicted, rtol=1e-3)


def test_rows_cannot_be_kept_together():
    X, y = make_data(60, 3)
    with pytest.raises(ValueError, match="judges all rows"):
        BilevelRidgeCV(**REML).fit(X, y, groups=np.arange(60) // 2)
