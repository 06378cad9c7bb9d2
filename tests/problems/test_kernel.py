"""Kernels of rows: products, centring, standardization, dense against sparse."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbilevel.problems._kernel import KernelRows, KernelSet, dual_factor

SETTINGS = [
    {},
    {"free": (1, 4), "weighted": True},
    {"intercept": False, "t": 2},
    {"free": (3,), "intercept": False},
    {"sparse_X": True, "free": (2,), "weighted": True},
    {"sparse_X": True},
]


def dense_columns(rows):
    X = rows.X.toarray() if hasattr(rows.X, "toarray") else rows.X
    return X[:, rows.penalized]


@pytest.mark.parametrize("setting", SETTINGS)
def test_products(make_rows, setting):
    """Of more columns than one block has."""
    rows = make_rows(12, 530, **setting)
    kernel_rows, X = KernelRows.of(rows), dense_columns(rows)
    rng = np.random.default_rng(0)
    metric = rng.uniform(0.5, 2.0, rows.n_penalized)
    kernel_rows, X = replace(kernel_rows, metric=metric), X * metric
    v = rng.uniform(0, 1, rows.n_penalized)
    W, R = rng.standard_normal((rows.n_penalized, 3)), rng.standard_normal((12, 3))
    assert_allclose(kernel_rows.kernel(v), (X * v) @ X.T, rtol=1e-12, atol=1e-13)
    assert_allclose(kernel_rows.matvec(W), X @ W, rtol=1e-12, atol=1e-13)
    assert_allclose(kernel_rows.rmatvec(R), X.T @ R, rtol=1e-12, atol=1e-13)
    active = np.array([3, 0, 520])
    assert_array_equal(kernel_rows.columns(active), X[:, active])
    pulled = np.empty((rows.n_penalized, 3))
    for index, block in kernel_rows.pull_blocks(R):
        pulled[index] = block
    assert_allclose(pulled, X.T @ R, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("setting", SETTINGS)
def test_centred_kernel_is_that_of_swept_rows(make_rows, setting):
    rows = make_rows(16, 20, **setting)
    kernel_rows, X = KernelRows.of(rows), dense_columns(rows)
    train, valid = np.arange(10), np.arange(10, 16)
    E, root = kernel_rows.free, np.sqrt(rows.weight[train])[:, None]
    coef = np.zeros((0, X.shape[1]))
    if E.shape[1]:
        coef = np.linalg.lstsq(root * E[train], root * X[train], rcond=None)[0]
    swept = X - E @ coef
    v = np.linspace(0.1, 1.0, X.shape[1])
    index = np.r_[train, valid]
    chosen = KernelSet(kernel_rows, train)
    block = chosen.center(kernel_rows.kernel(v), index)
    expected = (swept[index] * v) @ swept[train].T
    assert_allclose(block, expected, rtol=1e-9, atol=1e-10)
    weighted = np.sqrt(rows.weight[valid])[:, None] * swept[valid]
    assert_allclose(chosen.swept(X, valid), weighted, rtol=1e-9, atol=1e-10)
    lifted = np.random.default_rng(0).standard_normal(X.shape)
    expected = np.sum(lifted * swept)
    chosen.lift(lifted)
    assert_allclose(np.sum(lifted * X), expected, rtol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS)
def test_standardized(make_rows, setting):
    rows = make_rows(16, 20, **setting)
    train = np.arange(12)
    kernel_rows = KernelRows.of(rows).standardized(train)
    X = dense_columns(rows) * kernel_rows.metric
    E, s = kernel_rows.free[train], rows.weight[train]
    rest = X[train] - E @ (KernelSet(kernel_rows, train).sweep @ X[train])
    variance = s @ rest**2 / s.sum()
    assert_allclose(variance[variance > 0], 1.0, rtol=1e-9)


def test_shift(make_rows):
    rows = make_rows(12, 20)
    shifted = replace(rows, shift=np.linspace(-5, 5, 20), y_shift=np.ones(1))
    kernel_rows = KernelRows.of(shifted)
    assert_allclose(kernel_rows.X, rows.X - shifted.shift)
    assert_allclose(kernel_rows.y, rows.y - 1.0)


def test_nothing_is_copied_where_nothing_changes(make_rows):
    rows = make_rows(12, 20)
    assert np.shares_memory(KernelRows.of(rows).X, rows.X)


def test_dual_factor():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 8))
    root = rng.uniform(0.5, 2.0, 5)
    factor, logdet = dual_factor(A @ A.T, root)
    C = np.eye(5) + root[:, None] * (A @ A.T) * root
    assert_allclose(logdet, np.linalg.slogdet(C)[1], rtol=1e-12)
    assert_allclose(np.tril(factor[0]) @ np.tril(factor[0]).T, C, rtol=1e-12)


@pytest.mark.parametrize("sparse_X", [False, True])
def test_a_kernel_is_computed_once_while_it_is_kept(make_rows, sparse_X):
    rows = KernelRows.of(make_rows(12, 20, sparse_X=sparse_X))
    kernels, X = rows.kernels, rows.X.toarray() if sparse_X else rows.X
    points = np.random.default_rng(0).uniform(0.1, 1.0, (17, 20))
    first = [kernels.at(v) for v in points[:16]]
    for v, kernel in zip(points, first, strict=False):
        assert_allclose(kernel, (X * v) @ X.T, rtol=1e-12, atol=1e-13)
        assert kernels.at(v) is kernel
    kernels.at(points[16])  # the oldest has to go
    assert kernels.at(points[1]) is first[1]
    assert kernels.at(points[0]) is not first[0]
    for size in (0.5, 2.0, 0.0):
        assert_allclose(kernels.at(np.full(20, size)), size * X @ X.T, atol=1e-12)
    assert kernels.at(points[2]) is first[2]  # one variance for all is never kept
    with pytest.raises(ValueError, match="read-only"):
        kernels.at(points[2])[0, 0] = 1.0
