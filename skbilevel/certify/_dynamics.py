"""Controlled systems: polynomials in states, controller and uncertain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from math import factorial
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._exact import Box, Interval
from skbilevel.certify._polynomials import Polynomial, combine, evaluator, variables

Rule = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class SineRatio:
    """The number ``g sin(x_i) / x_i`` with an uncertain factor g, for ``|x_i| <= 3``.

    With it a sine is a polynomial: ``g sin(x_i) = s x_i``.

    Parameters
    ----------
    axis : int
        The state i.
    gain : Interval, default=Interval(1, 1)
        Range of g, which must not reach below zero.

    Examples
    --------
    >>> from skbilevel.certify import Box, SineRatio
    >>> side = SineRatio(0).range_on(Box([-1], [1]))
    >>> float(side.low), float(side.high)
    (0.84147..., 1.0)
    """

    axis: int
    gain: Interval = Interval(1, 1)  # noqa: RUF009 - a frozen value

    def __post_init__(self) -> None:
        if self.gain.low < 0:
            raise ValueError("gain of a SineRatio must not reach below zero.")

    def range_on(self, tile: Box) -> Interval:
        """An exact enclosure: the ratio is even, and falls from 0 to pi."""
        side = tile.sides[self.axis]
        far = max(abs(side.low), abs(side.high))
        near = (
            Fraction(0)
            if side.low <= 0 <= side.high
            else min(abs(side.low), abs(side.high))
        )
        if far > 3:
            raise ValueError(
                f"SineRatio is known for states up to 3; axis {self.axis} of the box "
                f"reaches {float(far):g}."
            )
        low, high = _sine_ratio(far)[0], _sine_ratio(near)[1]
        ends = [g * r for g in (self.gain.low, self.gain.high) for r in (low, high)]
        return Interval(min(ends), max(ends))

    def values(self, x: Array, where: float) -> Array:
        """The number at states x, with g at a share of its range."""
        factor = self.gain.values(x, where)
        return np.asarray(factor * np.sinc(x[..., self.axis] / np.pi))

    def slopes(self, x: Array, where: float) -> Array:
        """Its derivative; close to zero the first term of the series."""
        angle = x[..., self.axis]
        small = np.abs(angle) < 1e-3
        safe = np.where(small, 1.0, angle)
        slope = (np.cos(angle) - np.sinc(angle / np.pi)) / safe
        result = np.zeros_like(x)
        result[..., self.axis] = np.where(small, -angle / 3, slope)
        return result * self.gain.values(x, where)[..., None]


@cache
def _sine_ratio(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return bounds of sin(x) / x, 0 <= x <= 3, as fractions of 2^60.

    Terms of Taylor's series alternate, and fall from the second one on; so the sums
    with one more and one less term enclose the value.
    """
    if x == 0:
        return Fraction(1), Fraction(1)
    terms = [
        Fraction((-1) ** k, factorial(2 * k + 1)) * x ** (2 * k) for k in range(16)
    ]
    sums = sorted((sum(terms[:-1]), sum(terms)))
    unit = 2**60
    # Floor and ceiling keep the numbers short, and round outwards.
    return Fraction(int(sums[0] * unit // 1), unit), Fraction(
        -int(-sums[1] * unit // 1), unit
    )


# What a rule may use beside states and controller: a number with a known range.
Parameter = Interval | SineRatio


@dataclass(frozen=True)
class Dynamics:
    """A system ``dx/dt = f(x, s, theta)``, polynomial in x and s and affine in theta.

    Parameters
    ----------
    rule : callable
        ``rule(x, theta, s)`` gets sequences of `Polynomial` and returns one for each
        state. It is called once; its numbers are taken as they are (`exact`).
    n_states : int
        Length of x.
    n_theta : int
        Length of theta, the vector of the controller.
    parameters : sequence of Interval or SineRatio, default=()
        Ranges of s. An interval is a number that nobody knows, and that may change in
        time. Bounds are sharpest where f is affine in it.

    Raises
    ------
    ValueError
        If the number of rates is wrong, or one is not affine in theta.

    Examples
    --------
    A pendulum upright, with gravity between 9 and 10.5 and a linear controller:

    >>> from skbilevel.certify import Dynamics, Interval, SineRatio
    >>> def rule(x, theta, s):
    ...     force = -(theta[0] * x[0] + theta[1] * x[1])
    ...     return x[1], s[0] * x[0] + force
    >>> pendulum = Dynamics(rule, 2, 2, [SineRatio(0, Interval(9, 10.5))])
    >>> pendulum([20.0, 5.0], [0.1, 0.0]).round(3)
    array([ 0.   , -1.027])
    """

    rule: Rule
    n_states: int
    n_theta: int
    parameters: Sequence[Parameter] = ()

    def __post_init__(self) -> None:
        if len(self.rates) != self.n_states:
            raise ValueError(
                f"rule must return {self.n_states} rates, one for each state, "
                f"not {len(self.rates)}."
            )
        for i, rate in enumerate(self.rates):
            self.by_theta(rate, f"The rate of state {i}")

    @property
    def n_known(self) -> int:
        """Number of states and parameters."""
        return self.n_states + len(self.parameters)

    def polynomial(self, rule: Rule) -> Any:
        """Return what a rule gives for the variables (x, s, theta)."""
        everything = variables(self.n_known + self.n_theta)
        x, s = everything[: self.n_states], everything[self.n_states : self.n_known]
        return rule(x, everything[self.n_known :], s)

    @cached_property
    def rates(self) -> tuple[Polynomial, ...]:
        """f in the variables (x, s, theta)."""
        zero = Polynomial({}, self.n_known + self.n_theta)
        return tuple(zero + rate for rate in self.polynomial(self.rule))

    def by_theta(self, polynomial: Polynomial, what: str) -> tuple[Polynomial, ...]:
        """Return the constant and the factor of every theta, in (x, s)."""
        found = polynomial.by_tail(self.n_known)
        if any(sum(tail) > 1 for tail in found):
            raise ValueError(f"{what} is not affine in theta.")
        units = np.eye(self.n_theta, dtype=int).tolist()
        tails = [(0,) * self.n_theta, *map(tuple, units)]
        nothing = Polynomial({}, self.n_known)
        return tuple(found.get(tail, nothing) for tail in tails)

    def along(self, function: Polynomial) -> tuple[Polynomial, ...]:
        """Return the rate of change of a function of x along f, split by theta."""
        wide = function.widened(self.n_known + self.n_theta)
        parts = [wide.diff(i) for i in range(self.n_states)]
        return self.by_theta(combine(self.rates, parts), "The rate")

    def with_ranges(self, tile: Box) -> Box:
        """Return the box of states and parameters over a tile of states."""
        ranges = tuple(parameter.range_on(tile) for parameter in self.parameters)
        return Box.of(tile.sides + ranges)

    @cached_property
    def _value(self) -> Callable[[Array], Array]:
        return evaluator(self.rates)

    def __call__(self, theta: Any, x: Any, where: float = 0.5) -> Array:
        """Return f at states x (..., n_states), in double precision.

        Uncertain numbers are at the share ``where`` of their ranges.
        """
        return self._value(self.point(theta, np.asarray(x, dtype=float), where))

    def point(self, theta: Any, x: Array, where: float) -> Array:
        """Return (x, s, theta) with parameters at a share of their ranges."""
        numbers = [each.values(x, where) for each in self.parameters]
        tail = np.broadcast_to(
            np.asarray(theta, dtype=float), (*x.shape[:-1], self.n_theta)
        )
        return np.concatenate([x, *(n[..., None] for n in numbers), tail], axis=-1)


def simulate(
    dynamics: Dynamics,
    theta: Any,
    starts: Any,
    horizon: float,
    n_steps: int,
    *,
    where: float = 0.5,
    limit: float = 50.0,
) -> Array:
    """Follow states in time by the method of Runge and Kutta: a picture, not a proof.

    Parameters
    ----------
    dynamics : Dynamics
        The system.
    theta : array-like of shape (n_theta,)
        The controller.
    starts : array-like of shape (m, n_states)
        States at time zero.
    horizon : float
        Time of the end.
    n_steps : int
        Steps of equal length.
    where : float, default=0.5
        Where in their ranges the uncertain numbers are, from 0 to 1.
    limit : float, default=50
        A state with a larger component stays where it is.

    Returns
    -------
    paths : ndarray of shape (n_steps + 1, m, n_states)
        States at equal distances in time.

    Examples
    --------
    >>> from skbilevel.certify import Dynamics, simulate
    >>> decay = Dynamics(lambda x, theta, s: [-theta[0] * x[0]], 1, 1)
    >>> float(simulate(decay, [1.0], [[1.0]], 1.0, 50)[-1, 0, 0])
    0.36787...
    """

    def rate(x: Array) -> Array:
        inside = (np.abs(x) <= limit).all(axis=-1, keepdims=True)
        return np.where(inside, dynamics(theta, np.where(inside, x, 0.0), where), 0.0)

    return runge_kutta(
        rate, np.asarray(starts, dtype=float), horizon / n_steps, n_steps
    )


def runge_kutta(
    rate: Callable[[Array], Array], start: Array, step: float, n_steps: int
) -> Array:
    """Return the states after every step of the classical fourth-order method."""
    path = [start]
    for _ in range(n_steps):
        y = path[-1]
        k1 = rate(y)
        k2 = rate(y + step / 2 * k1)
        k3 = rate(y + step / 2 * k2)
        k4 = rate(y + step * k3)
        path.append(y + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(path)
