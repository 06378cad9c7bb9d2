"""Newton's method by conjugate gradients: solution, adjoint, limits, precision."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    Headed,
    LogisticLoss,
    PoissonLoss,
    RowsDataFit,
    SoftmaxLoss,
    Task,
    as_design,
)
from skbilevel.problems._design import SingleDesign
from skbilevel.solvers import Implicit
from skbilevel.solvers.inner import NewtonCG

N, P, T = 90, 30, 3
LOSSES = {"binary": LogisticLoss(), "softmax": SoftmaxLoss(), "counts": PoissonLoss()}


def _design(rng):
    X = rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.3)
    return Headed(as_design(sparse.csr_array(X)), np.ones((N, 1)))


def _fit(name, index=None, seed=0, weighted=True):
    rng = np.random.default_rng(seed)
    design, loss = _design(rng), LOSSES[name]
    y = {
        "binary": rng.integers(0, 2, (N, 1)).astype(float),
        "softmax": np.eye(T)[rng.integers(0, T, N)],
        "counts": rng.poisson(2.0, (N, 1)).astype(float),
    }[name]
    weight = rng.uniform(0.5, 2.0, N) if weighted else np.ones(N)
    if index is not None:
        weight = weight * np.isin(np.arange(N), index)
    offset = 0.2 * rng.standard_normal(y.shape)
    return RowsDataFit(design, y, weight, None, loss, offset)


def _variances(seed=1):
    v = np.exp(np.random.default_rng(seed).uniform(-2.0, 3.0, P + 1))
    v[0], v[4] = np.inf, 0.0
    return v


def _inverse(v):
    return np.divide(1.0, v, out=np.zeros_like(v), where=v > 0)[:, None]


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_zero_at_the_solution(name):
    fit, v = _fit(name), _variances()
    found = NewtonCG().solve(fit, v, tol=1e-10)
    grad = fit.at(found.W).grad + _inverse(v) * found.W
    assert found.solution.converged
    np.testing.assert_allclose(grad[v > 0], 0.0, atol=1e-7)
    np.testing.assert_array_equal(found.W[4], 0.0)
    np.testing.assert_allclose(found.solution.pull, -fit.at(found.W).grad, atol=1e-9)


def test_free_coefficients_of_coupled_classes_sum_to_zero():
    start = np.zeros((P + 1, T))
    for state in (None, start):
        W = NewtonCG().solve(_fit("softmax"), _variances(), state, tol=1e-10).W
        assert abs(W[0]).max() > 1e-3
        assert abs(W[0].sum()) < 1e-10


@pytest.mark.parametrize("name", LOSSES)
def test_adjoint_is_that_of_the_dense_hessian(name):
    fit, v = _fit(name), _variances()
    found = NewtonCG().solve(fit, v, tol=1e-10)
    point, shape = fit.at(found.W), found.W.shape
    size = found.W.size
    H = np.stack([point.hvp(e.reshape(shape)).ravel() for e in np.eye(size)])
    H += np.diag(np.broadcast_to(_inverse(v), shape).ravel())
    keep = np.broadcast_to((v > 0)[:, None], shape).ravel()
    b = np.random.default_rng(3).standard_normal(shape)
    b[0] -= b[0].mean()  # no loss has a slope along the gauge
    q = np.zeros(size)
    q[keep] = np.linalg.lstsq(H[np.ix_(keep, keep)], b.ravel()[keep], rcond=1e-12)[0]
    got = found.system.solve(b, None, tol=1e-10)
    again = found.system.solve(b, got.x + 0.1 * (v > 0)[:, None], tol=1e-10)
    for each in (got, again):
        x = each.x.copy()
        if name == "softmax":
            x[0] -= x[0].mean()
        np.testing.assert_allclose(x, q.reshape(shape), atol=1e-7)
        np.testing.assert_allclose(each.pull, b - point.hvp(each.x), atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_hypergradient_agrees_with_central_differences(name):
    rows = np.arange(N)
    train, valid = _fit(name, rows[:60]), _fit(name, rows[60:])
    task, v, step = Task(train, valid, 1.0), _variances(), 1e-5
    direction = np.random.default_rng(4).standard_normal(P + 1)
    direction[[0, 4]] = 0.0

    def at(t):
        moved = v * np.exp(t * direction)
        found = NewtonCG().solve(train, moved, tol=1e-12)
        return Implicit().evaluate(task, moved, found, None, tol=1e-12)

    slope = (at(step).value - at(-step).value) / (2 * step)
    grad = at(0.0).grad_v[1:] @ (v[1:] * direction[1:])
    assert grad == pytest.approx(slope, rel=1e-6)


def test_one_step_at_least_and_never_more_than_allowed():
    fit, v = _fit("softmax"), _variances()
    W = NewtonCG().solve(fit, v, tol=1e-10).W
    moved = NewtonCG(max_newton=1, max_cg=5).solve(fit, 1.001 * v, W, tol=1.0)
    assert not np.array_equal(moved.W, W)
    assert moved.counts.n_hvp <= 5
    short = NewtonCG(max_newton=2, max_cg=4).solve(fit, v, np.zeros_like(W), tol=1e-12)
    assert not short.solution.converged
    assert short.counts.n_hvp <= 8
    b = np.random.default_rng(0).standard_normal(W.shape)
    system = NewtonCG(max_adjoint=3).solve(fit, v, tol=1e-6).system
    assert system.solve(b, None, tol=1e-12).n_iter == 3


def test_continuation_ends_at_the_same_solution():
    fit = _fit("softmax")
    v = np.r_[np.inf, np.full(P, 1e4)]
    through = NewtonCG(continuation=5.0).solve(fit, v, tol=1e-9)
    plain = NewtonCG(continuation=1e30).solve(fit, v, tol=1e-9)
    np.testing.assert_allclose(through.W, plain.W, atol=1e-5)
    assert through.counts.n_hvp > 0


def test_single_precision_shares_places_and_agrees():
    fit = _fit("softmax")
    X = sparse.csc_array(fit.design.take_rows(np.arange(N)))
    double, single = as_design(X), SingleDesign.of(X)
    assert np.shares_memory(double.X.indices, as_design(X).X.indices)
    assert np.shares_memory(X.indices, single.X.indices)
    v, found = _variances(), []
    for design in (double, single):
        other = RowsDataFit(design, fit.y, fit.weight, None, fit.loss, fit.offset)
        found.append(NewtonCG().solve(other, v, tol=1e-4).W)
    assert [W.dtype for W in found] == [np.float64, np.float32]
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


def test_huge_counts_do_not_diverge():
    fit = _fit("counts")
    y = fit.y.copy()
    y[0] = 1e6
    other = RowsDataFit(fit.design, y, fit.weight, None, fit.loss)
    found = NewtonCG().solve(other, _variances(), tol=1e-6)
    assert np.isfinite(found.W).all()
    assert found.solution.converged


def test_a_stack_is_refused():
    fit = _fit("softmax")
    weight = np.stack([fit.weight, fit.weight])
    stack = RowsDataFit(fit.design, fit.y, weight, None, fit.loss)
    with pytest.raises(ValueError, match="one data fit at a time"):
        NewtonCG().solve(stack, _variances())
