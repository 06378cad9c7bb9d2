"""Exact numbers, intervals and boxes: what a proof may be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from numbers import Integral
from typing import Any

import numpy as np

from skbilevel._typing import Array

Number = Any  # int, float, Fraction, Decimal, str, or a scalar of numpy


def exact(value: Number) -> Fraction:
    """Return the number as a fraction of Python integers, without rounding.

    Parameters
    ----------
    value : int, float, str, Fraction, Decimal or numpy scalar
        A float means the binary number that it is; ``"0.1"`` is one tenth.

    Returns
    -------
    fraction : Fraction
        The same number.

    Raises
    ------
    ValueError
        If it is not finite, or not a number.

    Examples
    --------
    >>> from skbilevel.certify import exact
    >>> exact("0.1"), exact(0.5)
    (Fraction(1, 10), Fraction(1, 2))
    """
    try:
        if isinstance(value, str):
            return Fraction(value)
        # Numpy's integers must not get into a fraction: they overflow silently.
        if isinstance(value, Integral):
            return Fraction(int(value))
        top, bottom = value.as_integer_ratio()
        return Fraction(int(top), int(bottom))
    except (AttributeError, ArithmeticError, TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is not a finite number.") from error


@dataclass(frozen=True, init=False)
class Interval:
    """The numbers from ``low`` to ``high``, both included.

    Parameters
    ----------
    low, high : int, float, str or Fraction
        Ends, kept as fractions; see `exact`.

    Examples
    --------
    >>> from skbilevel.certify import Interval
    >>> Interval(9, "10.5").high
    Fraction(21, 2)
    """

    low: Fraction
    high: Fraction

    def __init__(self, low: Number, high: Number) -> None:
        object.__setattr__(self, "low", exact(low))
        object.__setattr__(self, "high", exact(high))
        if self.low > self.high:
            raise ValueError(f"The interval from {low} to {high} is empty.")

    def range_on(self, tile: Box) -> Interval:
        """Itself: an uncertain constant has the same range on every tile."""
        return self

    def values(self, x: Array, where: float) -> Array:
        """One number for all states: a share of the way from low to high."""
        low, high = float(self.low), float(self.high)
        return np.full(x.shape[:-1], low + where * (high - low))

    def slopes(self, x: Array, where: float) -> Array:
        """It does not depend on the states."""
        return np.zeros_like(x)

    def cut(self, n: int) -> list[Interval]:
        """Return n parts of equal width; a single point stays one."""
        if self.low == self.high:
            return [self]
        step = (self.high - self.low) / n
        ends = [self.low + i * step for i in range(n)] + [self.high]
        return [Interval(a, b) for a, b in pairwise(ends)]


@dataclass(frozen=True, init=False)
class Box:
    """A product of intervals.

    Parameters
    ----------
    low, high : sequence of numbers
        Corners, kept as fractions; see `exact`.

    Attributes
    ----------
    sides : tuple of Interval
        One for each axis.

    Examples
    --------
    >>> from skbilevel.certify import Box
    >>> box = Box([-1, 0], [1, 2])
    >>> len(box.cut(3)), len(box.faces())
    (9, 4)
    """

    sides: tuple[Interval, ...]

    def __init__(self, low: Sequence[Number], high: Sequence[Number]) -> None:
        if len(low) != len(high) or len(low) == 0:
            raise ValueError("low and high of a Box must be of one length, at least 1.")
        sides = tuple(Interval(a, b) for a, b in zip(low, high, strict=True))
        object.__setattr__(self, "sides", sides)

    @classmethod
    def of(cls, sides: Sequence[Interval]) -> Box:
        """Return the box with these sides."""
        return cls([side.low for side in sides], [side.high for side in sides])

    @property
    def squared_radius(self) -> Fraction:
        """Largest squared distance from the origin."""
        return sum((max(s.low**2, s.high**2) for s in self.sides), Fraction(0))

    def contains(self, other: Box) -> bool:
        """Whether the other box, with as many sides, is a part of this one."""
        return len(other.sides) == len(self.sides) and all(
            whole.low <= side.low and side.high <= whole.high
            for side, whole in zip(other.sides, self.sides, strict=True)
        )

    def cut(self, n: int) -> list[Box]:
        """Return a grid of tiles, every side in n equal parts."""
        return [Box.of(sides) for sides in product(*(s.cut(n) for s in self.sides))]

    def faces(self) -> list[Box]:
        """Return the boundary, as boxes of which one side is a point."""
        return [
            Box.of((*self.sides[:axis], Interval(end, end), *self.sides[axis + 1 :]))
            for axis, side in enumerate(self.sides)
            for end in (side.low, side.high)
        ]
