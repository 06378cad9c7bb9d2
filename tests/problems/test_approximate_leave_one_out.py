"""Approximate leave-one-out against explicit leave-one-out, and its limits."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import (
    GammaLoss,
    LeaveOneOut,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    SquaredLoss,
    SweptRows,
    TweedieLoss,
    as_design,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers import ApproximateLeaveOneOut, NewtonCholesky, NewtonDual

# Largest relative difference of the mean loss from the explicit one, as measured.
TOLERANCE = [
    (LogisticLoss(), 0.005),
    (SoftmaxLoss(), 0.015),
    (PoissonLoss(), 0.01),
    (GammaLoss(), 0.02),
    (TweedieLoss(1.4), 0.03),
]


def _model(loss, n, p, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = 0.5 * X[:, :3] @ rng.standard_normal(3)
    if isinstance(loss, LogisticLoss):
        y = (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
    elif isinstance(loss, SoftmaxLoss):
        scores = np.column_stack([eta, -eta, 0 * eta]) + rng.gumbel(size=(n, 3))
        y = np.eye(3)[scores.argmax(axis=1)]
    else:
        y = np.exp(eta)[:, None] * rng.gamma(3.0, size=(n, 1)) / 3.0
        if not isinstance(loss, GammaLoss | SquaredLoss):
            y = rng.poisson(2.0 * y).astype(float)
    free = np.column_stack([np.ones(n), rng.standard_normal(n)])
    weight = rng.uniform(0.3, 2.0, n)
    return GLMTasks(as_design(X), y, weight, loss, loss, free)


def _evaluate(model, v, inner):
    task = model.everything()
    v = np.concatenate([np.full(model.n_free, np.inf), v])
    solution = inner.solve(task.inner, v, tol=1e-12)
    return ApproximateLeaveOneOut().evaluate(task, v, solution, None, tol=1e-12)


def _explicit(model, v, inner):
    v = np.concatenate([np.full(model.n_free, np.inf), v])
    everything, total = np.arange(len(model.y)), 0.0
    for i in everything:
        task = model.fold(np.delete(everything, i), np.array([i]))
        # The strengths of the full data, as they are.
        total += float(task.outer.at(inner.solve(task.inner, v).W).value)
    return total / model.weight.sum()


@pytest.mark.parametrize(
    ("loss", "tolerance"), TOLERANCE, ids=lambda x: type(x).__name__
)
@pytest.mark.parametrize("shape", [(80, 6), (40, 60)])
def test_it_is_close_to_explicit_leave_one_out(loss, tolerance, shape):
    inner = NewtonCholesky() if shape[0] > shape[1] else NewtonDual()
    model = _model(loss, *shape)
    v = np.random.default_rng(1).uniform(0.0, 0.1, shape[1])
    value = _evaluate(model, v, inner).value
    full = inner.solve(model.fit, np.concatenate([[np.inf, np.inf], v]))
    inside = float(model.fit.at(full.W).value) / model.weight.sum()
    expected = _explicit(model, v, inner)
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    # The difference is small beside that of seeing the row or not.
    assert abs(value - expected) < 0.2 * (expected - inside)


@pytest.mark.parametrize("shape", [(40, 6), (20, 30)])
def test_of_squared_errors_it_is_leave_one_out_itself(shape):
    model = _model(SquaredLoss(), *shape)
    v = np.random.default_rng(1).uniform(0.0, 0.5, shape[1])
    rows = SweptRows(model.design, model.y, model.weight, model.free)
    point = LeaveOneOut(rows).at(v)
    for inner in (NewtonCholesky(), NewtonDual()):
        found = _evaluate(model, v, inner)
        np.testing.assert_allclose(found.value, point.value, rtol=1e-8)
        np.testing.assert_allclose(found.grad_v[model.n_free :], point.grad, atol=1e-7)


def test_two_classes_are_one_log_odds():
    model = _model(LogisticLoss(), 50, 5)
    y = np.hstack([1 - model.y, model.y])
    both = replace(model, y=y, loss=SoftmaxLoss(), outer=SoftmaxLoss())
    v = np.random.default_rng(1).uniform(0.05, 0.3, 5)
    one = _evaluate(model, v, NewtonCholesky())
    # Two symmetric coefficients of half the size share the penalty.
    two = _evaluate(both, 0.5 * v, NewtonCholesky())
    np.testing.assert_allclose(two.value, one.value, rtol=1e-8)
    np.testing.assert_allclose(0.5 * two.grad_v, one.grad_v, atol=1e-8)


@pytest.mark.parametrize("loss", [LogisticLoss(), PoissonLoss(), SoftmaxLoss()])
def test_a_row_of_huge_leverage_stays_finite(loss):
    model = _model(loss, 40, 5)
    X = model.design.X.copy()
    X[0] *= 1e6
    model = replace(model, design=as_design(X))
    found = _evaluate(model, np.full(5, 1e3), NewtonCholesky())
    assert np.isfinite(found.value)
    assert np.isfinite(found.grad_v).all()


def test_rows_of_weight_zero_are_not_there():
    model = _model(LogisticLoss(), 50, 5)
    weight = model.weight.copy()
    weight[:10] = 0.0
    kept = np.arange(10, 50)
    fewer = GLMTasks(
        as_design(model.design.X[kept]),
        model.y[kept],
        weight[kept],
        model.loss,
        model.outer,
        model.free[kept],
    )
    v = np.full(5, 0.2)
    for inner in (NewtonCholesky(), NewtonDual()):
        one = _evaluate(replace(model, weight=weight), v, inner)
        two = _evaluate(fewer, v, inner)
        np.testing.assert_allclose(one.value, two.value, rtol=1e-10)
        np.testing.assert_allclose(one.grad_v, two.grad_v, atol=1e-10)
