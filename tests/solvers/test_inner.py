"""Inner solvers: agreement with scikit-learn's Ridge, extremes, states."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skbilevel.problems import (
    QuadraticDataFit,
    RowsDataFit,
    Sweep,
    as_design,
    moments_of,
)
from skbilevel.solvers import CG, Cholesky, Dual, StaleCholesky, resolve_inner

SOLVERS = {
    "cholesky": (Cholesky(), True),
    "stale": (StaleCholesky(), True),
    "dual": (Dual(), False),
    "cg": (CG(), False),
}


def make(n, p, t=1, intercept=True, seed=0, container=np.asarray):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 1.0
    X[rng.random((n, p)) < 0.3] = 0.0
    y = X[:, :2] @ rng.standard_normal((2, t)) + rng.standard_normal((n, t)) + 3.0
    weight = rng.uniform(0.2, 3.0, n)
    sweep = Sweep.of(np.ones((n, 1)), weight) if intercept else None
    design = as_design(container(X))
    return X, y, weight, RowsDataFit(design, y, weight, sweep)


@pytest.mark.parametrize("alpha", [1e-2, 1.0, 1e4])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", [(40, 10), (12, 25)])
@pytest.mark.parametrize("name", SOLVERS)
def test_shared_strength_is_ridge(name, shape, intercept, alpha):
    solver, moments = SOLVERS[name]
    X, y, weight, rows = make(*shape, t=2, intercept=intercept)
    fit = moments_of(rows) if moments else rows
    W = solver.solve(fit, np.full(shape[1], 1 / alpha), tol=1e-14).W
    ridge = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd")
    ridge.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(W, ridge.coef_.T, rtol=1e-8, atol=1e-10)
    if intercept:
        b = rows.free_coef(W)
        np.testing.assert_allclose(b[0], ridge.intercept_, rtol=1e-8)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("name", SOLVERS)
def test_sparse_is_dense(name, container):
    solver, moments = SOLVERS[name]
    v = np.random.default_rng(1).uniform(0.0, 2.0, 15)
    out = []
    for kind in (np.asarray, container):
        *_, rows = make(20, 15, container=kind)
        fit = moments_of(rows) if moments else rows
        out.append(solver.solve(fit, v, tol=1e-14).W)
    np.testing.assert_allclose(out[0], out[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_float32_rows_are_computed_in_float64(name):
    solver, moments = SOLVERS[name]
    v = np.full(15, 0.3)
    out = []
    for dtype in (np.float32, np.float64):
        X, y, weight, _ = make(20, 15)
        X = X.astype(np.float32).astype(dtype)
        sweep = Sweep.of(np.ones((20, 1)), weight)
        rows = RowsDataFit(as_design(X), y, weight, sweep)
        fit = moments_of(rows) if moments else rows
        out.append(solver.solve(fit, v, tol=1e-14).W)
    assert out[0].dtype == np.float64
    np.testing.assert_allclose(out[0], out[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_are_repetitions(name):
    solver, moments = SOLVERS[name]
    X, y, _, _ = make(20, 15)
    times = np.arange(20) % 3
    v = np.random.default_rng(1).uniform(0.0, 2.0, 15)
    index, out = np.repeat(np.arange(20), times), []
    for X1, y1, weight in [
        (X, y, times.astype(float)),
        (X[index], y[index], np.ones(len(index))),
    ]:
        sweep = Sweep.of(np.ones((len(X1), 1)), weight)
        rows = RowsDataFit(as_design(X1), y1, weight, sweep)
        fit = moments_of(rows) if moments else rows
        out.append(solver.solve(fit, v, tol=1e-14).W)
    np.testing.assert_allclose(out[0], out[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_pull_is_the_gradient(name):
    solver, moments = SOLVERS[name]
    *_, rows = make(20, 15)
    fit = moments_of(rows) if moments else rows
    v = np.random.default_rng(1).uniform(0.0, 2.0, 15)
    v[[0, 5]] = 0.0
    done = solver.solve(fit, v, tol=1e-14)
    gradient = fit.at(done.W).grad
    np.testing.assert_allclose(done.solution.pull, -gradient, rtol=1e-7, atol=1e-9)
    assert (done.W[[0, 5]] == 0.0).all()


@pytest.mark.parametrize("name", ["cholesky", "stale", "dual"])
@pytest.mark.parametrize("v", [1e-200, 1e-20, 1e6])
def test_extreme_variances(name, v):
    solver, moments = SOLVERS[name]
    *_, rows = make(40, 10)
    fit = moments_of(rows) if moments else rows
    W = solver.solve(fit, np.full(10, v)).W
    assert np.isfinite(W).all()
    if v > 1:
        best = np.linalg.solve(moments_of(rows).gram, moments_of(rows).cross)
        np.testing.assert_allclose(W, best, rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_allclose(W, v * moments_of(rows).cross, rtol=1e-9)


def test_all_features_removed():
    *_, rows = make(20, 15)
    for solver, moments in SOLVERS.values():
        fit = moments_of(rows) if moments else rows
        done = solver.solve(fit, np.zeros(15))
        assert (done.W == 0.0).all()
        np.testing.assert_allclose(done.solution.pull, fit.cross, atol=1e-9)


def test_an_indefinite_gram_is_still_factored():
    # Duplicated columns of great scale: rounding makes eigenvalues negative.
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((10, 4)), 3, axis=1)
    gram = X.T @ X - 1e-13 * np.eye(12)
    fit = QuadraticDataFit(
        gram, X.T @ np.ones((10, 1)), np.array([10.0]), np.array(10.0)
    )
    W = Cholesky().solve(fit, np.full(12, 1e16)).W
    assert np.isfinite(W).all()


def test_warm_start_needs_fewer_products():
    *_, rows = make(60, 40)
    v = np.full(40, 0.5)
    cold = CG().solve(rows, v, tol=1e-6)
    warm = CG().solve(rows, 1.01 * v, cold.state, tol=1e-6)
    again = CG().solve(rows, 1.01 * v, tol=1e-6)
    assert warm.counts.n_hvp < 0.7 * again.counts.n_hvp
    # A small change always moves the solution, however loose the tolerance.
    moved = CG().solve(rows, 1.0001 * v, cold.state, tol=0.5)
    assert (moved.W != cold.W).any()


def test_stale_factor_is_used_and_renewed():
    *_, rows = make(60, 40)
    fit, solver = moments_of(rows), StaleCholesky(refactor_after=5, max_iter=20)
    v = np.random.default_rng(0).uniform(0.1, 1.0, 40)
    first = solver.solve(fit, v)
    assert first.counts.n_factorizations == 1
    near = solver.solve(fit, 1.05 * v, first.state, tol=1e-8)
    assert near.counts.n_factorizations == 0
    exact = Cholesky().solve(fit, 1.05 * v)
    np.testing.assert_allclose(near.W, exact.W, rtol=1e-6, atol=1e-9)
    far = v * np.exp(3 * np.random.default_rng(1).standard_normal(40))
    moved = solver.solve(fit, far, near.state, tol=1e-10)
    np.testing.assert_allclose(moved.W, Cholesky().solve(fit, far).W, rtol=1e-6)
    # A feature comes back that the factor does not know.
    v0 = v.copy()
    v0[3] = 0.0
    without = solver.solve(fit, v0)
    back = solver.solve(fit, v, without.state)
    assert back.counts.n_factorizations == 1
    assert back.W[3, 0] != 0.0


def test_capabilities_are_checked():
    *_, rows = make(20, 15)
    with pytest.raises(ValueError, match="dense_hessian"):
        Cholesky().solve(rows, np.ones(15))
    with pytest.raises(ValueError, match="rows"):
        Dual().solve(moments_of(rows), np.ones(15))


def test_resolve_inner():
    *_, rows = make(20, 15)
    *_, wide = make(10, 15)
    assert isinstance(resolve_inner("auto", rows), CG)
    assert isinstance(resolve_inner("auto", wide), Dual)
    assert isinstance(resolve_inner("auto", moments_of(rows)), Cholesky)
    assert isinstance(resolve_inner("exact", moments_of(rows)), Cholesky)
    assert isinstance(resolve_inner("exact", rows), Dual)
    assert isinstance(resolve_inner("amigo", rows), CG)
    with pytest.raises(ValueError, match="choose one of"):
        resolve_inner("no such", rows)
