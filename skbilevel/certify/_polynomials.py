"""Polynomials in several variables with exact coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._exact import Number, exact

Exponents = tuple[int, ...]


@dataclass(frozen=True, init=False)
class Polynomial:
    """A polynomial with fractions as coefficients: sums and products are exact.

    Parameters
    ----------
    terms : mapping
        Exponents, one for every variable, to coefficients; see `exact`.
    n_variables : int
        Number of variables.

    Attributes
    ----------
    terms : dict
        Exponents to fractions, none of them zero.

    Examples
    --------
    >>> from skbilevel.certify import variables
    >>> x, y = variables(2)
    >>> (x + y) * (x - y) == x**2 - y**2
    True
    >>> (x**2 * y).diff(0).at([3, "0.5"])
    Fraction(3, 1)
    """

    terms: dict[Exponents, Fraction]
    n_variables: int

    # A number of numpy on the left leaves the product to us.
    __array_ufunc__ = None

    def __init__(self, terms: Mapping[Exponents, Number], n_variables: int) -> None:
        powers = [power for e in terms for power in e]
        whole = all(isinstance(each, int | np.integer) and each >= 0 for each in powers)
        if not whole or any(len(e) != n_variables for e in terms):
            raise ValueError(
                f"Exponents must be {n_variables} integers of at least zero."
            )
        kept = {tuple(map(int, e)): exact(c) for e, c in terms.items()}
        kept = {e: c for e, c in sorted(kept.items()) if c}
        object.__setattr__(self, "terms", kept)
        object.__setattr__(self, "n_variables", int(n_variables))

    def _same(self, other: object) -> Polynomial:
        """Return a number as a polynomial, and refuse other variables."""
        if isinstance(other, Polynomial):
            if other.n_variables != self.n_variables:
                raise ValueError(
                    f"A polynomial in {self.n_variables} variables meets one in "
                    f"{other.n_variables}."
                )
            return other
        return Polynomial({(0,) * self.n_variables: other}, self.n_variables)

    def __add__(self, other: Any) -> Polynomial:
        terms = dict(self.terms)
        for e, c in self._same(other).terms.items():
            terms[e] = terms.get(e, Fraction(0)) + c
        return Polynomial(terms, self.n_variables)

    def __mul__(self, other: Any) -> Polynomial:
        terms: dict[Exponents, Fraction] = {}
        for (e, a), (f, b) in product(
            self.terms.items(), self._same(other).terms.items()
        ):
            both = tuple(i + j for i, j in zip(e, f, strict=True))
            terms[both] = terms.get(both, Fraction(0)) + a * b
        return Polynomial(terms, self.n_variables)

    def __neg__(self) -> Polynomial:
        return Polynomial({e: -c for e, c in self.terms.items()}, self.n_variables)

    def __sub__(self, other: Any) -> Polynomial:
        return self + -self._same(other)

    def __rsub__(self, other: Any) -> Polynomial:
        return self._same(other) + -self

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Polynomial:
        return self * (1 / exact(other))

    def __pow__(self, power: int) -> Polynomial:
        if not isinstance(power, int) or power < 0:
            raise ValueError(f"A power of a polynomial is an integer, not {power!r}.")
        result = self._same(1)
        for _ in range(power):
            result = result * self
        return result

    @property
    def degrees(self) -> Exponents:
        """The largest exponent of every variable."""
        return tuple(map(max, zip(*self.terms, strict=True))) or (0,) * self.n_variables

    def diff(self, variable: int) -> Polynomial:
        """Return the derivative in one variable."""
        terms = {}
        for e, c in self.terms.items():
            if e[variable]:
                lower = (*e[:variable], e[variable] - 1, *e[variable + 1 :])
                terms[lower] = c * e[variable]
        return Polynomial(terms, self.n_variables)

    def at(self, point: Sequence[Number]) -> Fraction:
        """Return the exact value at a point."""
        values = [exact(value) for value in point]
        if len(values) != self.n_variables:
            raise ValueError(f"The point must have {self.n_variables} components.")
        total = Fraction(0)
        for e, c in self.terms.items():
            for value, power in zip(values, e, strict=True):
                c *= value**power
            total += c
        return total

    def __call__(self, points: Array) -> Array:
        """Return values at points of shape (..., n_variables), in double precision."""
        return evaluator([self])(np.asarray(points, dtype=float))[..., 0]

    def widened(self, n_variables: int) -> Polynomial:
        """Return the same polynomial with further variables after its own."""
        more = (0,) * (n_variables - self.n_variables)
        return Polynomial({e + more: c for e, c in self.terms.items()}, n_variables)

    def by_tail(self, n_kept: int) -> dict[Exponents, Polynomial]:
        """Return coefficients in the first variables, by exponents of the others."""
        groups: dict[Exponents, dict[Exponents, Fraction]] = {}
        for e, c in self.terms.items():
            groups.setdefault(e[n_kept:], {})[e[:n_kept]] = c
        return {tail: Polynomial(terms, n_kept) for tail, terms in groups.items()}


def variables(n: int) -> tuple[Polynomial, ...]:
    """Return the n variables as polynomials.

    Parameters
    ----------
    n : int
        Number of variables.

    Returns
    -------
    variables : tuple of Polynomial
        To be added, multiplied and raised to powers.

    Examples
    --------
    >>> from skbilevel.certify import variables
    >>> x, y = variables(2)
    >>> (2 * x * y + 1).terms
    {(0, 0): Fraction(1, 1), (1, 1): Fraction(2, 1)}
    """
    unit = [tuple(int(i == j) for j in range(n)) for i in range(n)]
    return tuple(Polynomial({e: 1}, n) for e in unit)


def monomials(n: int, low: int, high: int) -> tuple[Polynomial, ...]:
    """Return all monomials in n variables with total degrees from low to high.

    Parameters
    ----------
    n : int
        Number of variables.
    low, high : int
        Total degrees.

    Returns
    -------
    monomials : tuple of Polynomial
        A template for a certificate: its coefficients are what is searched for.

    Examples
    --------
    >>> from skbilevel.certify import monomials
    >>> [list(each.terms) for each in monomials(2, 2, 2)]
    [[(0, 2)], [(1, 1)], [(2, 0)]]
    """
    chosen = [e for e in product(range(high + 1), repeat=n) if low <= sum(e) <= high]
    return tuple(
        Polynomial({e: 1}, n) for e in sorted(chosen, key=lambda e: (sum(e), e))
    )


def quadratic(n: int) -> tuple[Polynomial, ...]:
    """Return the monomials of degree two, the template of a quadratic form.

    Parameters
    ----------
    n : int
        Number of variables.

    Returns
    -------
    monomials : tuple of Polynomial
        ``n (n + 1) / 2`` of them.

    Examples
    --------
    >>> from skbilevel.certify import quadratic
    >>> len(quadratic(3))
    6
    """
    return monomials(n, 2, 2)


def combine(weights: Sequence[Number], parts: Sequence[Polynomial]) -> Polynomial:
    """Return the exact weighted sum."""
    scaled = (part * weight for weight, part in zip(weights, parts, strict=True))
    return sum(scaled, Polynomial({}, parts[0].n_variables))


def evaluator(polynomials: Sequence[Polynomial]) -> Callable[[Array], Array]:
    """Return a function from points (..., n) to values (..., m), for all at once."""
    exponents = sorted({e for each in polynomials for e in each.terms})
    if not exponents:
        return lambda points: np.zeros((*points.shape[:-1], len(polynomials)))
    powers = np.array(exponents)
    coefficients = np.array(
        [[float(each.terms.get(e, 0)) for e in exponents] for each in polynomials]
    )
    return lambda points: (
        np.prod(points[..., None, :] ** powers, axis=-1) @ coefficients.T
    )
