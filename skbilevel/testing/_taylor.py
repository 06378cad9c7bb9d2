"""Remainders of Taylor's formula, and how fast they fall with the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array

_STEPS = 10.0 ** -np.arange(1.0, 7.0, 0.5)
# Moves that change little but rounding.
_IDLE = 10.0 ** -np.arange(13.0, 9.5, -0.5)
# Smallest steps above rounding that the slope is fitted to, and how many are needed.
_FITTED, _NEEDED = 5, 3
# A wrong derivative has slope 1, a right one 2 or more.
_WANTED = 1.6
# Differences cannot tell smaller errors from rounding.
_ACCURATE = 1e-7


@dataclass(frozen=True)
class Remainder:
    """How ``|phi(h) - phi(0) - h D|`` falls with h.

    Parameters
    ----------
    slope : float
        Of its logarithm in that of h, over the smallest steps above rounding; infinite
        where nothing but rounding is left, as for linear functions.
    error : float
        Distance of D from a difference quotient, that of the smallest step above
        rounding, relative to the largest quotient.
    ratio : float
        Difference quotients as a multiple of D; nan if they are none.
    """

    slope: float
    error: float
    ratio: float

    @property
    def right(self) -> bool:
        """Whether D is the derivative."""
        return self.slope >= _WANTED or self.error <= _ACCURATE


def along(
    function: Callable[[Array], Array | float], x: Array, d: Array
) -> Callable[[float], Array | float]:
    """``h -> function(x + h d)``."""
    return lambda h: function(x + h * d)


def remainder(
    function: Callable[[float], Array | float],
    derivative: Array | float,
    size_of_terms: float = 0.0,
) -> Remainder:
    """The remainder of ``function`` at zero with a derivative there.

    Where the function is a sum that cancels, ``size_of_terms`` tells its rounding.
    """
    start, D = np.asarray(function(0.0), float), np.asarray(derivative, float)

    def left(h: float) -> tuple[Array, float]:
        change = np.asarray(function(float(h)), float) - start
        return change / h, float(np.linalg.norm(change - h * D))

    noise = max(left(h)[1] for h in _IDLE)
    terms = max(float(np.linalg.norm(start)), size_of_terms)
    floor = 10 * noise + 20 * np.finfo(float).eps * terms
    quotients, sizes = zip(*[left(h) for h in _STEPS], strict=True)
    rest = np.array(sizes)
    above = np.flatnonzero(rest > floor)
    size = max(float(np.linalg.norm(x)) for x in (D, *quotients))
    errors = rest / _STEPS / size if size > 0.0 else np.zeros_like(rest)
    if len(above) < _NEEDED:
        return Remainder(np.inf, float(errors.min()), 1.0)
    small = above[-_FITTED:]
    slope = np.polyfit(np.log(_STEPS[small]), np.log(rest[small]), 1)[0]
    last = small[-1]
    return Remainder(
        float(slope), float(errors[last]), _ratio(quotients[last], D, size)
    )


def _ratio(quotient: Array, D: Array, size: float) -> float:
    square = float((D * D).sum())
    if not square > 0.0:
        return np.nan
    ratio = float((quotient * D).sum()) / square
    fits = np.linalg.norm(quotient - ratio * D) <= 1e-3 * size
    return ratio if fits else np.nan


def common_ratio(parts: Sequence[Remainder]) -> float | None:
    """The factor that all remainders agree on, if it is not one."""
    ratios = np.array([part.ratio for part in parts])
    if not np.isfinite(ratios).all() or np.ptp(ratios) > 1e-2 * np.abs(ratios).max():
        return None
    middle = float(np.median(ratios))
    return None if abs(middle - 1.0) < 1e-2 else middle
