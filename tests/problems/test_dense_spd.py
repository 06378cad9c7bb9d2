"""Factors and diagonals of symmetric matrices."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems._dense_spd import (
    diagonal_of,
    factor_spd,
    inverse_and_logdet,
    inverse_of_factor,
)

ORDERS = (
    np.ascontiguousarray,
    np.asfortranarray,
    lambda K: np.repeat(K, 2, -1)[..., ::2],
)


@pytest.fixture
def stack():
    A = np.random.default_rng(0).standard_normal((3, 60, 50))
    return np.swapaxes(A, 1, 2) @ A + np.eye(50)


@pytest.mark.parametrize("order", ORDERS)
def test_memory_order_plays_no_part(stack, order):
    K = order(stack.copy())
    diagonal_of(K)[...] += 1.0
    assert_allclose(np.diagonal(K, axis1=1, axis2=2), diagonal_of(stack) + 1.0)
    inverse, _ = inverse_and_logdet(K)
    assert_allclose(inverse, np.linalg.inv(stack + np.eye(50)), atol=1e-12)
    L = np.tril(factor_spd(order(stack[0].copy())))
    assert_allclose(L @ L.T, stack[0])
    assert_allclose(inverse_of_factor(L), np.linalg.inv(stack[0]), atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_rounding_that_makes_a_matrix_indefinite(stack, order):
    A = stack[0][:, :20]
    K = A @ A.T  # of rank 20
    diagonal_of(K)[...] -= 1e-12 * np.trace(K)
    L = np.tril(factor_spd(order(K.copy())))
    assert_allclose(L @ L.T, K, atol=1e-8 * abs(K).max())
    assert np.isfinite(inverse_and_logdet(order(np.stack([K, stack[1]])))[1]).all()


@pytest.mark.parametrize("size", [3, 50])
def test_log_determinants(stack, size):
    K = stack[:, :size, :size]
    inverse, logdet = inverse_and_logdet(K)
    assert_allclose(logdet, np.linalg.slogdet(K)[1], rtol=1e-12)
    assert_allclose(inverse @ K, np.broadcast_to(np.eye(size), K.shape), atol=1e-10)


def test_what_is_no_matrix_of_numbers():
    with pytest.raises(FloatingPointError, match="alpha_bounds"):
        factor_spd(np.full((2, 2), np.nan))
    assert factor_spd(np.empty((0, 0))).shape == (0, 0)
    assert inverse_of_factor(np.empty((0, 0))).shape == (0, 0)
