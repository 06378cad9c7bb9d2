"""A pendulum upright with an uncertain gravity, and its certificate."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_are

from skbilevel.certify import (
    Box,
    Dynamics,
    Interval,
    LyapunovCertificate,
    Rollout,
    SineRatio,
    quadratic,
)


def torque(x, theta):
    return theta[0] * x[0] + theta[1] * x[1] + theta[2] * x[0] ** 3


def pendulum_rule(x, theta, s):
    return x[1], s[0] * x[0] - x[1] * "0.1" - torque(x, theta)


@pytest.fixture(scope="session")
def pendulum():
    return Dynamics(pendulum_rule, 2, 3, [SineRatio(0, Interval(9, 10.5))])


@pytest.fixture(scope="session")
def square():
    return Box([-1, -1], [1, 1])


@pytest.fixture(scope="session")
def certificate(pendulum, square):
    return LyapunovCertificate(pendulum, quadratic(2), square, tiles=4)


@pytest.fixture(scope="session")
def lqr():
    """Gains of the linear quadratic regulator, price 0.3, without a cubic term."""
    A, B = np.array([[0, 1], [9.75, -0.1]]), np.array([[0], [1.0]])
    P = solve_continuous_are(A, B, np.eye(2), [[0.3]])
    return np.append((B.T @ P / 0.3)[0], 0.0)


@pytest.fixture(scope="session")
def cost(pendulum):
    """Angle, velocity and torque, from four states, for half a second."""

    def running(x, theta, s):
        return x[0] ** 2 + x[1] ** 2 + 0.3 * torque(x, theta) ** 2

    starts = [[0.5, 0.25], [-0.5, 0.0], [0.25, -0.25], [-0.25, 0.25]]
    return Rollout(pendulum, running, starts, 0.5, 20)


@pytest.fixture(scope="session")
def central_differences():
    """Differences of a function of a vector, one for each component."""

    def differences(function, at, step=1e-5):
        at = np.asarray(at, dtype=float)
        moves = step * np.eye(len(at))
        pairs = [(function(at + m) - function(at - m)) / (2 * step) for m in moves]
        return np.array(pairs)

    return differences
