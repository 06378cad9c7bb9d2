"""Minimization of a ratio, one coordinate at a time, each step globally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._ratios import PartPoint, RatioPart

# A denominator below this share of its value at the current point is taken for zero.
_LEAST = 1e-8
# Where the infimum of a coordinate is at infinity the step is so many times the point.
_FAR = 1e3
# Falls of the ratio below this share are rounding.
_ROUNDING = 1e-15
# A root with an imaginary part below this share of it is taken for a double real one.
_REAL = 1e-6
# Coordinates that a greedy search keeps looking at, until none of them helps.
_POOL = 100
# Coordinates that are looked at together when the end is checked.
_BLOCK = 2048
# The polynomial t^2.
_SQUARE = np.array([0.0, 0.0, 1.0])[:, None, None]


class RatioStatus(Enum):
    """How a search ended; the value is the sentence shown to the user."""

    COORDINATE = (
        "No change of a single coordinate lowers the ratio by more than tol: the point "
        "is coordinate-wise stationary, which is more than critical."
    )
    PROXIMAL = (
        "No step lowers the ratio with its proximal term by more than tol; a single "
        "coordinate could lower the ratio itself by the share gap."
    )
    MAX_ITER = "The search stopped after max_iter iterations; increase max_iter or tol."


@dataclass(frozen=True)
class RatioResult:
    """Where `minimize_ratio` ended.

    Parameters
    ----------
    x : ndarray of shape (p,)
        The point.
    value : float
        The ratio there, from products that were made anew.
    status : RatioStatus
        Which stationarity was reached.
    gap : float
        Largest share by which a change of one coordinate lowers the ratio.
    n_iter : int
        Coordinate steps that were taken.
    history : ndarray
        The ratio at the start and after every sweep, or after every step of the greedy
        rule. It never rises.
    """

    x: Array
    value: float
    status: RatioStatus
    gap: float
    n_iter: int
    history: Array

    @property
    def message(self) -> str:
        """How the search ended, in words."""
        return self.status.value


def minimize_ratio(
    numerator: RatioPart,
    denominator: RatioPart,
    x0: Array,
    *,
    solver: str = "fcd",
    rule: str = "cyclic",
    proximal: float = 0.0,
    tol: float = 1e-10,
    max_iter: int = 1000,
) -> RatioResult:
    """Minimize ``numerator(x) / denominator(x)`` by exact coordinate steps.

    A step changes one coordinate, ``x + t e_i``, to the global minimum over t of ::

        "fcd"   (A(t) + 0.5 proximal t^2) / B(t)
        "pcd"   A(t) + 0.5 proximal t^2 - c B(t),    c = A(0) / B(0)

    so that the ratio never rises. Both end in points that no change of one coordinate
    improves (with ``proximal=0`` they are the same points); such a point is critical,
    and few critical points are such.

    Parameters
    ----------
    numerator, denominator : RatioPart
        For example `SquaredNorm`, `FourthPowers`, `LeastSquaresL1`, `TopK` of
        `skbilevel.problems`. The numerator has power 1, and both are not negative.
    x0 : ndarray of shape (p,)
        Start; the denominator is positive there.
    solver : {"fcd", "pcd"}, default="fcd"
        Which coordinate problem; "pcd" needs a denominator of power 1.
    rule : {"cyclic", "greedy"}, default="cyclic"
        "greedy" takes the coordinate that lowers the ratio most; it looks at all of
        them, and then at the 100 that promised most for as long as one of these helps.
    proximal : float, default=0
        Factor of the proximal term, in units of the numerator over x squared.
    tol : float, default=1e-10
        The search ends where no coordinate lowers the ratio by more than this share.
    max_iter : int, default=1000
        Largest number of sweeps, or of steps of the greedy rule.

    Returns
    -------
    result : RatioResult
        ``x, value, status, message, gap, n_iter, history``.

    Raises
    ------
    ValueError
        If the denominator is not positive at ``x0``, a parameter is not known, or a
        part has a power that the solver cannot handle.

    Notes
    -----
    Where the infimum over t is at infinity, as it is for ratios that do not depend on
    the length of x, the step is 1000 times the largest component.

    References
    ----------
    G. Yuan, "Coordinate descent methods for fractional minimization", ICML 2023
    (FCD and PCD).

    Examples
    --------
    The direction of one variable that has the heaviest tails:

    >>> import numpy as np
    >>> from skbilevel.problems import FourthPowers, SquaredNorm
    >>> from skbilevel.solvers import minimize_ratio
    >>> G = np.diag([1.0, 2.0, 3.0])
    >>> result = minimize_ratio(SquaredNorm(), FourthPowers(G), np.ones(3))
    >>> print(f"{result.value:.4f}", result.status.name)
    0.1111 COORDINATE
    """
    x0 = np.asarray(x0, dtype=float)
    _check(numerator, denominator, x0, solver, rule, proximal, tol, max_iter)
    start = _Ratio(numerator, denominator, solver, proximal).at(x0)
    if not (start.B > 0 and np.isfinite(start.value)):
        raise ValueError(
            "The denominator must be positive, and the ratio finite, at x0: choose "
            "another start (x0 = 0 is none where the denominator is a norm)."
        )
    end, n_iter, ended, history = start, 0, False, [start.value]
    search = _greedy if rule == "greedy" else _cyclic
    for end, moved, last in search(start, tol, max_iter):
        n_iter, ended = n_iter + moved, last
        if moved:
            history.append(end.value)
    x = end.x
    end = end.ratio.at(x)
    gap = float(end.falls(np.arange(len(x))).max(initial=0.0))
    status = RatioStatus.MAX_ITER
    if gap <= 2.0 * tol:
        status = RatioStatus.COORDINATE
    elif ended:
        status = RatioStatus.PROXIMAL
    return RatioResult(x, end.value, status, gap, n_iter, np.array(history))


@record
class _Ratio:
    """Both parts, and how coordinate steps are made."""

    numerator: RatioPart
    denominator: RatioPart
    solver: str
    proximal: float

    def at(self, x: Array) -> _Point:
        return _Point(self, x, self.numerator.at(x), self.denominator.at(x))


@record
class _Point:
    """The ratio at one x."""

    ratio: _Ratio
    x: Array
    num: PartPoint
    den: PartPoint

    @cached_property
    def B(self) -> float:
        return self.den.value

    @cached_property
    def value(self) -> float:
        B = self.B
        return self.num.value / B**self.power if B > 0 else np.inf

    @property
    def power(self) -> float:
        return self.ratio.denominator.power

    def moved(self, i: int, t: float) -> _Point:
        x = self.x.copy()
        x[i] += t
        return _Point(self.ratio, x, self.num.moved(i, t), self.den.moved(i, t))

    def steps(self, index: Array, plain: bool = False) -> tuple[Array, Array]:
        """The step of every coordinate, and the ratio after it.

        ``plain`` leaves the proximal term out and minimizes the ratio itself.
        """
        A, B = self.num.along(index), self.den.along(index)
        breaks = np.sort(np.concatenate([A.breaks, B.breaks], axis=1), axis=1)
        up, down = A.on(breaks), B.on(breaks)
        goal = up
        if self.ratio.proximal and not plain:
            goal = _plus(up, 0.5 * self.ratio.proximal * _SQUARE)
        parametric = self.ratio.solver == "pcd" and not plain
        if parametric:
            slope = _plus(polyder(goal), -self.value * polyder(down))
        else:
            right = self.power * _times(goal, polyder(down))
            slope = _plus(_times(polyder(goal), down), -right)
        t = self._candidates(_real_roots(slope), breaks)
        below, after = _values(down, t), _values(up, t)
        fine = below > _LEAST * self.B
        below = np.where(fine, below, 1.0)
        if parametric:
            score = _values(goal, t) - self.value * below
        else:
            score = (after if goal is up else _values(goal, t)) / below**self.power
        score = np.where(fine & np.isfinite(score), score, np.inf)
        best = score.reshape(len(t), -1).argmin(axis=1)
        place = np.arange(len(t)), best
        steps, ratios = (
            each.reshape(len(t), -1)[place] for each in (t, after / below**self.power)
        )
        # Nothing moves for rounding.
        worse = ~np.isfinite(score.reshape(len(t), -1)[place]) | (ratios >= self.value)
        return np.where(worse, 0.0, steps), np.where(worse, self.value, ratios)

    def falls(self, index: Array) -> Array:
        """Shares by which single coordinates lower the ratio."""
        parts = np.split(index, np.arange(_BLOCK, len(index), _BLOCK))
        after = [self.steps(part, plain=True)[1] for part in parts]
        # A ratio of zero is as low as it gets.
        lowest = np.concatenate(after) / (self.value or np.inf)
        return np.maximum(1.0 - lowest if self.value else lowest, 0.0)

    def _candidates(self, roots: Array, breaks: Array) -> Array:
        """Points (m, pieces, c) of every piece: stationary ones, and its ends."""
        m = len(breaks)
        far = np.full((m, 1), _FAR * (float(np.abs(self.x).max()) or 1.0))
        ends = np.concatenate([-far, breaks, far], axis=1)
        left, right = ends[:, :-1], ends[:, 1:]
        inside = np.clip(roots, left, right)
        return np.stack([*inside, left, right], axis=-1)


# A point, the number of steps that led to it, and whether none is left.
_Visits = Iterator[tuple[_Point, int, bool]]


def _greedy(point: _Point, tol: float, max_iter: int) -> _Visits:
    """The best of all coordinates, then the best of those that promised most."""
    p, n_steps = len(point.x), 0
    while n_steps < max_iter:
        index, found = np.arange(p), False
        while n_steps < max_iter:
            t, after = point.steps(index)
            i = int(after.argmin())
            new = point.moved(int(index[i]), float(t[i]))
            if not point.value - new.value > max(tol, _ROUNDING) * abs(point.value):
                break
            if len(index) == p:
                index = index[np.argsort(after, kind="stable")[:_POOL]]
            point, n_steps, found = new, n_steps + 1, True
            yield point, 1, False
        if not found:
            yield point, 0, True
            return


def _cyclic(point: _Point, tol: float, max_iter: int) -> _Visits:
    for _ in range(max_iter):
        before, moved, largest = point.value, 0, 0.0
        for i in range(len(point.x)):
            t = float(point.steps(np.array([i]))[0][0])
            new = point.moved(i, t) if t else point
            fall = point.value - new.value
            if fall > _ROUNDING * abs(point.value):
                point, moved, largest = new, moved + 1, max(largest, fall)
        ended = not largest > tol * abs(before)
        yield point, moved, ended
        if ended:
            return


def _values(coef: Array, t: Array) -> Array:
    """Polynomials (d + 1, m, pieces) at points (m, pieces, c)."""
    return np.asarray(polyval(t, coef[..., None], tensor=False))


def _times(a: Array, b: Array) -> Array:
    out = np.zeros((len(a) + len(b) - 1, *a.shape[1:]))
    for d, each in enumerate(a):
        out[d : d + len(b)] += each * b
    return out


def _plus(a: Array, b: Array) -> Array:
    out = np.zeros((max(len(a), len(b)), *a.shape[1:]))
    out[: len(a)] += a
    out[: len(b)] += b
    return out


def _real_roots(coef: Array) -> Array:
    """Candidates of the real roots (d, ...) of polynomials (d + 1, ...), 0 for none.

    Every candidate is evaluated later, so one too many does no harm.
    """
    while len(coef) > 1 and not coef[-1].any():
        coef = coef[:-1]
    with np.errstate(all="ignore"):
        if len(coef) == 1:
            roots = np.zeros((0, *coef.shape[1:]))
        elif len(coef) == 2:
            roots = -coef[:1] / coef[1:]
        elif len(coef) == 3:
            roots = _quadratic_roots(*coef)
        else:
            roots = _roots_one_by_one(coef)
    return np.where(np.isfinite(roots), roots, 0.0)


def _quadratic_roots(c: Array, b: Array, a: Array) -> Array:
    root = np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))
    q = -0.5 * (b + np.where(b < 0, -root, root))
    return np.stack([q / a, c / q])


def _roots_one_by_one(coef: Array) -> Array:
    out = np.zeros((len(coef) - 1, coef[0].size))
    for column, each in zip(out.T, coef.reshape(len(coef), -1).T, strict=True):
        roots = np.roots(each[::-1])
        real = roots.real[np.abs(roots.imag) <= _REAL * np.abs(roots)]
        column[: len(real)] = real
    return out.reshape(-1, *coef.shape[1:])


def _check(
    numerator: RatioPart,
    denominator: RatioPart,
    x0: Array,
    solver: str,
    rule: str,
    proximal: float,
    tol: float,
    max_iter: int,
) -> None:
    if solver not in ("fcd", "pcd"):
        raise ValueError(f"solver={solver!r} is not known; choose 'fcd' or 'pcd'.")
    if rule not in ("cyclic", "greedy"):
        raise ValueError(f"rule={rule!r} is not known; choose 'cyclic' or 'greedy'.")
    if x0.ndim != 1 or not x0.size or not np.isfinite(x0).all():
        raise ValueError("x0 must be a vector of finite numbers, with at least one.")
    if numerator.power != 1.0:
        raise ValueError(
            f"The numerator has power={numerator.power}; minimize_ratio needs power 1."
        )
    if solver == "pcd" and denominator.power != 1.0:
        raise ValueError(
            f"solver='pcd' needs a denominator of power 1, not {denominator.power}: "
            "choose solver='fcd'."
        )
    if not proximal >= 0.0 or not tol >= 0.0 or max_iter < 1:
        raise ValueError(
            f"proximal={proximal} and tol={tol} must not be negative, and "
            f"max_iter={max_iter} must be at least 1."
        )
