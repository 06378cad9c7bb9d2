"""The half-sampling loss: explicit fits, differences, primal against dual."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from skbilevel.problems import QuadraticDataFit
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import (
    RowMoments,
    scaled,
    sweep,
    sweep_map,
    unit_metric,
)
from skbilevel.problems._resampled import KernelHalves, MomentHalves

SCALE = 7.0
SETTINGS = [
    {},
    {"intercept": False},
    {"free": (1, 4)},
    {"weighted": True, "t": 2},
    {"sparse_X": True, "free": (2,), "weighted": True, "t": 2},
    {"standardize": True, "weighted": True},
]
SHAPES = [(40, 6), (24, 30)]


def pairs_of(n, seed=1):
    order = np.random.default_rng(seed).permutation(n)
    a, b, c = np.array_split(order, 3)
    return [(np.r_[a, b], c), (b, np.r_[a, c]), (np.r_[a, c], b)]


def metric_of(rows):
    """Factors that give the columns unit variance over all rows."""
    moment, weight = rows.moment(np.arange(rows.n_rows)), rows.weight.sum()
    m, p = rows.n_free, rows.n_penalized
    if not rows.standardize:
        return np.ones(p)
    swept = sweep(moment, m, p, weight, sweep_map(moment, m))
    return unit_metric(np.diag(swept.gram), weight)


def primal(rows, pairs):
    source, m, p = RowMoments(rows), rows.n_free, rows.n_penalized
    train = source.sums([a for a, _ in pairs])
    valid = source.sums([b for _, b in pairs])
    free = sweep_map(train, m)
    metric = metric_of(rows)

    def part(moments, side):
        weight = np.array([rows.weight[pair[side]].sum() for pair in pairs])
        return scaled(sweep(moments, m, p, weight, free), metric).take(None)

    return MomentHalves(part(train, 0), part(valid, 1), np.array([SCALE]))


def dual(rows, pairs):
    kernel_rows = KernelRows.of(rows)
    if rows.standardize:
        kernel_rows = kernel_rows.standardized(np.arange(rows.n_rows))
    return KernelHalves(kernel_rows, pairs, SCALE)


def residuals(rows, pairs, log_v, explicit_ridge):
    """Root-weighted validation residuals of explicit fits."""
    v = np.exp(log_v) * metric_of(rows) ** 2
    out = []
    for train, valid in pairs:
        coef = explicit_ridge(rows, train, v)
        error = rows.targets(valid) - rows.predict(valid, coef)
        out.append((np.sqrt(rows.weight[valid])[:, None] * error).ravel())
    return np.concatenate(out)


def point(p, seed=3):
    return np.random.default_rng(seed).uniform(-4.0, 1.0, p)


def jacobian(fun, x, h=1e-4):
    columns = []
    for j in range(len(x)):
        e = np.eye(len(x))[j] * h
        near, far = fun(x + e) - fun(x - e), fun(x + 2 * e) - fun(x - 2 * e)
        columns.append((8 * near - far) / (12 * h))
    return np.array(columns).T


def dense_rows(make_rows, shape, setting):
    """The same rows with a dense X, for the explicit fits."""
    rows = make_rows(*shape, **setting)
    return replace(rows, X=rows.X.toarray()) if hasattr(rows.X, "toarray") else rows


@pytest.mark.parametrize("make", [primal, dual])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_is_that_of_explicit_fits(
    make_rows, explicit_ridge, make, setting, shape
):
    rows = make_rows(*shape, **setting)
    pairs, log_v = pairs_of(rows.n_rows), point(rows.n_penalized)
    error = residuals(
        dense_rows(make_rows, shape, setting), pairs, log_v, explicit_ridge
    )
    model = make(rows, pairs).at(log_v[None])
    assert_allclose(model.value[0], error @ error / SCALE, rtol=1e-8)


def test_value_is_that_of_scikit_learn(make_rows):
    rows = make_rows(40, 6, weighted=True, t=2)
    pairs, log_v = pairs_of(40), point(6)
    Z, total = rows.X * np.exp(0.5 * log_v), 0.0
    for train, valid in pairs:
        model = Ridge(alpha=1.0, solver="cholesky")
        model.fit(Z[train], rows.y[train], sample_weight=rows.weight[train])
        error = rows.y[valid] - model.predict(Z[valid])
        total += (rows.weight[valid, None] * error**2).sum()
    value = primal(rows, pairs).at(log_v[None]).value[0]
    assert_allclose(value, total / SCALE, rtol=1e-8)


@pytest.mark.parametrize("make", [primal, dual])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_central_differences(make_rows, make, setting, shape):
    rows = make_rows(*shape, **setting)
    objective, log_v = make(rows, pairs_of(rows.n_rows)), point(rows.n_penalized)
    slope = jacobian(lambda x: objective.at(x[None]).value, log_v, 1e-3)[0]
    grad = objective.at(log_v[None]).grad[0]
    assert abs(grad - slope).max() < 1e-6 * abs(slope).max()


@pytest.mark.parametrize("make", [primal, dual])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gauss_newton_is_that_of_the_residuals(
    make_rows, explicit_ridge, make, setting, shape
):
    rows = make_rows(*shape, **setting)
    plain = dense_rows(make_rows, shape, setting)
    pairs, log_v = pairs_of(rows.n_rows), point(rows.n_penalized)
    J = jacobian(lambda x: residuals(plain, pairs, x, explicit_ridge), log_v, 1e-2)
    expected = J.T @ J / SCALE
    model = make(rows, pairs).at(log_v[None])
    eye = np.eye(rows.n_penalized)
    matrix = np.stack([model.product(e[None])[0] for e in eye])
    assert_allclose(matrix, expected, atol=1e-6 * abs(expected).max())
    if model.normal is not None:
        assert_allclose(model.normal[0], expected, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_primal_is_dual(make_rows, setting, shape):
    rows = make_rows(*shape, **setting)
    pairs, log_v = pairs_of(rows.n_rows), point(rows.n_penalized)
    a, b = (make(rows, pairs).at(log_v[None]) for make in (primal, dual))
    assert_allclose(a.value, b.value, rtol=1e-8)
    assert_allclose(a.grad, b.grad, atol=1e-8 * abs(a.grad).max())
    x = np.random.default_rng(0).standard_normal((1, rows.n_penalized))
    scale = abs(a.product(x)).max()
    assert_allclose(a.product(x), b.product(x), atol=1e-8 * scale)


def test_several_sets_are_independent(make_rows):
    rows = make_rows(40, 6)
    one, other = (primal(rows, pairs_of(40, seed)) for seed in (1, 2))

    def stack(a, b):
        return QuadraticDataFit.stack([a.take(0), b.take(0)])

    both = MomentHalves(
        stack(one.train, other.train),
        stack(one.valid, other.valid),
        np.array([SCALE, SCALE]),
    )
    x, z = point(6, 1), point(6, 2)
    model = both.at(np.stack([x, z]))
    for f, (single, at) in enumerate([(one, x), (other, z)]):
        expected = single.at(at[None])
        assert_allclose(model.value[f], expected.value[0], rtol=1e-12)
        assert_allclose(model.grad[f], expected.grad[0], rtol=1e-10)
        assert_allclose(model.normal[f], expected.normal[0], rtol=1e-10)


@pytest.mark.parametrize("make", [primal, dual])
def test_single_halves_sum_to_all(make_rows, make):
    rows = make_rows(40, 6)
    objective, log_v = make(rows, pairs_of(40)), point(6)[None]
    parts = [objective.only(h, 1.0).at(log_v) for h in range(3)]
    whole = objective.at(log_v)
    assert_allclose(sum(part.value for part in parts), whole.value, rtol=1e-12)
    assert_allclose(sum(part.grad for part in parts), whole.grad, rtol=1e-9)


@pytest.mark.parametrize("make", [primal, dual])
def test_pull_back(make_rows, make):
    rows = make_rows(40, 6)
    A = np.repeat(np.eye(2), 3, axis=0)
    objective, theta = make(rows, pairs_of(40)), np.array([-1.0, 0.5])
    model = objective.at((A @ theta)[None]).pull_back(A)
    slope = jacobian(lambda x: objective.at((A @ x)[None]).value, theta, 1e-3)[0]
    assert_allclose(model.grad[0], slope, rtol=1e-6)
    N = np.stack([model.product(e[None])[0] for e in np.eye(2)])
    whole = primal(rows, pairs_of(40)).at((A @ theta)[None]).normal[0]
    assert_allclose(N, A.T @ whole @ A, rtol=1e-8)


def test_large_matrices_one_by_one_change_nothing(make_rows, with_zeros):
    """From 64 columns on there are no batches."""
    rows = make_rows(40, 6, t=2)
    log_v = np.append(np.zeros(60), point(6))
    batched = primal(rows, pairs_of(40)).at(log_v[None, 60:])
    single = primal(with_zeros(rows, 60), pairs_of(40)).at(log_v[None])
    assert_allclose(single.value, batched.value, rtol=1e-12)
    assert_allclose(single.grad[:, 60:], batched.grad, rtol=1e-10)
    assert_allclose(single.normal[:, 60:, 60:], batched.normal, rtol=1e-10)
