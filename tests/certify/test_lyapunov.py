"""Lyapunov certificates: programs, their slopes, and proofs that are proofs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov
from scipy.optimize import linprog

from skbilevel.certify import (
    Box,
    Dynamics,
    Interval,
    LyapunovCertificate,
    SineRatio,
    monomials,
    quadratic,
    simulate,
    variables,
)

# theta_2 holds the pendulum at the outer states; the sum with V of LQR is certified.
GOOD = [19.7, 6.4, 0.0]


def linear(A, n_theta=0):
    """The system ``dx/dt = A x``."""
    return Dynamics(
        lambda x, theta, s: [row @ np.array(x) for row in A], len(A), n_theta
    )


def test_the_program_is_solved_to_the_end(certificate):
    rng = np.random.default_rng(0)
    program = certificate.program
    for theta in [GOOD, *rng.uniform(-20, 20, (4, 3))]:
        A = program.at(theta)
        whole = linprog(
            [0, 0, 0, 1],
            A_ub=-np.column_stack([A, np.ones(len(A))]),
            b_ub=-program.b,
            A_eq=[[*program.normal, 0]],
            b_eq=[1],
            bounds=[(-1, 1)] * 3 + [(None, None)],
        )
        found = certificate.solve(theta)
        np.testing.assert_allclose(found.slack, whole.fun, atol=1e-8)
        assert found.n_constraints == len(A)
        assert "ptimal" in found.status


def test_the_envelope_is_the_derivative(certificate, central_differences):
    rng = np.random.default_rng(1)
    for theta in np.array(GOOD) + rng.uniform(-8, 8, (20, 3)):
        expected = central_differences(lambda t: certificate.solve(t).slack, theta)
        np.testing.assert_allclose(certificate.solve(theta).grad, expected, atol=1e-6)


def test_a_degenerate_dual_gives_a_slope_of_one_piece(square):
    # Both directions are alike: which of them binds is a tie, at a kink of the slack.
    both = Dynamics(lambda x, theta, s: [-theta[0] * x[0], -theta[1] * x[1]], 2, 2)
    certificate = LyapunovCertificate(both, quadratic(2), square, tiles=2)
    here = certificate.solve([1.0, 1.0])
    sides = []
    for step in ([1e-4, 0], [-1e-4, 0], [0, 1e-4], [0, -1e-4]):
        moved = certificate.solve(np.ones(2) + step)
        sides.append((moved.slack - here.slack) / 1e-4)
    low = np.minimum([sides[0], sides[2]], [-sides[1], -sides[3]])
    high = np.maximum([sides[0], sides[2]], [-sides[1], -sides[3]])
    assert (here.grad >= low - 1e-3).all()
    assert (here.grad <= high + 1e-3).all()


def test_tiles_fill_the_box_without_the_square(pendulum):
    box = Box(["-0.5", -1], [2, "0.7"])
    certificate = LyapunovCertificate(pendulum, quadratic(2), box, "0.03", tiles=3)

    def area(tile):
        a, b = tile.sides
        return (a.high - a.low) * (b.high - b.low)

    inner = certificate.inner
    total = sum(area(tile) for tile in certificate.outside)
    assert total + area(inner) == area(box)
    r = Fraction(3, 100)
    for tile in certificate.outside:
        assert box.contains(tile)
        assert any(side.low >= r or side.high <= -r for side in tile.sides)


def test_a_certified_controller_is_proved(certificate, lqr):
    slack = certificate.solve(lqr)
    assert slack.slack < 0
    proof = certificate.prove(lqr, slack.beta)
    assert proof.holds
    assert "Every sublevel set of V inside the box is invariant" in proof.claim
    assert isinstance(proof.smallest_coefficient, Fraction)
    assert proof.smallest_coefficient > 0
    assert proof.inner_eigenvalue > 0
    assert proof.level > 0
    assert proof.theta == tuple(map(Fraction, lqr))
    # A grid that knows nothing of tiles says the same.
    a, b, c = slack.beta[::-1]
    side = np.linspace(-1, 1, 301)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    x = x[np.abs(x).max(axis=1) > 1e-9]
    V = a * x[:, 0] ** 2 + b * x[:, 0] * x[:, 1] + c * x[:, 1] ** 2
    slope = np.column_stack(
        [2 * a * x[:, 0] + b * x[:, 1], b * x[:, 0] + 2 * c * x[:, 1]]
    )
    assert V.min() > 0
    for where in (0.0, 0.5, 1.0):
        assert (slope * certificate.dynamics(lqr, x, where)).sum(axis=1).max() < 0


def test_a_proof_survives_refinement(pendulum, square, certificate, lqr):
    beta = certificate.solve(lqr).beta
    for tiles in (5, 8):
        finer = LyapunovCertificate(pendulum, quadratic(2), square, tiles=tiles)
        assert finer.prove(lqr, beta).holds
    assert certificate.prove(lqr, beta, depth=5).holds


def test_wrong_certificates_are_refused(certificate, lqr):
    beta = certificate.solve(lqr).beta
    refused = [-beta, beta * [1, -1, 1], beta * [1, 1, -1], beta * [-1, 1, 1], 0 * beta]
    assert not any(certificate.prove(lqr, each).holds for each in refused)
    claim = certificate.prove(lqr, -beta).claim
    assert claim.startswith("Nothing is claimed")


def test_another_system_is_refused(certificate, lqr, square):
    # The same controller and V, with gravity beyond what the controller can hold.
    def rule(x, theta, s):
        torque = theta[0] * x[0] + theta[1] * x[1] + theta[2] * x[0] ** 3
        return x[1], s[0] * x[0] - x[1] * "0.1" - torque

    beta = certificate.solve(lqr).beta
    for high, holds in [(10.5, True), (20.0, False)]:
        system = Dynamics(rule, 2, 3, [SineRatio(0, Interval(9, high))])
        other = LyapunovCertificate(system, quadratic(2), square, tiles=4)
        assert other.prove(lqr, beta).holds is holds


@pytest.mark.parametrize("reach", ["0.9", "1.1"])
def test_a_box_with_a_violation_is_refused(reach):
    # dx/dt = -x + x^3 turns round at one; V = x^2 falls for smaller |x| only.
    system = Dynamics(lambda x, theta, s: [x[0] ** 3 - x[0]], 1, 0)
    box = Box(["-" + reach], [reach])
    certificate = LyapunovCertificate(system, quadratic(1), box, tiles=4)
    assert certificate.prove([], [1]).holds is (reach == "0.9")


def test_a_margin_that_is_negative_by_next_to_nothing_is_refused():
    # dx/dt = a x with a of the size of an ulp: no sum of doubles tells the sign.
    tiny = Fraction(1, 2**200)
    for a, holds in [(-tiny, True), (tiny, False), (Fraction(0), False)]:
        system = Dynamics(lambda x, theta, s, a=a: [x[0] * a], 1, 0)
        certificate = LyapunovCertificate(system, quadratic(1), Box([-1], [1]))
        proof = certificate.prove([], [1])
        assert proof.holds is holds
        assert (proof.smallest_coefficient > 0) is holds
        assert (proof.inner_eigenvalue > 0) is holds


def test_a_violation_in_the_square_around_the_origin_is_refused():
    # Outside |x| = 0.04 V falls, inside it rises.
    (x,) = variables(1)
    rate = x * (Fraction(4, 100) ** 2 - x**2)
    system = Dynamics(
        lambda x, theta, s: [x[0] * (Fraction(16, 10_000) - x[0] ** 2)], 1, 0
    )
    certificate = LyapunovCertificate(system, quadratic(1), Box([-1], [1]))
    proof = certificate.prove([], [1])
    assert rate(np.array([[0.03]])) > 0 > rate(np.array([[0.05]]))
    assert proof.smallest_coefficient > 0
    assert proof.inner_eigenvalue < 0
    assert not proof.holds


@pytest.mark.parametrize("k", [19, 21])
def test_terms_of_higher_degree_count_near_the_origin(k):
    # V falls where k |x| < 1: in the whole square of half side 0.05, or not.
    system = Dynamics(lambda x, theta, s: [-x[0] + k * x[0] ** 2], 1, 0)
    box = Box(["-0.051"], ["0.051"])
    proof = LyapunovCertificate(system, quadratic(1), box, tiles=1).prove([], [1])
    assert proof.holds is (k == 19)
    # The smallest value of (2 x^2 - 2 k x^3) / x^2 there, up to the bisection.
    exact = 2 - 2 * k * Fraction(1, 20)
    assert exact - Fraction(1, 10**5) < proof.inner_eigenvalue <= exact


@pytest.mark.parametrize(("high", "holds"), [("0.7", True), ("0.71", False)])
def test_an_uncertain_number_may_be_squared(high, holds):
    # dx/dt = (s^2 - 1/2) x, and the square of 0.71 is more than one half.
    half = Fraction(1, 2)
    rule = lambda x, theta, s: [x[0] * (s[0] ** 2 - half)]  # noqa: E731
    system = Dynamics(rule, 1, 0, [Interval(0, high)])
    certificate = LyapunovCertificate(system, quadratic(1), Box([-1], [1]))
    assert certificate.prove([], [1]).holds is holds


def test_three_states():
    def rule(x, theta, s):
        a, b, c = x
        return b / 4 - a, s[0] * c / 2 - b, a**2 * c / 8 - s[0] * b / 2 - theta[0] * c

    system = Dynamics(rule, 3, 1, [Interval(1, 2)])
    box = Box([-1] * 3, [1] * 3)
    certificate = LyapunovCertificate(system, quadratic(3), box, "0.2", tiles=1)
    # V = |x|^2, the coupling by s cancels.
    beta = [int(max(*each.terms) == 2) for each in certificate.template]
    assert certificate.prove([1.0], beta, depth=2).holds
    # On the axis of the third state V stands still for theta = 0.
    for theta in (0.0, -0.1):
        assert not certificate.prove([theta], beta, depth=2).holds


def test_a_certificate_at_the_last_bit():
    # dx/dt = (theta - 1) x: one is refused, one ulp below is proved.
    system = Dynamics(lambda x, theta, s: [x[0] * (theta[0] - 1)], 1, 1)
    found = LyapunovCertificate(system, quadratic(1), Box([-1], [1]), tiles=2)
    assert found.prove([np.nextafter(1.0, 0.0)], [1]).holds
    assert not found.prove([1.0], [1]).holds
    assert not found.prove([np.nextafter(1.0, 2.0)], [1]).holds


def test_a_program_without_a_solution():
    # Coefficients up to one cannot make squares of a thousandth add up to one.
    (x,) = variables(1)
    system = Dynamics(lambda x, theta, s: [-x[0]], 1, 0)
    tiny = LyapunovCertificate(system, [x**2 / 1000], Box([-1], [1]))
    with pytest.raises(RuntimeError, match="members of the template"):
        tiny.solve([])
    assert tiny.prove([], [1]).holds  # a proof does not ask for a scale


def test_unstable_controllers_are_never_proved(certificate):
    certificate = replace(certificate, tiles=2)
    rng = np.random.default_rng(2)
    seen = 0
    while seen < 100:
        theta = rng.uniform([-10, -10, -10], [30, 10, 30])
        values = [
            np.linalg.eigvals([[0, 1], [g - theta[0], -0.1 - theta[1]]]).real.max()
            for g in (9.0, 10.5)
        ]
        if max(values) <= 0:
            continue
        seen += 1
        guess = rng.standard_normal((2, 2))
        P = guess @ guess.T
        for beta in (certificate.solve(theta).beta, [P[1, 1], 2 * P[0, 1], P[0, 0]]):
            assert not certificate.prove(theta, beta, depth=0).holds


def test_random_linear_systems_are_proved_where_they_are_stable(square):
    rng = np.random.default_rng(3)
    for _ in range(5):
        M = rng.standard_normal((2, 2))
        A = M - (np.linalg.eigvals(M).real.max() + 0.5) * np.eye(2)
        P = solve_continuous_lyapunov(A.T, -np.eye(2))
        beta = [P[1, 1], 2 * P[0, 1], P[0, 0]]
        for matrix, holds in [(A, True), (-A, False), (A + 0.6 * np.eye(2), False)]:
            found = LyapunovCertificate(linear(matrix), quadratic(2), square, tiles=3)
            assert found.prove([], beta, depth=4).holds is holds


def test_simulations_stay_in_the_certified_set(certificate, lqr):
    proof = certificate.prove(lqr, certificate.solve(lqr).beta)
    c, b, a = (float(value) for value in proof.beta)

    def V(x):
        return a * x[..., 0] ** 2 + b * x[..., 0] * x[..., 1] + c * x[..., 1] ** 2

    rng = np.random.default_rng(4)
    starts = rng.uniform(-1, 1, (4000, 2))
    starts = starts[V(starts) < 0.999 * float(proof.level)][:1000]
    assert len(starts) == 1000
    for where in (0.0, 1.0):
        values = V(simulate(certificate.dynamics, lqr, starts, 2.0, 200, where=where))
        assert (np.diff(values, axis=0) < 0).all()


def test_a_template_of_higher_degree(square):
    def rule(x, theta, s):
        return -x[0] + x[1] ** 2 / 2, -x[1] - x[0] * x[1] / 4

    certificate = LyapunovCertificate(
        Dynamics(rule, 2, 0), monomials(2, 2, 4), square, tiles=3
    )
    slack = certificate.solve([])
    assert slack.slack < 0
    assert slack.grad.shape == (0,)
    assert certificate.prove([], slack.beta).holds


def test_the_form_can_have_a_higher_degree(certificate):
    raised = replace(certificate, degree=5)
    beta = certificate.solve(GOOD).beta
    assert raised.program.A.shape[0] > certificate.program.A.shape[0]
    assert raised.solve(GOOD).slack <= certificate.solve(GOOD).slack + 1e-8
    assert raised.prove(GOOD, beta).holds == certificate.prove(GOOD, beta).holds


def test_a_certificate_without_a_margin(certificate):
    loose = replace(certificate, margin=0)
    assert loose.solve(GOOD).slack < certificate.solve(GOOD).slack


def test_extreme_controllers_have_a_slack(certificate):
    for theta in ([1e6, 0, 0], [0, 0, 0], [-1e4, 1e4, 1e4]):
        assert certificate.solve(theta).slack > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": -1}, "margin=-1 must be at least zero"),
        ({"tiles": 0}, "tiles=0 must be an integer"),
        ({"tiles": 2.5}, "tiles=2.5 must be an integer"),
        ({"inner_radius": 0}, "inner_radius=0 must be positive"),
        ({"inner_radius": 1}, "must be inside the box"),
        ({"degree": 2}, "at least 4 is needed"),
        ({"box": Box([-1], [1])}, "2 sides"),
        ({"box": Box([0, -1], [1, 1])}, "must be inside the box"),
        ({"box": Box([-4, -1], [4, 1])}, "reaches 4"),
        ({"template": ()}, "template must have polynomials in 2"),
        ({"template": quadratic(3)}, "template must have polynomials in 2"),
        ({"template": quadratic(2)[:2]}, "the square of every state"),
        ({"template": monomials(2, 1, 2)}, "no terms of degree zero or one"),
    ],
)
def test_bad_input(certificate, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(certificate, **changes).program  # noqa: B018


def test_an_origin_that_is_not_at_rest(square):
    pushed = Dynamics(lambda x, theta, s: [x[1], theta[0] - x[0]], 2, 1)
    with pytest.raises(ValueError, match="not at rest"):
        LyapunovCertificate(pushed, quadratic(2), square)


@pytest.mark.parametrize("theta", [[1.0, 2.0], [np.nan, 1, 1], [[1.0, 2.0, 3.0]]])
def test_bad_theta(certificate, theta):
    with pytest.raises(ValueError, match="finite vector of length 3"):
        certificate.solve(theta)


def test_bad_arguments_of_a_proof(certificate):
    with pytest.raises(ValueError, match="theta must have 3 numbers"):
        certificate.prove([1, 2], [1, 0, 1])
    with pytest.raises(ValueError, match="beta must have 3 numbers"):
        certificate.prove(GOOD, [1, 0])
    with pytest.raises(ValueError, match="not a finite number"):
        certificate.prove(GOOD, [1, np.nan, 1])
