"""Closed-form criteria agree with explicit fits and with central differences."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skbilevel.problems import GCV, LeaveOneOut, SweptRows, as_design


def make_rows(n, p, intercept=True, weighted=True, seed=0, t=2, sparse_X=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 1.0
    if sparse_X:
        X[rng.random((n, p)) < 0.5] = 0.0
    y = X[:, :2] @ rng.standard_normal((2, t)) + rng.standard_normal((n, t)) + 3.0
    weight = rng.uniform(0.2, 3.0, n) if weighted else np.ones(n)
    free = np.ones((n, 1)) if intercept else None
    design = as_design(sparse.csr_array(X) if sparse_X else X)
    return X, y, weight, SweptRows(design, y, weight, free)


def explicit(X, y, weight, v, intercept):
    """Leave-one-out by n fits of scikit-learn's Ridge."""
    total = 0.0
    for i in range(len(X)):
        keep = np.arange(len(X)) != i
        model = Ridge(alpha=1.0, fit_intercept=intercept, solver="cholesky", tol=1e-14)
        model.fit(X[keep] * np.sqrt(v), y[keep], sample_weight=weight[keep])
        error = y[i] - model.predict(X[i : i + 1] * np.sqrt(v))[0]
        total += 0.5 * weight[i] * (error**2).sum()
    return total / weight.sum()


def central(fun, v):
    out = np.empty(len(v))
    for j in range(len(v)):
        # Where v is tiny the criterion is linear, and small steps are rounding only.
        h = (1e-3 if v[j] > 1e-3 else 0.2) * v[j]
        e = np.eye(len(v))[j] * h
        near, far = fun(v + e) - fun(v - e), fun(v + 2 * e) - fun(v - 2 * e)
        out[j] = (8 * near - far) / (12 * h)
    return out


CASES = [(25, 7), (12, 20)]


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", CASES)
def test_value_is_that_of_explicit_fits(shape, intercept, weighted, dual):
    X, y, weight, rows = make_rows(*shape, intercept, weighted)
    v = np.random.default_rng(1).uniform(0.01, 1.0, shape[1])
    value = LeaveOneOut(rows, dual).at(v).value
    np.testing.assert_allclose(value, explicit(X, y, weight, v, intercept), rtol=1e-8)


@pytest.mark.parametrize("sparse_X", [False, True])
@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", CASES)
@pytest.mark.parametrize("kind", ["loo", "gcv"])
def test_central_differences(kind, shape, intercept, dual, sparse_X):
    _, _, _, rows = make_rows(*shape, intercept, sparse_X=sparse_X)
    criterion = LeaveOneOut(rows, dual) if kind == "loo" else GCV.of(rows, dual)
    v = np.random.default_rng(1).uniform(0.01, 1.0, shape[1])
    v[2] = 2e-5
    grad = criterion.at(v).grad
    slope = central(lambda v: criterion.at(v).value, v)
    assert np.abs(grad - slope).max() < 1e-6 * np.abs(slope).max()


@pytest.mark.parametrize("kind", ["loo", "gcv"])
@pytest.mark.parametrize("shape", CASES)
def test_primal_is_dual_also_at_zero(shape, kind):
    _, _, _, rows = make_rows(*shape)
    v = np.random.default_rng(1).uniform(0.01, 1.0, shape[1])
    v[[0, 3]] = 0.0
    v[4] = 1e-12
    make = LeaveOneOut if kind == "loo" else GCV.of
    a, b = (make(rows, dual).at(v) for dual in (False, True))
    np.testing.assert_allclose(a.value, b.value, rtol=1e-10)
    np.testing.assert_allclose(a.grad, b.grad, rtol=1e-7, atol=1e-9)


def test_unpenalized_columns():
    X, y, weight, _ = make_rows(30, 6, t=1)
    E = np.column_stack([np.ones(30), X[:, :2]])
    rows = SweptRows(as_design(X[:, 2:]), y, weight, E)
    v = np.array([0.5, 0.1, 2.0, 0.0])
    big = np.concatenate([[1e9, 1e9], v])
    value = LeaveOneOut(rows).at(v).value
    np.testing.assert_allclose(value, explicit(X, y, weight, big, True), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "large"), [((25, 64), (132_000, 64)), ((12, 20), (12, 700_000))]
)
def test_blocks_change_nothing(shape, large):
    """More than 64 MiB are swept in blocks: rows of no weight, or columns of zeros."""
    X, y, weight, rows = make_rows(*shape)
    v = np.random.default_rng(1).uniform(0.01, 1.0, shape[1])
    more = [(0, a - b) for a, b in zip(large, shape, strict=True)]
    design, y = as_design(np.pad(X, more)), np.pad(y, (more[0], (0, 0)))
    many = SweptRows(design, y, np.pad(weight, more[0]), np.ones((large[0], 1)))
    dual = shape[0] < shape[1]
    whole = LeaveOneOut(rows, dual).at(v)
    parts = LeaveOneOut(many, large[0] < large[1]).at(np.pad(v, more[1]))
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(parts.grad[: len(v)], whole.grad, rtol=1e-9)


def test_gcv_counts_weights_as_repetitions():
    X, y, _, _ = make_rows(20, 5)
    times = np.arange(20) % 3
    repeated = np.repeat(np.arange(20), times)
    v = np.full(5, 0.2)

    def gcv(X, y, weight):
        rows = SweptRows(as_design(X), y, weight, np.ones((len(X), 1)))
        return GCV.of(rows, dual=False).at(v)

    a = gcv(X, y, times.astype(float))
    b = gcv(X[repeated], y[repeated], np.ones(len(repeated)))
    np.testing.assert_allclose(a.value, b.value, rtol=1e-12)
    np.testing.assert_allclose(a.grad, b.grad, rtol=1e-10)
