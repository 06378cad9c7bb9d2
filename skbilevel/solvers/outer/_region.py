"""Quasi-Newton steps in a ball, for few unknowns and costly evaluations.

Each evaluation goes on from the states of an earlier one, so a point carries them
along: what a rejected step leaves behind is dropped with its point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from skbilevel._typing import Array

# Actual over predicted decrease below which the ball shrinks, and above which it grows.
_SHRINK, _GROW = 0.25, 0.75
_BISECTIONS = 60


class Point(Protocol):
    """An evaluated point."""

    @property
    def value(self) -> float:
        """The objective."""

    @property
    def grad(self) -> Array:
        """Its gradient."""


P = TypeVar("P", bound=Point)


@dataclass(frozen=True)
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
