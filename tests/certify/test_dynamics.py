"""Systems, their uncertain numbers, simulations and costs."""

from fractions import Fraction

import numpy as np
import pytest

from skbilevel.certify import Box, Dynamics, Interval, Rollout, SineRatio, simulate


def test_sine_ratio_encloses_its_values_closely():
    ratio = SineRatio(1, Interval(9, 10.5))
    for low, high in [(0, 0.1), (-0.3, 0.2), (0.5, 0.75), (-3, -2.5), (0, 3)]:
        side = ratio.range_on(Box([0, low], [9, high]))
        values = np.sinc(np.linspace(low, high, 10_001) / np.pi)
        ends = 9 * values.min(), 10.5 * values.max()
        assert float(side.low) <= ends[0] + 1e-12
        assert float(side.high) >= ends[1] - 1e-12
        np.testing.assert_allclose([float(side.low), float(side.high)], ends, 1e-9)


def test_sine_ratio_is_rounded_outwards():
    # The bounds at 1/3 are on both sides of a sum that is accurate to 1e-60.
    x, term, total = Fraction(1, 3), Fraction(1), Fraction(1)
    for k in range(1, 40):
        term *= -(x**2) / (2 * k * (2 * k + 1))
        total += term
    side = SineRatio(0).range_on(Box([x], [x]))
    assert total - Fraction(1, 2**59) < side.low < total < side.high
    assert side.high < total + Fraction(1, 2**59)


def test_sine_ratio_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"reaches 3\.5"):
        SineRatio(0).range_on(Box([0], [3.5]))
    with pytest.raises(ValueError, match="below zero"):
        SineRatio(0, Interval(-1, 1))


def test_rates_of_the_pendulum_are_those_of_its_equation(pendulum):
    rng = np.random.default_rng(0)
    x, theta = rng.uniform(-1, 1, (50, 2)), np.array([12.0, 4.0, -2.0])
    for where, gravity in [(0.0, 9.0), (0.5, 9.75), (1.0, 10.5)]:
        torque = x @ theta[:2] + theta[2] * x[:, 0] ** 3
        expected = gravity * np.sin(x[:, 0]) - 0.1 * x[:, 1] - torque
        found = pendulum(theta, x, where)
        np.testing.assert_allclose(found[:, 0], x[:, 1])
        np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda x, theta, s: [x[1]], "rule must return 2 rates"),
        (lambda x, theta, s: [x[1], theta[0] ** 2 * x[0]], "state 1 is not affine"),
        (lambda x, theta, s: [theta[0] * theta[1], x[0]], "state 0 is not affine"),
    ],
)
def test_rules_that_do_not_fit(rule, message):
    with pytest.raises(ValueError, match=message):
        Dynamics(rule, 2, 2)


def test_simulation_of_a_linear_system():
    turn = Dynamics(
        lambda x, theta, s: [s[0] * x[1], -s[0] * x[0]], 2, 0, [Interval(1, 3)]
    )
    path = simulate(turn, [], [[1.0, 0.0]], np.pi / 2, 200, where=0.5)
    np.testing.assert_allclose(path[-1], [[-1.0, 0.0]], atol=1e-7)
    assert path.shape == (201, 1, 2)


def test_simulation_stops_at_the_limit():
    burst = Dynamics(lambda x, theta, s: [x[0] ** 3], 1, 0)
    path = simulate(burst, [], [[1.0], [0.0]], 10.0, 1000, limit=5.0)
    assert np.isfinite(path).all()
    assert path[-1, 0, 0] > 5.0
    assert path[-1, 1, 0] == 0.0


def test_gradient_of_the_cost(cost, central_differences):
    for theta in ([20.0, 6.0, 0.0], [5.0, -1.0, 3.0]):
        grad = cost(theta)[1]
        expected = central_differences(lambda t: cost(t)[0], theta)
        np.testing.assert_allclose(grad, expected, rtol=1e-6)


def test_cost_of_a_trajectory_that_overflows():
    burst = Dynamics(lambda x, theta, s: [theta[0] * x[0] ** 5], 1, 1)
    cost = Rollout(burst, lambda x, theta, s: x[0] ** 2, [[10.0]], 5.0, 50)
    value, grad = cost([1.0])
    assert value == np.inf
    assert not grad.any()
