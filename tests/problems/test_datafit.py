"""Data fits from moments and from rows, alone and stacked."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    LogisticLoss,
    QuadraticDataFit,
    RowsDataFit,
    SquaredLoss,
    Sweep,
    as_design,
    moments_of,
    zeros,
)

N, P, T = 20, 6, 2


def make(free="intercept", as_sparse=False, loss=None, weighted=True):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P)) + 1.0
    y = rng.standard_normal((N, T)) + 2.0
    weight = rng.uniform(0.1, 2.0, (3, N)) if weighted else np.ones((3, N))
    weight[:, ::5] = 0.0
    E = {
        None: None,
        "intercept": np.ones((N, 1)),
        "columns": np.column_stack([np.ones(N), rng.standard_normal((N, 2))]),
        # One column twice: the minimum-norm map still projects.
        "collinear": np.column_stack([np.ones(N), X[:, 0], X[:, 0]]),
    }[free]
    sweeps = None if E is None else Sweep.of(E, weight)
    design = as_design(sparse.csr_array(X) if as_sparse else X)
    if loss is not None:
        y = (y > 2.0).astype(float)
    return RowsDataFit(design, y, weight, sweeps, loss or SquaredLoss()), X, E


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("free", [None, "intercept", "columns", "collinear"])
def test_rows_are_moments(free, as_sparse):
    fit, X, E = make(free, as_sparse)
    moments = moments_of(fit)
    W = np.random.default_rng(1).standard_normal((3, P, T))
    a, b = fit.at(W), moments.at(W)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-11)
    np.testing.assert_allclose(a.grad, b.grad, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(a.hvp(W), b.hvp(W), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(a.diag(), b.diag(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(fit.cross, moments.cross, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(fit.weight_sum, moments.weight_sum)
    assert zeros(fit).shape == zeros(moments).shape == (3, P, T)
    # The value is that of weighted least squares with the free columns fitted.
    for k in range(3):
        root = np.sqrt(fit.weight[k])[:, None]
        residual = fit.y - X @ W[k]
        if E is not None:
            coef = np.linalg.lstsq(root * E, root * residual, rcond=None)[0]
            residual = residual - E @ coef
            np.testing.assert_allclose(E @ fit.free_coef(W)[k], E @ coef, atol=1e-10)
        np.testing.assert_allclose(a.value[k], 0.5 * (root**2 * residual**2).sum())


@pytest.mark.parametrize("loss", [None, LogisticLoss()])
def test_derivatives(loss):
    fit, _, _ = make(None if loss else "columns", loss=loss)
    rng = np.random.default_rng(2)
    W, D = rng.standard_normal((2, 3, P, T))
    h = 1e-6
    up, down = fit.at(W + h * D), fit.at(W - h * D)
    slope = (fit.at(W).grad * D).sum(axis=(1, 2))
    np.testing.assert_allclose((up.value - down.value) / (2 * h), slope, rtol=1e-6)
    product = (up.grad - down.grad) / (2 * h)
    np.testing.assert_allclose(fit.at(W).hvp(D), product, rtol=1e-5, atol=1e-6)
    eye = np.zeros((3, P, T))
    eye[:, 2] = 1.0
    diag = np.broadcast_to(fit.at(W).diag(), (3, P, T))
    np.testing.assert_allclose(fit.at(W).hvp(eye)[:, 2], diag[:, 2], rtol=1e-9)


def test_stack_of_single_fits():
    stack, _, _ = make("columns")
    single = [
        RowsDataFit(
            stack.design,
            stack.y,
            stack.weight[k],
            Sweep(stack.sweep.free, stack.sweep.maps[k]),
        )
        for k in range(3)
    ]
    W = np.random.default_rng(1).standard_normal((3, P, T))
    again = RowsDataFit.stack(single)
    for fits, both in [
        (single, again),
        (
            [moments_of(f) for f in single],
            QuadraticDataFit.stack([moments_of(f) for f in single]),
        ),
    ]:
        point = both.at(W)
        for k, fit in enumerate(fits):
            one = fit.at(W[k])
            np.testing.assert_allclose(one.value, point.value[k], rtol=1e-12)
            np.testing.assert_allclose(one.grad, point.grad[k], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(one.diag(), point.diag()[k], rtol=1e-12)


def test_capabilities():
    fit, _, _ = make()
    assert fit.provides == {"rows", "quadratic", "twice_differentiable"}
    assert "dense_hessian" in moments_of(fit).provides
    logistic, _, _ = make(None, loss=LogisticLoss())
    assert "quadratic" not in logistic.provides
    with pytest.raises(ValueError, match="constant"):
        make("intercept", loss=LogisticLoss())


def test_validation_rows_do_not_move_the_sweep():
    fit, _, _ = make()
    y = fit.y.copy()
    y[::5] += 100.0
    moved = RowsDataFit(fit.design, y, fit.weight, fit.sweep)
    W = np.ones((3, P, T))
    np.testing.assert_array_equal(fit.at(W).grad, moved.at(W).grad)
    np.testing.assert_array_equal(fit.free_coef(W), moved.free_coef(W))
