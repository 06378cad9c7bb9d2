"""A smooth term of one column: its knots, and what it makes of values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn.preprocessing import SplineTransformer

from skbilevel._typing import Array
from skbilevel.preprocessing._roughness import (
    circular_differences,
    coordinates,
    difference_matrix,
    power_coefficients,
)

POWERS = ("linear", "quadratic")
WIGGLY, MISSING = "wiggly", "missing"
# Rows whose B-splines are held at once.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class TermOptions:
    """The parameters of `PenalizedSplines`, with the same names.

    Raises
    ------
    ValueError
        If two of them do not go together.
    """

    n_knots: int
    degree: int
    penalty_order: int
    knots: str
    period: float | None
    extrapolation: str

    def __post_init__(self) -> None:
        if self.penalty_order > self.degree:
            raise ValueError(
                f"penalty_order={self.penalty_order} is above degree={self.degree}: "
                "derivatives of that order are zero; give a larger degree."
            )
        if self.period is not None and self.degree >= self.n_knots:
            raise ValueError(
                f"degree={self.degree} has to be below n_knots={self.n_knots} where "
                "there is a period: give more knots."
            )

    @classmethod
    def of(cls, model: Any) -> TermOptions:
        """Those of a transformer; some have no ``period``."""
        own: Any = {name: getattr(model, name, None) for name in cls.__annotations__}
        return cls(**own)


@dataclass(frozen=True)
class SmoothTerm:
    """A fitted smooth term.

    Parameters
    ----------
    place : int
        The column of X.
    low, span : float
        Values are shifted and divided by these before they get to the splines.
    knots : ndarray of shape (number of knots,)
        Knots inside the range, in the unit of the column.
    splines : SplineTransformer or None
        Of the column between 0 and 1; None where it is constant.
    weights : ndarray of shape (m, k)
        Columns of the term as combinations of B-splines.
    parts : tuple of str
        What every column is: "linear", "quadratic", "wiggly" or, where values were
        missing in the rows of ``fit``, "missing".
    unit : float
        See `Coordinates`.
    """

    place: int
    low: float
    span: float
    knots: Array
    splines: Any
    weights: Array
    parts: tuple[str, ...]
    unit: float

    @classmethod
    def of(cls, X: Array, place: int, options: TermOptions) -> SmoothTerm:
        """Learn from a column of X, of which some values may be missing."""
        known = np.isfinite(X[:, place])
        x = X[known, place].astype(np.float64)
        powers = 0 if options.period else options.penalty_order - 1
        missing = () if known.all() else (MISSING,)
        low, span, base = _knots_of(x, options)
        if len(base) < 2:
            parts = POWERS[:powers] or (WIGGLY,)
            empty = np.zeros((1, len(parts)))
            parts = (*parts, *missing)
            return cls(place, low, 1.0, low + base, None, empty, parts, 1.0)
        splines = SplineTransformer(
            degree=options.degree,
            knots=base[:, None],
            extrapolation="periodic" if options.period else options.extrapolation,
            sparse_output=True,
        ).set_output(transform="default")
        splines.fit(base[:, None])
        gram, mean = _moments(splines, (x - low) / span)
        differences, functions = _penalty(splines, options, powers)
        found = coordinates(gram, mean, differences, functions)
        weights = np.hstack([found.free, found.penalized])
        parts = (*POWERS[:powers], *(WIGGLY,) * found.penalized.shape[1])
        if not parts:  # a column of few values, which vanish on the circle
            weights, parts = np.zeros((len(mean), 1)), (WIGGLY,)
        knots, parts = low + span * base, (*parts, *missing)
        return cls(place, low, span, knots, splines, weights, parts, found.unit)

    @property
    def places(self) -> tuple[int, ...]:
        """The columns of X that it is made of."""
        return (self.place,)

    def columns(self, X: Array) -> Array:
        """The columns (n, k) of rows; zeros, the mean, where a value is missing."""
        x = (X[:, self.place].astype(np.float64) - self.low) / self.span
        missing = np.isnan(x)
        if self.splines is not None and not missing.any() and MISSING not in self.parts:
            return self._at(x)
        out = np.zeros((len(x), len(self.parts)))
        if self.splines is not None:
            out[~missing, : self.weights.shape[1]] = self._at(x[~missing])
        if MISSING in self.parts:
            out[:, -1] = missing
        return out

    @cached_property
    def _curves(self) -> BSpline:
        """All columns as curves: a third of the time of a matrix of B-splines."""
        basis = self.splines.bsplines_[0]
        return BSpline(basis.t, basis.c @ self.weights, basis.k, basis.extrapolate)

    def _at(self, x: Array) -> Array:
        """The columns at values in units of the knots, as SplineTransformer goes on."""
        if self.splines.extrapolation == "periodic":
            return np.asarray(self._curves(x - np.floor(x)))
        inside = np.clip(x, 0.0, 1.0)
        out = np.asarray(self._curves(inside))
        if self.splines.extrapolation == "linear":
            beyond = np.flatnonzero(x != inside)
            slope = self._curves.derivative()(inside[beyond])
            out[beyond] += (x - inside)[beyond, None] * slope
        return out


def _knots_of(x: Array, options: TermOptions) -> tuple[float, float, Array]:
    """Shift and size of a column, and knots between 0 and 1; one if it is constant.

    Quantiles are those of the distinct values: a value that many rows share is one
    knot, and there are never more knots than values.
    """
    if options.period:
        return 0.0, float(options.period), np.linspace(0.0, 1.0, options.n_knots)
    values = np.unique(x)
    if not len(values):
        return 0.0, 1.0, np.zeros(1)
    low, span = float(values[0]), float(values[-1] - values[0])
    # Values that differ by rounding are one.
    if span <= 1e-12 * max(abs(low), abs(float(values[-1]))):
        return low, 1.0, np.zeros(1)
    shares = np.linspace(0.0, 1.0, min(options.n_knots, len(values)))
    if options.knots == "uniform":
        return low, span, shares
    places = np.quantile((values - low) / span, shares)
    return low, span, places[np.r_[True, np.diff(places) > 1e-9]]


def _moments(splines: SplineTransformer, x: Array) -> tuple[Array, Array]:
    """Means of products of two splines (m, m), and of each (m,), over the rows."""
    gram: Any = 0.0
    mean: Any = 0.0
    for start in range(0, len(x), _BLOCK):
        block = splines.transform(x[start : start + _BLOCK, None])
        gram = gram + (block.T @ block).toarray()
        mean = mean + np.asarray(block.sum(axis=0)).ravel()
    return gram / len(x), mean / len(x)


def _penalty(
    splines: SplineTransformer, options: TermOptions, powers: int
) -> tuple[Array, list[Array]]:
    """Differences of the coefficients, and coefficients of unpenalized powers."""
    order, degree = options.penalty_order, options.degree
    if options.period:
        return circular_differences(options.n_knots - 1, order), []
    knots = splines.bsplines_[0].t
    functions = [power_coefficients(knots, degree, k + 1) for k in range(powers)]
    return difference_matrix(knots, degree, order), functions
