"""The one-dimensional search widens by itself and says where it ended."""

import numpy as np
import pytest

from skbilevel.solvers import Status, minimize_scalar_log


def well(center):
    return lambda x: (1.0 + np.log(np.cosh(x - center)), np.tanh(x - center))


@pytest.mark.parametrize("center", [-40.0, -7.3, 0.0, 2.0, 55.5])
def test_finds_minimum(center):
    found = minimize_scalar_log(well(center), 0.0, tol=1e-6)
    assert found.status is Status.CONVERGED
    assert abs(found.log_v - center) < 1e-4
    assert found.n_evaluations < 40


def test_few_evaluations_at_usual_accuracy():
    assert minimize_scalar_log(well(1.2), 0.0).n_evaluations <= 12


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_limits(sign):
    def fun(x):
        e = np.exp(-sign * x)
        return 2.0 + 1.0 / (1.0 + 1.0 / e), -sign * e / (1.0 + e) ** 2

    found = minimize_scalar_log(fun, 0.0)
    assert found.status is (Status.AT_INFINITY if sign < 0 else Status.AT_ZERO)
    assert abs(found.value - 2.0) < 1e-8


def test_bounds_are_kept():
    seen = []

    def fun(x):
        seen.append(x)
        return -x, -1.0

    found = minimize_scalar_log(fun, 0.0, bounds=(-2.0, 9.0))
    assert found.status is Status.AT_ZERO
    assert found.log_v == 9.0
    assert min(seen) >= -2.0
    assert max(seen) <= 9.0


def test_two_minima():
    # The start lies in the shallow one; the scan sees the deep one.
    def fun(x):
        value = -np.exp(-(x**2)) - 3 * np.exp(-((x - 6) ** 2))
        slope = 2 * x * np.exp(-(x**2)) + 6 * (x - 6) * np.exp(-((x - 6) ** 2))
        return 5.0 + value, slope

    assert abs(minimize_scalar_log(fun, 0.0).log_v - 6.0) < 1e-2


def test_max_iter():
    found = minimize_scalar_log(lambda x: (-x, -1.0), 0.0, max_iter=2)
    assert found.status is Status.MAX_ITER
