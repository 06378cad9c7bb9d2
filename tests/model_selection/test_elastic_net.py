"""The elastic-net path as strengths: coefficients of scikit-learn, both ways."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import ElasticNet, MultiTaskElasticNet

from skbilevel.model_selection._elastic_net import (
    Descent,
    GramOracle,
    KernelOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._ridge import solve_moments

GRID = np.array([0.8, 0.3, 0.05])


def data(n=60, p=20, t=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * rng.uniform(0.5, 2.0, p)
    y = X[:, :4] @ rng.standard_normal((4, t)) + rng.standard_normal((n, t))
    y = y - y.mean(axis=0)
    return X - X.mean(axis=0), y / y.std()


def gram_oracle(X, y):
    return GramOracle(X.T @ X, X.T @ y, float((y**2).sum()), float(len(X)))


def penalties(X, y, ratio):
    """In scikit-learn's units: per row."""
    return np.sqrt(((X.T @ y) ** 2).sum(axis=1)).max() / ratio * GRID / len(X)


@pytest.mark.parametrize("ratio", [0.5, 0.9])
@pytest.mark.parametrize("t", [1, 3])
@pytest.mark.parametrize("shape", [(60, 20), (40, 200)])
def test_coefficients_are_scikit_learns(shape, t, ratio):
    X, y = data(*shape, t=t)
    _, coefs = elastic_net_strengths(gram_oracle(X, y), GRID, ratio)
    for k, alpha in enumerate(penalties(X, y, ratio)):
        kind = ElasticNet if t == 1 else MultiTaskElasticNet
        model = kind(alpha=alpha, l1_ratio=ratio, tol=1e-9, max_iter=100_000)
        model.fit(X, y[:, 0] if t == 1 else y)
        expected = model.coef_.reshape(t, -1).T
        assert_allclose(coefs[k], expected, atol=0.02 * abs(expected).max())


@pytest.mark.parametrize("t", [1, 3])
@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_ridge_at_the_strengths_is_the_elastic_net(t, ratio):
    X, y = data(t=t)
    # To the precision that the identity holds to, descent has to converge.
    precise = Descent(tol=1e-14, max_iter=100_000)
    v, coefs = elastic_net_strengths(gram_oracle(X, y), GRID, ratio, precise)
    again = solve_moments(X.T @ X, X.T @ y, v)
    assert_allclose(again, coefs, rtol=1e-5, atol=1e-7)
    assert_array_equal(v == 0, ~coefs.any(axis=-1))
    assert (v[0] == 0).any()


@pytest.mark.parametrize("t", [1, 2])
def test_working_sets_are_the_plain_path(t):
    """Up to 120 columns the path is plain; columns of zeros change nothing else."""
    X, y = data(80, 110, t=t)
    grid = relative_grid(80.0, 150)
    precise = Descent(tol=1e-10, max_iter=100_000)
    wide = np.hstack([np.zeros((80, 40)), X])
    v, w = elastic_net_strengths(gram_oracle(wide, y), grid, 0.5, precise)
    v_plain, w_plain = elastic_net_strengths(gram_oracle(X, y), grid, 0.5, precise)
    assert not v[:, :40].any()
    assert_allclose(w[:, 40:], w_plain, atol=5e-3 * abs(w_plain).max())
    assert_allclose(v[:, 40:], v_plain, atol=2e-2 * v_plain.max())


@pytest.mark.parametrize("setting", [{}, {"weighted": True, "free": (1,)}])
def test_oracles_agree(make_rows, setting):
    rows = make_rows(40, 150, **setting)
    train = np.arange(30)
    kernel_rows = KernelRows.of(rows)
    oracle = KernelOracle(KernelSet(kernel_rows, train))
    E, root = kernel_rows.free[train], np.sqrt(rows.weight[train])[:, None]
    z = root * np.hstack([kernel_rows.X[train], rows.y[train]])
    z = z - (root * E) @ np.linalg.lstsq(root * E, z, rcond=None)[0]
    gram = gram_oracle(z[:, :-1], z[:, -1:])
    active = np.array([3, 17, 80])
    w = np.array([[1.0], [-2.0], [0.5]])
    assert_allclose(oracle.cross, gram.cross, rtol=1e-9, atol=1e-10)
    assert_allclose(oracle.yy, gram.yy, rtol=1e-10)
    assert_allclose(oracle.sub_gram(active), gram.sub_gram(active), atol=1e-10)
    # Columns that are new, and some that were asked for.
    more = np.array([1, 17, 81])
    assert_allclose(oracle.sub_gram(more), gram.sub_gram(more), atol=1e-10)
    assert_allclose(oracle.gradient(active, w), gram.gradient(active, w), atol=1e-9)


def test_a_limit_repeats_the_last_point():
    X, y = data(60, 150)
    grid = relative_grid(60.0, 150)
    v, w = elastic_net_strengths(gram_oracle(X, y), grid, 0.5, Descent(limit=10))
    used = (v > 0).sum(axis=1)
    assert used.max() <= 10
    assert_array_equal(w[-1], w[-2])


def test_nothing_correlates():
    X, _ = data()
    v, w = elastic_net_strengths(gram_oracle(X, np.zeros((60, 1))), GRID, 0.5)
    assert not v.any()
    assert not w.any()


def test_grid_is_relative():
    """Scaling the target scales the coefficients and changes nothing else."""
    X, y = data()
    v, w = elastic_net_strengths(gram_oracle(X, y), GRID, 0.5)
    v_scaled, w_scaled = elastic_net_strengths(gram_oracle(X, 1e3 * y), GRID, 0.5)
    assert_allclose(w_scaled, 1e3 * w, rtol=1e-9)
    assert_allclose(v_scaled, v, rtol=1e-9)
