"""Exact arithmetic, and Bernstein forms that enclose what they should."""

from decimal import Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from skbilevel.certify import (
    Box,
    Interval,
    Polynomial,
    bernstein_coefficients,
    enclosure,
    exact,
    monomials,
    quadratic,
    variables,
)


@pytest.mark.parametrize(
    ("value", "fraction"),
    [
        (0.5, Fraction(1, 2)),
        ("0.1", Fraction(1, 10)),
        (Decimal("0.1"), Fraction(1, 10)),
        (np.float32(0.25), Fraction(1, 4)),
        (np.int64(3), Fraction(3)),
        (Fraction(np.int64(3), np.int64(7)), Fraction(3, 7)),
    ],
)
def test_numbers_are_exact_and_of_python(value, fraction):
    made = exact(value)
    assert made == fraction
    assert type(made.numerator) is int
    assert type(made.denominator) is int


def test_a_float_is_the_binary_number_that_it_is():
    assert exact(0.1) == Fraction(0.1) != Fraction(1, 10)
    assert exact(np.int64(2**62)) * 4 == 2**64  # numpy's own integers overflow


@pytest.mark.parametrize("value", [np.nan, np.inf, "one", "1/0", None, 1j, [1]])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="not a finite number"):
        exact(value)


def random_polynomial(rng, n, degree):
    exponents = product(range(degree + 1), repeat=n)
    return Polynomial({e: float(rng.standard_normal()) for e in exponents}, n)


def test_arithmetic_is_that_of_values():
    rng = np.random.default_rng(0)
    p, q = random_polynomial(rng, 2, 3), random_polynomial(rng, 2, 2)
    point = [Fraction(1, 3), Fraction(-2, 5)]
    a, b = p.at(point), q.at(point)
    assert (p + q).at(point) == a + b
    assert (p - q).at(point) == a - b
    assert (p * q).at(point) == a * b
    assert (q**3).at(point) == b**3
    assert (np.float64(2) * p + 1).at(point) == 2 * a + 1
    assert (1 - p / 4).at(point) == 1 - a / 4
    x, y = variables(2)
    assert (x**3 * y).diff(0) == 3 * x**2 * y
    assert p - p == Polynomial({}, 2)


def test_values_in_double_precision():
    rng = np.random.default_rng(1)
    p = random_polynomial(rng, 2, 3)
    points = rng.uniform(-1, 1, (5, 4, 2))
    values = p(points)
    assert values.shape == (5, 4)
    np.testing.assert_allclose(values[2, 3], float(p.at(points[2, 3])), rtol=1e-12)
    assert not Polynomial({}, 2)(points).any()


def test_templates():
    assert len(quadratic(4)) == 10
    assert [sum(*each.terms) for each in monomials(2, 0, 2)] == [0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bernstein_coefficients_enclose_values_and_meet_them_at_corners(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        p = random_polynomial(rng, n, 3)
        low = rng.uniform(-2, 1, n)
        box = Box(low, low + rng.uniform(0.1, 2, n))
        coefficients = bernstein_coefficients(p, box)
        bounds = enclosure(p, box)
        points = low + rng.random((10_000, n)) * [
            float(s.high - s.low) for s in box.sides
        ]
        values = p(points)
        slack = 1e-9 * np.abs(values).max()
        assert float(bounds.low) <= values.min() + slack
        assert float(bounds.high) >= values.max() - slack
        for corner in product((0, -1), repeat=n):
            at = [
                s.high if c else s.low for s, c in zip(box.sides, corner, strict=True)
            ]
            assert coefficients[corner] == p.at(at)


def test_refined_and_raised_forms_are_sharper():
    (x,) = variables(1)
    p = x**2 - x + "0.26"  # positive, by one hundredth
    whole = Box([0], [1])
    assert enclosure(p, whole).low < 0
    assert min(enclosure(p, half).low for half in whole.cut(2)) > 0
    raised = min(bernstein_coefficients(p, whole, [30]).flat)
    assert enclosure(p, whole).low < raised <= Fraction(1, 100)


def test_a_form_of_too_low_degree_names_the_one_needed():
    x, y = variables(2)
    with pytest.raises(ValueError, match=r"\(3, 1\) are needed"):
        bernstein_coefficients(x**3 * y, Box([0, 0], [1, 1]), [2, 1])
    with pytest.raises(ValueError, match="2 variables, the box 1 sides"):
        bernstein_coefficients(x * y, Box([0], [1]))


def test_boxes():
    box = Box([-1, 0], [1, 3])
    assert box.squared_radius == 10
    tiles = box.cut(3)
    area = sum((t.sides[0].high - t.sides[0].low) * 1 for t in tiles)
    assert area == 6
    assert all(box.contains(tile) for tile in tiles)
    assert not box.contains(Box([0, 0], [1, "3.01"]))
    assert all(any(s.low == s.high for s in face.sides) for face in box.faces())
    assert Interval(2, 2).cut(5) == [Interval(2, 2)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(2, 1), "is empty"),
        (lambda: Box([0], [1, 2]), "of one length"),
        (lambda: Box([], []), "at least 1"),
        (lambda: Polynomial({(1,): 1}, 2), "2 integers"),
        (lambda: Polynomial({(1.5,): 1}, 1), "1 integers"),
        (lambda: Polynomial({(-1,): 1}, 1), "at least zero"),
        (lambda: variables(2)[0] + variables(3)[0], "meets one in 3"),
        (lambda: variables(1)[0] ** 0.5, "is an integer"),
        (lambda: variables(1)[0].at([1, 2]), "1 components"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
