"""The evidence: its formula by dense algebra, differences, primal against dual."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import QuadraticDataFit
from skbilevel.problems._evidence import (
    EvidenceVariance,
    KernelEvidence,
    MomentEvidence,
)
from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._moments import RowMoments, sweep, sweep_map

SETTINGS = [
    {},
    {"intercept": False},
    {"free": (1, 4)},
    {"weighted": True, "t": 2},
    {"sparse_X": True, "free": (2,), "weighted": True, "t": 2},
]
SHAPES = [(40, 6), (24, 30)]
TRAIN = np.arange(0, 24, 1)[::-1]


def primal(rows, train):
    m, p = rows.n_free, rows.n_penalized
    moment = RowMoments(rows).sums([train])
    weight = np.array([rows.weight[train].sum()])
    return MomentEvidence(sweep(moment, m, p, weight, sweep_map(moment, m)))


def dual(rows, train):
    return KernelEvidence(KernelSet(KernelRows.of(rows), train))


def brute_force(rows, train, log_v):
    """``log N(y; 0, s (I + X diag(v) X^T))`` of swept rows, s profiled out."""
    if hasattr(rows.X, "toarray"):
        rows = replace(rows, X=rows.X.toarray())
    z, m, p = rows.dense(train), rows.n_free, rows.n_penalized
    z = np.sqrt(rows.weight[train])[:, None] * z
    if m:
        z = z - z[:, :m] @ np.linalg.lstsq(z[:, :m], z, rcond=None)[0]
    X, y = z[:, m : m + p], z[:, m + p :]
    C = np.eye(len(train)) + (X * np.exp(log_v)) @ X.T
    n = rows.weight[train].sum()
    Q = (y * np.linalg.solve(C, y)).sum(axis=0) + 1e-4 * (y * y).sum(axis=0)
    return ((n - 1) * np.log(Q / n).mean() + np.linalg.slogdet(C)[1]) / n


def point(p):
    return np.random.default_rng(3).uniform(-4.0, 1.0, p)


def slope_of(fun, x, h=1e-3):
    out = []
    for e in np.eye(len(x)) * h:
        near, far = fun(x + e) - fun(x - e), fun(x + 2 * e) - fun(x - 2 * e)
        out.append((8 * near - far) / (12 * h))
    return np.array(out)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient(make_rows, shape, setting):
    rows = make_rows(*shape, **setting)
    log_v = point(rows.n_penalized)
    model = primal(rows, TRAIN).at(log_v[None])
    other = dual(rows, TRAIN).point(np.exp(log_v))
    value, grad = other.value, other.grad
    expected = brute_force(rows, TRAIN, log_v)
    assert_allclose([model.value[0], value], expected, rtol=1e-9, atol=1e-10)
    slope = slope_of(lambda x: brute_force(rows, TRAIN, x), log_v)
    bound = 1e-6 * abs(slope).max()
    assert abs(model.grad[0] - slope).max() < bound
    assert abs(grad - slope).max() < bound
    assert_allclose(model.grad[0], grad, atol=1e-8 * abs(grad).max())


def test_curvature_is_half_the_expected_hessian(make_rows):
    """The mean over targets drawn from the model, the noise variance known."""
    rows = make_rows(40, 4)
    train, log_v = np.arange(40), point(4)
    N = primal(rows, train).at(log_v[None]).normal[0]
    z = rows.dense(train)
    X = z[:, 1:5] - z[:, 1:5].mean(axis=0)
    C = np.eye(40) + (X * np.exp(log_v)) @ X.T
    outer = [np.exp(log_v[j]) * np.outer(X[:, j], X[:, j]) for j in range(4)]
    solved = [np.linalg.solve(C, each) for each in outer]
    fisher = [[np.trace(a @ b) for b in solved] for a in solved]
    assert_allclose(2 * N, np.array(fisher) / 40, rtol=1e-9)
    assert np.linalg.eigvalsh(N).min() >= -1e-14


def test_weight_is_repetition(make_rows):
    rows = make_rows(25, 4)
    times = np.arange(25) % 3
    index = np.repeat(np.arange(25), times)
    a = primal(replace(rows, weight=times.astype(float)), np.arange(25))
    b = primal(
        replace(rows, X=rows.X[index], y=rows.y[index], weight=np.ones(len(index))),
        np.arange(len(index)),
    )
    log_v = point(4)[None]
    assert_allclose(a.at(log_v).value, b.at(log_v).value, rtol=1e-11)
    assert_allclose(a.at(log_v).grad, b.at(log_v).grad, rtol=1e-8, atol=1e-12)


def test_features_that_explain_everything(make_rows):
    """The evidence stays finite where the target lies in the span of the columns."""
    rows = make_rows(30, 4)
    rows = replace(rows, y=rows.X[:, :1] * 2.0)
    for log_v in (np.full((1, 4), 20.0), np.full((1, 4), -20.0)):
        model = primal(rows, np.arange(30)).at(log_v)
        assert np.isfinite(model.value).all()
        assert np.isfinite(model.grad).all()


def test_constant_target(make_rows):
    rows = make_rows(30, 4)
    rows = replace(rows, y=np.zeros((30, 1)))
    model = primal(rows, np.arange(30)).at(np.zeros((1, 4)))
    assert np.isfinite(model.grad).all()
    other = dual(rows, np.arange(30)).point(np.ones(4))
    assert np.isfinite(other.value)
    assert_allclose(other.grad, model.grad[0], atol=1e-10)


@pytest.mark.parametrize("sparse_X", [False, True])
def test_many_columns_in_blocks(make_rows, with_zeros, sparse_X):
    """Of 512 columns."""
    rows = make_rows(24, 30, t=2, sparse_X=sparse_X)
    v = np.exp(np.append(np.zeros(490), point(30)))
    whole = dual(rows, TRAIN).point(v[490:])
    parts = dual(with_zeros(rows, 490), TRAIN).point(v)
    assert_allclose(parts.value, whole.value, rtol=1e-12)
    assert_allclose(parts.grad[490:], whole.grad, rtol=1e-9, atol=1e-14)


def test_stack_is_each_set(make_rows):
    rows = make_rows(40, 6)
    sets = [np.arange(20), np.arange(10, 40)]
    each = [primal(rows, s) for s in sets]
    both = MomentEvidence(QuadraticDataFit.stack([e.train.take(0) for e in each]))
    log_v = np.stack([point(6), -point(6)])
    model = both.at(log_v)
    for f in range(2):
        single = each[f].at(log_v[f : f + 1])
        assert_allclose(model.value[f], single.value[0], rtol=1e-12)
        assert_allclose(model.grad[f], single.grad[0], rtol=1e-10)


@pytest.mark.parametrize("noise", [1.0, 0.6])
@pytest.mark.parametrize("setting", SETTINGS[:4])
@pytest.mark.parametrize("shape", SHAPES)
def test_known_noise(make_rows, setting, shape, noise):
    """``Q / noise + log det C``, by dense algebra and by differences."""
    rows = make_rows(*shape, **setting)
    log_v = point(rows.n_penalized)
    wide = KernelEvidence(KernelSet(KernelRows.of(rows), TRAIN), noise, 7.0)
    tall = replace(primal(rows, TRAIN), noise=noise, unit=np.array([7.0]))
    other = wide.point(np.exp(log_v))
    value, grad = other.value, other.grad
    model = tall.at(log_v[None])
    assert_allclose(model.value[0], value, rtol=1e-10)
    assert_allclose(model.grad[0], grad, rtol=1e-7, atol=1e-10)
    slope = slope_of(lambda x: wide.point(np.exp(x)).value, log_v)
    assert_allclose(grad, slope, rtol=1e-6, atol=1e-9)
    profiled = brute_force(rows, TRAIN, log_v)
    n = rows.weight[TRAIN].sum()
    Q_term = profiled * n - value * 7.0  # log det C is the same in both
    half = replace(wide, noise=noise / 2.0)
    Q = noise * (half.point(np.exp(log_v)).value - value) * 7.0
    assert Q > 0
    if rows.n_targets == 1:
        assert_allclose(Q_term, (n - 1) * np.log(Q / n) - Q / noise, rtol=1e-8)


def as_criterion(evidence, rows, train):
    z, m, p = rows.dense(train), rows.n_free, rows.n_penalized
    z = np.sqrt(rows.weight[train])[:, None] * z
    if m:
        z = z - z[:, :m] @ np.linalg.lstsq(z[:, :m], z, rcond=None)[0]
    square = (z[:, m : m + p] ** 2).sum(axis=0)
    weight = float(rows.weight[train].sum())
    return EvidenceVariance(evidence, square, rows.n_targets, weight)


@pytest.mark.parametrize("form", [primal, dual])
@pytest.mark.parametrize("setting", [SETTINGS[0], SETTINGS[3]])
@pytest.mark.parametrize("shape", SHAPES)
def test_criterion_of_variances(make_rows, shape, setting, form):
    rows = make_rows(*shape, **setting)
    criterion = as_criterion(form(rows, TRAIN), rows, TRAIN)
    v = np.exp(point(rows.n_penalized))
    here = criterion.at(v)
    value, grad = here.value, here.grad
    power = criterion.weight / (criterion.weight - 1.0)
    expected = np.exp(power * brute_force(rows, TRAIN, np.log(v)))
    expected *= 0.5 * rows.n_targets
    assert_allclose(value, expected, rtol=1e-9)
    slope = slope_of(lambda x: criterion.at(v * np.exp(x)).value, np.zeros(len(v)))
    assert abs(v * grad - slope).max() < 1e-6 * abs(slope).max()


@pytest.mark.parametrize("form", [primal, dual])
def test_a_variance_of_zero_has_the_slope_next_to_it(make_rows, form):
    rows = make_rows(40, 6)
    criterion = as_criterion(form(rows, TRAIN), rows, TRAIN)
    v = np.exp(point(6))
    v[2], step = 0.0, 1e-4
    here = criterion.at(v)
    value, grad = here.value, here.grad
    near, far = v + step * np.eye(6)[2], v + 2 * step * np.eye(6)[2]
    more, most = (criterion.at(each).value for each in (near, far))
    assert_allclose(grad[2], (4 * more - 3 * value - most) / (2 * step), rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_curvature_of_forms(make_rows, shape):
    """Both forms have the same positive semidefinite matrix, whatever the form."""
    rows = make_rows(*shape, weighted=True)
    p = rows.n_penalized
    v, D = np.exp(point(p)), np.random.default_rng(0).standard_normal((p, 3))
    a, b = (
        as_criterion(each(rows, TRAIN), rows, TRAIN).at(v).curvature(D)
        for each in (primal, dual)
    )
    assert_allclose(a, b, rtol=1e-8, atol=1e-10 * abs(a).max())
    assert np.linalg.eigvalsh(a).min() > -1e-10 * abs(a).max()


def test_curvature_is_the_mean_hessian(make_rows):
    """Over targets of the model, with the noise variance that fits each of them."""
    rows, v = make_rows(150, 3), np.array([0.01, 0.1, 1.0])
    z, train = rows.dense(np.arange(150)), np.arange(150)
    X = z[:, 1:4] - z[:, 1:4].mean(axis=0)
    root = np.linalg.cholesky(np.eye(150) + (X * v) @ X.T)
    drawn = root @ np.random.default_rng(1).standard_normal((150, 2_000))
    rows = replace(rows, y=drawn, y_shift=np.zeros(2_000))
    criterion = as_criterion(primal(rows, train), rows, train)

    def slope(x):
        w = v * np.exp(x)
        return w * criterion.at(w).grad

    h = 1e-4 * np.eye(3)
    hessian = np.stack([(slope(e) - slope(-e)) / 2e-4 for e in h])
    found = criterion.at(v).curvature(np.diag(v))
    assert_allclose(found, hessian, atol=0.1 * abs(hessian).max())
