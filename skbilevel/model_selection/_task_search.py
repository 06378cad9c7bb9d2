"""Which columns share a variance, and the search for the best variances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of
from skbilevel.problems._task_criteria import TaskCriterion
from skbilevel.problems._task_solution import TaskPenalty
from skbilevel.problems._task_strengths import Near, TaskStrengths

FAMILIES = ("pooled", "intercept", "two", "feature")
# How far a search goes from its start, in logarithms of variances.
_BELOW, _ABOVE = 7.0, 16.0
# A run of steps stays so close to its start, and the next one starts where it ended: in
# logarithms the criterion is flat far below, and a long step would not come back.
_BOX, _RUNS = 3.0, 8
# A variance below this share of that of a task's own least squares may be zero ...
_SMALL = 0.05
# ... if the criterion does not grow by more than so many nats.
_NATS = 1e-3
# Least and greatest unit of a step.
_UNITS = 0.05, 3.0


@record
class TaskColumns:
    """Columns of the working design, and who may deviate.

    Parameters
    ----------
    intercept : bool
        Whether column 0 is the intercept.
    deviates : ndarray of bool, shape (q,)
        Columns that may differ between tasks.
    labels : ndarray of int, shape (q,)
        Columns of one label share a variance in the family "feature"; that of the
        intercept is not used.
    unit : ndarray of shape (q,)
        Variances that count as equal.
    beta : ndarray of shape (q,)
        Strengths of the centre.
    tuned : bool
        Whether the strength of the centre is searched.
    """

    intercept: bool
    deviates: Array
    labels: Array
    unit: Array
    beta: Array
    tuned: bool

    def strengths(self, family: str) -> TaskStrengths:
        """Outer variables of one of the families."""
        members = np.full(len(self.unit), -1)
        slopes = self.deviates.copy()
        if self.intercept:
            slopes[0] = False
        n = 0
        if self.intercept and self.deviates[0] and family != "pooled":
            members[0], n = 0, 1
        if family == "two":
            members[slopes] = n
        elif family == "feature":
            members[slopes] = n + np.unique(self.labels[slopes], return_inverse=True)[1]
        return TaskStrengths(members, self.unit, self.beta, self.tuned)

    def families(self) -> tuple[str, ...]:
        """Families that differ from each other on these columns."""
        found: dict[tuple[int, ...], str] = {}
        for family in FAMILIES:
            found.setdefault(tuple(self.strengths(family).members), family)
        return tuple(found.values())


@record
class SearchPoint:
    """Where a search ended, and the next one, on other tasks, may start.

    It takes fewer steps if they are in ``unit``, the square roots of the
    diagonal of the inverse Hessian, and inner solutions start at those ``near``.
    """

    theta: Array
    unit: Array | float = 1.0
    near: Near = ()


@record
class FoundStrengths:
    """Where a search ended, the penalty there, and the course of the search."""

    family: str
    end: SearchPoint
    penalty: TaskPenalty
    value: float
    n_iter: int
    values: Array
    converged: bool


@record
class TaskSearch:
    """Limited-memory quasi-Newton steps in the logarithms of variances.

    ``rows`` is the number of rows, which makes values of the criterion nats, and
    ``per_task`` their mean number in a task, where the search starts.
    """

    columns: TaskColumns
    rows: float
    per_task: float
    tol: float
    max_iter: int

    def run(
        self,
        family: str,
        criterion: TaskCriterion,
        start: SearchPoint | None = None,
    ) -> FoundStrengths:
        """Search the best variances of one family."""
        shape = self.columns.strengths(family)
        middle = self._middle(shape)
        start = SearchPoint(middle) if start is None else start
        theta = np.clip(start.theta, middle - _BELOW, middle + _ABOVE)
        start = replace(start, theta=theta)
        if not shape.size:
            penalty = shape.penalty(theta)
            at = criterion.at(penalty, start.near)
            end, course = replace(start, near=at.near), np.array([at.value])
            return FoundStrengths(family, end, penalty, at.value, 0, course, True)
        return self._search(family, shape, criterion, start, middle)

    def _search(
        self,
        family: str,
        shape: TaskStrengths,
        criterion: TaskCriterion,
        start: SearchPoint,
        middle: Array,
    ) -> FoundStrengths:
        theta, unit, near = start.theta, start.unit, start.near
        scale = self._nats(criterion, shape.penalty(theta), near)
        values: list[float] = []

        def fun(at: Array) -> tuple[float, Array]:
            nonlocal near
            penalty = shape.penalty(unit * at)
            found = criterion.at(penalty, near)
            near = found.near
            return scale * found.value, scale * unit * shape.pulled(found, penalty)

        def note(intermediate_result: Any) -> None:
            values.append(float(intermediate_result.fun) / scale)

        for _ in range(_RUNS):
            low = np.maximum(theta - _BOX, middle - _BELOW)
            high = np.minimum(theta + _BOX, middle + _ABOVE)
            result = minimize(
                fun,
                theta / unit,
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low / unit, high / unit, strict=True)),
                callback=note,
                options={
                    "maxiter": max(1, self.max_iter - len(values)),
                    "gtol": 100.0 * self.tol,
                    "ftol": 1e-5 * self.tol,
                },
            )
            theta = np.clip(unit * result.x, low, high)
            held = ((result.x <= low / unit) & (low > middle - _BELOW)) | (
                (result.x >= high / unit) & (high < middle + _ABOVE)
            )
            if not held.any() or len(values) >= self.max_iter:
                break
        value, slack = float(result.fun) / scale, _NATS / scale
        penalty, value = self._sparser(criterion, shape, theta, value, slack, near)
        course = np.array(values or [value])
        done = result.status != 1
        bend = np.sqrt(diagonal_of(result.hess_inv.todense()))
        end = SearchPoint(theta, np.clip(unit * bend, *_UNITS), near)
        return FoundStrengths(family, end, penalty, value, len(values), course, done)

    def _nats(
        self, criterion: TaskCriterion, penalty: TaskPenalty, near: Near
    ) -> float:
        """Makes values comparable with log likelihoods of all rows."""
        if criterion.in_nats:
            return self.rows
        return self.rows / max(2.0 * criterion.at(penalty, near).value, 1e-300)

    def _middle(self, shape: TaskStrengths) -> Array:
        theta = np.full(shape.size, -np.log(max(self.per_task, 1.0)))
        if shape.tuned:
            theta[-1] = 0.0
        return theta

    def _sparser(
        self,
        criterion: TaskCriterion,
        shape: TaskStrengths,
        theta: Array,
        value: float,
        slack: float,
        near: Near,
    ) -> tuple[TaskPenalty, float]:
        """No deviations at all where the criterion hardly tells them from some."""
        penalty = shape.penalty(theta)
        small = (penalty.v > 0.0) & (penalty.v * self.per_task < _SMALL)
        if not small.any():
            return penalty, value
        without = TaskPenalty(np.where(small, 0.0, penalty.v), penalty.beta)
        least = criterion.at(without, near).value
        return (without, least) if least <= value + slack else (penalty, value)
