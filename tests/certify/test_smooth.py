"""The smoothed slack: its derivatives, and the door of the solvers."""

import numpy as np
import pytest
from scipy.optimize import minimize

from skbilevel.certify import BarrierCertificate, Box, Dynamics, Interval, monomials
from skbilevel.problems import OracleProblem
from skbilevel.solvers import evaluate_bilevel, minimize_bilevel
from skbilevel.testing import check_problem


def barrier():
    system = Dynamics(
        lambda x, theta, s: [x[1], s[0] * x[0] - theta[0] * x[0] - theta[1] * x[1]],
        2,
        2,
        [Interval("0.3", "0.4")],
    )
    return BarrierCertificate(
        system,
        monomials(2, 0, 2),
        Box([-2, -2], [2, 2]),
        [Box([1, "-0.5"], [2, "0.5"])],
        [Box(["-1.3", "-1.5"], ["-0.3", "-0.5"])],
        tiles=4,
    )


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_oracles_are_right(certificate, cost, temperature):
    smooth = certificate.smooth(temperature, 1e-2)
    for theta in ([15.0, 5.0, 1.0], [8.0, 3.0, 0.0]):
        problem = smooth.problem(cost, np.array(theta), weight=50.0, margin=0.5)
        assert isinstance(problem, OracleProblem)
        assert check_problem(problem)


def test_oracles_of_a_barrier_are_right():
    problem = (
        barrier()
        .smooth(0.05)
        .problem(
            lambda theta: (float(theta @ theta), 2 * theta),
            [2.0, 3.0],
            weight=5,
            margin=1,
        )
    )
    assert check_problem(problem)


def test_the_hypergradient_is_that_of_the_slack(certificate, central_differences):
    # One step of theta by the smooth problem, against differences of its solutions.
    smooth = certificate.smooth(0.01, 1e-2)
    theta = np.array([10.0, 4.0, 0.0])
    free = smooth.problem(lambda t: (0.0, 0 * t), theta, weight=1.0, margin=1.0)

    def F(t):
        return evaluate_bilevel(free, t, tol=1e-12).value

    w = evaluate_bilevel(free, theta, tol=1e-12).w
    inner, outer = free.inner.at(theta, w), free.outer.at(theta, w)
    q = np.linalg.solve(inner.hessian(), outer.grad)
    gradient = outer.grad_theta - inner.cross(q)
    np.testing.assert_allclose(gradient, central_differences(F, theta), rtol=1e-5)


def test_the_smooth_slack_is_above_the_program_and_comes_down_to_it(certificate, lqr):
    exact = certificate.solve(lqr).slack
    n = certificate.program.A.shape[0] + 6
    for temperature in (1e-2, 1e-3, 1e-4):
        smooth = certificate.smooth(temperature, 1e-6)
        problem = smooth.problem(lambda t: (0.0, 0 * t), lqr, weight=1.0)
        found = evaluate_bilevel(problem, lqr)
        slack = smooth.slack(lqr, found.w)
        assert exact <= slack <= exact + temperature * np.log(n) + 1e-5


def test_coordinates_and_coefficients(certificate):
    smooth = certificate.smooth()
    w = np.array([0.3, -0.2])
    beta = smooth.beta(w)
    np.testing.assert_allclose(certificate.normal @ beta, 1.0)
    np.testing.assert_allclose(smooth.w(beta), w)


@pytest.mark.parametrize("solver", ["auto", "cg"])
def test_control_and_certificate_together(certificate, cost, lqr, solver):
    smooth = certificate.smooth(5e-3)
    problem = smooth.problem(cost, lqr, weight=1e4)
    found = minimize_bilevel(problem, solver, tol=1e-4, max_iter=30)
    # It costs less than the start, and V comes with it.
    assert cost(found.theta)[0] < 0.9 * cost(lqr)[0]
    assert certificate.prove(found.theta, smooth.beta(found.w)).holds


def test_the_plain_policy_has_no_certificate(certificate, cost, lqr):
    plain = minimize(cost, np.zeros(3), jac=True, method="L-BFGS-B").x
    slack = certificate.solve(plain)
    assert cost(plain)[0] < cost(lqr)[0]
    assert slack.slack > 0
    assert not certificate.prove(plain, slack.beta).holds


def test_the_constraint_of_slsqp(certificate, cost, lqr, central_differences):
    constraint = certificate.constraint(1e-3)
    slopes = central_differences(constraint["fun"], lqr)
    np.testing.assert_allclose(constraint["jac"](lqr), slopes, atol=1e-6)
    # Older releases of scipy leave for controllers of infinite cost without a box.
    box = [(-20.0, 20.0)] * 3
    found = minimize(
        cost, lqr, jac=True, method="SLSQP", bounds=box, constraints=[constraint]
    )
    slack = certificate.solve(found.x)
    assert found.fun < 0.9 * cost(lqr)[0]
    assert slack.slack <= -1e-3 + 1e-6
    assert certificate.prove(found.x, slack.beta).holds


@pytest.mark.parametrize("name", ["temperature", "curvature"])
def test_bad_input(certificate, name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        certificate.smooth(**{name: 0.0})


def test_a_weight_is_positive(certificate, lqr):
    with pytest.raises(ValueError, match="weight=0 must be positive"):
        certificate.smooth().problem(lambda t: (0.0, 0 * t), lqr, weight=0)
