"""A point and directions at which a problem is checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem, OracleProblem, OuterProblem


@record
class Place:
    """Where a problem is checked.

    Parameters
    ----------
    problem : OracleProblem
        The problem.
    theta, w : ndarray
        The point.
    moves_theta, moves_w : tuple of ndarray
        Directions, as long as a move that is natural there; the point plus a tenth of
        one stays in the box.
    """

    problem: OracleProblem
    theta: Array
    w: Array
    moves_theta: tuple[Array, ...]
    moves_w: tuple[Array, ...]

    @property
    def inner(self) -> InnerProblem:
        """The inner problem."""
        return self.problem.inner

    @property
    def outer(self) -> OuterProblem:
        """The outer problem."""
        return self.problem.outer

    @property
    def names(self) -> tuple[str, str]:
        """Of both levels, for messages."""
        return type(self.inner).__name__, type(self.outer).__name__

    @property
    def levels(self) -> list[tuple[str, Any]]:
        """Both levels with their names."""
        return list(zip(self.names, (self.inner, self.outer), strict=True))


def place_of(
    problem: OracleProblem,
    theta: Array | None,
    w: Array | None,
    n_directions: int,
    rng: np.random.Generator,
) -> Place:
    """The point that was asked for, or one near the start, and directions."""
    low, high = problem.box
    theta = np.asarray(problem.theta0 if theta is None else theta, float)
    theta = np.clip(theta, low, high)
    start = np.asarray(problem.w0 if w is None else w, float)
    unit = rng.standard_normal((n_directions + 1, len(start)))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    size = _natural_size(problem.inner, theta, start, unit[-1])
    # At w = 0, where most start, many wrong cross products are right.
    point = start + size * unit[-1] if w is None else start
    moves_theta = []
    for _ in range(n_directions):
        move = rng.standard_normal(len(theta))
        outside = (theta + 0.1 * move < low) | (theta + 0.1 * move > high)
        move[outside] *= -1.0
        moves_theta.append(10.0 * (np.clip(theta + 0.1 * move, low, high) - theta))
    moves_w = tuple(size * each for each in unit[:-1])
    return Place(problem, theta, point, tuple(moves_theta), moves_w)


def _natural_size(inner: InnerProblem, theta: Array, w: Array, unit: Array) -> float:
    """About the length of a step to the solution, so that no units are too small."""
    point = inner.at(theta, w)
    norm = float(np.linalg.norm(point.grad))
    bend = abs(float(unit @ point.hvp(unit)))
    length = float(np.linalg.norm(w))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = float(np.divide(norm, bend))
    if not np.isfinite(size):
        size = 0.0
    return max(size, 1e-2 * length) or 1.0
