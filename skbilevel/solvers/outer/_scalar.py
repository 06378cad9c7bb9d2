"""One-dimensional search on a logarithmic scale that widens by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._records import record
from skbilevel.solvers._base import Status

Scalar = Callable[[float], tuple[float, float]]

# Slope, relative to the loss, where it has reached its limit; relative to the largest
# loss that was seen, rounding.
_FLAT, _ROUNDING = 1e-9, 1e-13
# A cubic step never comes closer than this to the ends, relative to the bracket.
_MARGIN = 0.05
# From here on a point is the end of what was seen.
_FAR = 1.0
# Steps outward that slopes shorten, and by how much they go beyond their minimum; the
# last one goes further, to have the minimum in between.
_SECANTS, _BEYOND, _FAR_BEYOND = 2, 1.5, 4.0
# A bracket has to shrink to the first share in every step, or the step to the second.
_SLOW, _SHORT = 0.75, 0.25


@dataclass(frozen=True)
class ScalarResult:
    """The best point of a search.

    ``status`` is ``CONVERGED``, ``AT_INFINITY`` (the loss falls towards ``v = 0`` until
    it is flat, or to the bound), ``AT_ZERO`` (the same towards infinite v) or
    ``MAX_ITER``.
    """

    log_v: float
    value: float
    status: Status
    n_evaluations: int


@record
class _Point:
    x: float
    value: float
    slope: float


def minimize_scalar_log(
    fun: Scalar,
    x0: float,
    *,
    bounds: tuple[float, float] = (-300.0, 300.0),
    tol: float = 1e-3,
    max_iter: int = 100,
    scan: tuple[float, ...] = (-6.0, -3.0, 3.0, 6.0),
    stride: float = 3.0,
    rtol: float = 0.0,
) -> ScalarResult:
    """Minimize a function of one log variance.

    From the best point seen, the slope tells on which side a minimum lies. Where a
    point was seen on that side the minimum of the cubic through both is next; else a
    step outward, longer every time.

    Parameters
    ----------
    fun : callable
        Value and derivative at ``log v``.
    x0 : float
        Start, within some orders of magnitude of the solution.
    bounds : tuple of float
        Never evaluated beyond.
    tol : float
        Accuracy of ``log v``.
    max_iter : int
        Evaluations after the scan.
    scan : tuple of float
        Offsets from x0 that are evaluated first, so that a flat or rising stretch
        between x0 and the minimum does no harm.
    stride : float
        The first step outward.
    rtol : float
        The search also ends where the loss would fall by less than this share.
    """
    seen: list[_Point] = []

    def visit(x: float) -> None:
        x = min(max(x, bounds[0]), bounds[1])
        if all(point.x != x for point in seen):
            seen.append(_Point(x, *map(float, fun(x))))
            seen.sort(key=lambda point: point.x)

    for offset in (0.0, *scan):
        visit(x0 + offset)
    status, width, step = Status.MAX_ITER, np.inf, np.inf
    secants = _SECANTS
    for _ in range(max_iter):
        best, other, side = _next_pair(seen)
        if other is None:
            end = bounds[0] if side < 0 else bounds[1]
            if best.x == end or abs(best.slope) <= _resolution(seen, best):
                status = Status.AT_INFINITY if side < 0 else Status.AT_ZERO
                break
            ahead, secants = _secant(seen, best), secants - 1
            length = stride
            if rtol > 0.0 and secants >= -1:
                length = min(stride, ahead if secants >= 0 else _FAR_BEYOND * ahead)
            visit(best.x + side * length)
            # Beside the last secant step, the next one is what it would have been.
            stride *= 1.0 if length < stride and secants == -1 else 1.5
            continue
        # A bracket that hardly shrank is halved, unless the steps get short.
        slow = abs(other.x - best.x) > _SLOW * width
        width = abs(other.x - best.x)
        x = _cubic_minimum(best, other)
        if slow and abs(x - best.x) > _SHORT * step:
            x = 0.5 * (best.x + other.x)
        step = abs(x - best.x)
        little = 0.5 * abs(best.slope) * step <= rtol * abs(best.value)
        if best.slope == 0.0 or min(width, 2.0 * step) <= tol or little:
            status = Status.CONVERGED
            break
        visit(x)
    best = min(seen, key=lambda point: point.value)
    if status is Status.CONVERGED:
        status = _limit(seen, best) or status
    return ScalarResult(best.x, best.value, status, len(seen))


def _next_pair(seen: list[_Point]) -> tuple[_Point, _Point | None, float]:
    """The best point, its neighbour downhill if there is one, and that direction."""
    k = min(range(len(seen)), key=lambda i: seen[i].value)
    side = -1 if seen[k].slope > 0 else 1
    j = k + side
    return seen[k], seen[j] if 0 <= j < len(seen) else None, float(side)


def _secant(seen: list[_Point], best: _Point) -> float:
    """A step beyond the minimum that the slopes uphill predict; infinite for none."""
    uphill = [point for point in seen if abs(point.slope) > abs(best.slope)]
    if not uphill:
        return np.inf
    near = min(uphill, key=lambda point: abs(point.x - best.x))
    share = abs(best.slope) / (abs(near.slope) - abs(best.slope))
    return _BEYOND * share * abs(near.x - best.x)


def _resolution(seen: list[_Point], best: _Point) -> float:
    """Differences of the loss that mean nothing."""
    largest = max(abs(point.value) for point in seen)
    return max(_FLAT * abs(best.value), _ROUNDING * largest)


def _limit(seen: list[_Point], best: _Point) -> Status | None:
    """Whether the minimum is no lower than an end of what was seen."""
    small, (first, last) = _resolution(seen, best), (seen[0], seen[-1])
    # Points close to the minimum are as low as it is, and are no ends.
    if best.x - first.x >= _FAR and first.value - best.value <= small:
        return Status.AT_INFINITY
    if last.x - best.x >= _FAR and last.value - best.value <= small:
        return Status.AT_ZERO
    return None


def _cubic_minimum(best: _Point, other: _Point) -> float:
    """Minimum of the cubic with the values and slopes of both points."""
    h = other.x - best.x
    start, end = best.slope * h, other.slope * h
    a = start + end - 3.0 * (other.value - best.value)
    root = a * a - start * end
    if root > 0.0:
        gamma = float(np.sqrt(root))
        share = (gamma - start + a) / (end - start + 2.0 * gamma)
        if 0.0 < share < 1.0 - _MARGIN:
            return best.x + h * share
    return best.x + 0.5 * h
