"""Newton's method for one centre and the deviations of all tasks.

Every step solves the inner problem of `_task_solution` on the moments of the quadratic
that touches the losses, and goes so far along it that the objective falls. Where the
losses are quadratic, the first step is the last.
"""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._task_moments import TaskMoments
from skbilevel.problems._task_rows import CurvedTasks
from skbilevel.problems._task_solution import TaskPenalty, TaskSolution, adapted

_STEPS, _HALVINGS = 60, 40
# A step may promise so much of the objective and be the last: the next one would gain
# about the square of it.
_NEAR = 1e-9


# Rows of T tasks, as a sum of losses of the coefficients (T, q) of the tasks.
TaskData = TaskMoments | CurvedTasks


def solve(
    data: TaskData, penalty: TaskPenalty, near: TaskSolution | None = None
) -> TaskSolution:
    """The inner problem solved, with moments at the solution.

    ``near`` is a solution of the same rows at another penalty, where the search starts.
    """
    q = len(penalty.v)
    c, w = np.zeros(q), np.zeros((data.n_tasks, q))
    if near is not None and not data.quadratic:
        c, w = near.centre.c, near.coefficients()
    return TaskSolution.of(_minimize(data, penalty, c, w, fixed=False), penalty)


def settle(data: TaskData, penalty: TaskPenalty, c: Array) -> TaskMoments:
    """Moments at the coefficients that tasks have around a centre that is known."""
    w = np.tile(c, (data.n_tasks, 1))
    return _minimize(data, penalty, c, w, fixed=True)


def _minimize(
    data: TaskData, penalty: TaskPenalty, c: Array, w: Array, fixed: bool
) -> TaskMoments:
    """Moments at the minimum over the deviations, and over the centre if not fixed."""
    if data.quadratic:
        return data.linearized(w)
    at = _Point(c, np.where(penalty.v > 0.0, w - c, 0.0))
    moments, before = data.linearized(at.w), _objective(data, penalty, at)
    for _ in range(_STEPS):
        move = _newton_move(moments, penalty, at, fixed)
        slope = float((moments.slopes(at.w) * move.w).sum())
        fall = -slope - _penalized(penalty, at, move)
        if fall <= _NEAR * (1.0 + abs(before)):
            return data.linearized(at.moved(move, 1.0).w)
        step = 1.0
        for _ in range(_HALVINGS):
            to = at.moved(move, step)
            value = _objective(data, penalty, to)
            if value <= before - 1e-4 * step * fall:
                break
            step /= 2.0
        else:  # rounding hides any progress
            return moments
        at, before = to, value
        moments = data.linearized(at.w)
    return moments


@record
class _Point:
    """A centre (q,) and deviations (T, q)."""

    c: Array
    d: Array

    @property
    def w(self) -> Array:
        """Coefficients of the tasks."""
        return np.asarray(self.c + self.d)

    def moved(self, move: _Point, step: float) -> _Point:
        """So far along a direction."""
        return _Point(self.c + step * move.c, self.d + step * move.d)


def _newton_move(
    moments: TaskMoments, penalty: TaskPenalty, at: _Point, fixed: bool
) -> _Point:
    """From a point to the minimum of the quadratic that touches the losses there."""
    c = at.c if fixed else TaskSolution.of(moments, penalty).centre.c
    w = adapted(moments, penalty, c)
    return _Point(c - at.c, np.where(penalty.v > 0.0, w - c - at.d, 0.0))


def _objective(data: TaskData, penalty: TaskPenalty, at: _Point) -> float:
    """Losses and penalty."""
    return float(data.value(at.w).sum()) + 0.5 * _penalized(penalty, at, at)


def _penalized(penalty: TaskPenalty, one: _Point, other: _Point) -> float:
    """The inner product of two points that belongs to the penalty."""
    own = penalty.active
    shrunk = (one.d * other.d)[:, own] / penalty.v[own]
    return float(shrunk.sum() + (penalty.beta * one.c * other.c).sum())
