"""Bernstein form: bounds of polynomials on boxes.

On [a, b] a polynomial of degree d is a sum of ``c_i B_i`` with Bernstein's
polynomials ``B_i >= 0``, whose sum is one. So its values lie between the smallest and
the largest ``c_i``, and the first and the last ``c_i`` are its values at the ends. The
power ``x^m`` has::

    c_i = sum_{k <= min(i, m)} C(m, k) a^(m-k) (b-a)^k C(i, k) / C(d, k)

In several variables the transformation is applied along one axis after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, cached_property
from math import comb, lcm
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.certify._exact import Box, Interval
from skbilevel.certify._polynomials import Polynomial


def power_matrix(side: Interval, degree: int) -> Array:
    """Return the matrix from powers to Bernstein coefficients, of fractions."""
    a, width = side.low, side.high - side.low
    matrix = np.zeros((degree + 1, degree + 1), dtype=object)
    for i in range(degree + 1):
        for m in range(degree + 1):
            parts = (
                comb(m, k)
                * a ** (m - k)
                * width**k
                * Fraction(comb(i, k))
                / comb(degree, k)
                for k in range(min(i, m) + 1)
            )
            matrix[i, m] = sum(parts, Fraction(0))
    return matrix


def power_tensor(polynomial: Polynomial, degrees: Sequence[int]) -> Array:
    """Return coefficients of powers as an array of fractions, one axis a variable."""
    tensor = np.full([d + 1 for d in degrees], Fraction(0), dtype=object)
    for exponents, coefficient in polynomial.terms.items():
        tensor[exponents] = coefficient
    return tensor


def along_axes(tensor: Array, matrices: Sequence[Array]) -> Array:
    """Multiply the last axes of an array by one matrix each."""
    first = tensor.ndim - len(matrices)
    for axis, matrix in enumerate(matrices, start=first):
        moved = np.tensordot(tensor, matrix, axes=([axis], [1]))
        tensor = np.moveaxis(moved, -1, axis)
    return tensor


def bernstein_coefficients(
    polynomial: Polynomial, box: Box, degrees: Sequence[int] | None = None
) -> Array:
    """Return the Bernstein coefficients of a polynomial on a box, as fractions.

    Parameters
    ----------
    polynomial : Polynomial
        In as many variables as the box has sides.
    box : Box
        Where.
    degrees : sequence of int, optional
        Degree of the form in every variable; by default that of the polynomial.

    Returns
    -------
    coefficients : ndarray of Fraction, of shape ``[d + 1 for d in degrees]``
        If all of them are positive, so is the polynomial on the whole box.

    Raises
    ------
    ValueError
        If a degree is smaller than that of the polynomial, or the numbers of
        variables differ.

    Examples
    --------
    >>> from skbilevel.certify import Box, bernstein_coefficients, variables
    >>> (x,) = variables(1)
    >>> bernstein_coefficients(x**2 - x + 1, Box([0], [1])).tolist()
    [Fraction(1, 1), Fraction(1, 2), Fraction(1, 1)]
    """
    return BernsteinForm(polynomial, degrees).on(box)


def enclosure(polynomial: Polynomial, box: Box) -> Interval:
    """Return an interval that contains all values of a polynomial on a box.

    Parameters
    ----------
    polynomial : Polynomial
        In as many variables as the box has sides.
    box : Box
        Where.

    Returns
    -------
    interval : Interval
        The smallest and the largest Bernstein coefficient; exact, and equal to the
        range where a corner has the extreme value.

    Examples
    --------
    >>> from skbilevel.certify import Box, enclosure, variables
    >>> x, y = variables(2)
    >>> enclosure(x * y, Box([0, -1], [2, 3]))
    Interval(low=Fraction(-2, 1), high=Fraction(6, 1))
    """
    coefficients = bernstein_coefficients(polynomial, box).ravel()
    return Interval(min(coefficients), max(coefficients))


@record
class BernsteinForm:
    """A polynomial that is looked at on many boxes, which share sides."""

    polynomial: Polynomial
    degrees: Sequence[int] | None = None

    @cached_property
    def _powers(self) -> tuple[tuple[int, ...], Array, int]:
        """Degrees, and coefficients of powers as integers with their denominator."""
        needed = self.polynomial.degrees
        degrees = needed if self.degrees is None else tuple(self.degrees)
        if any(d < n for d, n in zip(degrees, needed, strict=True)):
            raise ValueError(f"degrees={degrees} are too low; {needed} are needed.")
        return degrees, *_integers(power_tensor(self.polynomial, degrees))

    @cached_property
    def _matrix(self) -> Callable[[Interval, int], tuple[Array, int]]:
        return cache(lambda side, degree: _integers(power_matrix(side, degree)))

    def on(self, box: Box) -> Array:
        """Return the coefficients on a box, as fractions."""
        if self.polynomial.n_variables != len(box.sides):
            raise ValueError(
                f"The polynomial has {self.polynomial.n_variables} variables, the box "
                f"{len(box.sides)} sides."
            )
        degrees, powers, bottom = self._powers
        matrices = []
        for side, degree in zip(box.sides, degrees, strict=True):
            matrix, its_bottom = self._matrix(side, degree)
            matrices.append(matrix)
            bottom *= its_bottom
        scaled = along_axes(powers, matrices)
        return _each(lambda top: Fraction(top, bottom), scaled)


def _integers(fractions: Array) -> tuple[Array, int]:
    """Return integers and the common denominator: they multiply without gcds."""
    bottom = lcm(*(value.denominator for value in fractions.flat))
    return _each(lambda f: f.numerator * (bottom // f.denominator), fractions), bottom


def _each(function: Callable[[Any], Any], values: Array) -> Array:
    """Return what a function makes of every Python number of an array."""
    return np.asarray(np.frompyfunc(function, 1, 1)(values))
