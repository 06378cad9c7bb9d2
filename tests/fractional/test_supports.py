"""Ways to k features are what they are called."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge, lars_path, orthogonal_mp

from skbilevel.fractional._selection import Selection, sizes_for
from skbilevel.fractional._supports import (
    ScaledRows,
    by_ratio,
    exchanged,
    filled,
    lasso_path,
    pursuit,
    ridge,
)
from skbilevel.problems import GramColumns, LeastSquaresL1, TopK
from skbilevel.solvers import RatioStatus, minimize_ratio


def make_data(n=40, p=25, k=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    X[:, 1:] = 0.6 * X[:, :-1] + 0.8 * X[:, 1:]
    X = X * np.exp(rng.standard_normal(p)) + 3.0
    coef = np.where(np.arange(p) % 5 == 1, 1.0, 0.0) * (np.arange(p) < 5 * k)
    y = (X - 3.0) / X.std(axis=0) @ coef + 0.5 * rng.standard_normal(n)
    return X, y


def scaled(X, y):
    Z = X - X.mean(axis=0)
    return Z / np.linalg.norm(Z, axis=0), y - y.mean()


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_moments_are_those_of_scaled_columns(kind):
    X, y = make_data()
    X[np.abs(X - 3.0) < 0.4] = 0.0
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 40)
    rows = ScaledRows.of(kind(X), y, weight, True)
    root = np.sqrt(weight)[:, None]
    Z = root * (X - weight @ X / weight.sum())
    Z = Z / np.linalg.norm(Z, axis=0)
    target = root[:, 0] * (y - weight @ y / weight.sum())
    moments = rows.moments
    np.testing.assert_allclose(moments.block(np.arange(25)), Z.T @ Z, atol=1e-12)
    np.testing.assert_allclose(moments.cross, Z.T @ target, atol=1e-12)
    np.testing.assert_allclose(moments.gram.diagonal, 1.0)
    x = np.arange(25.0)
    np.testing.assert_allclose(moments.gram.product(x), Z.T @ (Z @ x), atol=1e-10)
    assert moments.yy == pytest.approx(target @ target)


def residual(moments, support):
    """Squared error of least squares on a support."""
    G, c = moments.block(support), moments.cross[support]
    return moments.yy - c @ np.linalg.lstsq(G, c)[0]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_no_exchange_of_one_feature_is_left(kind):
    """By brute force over all of them; every start ends below where it began."""
    X, y = make_data(p=16)
    X[:, 7] = X[:, 3]  # a copy
    moments = ScaledRows.of(kind(X), y, np.ones(40), True).moments
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(5):
        start = rng.choice(16, 4, replace=False)
        end = exchanged(moments, [start])
        ends.append(residual(moments, end))
        assert len(set(end)) == 4
        assert ends[-1] <= residual(moments, np.sort(start)) + 1e-12
        swapped = [
            residual(moments, np.append(np.delete(end, i), j))
            for i in range(4)
            for j in np.setdiff1d(np.arange(16), end)
        ]
        assert min(swapped) >= ends[-1] * (1 - 1e-8)
    starts = [rng.choice(16, 4, replace=False) for _ in range(5)]
    best = min(residual(moments, exchanged(moments, [start])) for start in starts)
    assert residual(moments, exchanged(moments, starts)) == pytest.approx(best)


def test_pursuit_is_that_of_scikit_learn():
    X, y = make_data()
    moments = ScaledRows.of(X, y, np.ones(40), True).moments
    for k in (1, 4, 9):
        theirs = orthogonal_mp(*scaled(X, y), n_nonzero_coefs=k)
        assert set(pursuit(moments, k)) == set(np.flatnonzero(theirs))


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_that_of_scikit_learn(seed):
    X, y = make_data(seed=seed)
    moments = ScaledRows.of(X, y, np.ones(40), True).moments
    path = lasso_path(moments, 5)
    _, _, theirs = lars_path(*scaled(X, y), method="lasso")
    for k, (active, w) in enumerate(path.knots):
        ours = np.zeros(25)
        ours[active] = w
        np.testing.assert_allclose(ours, theirs[:, k], atol=1e-8)


def test_a_feature_that_leaves_the_path():
    """Two that together say more than each alone: the first is given up."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 60))
    X = np.column_stack([a + b, a, b, rng.standard_normal((60, 3))])
    y = 3.0 * a + 2.5 * b + 0.01 * rng.standard_normal(60)
    X[:, 0] += 0.3 * rng.standard_normal(60)
    path = lasso_path(ScaledRows.of(X, y, np.ones(60), True).moments, 6)
    sizes = [len(active) for active, _ in path.knots]
    assert min(np.diff(sizes)) <= 0
    assert 0 not in path.knots[-1][0] or sizes[-1] >= 5


def test_ridge_is_that_of_scikit_learn_at_the_least_gcv():
    X, y = make_data(p=6)
    support = np.array([0, 2, 5])
    coef = ridge(ScaledRows.of(X, y, np.ones(40), True).moments, support)
    Z, target = scaled(X, y)
    Z = Z[:, support]

    def gcv(alpha):
        hat = Z @ np.linalg.solve(Z.T @ Z + alpha * np.eye(3), Z.T)
        rest = target - hat @ target
        return (rest @ rest) / (39 - np.trace(hat)) ** 2

    best = min(np.logspace(-6, 6, 121), key=gcv)
    model = Ridge(best, fit_intercept=False, solver="cholesky").fit(Z, target)
    np.testing.assert_allclose(coef, model.coef_, rtol=1e-8)


def test_the_ratio_ends_where_no_coordinate_helps():
    X, y = make_data()
    moments = ScaledRows.of(X, y, np.ones(40), True).moments
    x0 = np.zeros(25)
    x0[:5] = 1.0
    _, end = by_ratio(moments, 5, x0, 0.5, 1e-9, 10_000)
    assert end.status is RatioStatus.COORDINATE
    Z, target = scaled(X, y)
    again = LeastSquaresL1(GramColumns(Z), Z.T @ target, target @ target, 0.5)
    check = minimize_ratio(again, TopK(5, 0.5), end.x, max_iter=1)
    assert check.value == pytest.approx(end.value, rel=1e-6)


def test_too_few_are_filled_up():
    X, y = make_data(p=6)
    moments = ScaledRows.of(X, y, np.ones(40), True).moments
    order = np.argsort(-np.abs(moments.cross))
    assert set(filled(order[3:4], moments, 3)) == {order[3], order[0], order[1]}
    assert list(filled(order, moments, 2)) == sorted(order[:2])


def test_pcd_is_tried_where_the_others_are_best():
    X, y = make_data(n=60, seed=1)
    halves = np.arange(60) % 2
    splits = [
        (np.flatnonzero(halves == k), np.flatnonzero(halves != k)) for k in (0, 1)
    ]
    search = Selection(("lasso", "omp", "pcd"), sizes_for(60, 25), None, 1e-5, 4000)
    method, size, table = search.choose(X, y, np.ones(60), splits, True)
    others, ratio = (table["method"] != "pcd"), (table["method"] == "pcd")
    best = table["n_features"][others][table["score"][others].argmax()]
    assert best in table["n_features"][ratio]
    assert ratio.sum() <= 3
    chosen = (table["method"] == method) & (table["n_features"] == size)
    assert table["score"][chosen][0] == pytest.approx(table["score"].max(), rel=1e-8)


def test_sizes():
    assert sizes_for(100, 1) == [1]
    assert sizes_for(3, 10) == [1]
    assert sizes_for(40, 1000) == [1, 2, 3, 4, 7, 10]
    assert sizes_for(1e6, 1000)[-1] == 50
