"""Barrier certificates: what is not reached, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.certify import (
    BarrierCertificate,
    Box,
    Dynamics,
    Interval,
    monomials,
    simulate,
    variables,
)

BOX = Box([-2, -2], [2, 2])
START = Box([1, "-0.5"], [2, "0.5"])
UNSAFE = Box(["-1.3", "-1.5"], ["-0.3", "-0.5"])


def rule(x, theta, s):
    return x[1], s[0] * x[0] ** 3 - theta[0] * x[0] - theta[1] * x[1]


@pytest.fixture(scope="module")
def certificate():
    system = Dynamics(rule, 2, 2, [Interval("0.3", "0.4")])
    return BarrierCertificate(system, monomials(2, 0, 2), BOX, [START], [UNSAFE], "-1")


GOOD = [2.0, 3.0]


def test_a_safe_controller_is_proved(certificate):
    slack = certificate.solve(GOOD)
    proof = certificate.prove(GOOD, slack.beta)
    assert slack.slack < 0
    assert proof.holds
    assert proof.claim.startswith("No trajectory that starts in a start box reaches")
    # What is claimed, by simulation: up to where a trajectory leaves the box.
    rng = np.random.default_rng(0)
    starts = rng.uniform([1, -0.5], [2, 0.5], (200, 2))
    for where in (0.0, 1.0):
        path = simulate(certificate.dynamics, GOOD, starts, 10.0, 500, where=where)
        inside = np.logical_and.accumulate((np.abs(path) <= 2).all(axis=2))
        unsafe = (path >= [-1.3, -1.5]).all(axis=2) & (path <= [-0.3, -0.5]).all(axis=2)
        assert not (inside & unsafe).any()


def test_unsafe_controllers_are_never_proved(certificate):
    rng = np.random.default_rng(1)
    starts = rng.uniform([1, -0.5], [2, 0.5], (50, 2))
    unsafe = 0
    for theta in rng.uniform([0, -1], [6, 2], (30, 2)):
        path = simulate(certificate.dynamics, theta, starts, 8.0, 200)
        inside = np.logical_and.accumulate((np.abs(path) <= 2).all(axis=2))
        hit = (path >= [-1.3, -1.5]).all(axis=2) & (path <= [-0.3, -0.5]).all(axis=2)
        if (inside & hit).any():
            unsafe += 1
            beta = certificate.solve(theta).beta
            assert not certificate.prove(theta, beta, depth=1).holds
    assert unsafe >= 5


def test_wrong_certificates_are_refused(certificate):
    beta = certificate.solve(GOOD).beta
    assert not certificate.prove(GOOD, -beta).holds
    assert not certificate.prove(GOOD, 0 * beta).holds
    bigger = replace(certificate, unsafe=[Box([-2, -2], [1.5, 0])])
    assert not bigger.prove(GOOD, beta).holds
    more = replace(certificate, start=[START, UNSAFE])
    assert not more.prove(GOOD, beta).holds
    # The same B and controller, with a force that is more uncertain.
    other = Dynamics(rule, 2, 2, [Interval(-3, 3)])
    assert not replace(certificate, dynamics=other).prove(GOOD, beta).holds


def test_the_envelope_is_the_derivative(certificate, central_differences):
    rng = np.random.default_rng(2)
    for theta in GOOD + rng.uniform(-1, 1, (5, 2)):
        expected = central_differences(lambda t: certificate.solve(t).slack, theta)
        np.testing.assert_allclose(certificate.solve(theta).grad, expected, atol=1e-6)


def test_with_the_boundary_unsafe_the_box_is_not_left():
    # dx/dt = theta x, from the middle: the sign of theta decides.
    system = Dynamics(lambda x, theta, s: [theta[0] * x[0]], 1, 1)
    box = Box([-2], [2])
    certificate = BarrierCertificate(
        system, monomials(1, 0, 2), box, [Box([-1], [1])], box.faces()
    )
    (x,) = variables(1)
    B = [-2, 0, 1]  # B = x^2 - 2, by the order of the template
    assert [next(iter(m.terms)) for m in certificate.template] == [(0,), (1,), (2,)]
    assert (x**2 - 2).at([2]) > 0
    assert certificate.prove([-1], B).holds
    assert not certificate.prove([1], B).holds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": -1}, "margin=-1"),
        ({"tiles": 0}, "tiles=0"),
        ({"degree": 1}, "at least 2 is needed"),
        ({"start": []}, "start must be a list of boxes"),
        ({"start": START}, "start must be a list of boxes"),
        ({"unsafe": [Box([-3, 0], [0, 1])]}, "unsafe must be a list of boxes"),
        ({"unsafe": [Box([0], [1])]}, "unsafe must be a list of boxes"),
        ({"template": monomials(1, 0, 2)}, "template must have polynomials in 2"),
        ({"rate": np.nan}, "not a finite number"),
    ],
)
def test_bad_input(certificate, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(certificate, **changes)
