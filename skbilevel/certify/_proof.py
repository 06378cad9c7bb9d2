"""Verdicts in exact arithmetic: nothing in this file is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._bernstein import BernsteinForm, bernstein_coefficients
from skbilevel.certify._conditions import Condition
from skbilevel.certify._exact import Box
from skbilevel.certify._polynomials import Exponents, Polynomial

NOTHING = "Nothing is claimed: the proof failed, which proves nothing either."


@dataclass(frozen=True)
class Proof:
    """A verdict, and what it rests on; all numbers are exact.

    Attributes
    ----------
    holds : bool
        Whether everything was proved. False proves nothing: neither that the controller
        is bad nor that there is no other certificate.
    claim : str
        What was proved, in words.
    smallest_coefficient : Fraction
        Of all Bernstein forms that were looked at last; positive in a proof.
    n_tiles : int
        Number of Bernstein forms that the verdict rests on.
    inner_eigenvalue : Fraction or None
        Of a Lyapunov certificate: a lower bound of the eigenvalues of both quadratic
        forms near the origin, the terms of higher degree taken off.
    level : Fraction or None
        Of a Lyapunov certificate that holds: sublevel sets ``V <= l`` with l below it
        are inside the box.
    theta, beta : tuple of Fraction
        Controller and certificate that were looked at, exactly.
    """

    holds: bool
    claim: str
    smallest_coefficient: Fraction
    n_tiles: int
    theta: tuple[Fraction, ...]
    beta: tuple[Fraction, ...]
    inner_eigenvalue: Fraction | None = None
    level: Fraction | None = None


def least_coefficients(
    conditions: Sequence[Condition],
    theta: Sequence[Fraction],
    beta: Sequence[Fraction],
    depth: int,
) -> list[Fraction]:
    """Return the least Bernstein coefficient on every tile; a bad one is the last.

    Tiles with bad coefficients are cut, ``depth`` times.
    """
    found: list[Fraction] = []
    for condition in conditions:
        form = BernsteinForm(condition.at(theta, beta))
        tiles = zip(condition.tiles, condition.boxes, strict=True)
        waiting = [(tile, box, 0) for tile, box in tiles]
        while waiting:
            tile, box, cuts = waiting.pop()
            least = min(form.on(box).flat)
            if least <= 0 and cuts < depth:
                halves = tile.cut(2)
                waiting += [(half, condition.ranges(half), cuts + 1) for half in halves]
                continue
            found.append(least)
            if least <= 0:
                return found
    return found


def inner_bound(polynomial: Polynomial, square: Box, known: Box) -> Fraction:
    """Return t with ``p(x, s) >= t |x|^2`` on a square around the origin.

    In Bernstein form in s, p is a mean of polynomials of x alone. In each of these a
    term of degree k >= 3 is at most ``|c| r^(k-2) |x_i x_j|`` for two of its factors,
    r the largest component of the square; what is left is a quadratic form.

    Raises
    ------
    ValueError
        If p has terms of degree zero or one in x.
    """
    n = len(square.sides)
    r = max(max(abs(side.low), abs(side.high)) for side in square.sides)
    bounds = []
    for each in _in_states(polynomial, n, known):
        form, taken_off = np.full((n, n), Fraction(0), dtype=object), Fraction(0)
        for exponents, c in each.items():
            degree = sum(exponents)
            if degree < 2:
                raise ValueError("The origin must be a double zero of the polynomial.")
            axes = [i for i, e in enumerate(exponents) if e]
            i, j = axes[0], axes[-1]
            if degree == 2:
                form[i, j] += c / 2
                form[j, i] += c / 2
            else:
                share = Fraction(1, 1 if i == j else 2)
                taken_off += share * abs(c) * r ** (degree - 2)
        for i in range(n):
            form[i, i] -= taken_off
        bounds.append(eigenvalue_bound(form))
    return min(bounds)


def _in_states(
    polynomial: Polynomial, n: int, known: Box
) -> list[dict[Exponents, Fraction]]:
    """Return polynomials of x alone, of which p is a mean whatever s is."""
    tails = polynomial.by_tail(n)
    degrees = polynomial.degrees[n:]
    if not degrees:
        return [polynomial.terms]
    ranges = Box.of(known.sides[n:])
    of_s: dict[Exponents, dict[Exponents, Fraction]] = {}
    for tail, part in tails.items():
        for exponents, c in part.terms.items():
            of_s.setdefault(exponents, {})[tail] = c
    forms = {
        exponents: bernstein_coefficients(
            Polynomial(terms, len(degrees)), ranges, degrees
        ).ravel()
        for exponents, terms in of_s.items()
    }
    count = int(np.prod([d + 1 for d in degrees]))
    return [{e: form[i] for e, form in forms.items()} for i in range(count)]


def eigenvalue_bound(form: Array) -> Fraction:
    """Return a lower bound of the eigenvalues of a symmetric matrix of fractions.

    Zero begins, or Gershgorin's discs; bisection follows, with an exact test of
    definiteness.
    """
    n = len(form)
    discs = [
        form[i, i] - sum(abs(form[i, j]) for j in range(n) if j != i) for i in range(n)
    ]
    low = Fraction(0) if positive_definite(form, Fraction(0)) else min(discs) - 1
    high = min(form[i, i] for i in range(n))
    for _ in range(24):
        middle = (low + high) / 2
        if positive_definite(form, middle):
            low = middle
        else:
            high = middle
    return Fraction(low)


def positive_definite(form: Array, shift: Fraction) -> bool:
    """Whether ``form - shift I`` has positive pivots only, by exact elimination."""
    rest: Any = form.copy()
    n = len(rest)
    for i in range(n):
        rest[i, i] -= shift
    for i in range(n):
        if rest[i, i] <= 0:
            return False
        for k in range(i + 1, n):
            rest[k] = rest[k] - rest[i] * (rest[k, i] / rest[i, i])
    return True
