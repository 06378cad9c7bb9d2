"""Ridge at given variances: scikit-learn's Ridge, exact zeros, primal and dual."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._moments import sweep, sweep_map
from skbilevel.problems._ridge import solve_kernel, solve_moments

SHAPES = [(30, 6), (12, 25)]


def by_moments(rows, train, v):
    m, p = rows.n_free, rows.n_penalized
    moment = rows.moment(train)
    swept = sweep(moment, m, p, rows.weight[train].sum(), sweep_map(moment, m))
    return solve_moments(swept.gram, swept.cross, v)


def variances(p):
    v = np.random.default_rng(2).uniform(0.01, 2.0, (3, p))
    v[1, ::2] = 0.0
    v[2] = 0.0
    return v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 1e4])
def test_constant_strengths_are_scikit_learn(make_rows, shape, intercept, alpha):
    rows = make_rows(*shape, t=2, intercept=intercept, weighted=True)
    train, v = np.arange(shape[0]), np.full((1, shape[1]), 1.0 / alpha)
    model = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd")
    model.fit(rows.X, rows.y, sample_weight=rows.weight)
    dual = solve_kernel(KernelSet(KernelRows.of(rows), train), v)
    for w in (by_moments(rows, train, v), dual):
        assert_allclose(w[0], model.coef_.T, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("setting", [{}, {"free": (1, 3), "weighted": True, "t": 2}])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparse_X", [False, True])
def test_any_strengths(make_rows, explicit_ridge, shape, setting, sparse_X):
    rows = make_rows(*shape, sparse_X=sparse_X, **setting)
    plain = replace(rows, X=rows.X.toarray()) if sparse_X else rows
    train, v = np.arange(shape[0] - 2), variances(rows.n_penalized)
    primal = by_moments(rows, train, v)
    dual = solve_kernel(KernelSet(KernelRows.of(rows), train), v)
    for k in range(len(v)):
        expected = explicit_ridge(plain, train, v[k])[rows.n_free :]
        assert_allclose(primal[k], expected, rtol=1e-7, atol=1e-9)
        assert_allclose(dual[k], expected, rtol=1e-7, atol=1e-9)
        assert_array_equal(
            primal[k] == 0,
            np.repeat(v[k] == 0, rows.n_targets).reshape(-1, rows.n_targets),
        )
        assert_array_equal(dual[k][v[k] == 0], 0.0)
    assert_allclose(primal, dual, atol=1e-8 * abs(primal).max())
