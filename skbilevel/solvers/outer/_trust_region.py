"""Steps in a trust region: a box that follows a curvature, or a ball and BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of
from skbilevel.solvers._base import OuterResult, Status
from skbilevel.solvers.outer._search import BoxOptimizer, Search

# Actual over predicted decrease: below the first a step is taken back, below the
# second the region shrinks, above the third it grows.
_ACCEPT, _SHRINK, _GROW = 1e-4, 0.25, 0.75
# A predicted decrease below this share of the value is rounding.
_ROUNDING = 1e-14
# Added to the diagonal of the curvature, relative to each entry.
_DAMPING = 1e-5
_QP_STEPS = 50
# Coordinates this close to a bound are on it.
_SNAP = 1e-12


@record
class TrustRegion(BoxOptimizer):
    """Gauss-Newton steps on a box in a trust region, for some hundred strengths.

    The curvature is that of a sum of squares, computed anew wherever a step was
    taken. A validation loss needs ten to twenty evaluations where L-BFGS-B needs fifty
    to some hundreds. Its region is a box in the coordinates of theta.

    Parameters
    ----------
    curvature : callable or None
        Positive semidefinite matrix (g, g) at a point; by default the objective's own
        method of that name.
    radius : tuple of float
        Largest change of a coordinate in the first and in any step.
    accuracy : float
        Tolerance asked of inner and adjoint solves.
    """

    curvature: Callable[[Array], Array] | None = None
    radius: tuple[float, float] = (1.0, 2.0)
    accuracy: float = 1e-10

    def _run(self, search: Search) -> OuterResult:
        (low, high), objective = search.bounds, search.objective
        curvature = self.curvature or objective.curvature  # type: ignore[attr-defined]
        search.start(self.accuracy)
        B, radius = None, self.radius[0]
        while (status := search.status()) is None:
            theta, grad = search.theta, search.grad
            B = _damped(curvature(theta)) if B is None else B
            room = np.maximum(low - theta, -radius), np.minimum(high - theta, radius)
            step = box_quadratic(B, grad, *room)
            predicted = -float(grad @ step + 0.5 * step @ (B @ step))
            if predicted <= _ROUNDING * search.size:
                return search.result(Status.FLAT)
            # Adding the difference to a bound need not give the bound.
            trial = np.where(step <= low - theta, low, theta + step)
            trial = np.minimum(trial, high)
            # A bound that is missed by rounding would stop every later step.
            trial = np.where(trial - low <= _SNAP, low, trial)
            trial = np.where(high - trial <= _SNAP, high, trial)
            value, grad = search.evaluate(trial, self.accuracy)
            ratio = (search.value - value) / predicted
            length = float(np.abs(step).max())
            if ratio < _SHRINK:
                radius = 0.4 * length
            elif ratio > _GROW and length > 0.9 * radius:
                radius = min(2.0 * radius, self.radius[1])
            if ratio > _ACCEPT:
                search.move(trial, value, grad)
                B = None
            search.note(self.accuracy)
        return search.result(status)


def _damped(B: Array) -> Array:
    B = np.array(B, dtype=float)
    diagonal = diagonal_of(B)
    top = float(diagonal.max(initial=0.0))
    diagonal *= 1.0 + _DAMPING
    diagonal += _DAMPING**2 * top if top > 0 else 1.0
    return B


def box_quadratic(B: Array, g: Array, low: Array, high: Array) -> Array:
    """Minimum of ``g . s + 0.5 s . B s`` on a box that holds zero.

    Newton steps in the coordinates that are not pushed against a bound, cut back at
    the first bound where a projected step is of no use.
    """
    s, value = np.zeros_like(g), 0.0
    small = 1e-9 * float(np.abs(g).max(initial=0.0))
    for _ in range(_QP_STEPS):
        slope = g + B @ s
        free = ~(((s <= low) & (slope >= 0)) | ((s >= high) & (slope <= 0)))
        if np.abs(slope[free]).max(initial=0.0) <= small:
            break
        direction = _free_newton(B, slope, free, s <= low, s >= high)
        trial = np.clip(s + direction, low, high)
        new = float(g @ trial + 0.5 * trial @ (B @ trial))
        if new >= value:
            # One bound is met exactly, or many by a projected gradient step.
            steps = (
                _first_bound(s, direction, low, high),
                np.clip(s + _steepest(B, slope, free), low, high),
            )
            values = [float(g @ x + 0.5 * x @ (B @ x)) for x in steps]
            k = int(np.argmin(values))
            trial, new = steps[k], values[k]
            if new >= value:
                break
        s, value = trial, new
    return s


def _steepest(B: Array, slope: Array, free: Array) -> Array:
    """The step to the minimum along minus the gradient of the free coordinates."""
    d = np.where(free, -slope, 0.0)
    return np.asarray(d * float(d @ d) / float(d @ (B @ d)))


def _first_bound(s: Array, direction: Array, low: Array, high: Array) -> Array:
    """The point where the first coordinate meets its bound, and exactly that."""
    ends = np.where(direction > 0, high, low)
    room = np.full(len(s), np.inf)
    np.divide(ends - s, direction, out=room, where=direction != 0)
    first = int(np.argmin(room))
    trial = np.clip(s + min(1.0, float(room[first])) * direction, low, high)
    if room[first] <= 1.0:
        trial[first] = ends[first]
    return np.asarray(trial)


def _free_newton(
    B: Array, slope: Array, free: Array, at_low: Array, at_high: Array
) -> Array:
    """Newton direction that no coordinate at a bound leaves through it."""
    free = free.copy()
    direction = np.zeros_like(slope)
    while free.any():
        direction[:] = 0.0
        direction[free] = -np.linalg.solve(B[free][:, free], slope[free])
        leaving = free & ((at_low & (direction < 0)) | (at_high & (direction > 0)))
        if not leaving.any():
            break
        free &= ~leaving
    return direction


_BISECTIONS = 60


# An evaluated point, with a value and its gradient.
P = TypeVar("P", bound=Any)


@record
class BallRegion:
    """BFGS from a given curvature, every step within a ball.

    Parameters
    ----------
    radius : float
        Radius of the first ball.
    tol : float
        Predicted decrease at which the search ends.
    """

    radius: float = 0.3
    tol: float = 1e-4

    def minimize(
        self,
        evaluate: Callable[[Array, P], P],
        x: Array,
        point: P,
        curvature: Array,
        n_steps: int,
    ) -> tuple[Array, P]:
        """Minimize from ``x`` by at most ``n_steps`` evaluations.

        ``evaluate(x, point)`` may go on from what ``point`` carries.
        """
        B, radius = curvature, self.radius
        for _ in range(n_steps):
            if not point.grad.any():
                break
            step = ball_step(point.grad, B, radius)
            predicted = -float(point.grad @ step + 0.5 * step @ B @ step)
            if not predicted > self.tol:
                break
            new = evaluate(x + step, point)
            ratio = (point.value - new.value) / predicted
            length = float(np.linalg.norm(step))
            B = updated(B, step, new.grad - point.grad)
            if not ratio >= _SHRINK:
                radius = 0.4 * length
            elif ratio > _GROW and length > 0.9 * radius:
                radius *= 2.0
            if ratio > 0.0:
                x, point = x + step, new
        return x, point


def ball_step(grad: Array, B: Array, radius: float) -> Array:
    """Minimum of ``grad . s + 0.5 s . B s`` within a ball, B positive definite."""
    values, U = np.linalg.eigh(B)
    g = U.T @ grad

    def step(mu: float) -> Array:
        return np.asarray(-g / (values + mu))

    if np.linalg.norm(step(0.0)) <= radius:
        return np.asarray(U @ step(0.0))
    low, high = 0.0, float(np.linalg.norm(g)) / radius
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if np.linalg.norm(step(middle)) > radius:
            low = middle
        else:
            high = middle
    return np.asarray(U @ step(high))


def updated(B: Array, step: Array, change: Array) -> Array:
    """Damped BFGS (Powell): positive definite whatever the change of gradient is."""
    Bs = B @ step
    bend, seen = float(step @ Bs), float(step @ change)
    if seen < 0.2 * bend:
        share = 0.8 * bend / (bend - seen)
        change = share * change + (1.0 - share) * Bs
        seen = float(step @ change)
    return np.asarray(B - np.outer(Bs, Bs) / bend + np.outer(change, change) / seen)
