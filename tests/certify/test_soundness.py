"""Places where a proof would be too easy: each bound, each box, each face counts."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest

from skbilevel.certify import (
    BarrierCertificate,
    Box,
    Dynamics,
    LyapunovCertificate,
    SineRatio,
    monomials,
    quadratic,
    variables,
)
from skbilevel.certify._proof import inner_bound


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_mixed_terms_near_the_origin(k):
    x, y = variables(2)
    half = Fraction(1, 2)
    square = Box([-half, -half], [half, half])
    p = x**2 + y**2 - k * x * y**2
    side = np.linspace(-0.5, 0.5, 201)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    squares = (points**2).sum(axis=1)
    least = (p(points)[squares > 0] / squares[squares > 0]).min()
    assert float(inner_bound(p, square, square)) <= least + 1e-12


@pytest.mark.parametrize("sign", [1, -1])
def test_both_ends_of_a_parameter_count_near_the_origin(sign):
    x, s = variables(2)
    p = x**2 * (sign * (1 - 2 * s))
    assert inner_bound(p, Box([-1], [1]), Box([-1, 0], [1, 1])) < 0


def test_every_unsafe_box_counts():
    decay = Dynamics(lambda x, t, s: [-x[0]], 1, 0)
    unsafe = [Box(["1.5"], [2]), Box([-2], ["-1.5"])]
    certificate = BarrierCertificate(
        decay, monomials(1, 0, 2), Box([-2], [2]), start=[Box([-1], [1])], unsafe=unsafe
    )
    # x - 5/4 is positive on the first of the two only.
    assert not certificate.prove([], ["-1.25", 1, 0]).holds
    assert certificate.prove([], ["-1.5", 0, 1]).holds


@pytest.mark.parametrize("near", range(4))
def test_the_level_is_that_of_the_nearest_face(near):
    side = [3, 3, 3, 3]
    side[near] = 1
    box = Box([-side[0], -side[1]], [side[2], side[3]])
    decay = Dynamics(lambda x, t, s: [-x[0], -x[1]], 2, 0)
    proof = LyapunovCertificate(decay, quadratic(2), box, tiles=3).prove([], [1, 0, 1])
    assert proof.holds
    assert proof.level == 1


@pytest.mark.parametrize("far", [Fraction(k, 7) for k in (2, 3, 5, 8, 13, 21)])
def test_the_sine_is_enclosed_outwards(far):
    def ratio(x):
        terms = range(40)
        return sum((-1) ** k * x ** (2 * k) / factorial(2 * k + 1) for k in terms)

    near = Fraction(1, 7)
    found = SineRatio(0).range_on(Box([near], [far]))
    assert found.low < ratio(far)
    assert ratio(near) < found.high
