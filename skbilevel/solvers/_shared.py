"""The best shared strength of a problem: where every other search starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import BilevelProblem, CriterionProblem
from skbilevel.problems._parametrizations import (
    Embedded,
    Parametrization,
    SharedStrength,
)
from skbilevel.solvers._base import Counts, Status
from skbilevel.solvers._nested import (
    Direct,
    DirectRun,
    Nested,
    NestedRun,
    ObjectiveRun,
)
from skbilevel.solvers.outer._scalar import minimize_scalar_log


@dataclass(frozen=True)
class SharedSearch:
    """The best shared variance ``v``, its outer loss, and how the search ended."""

    v: float
    value: float
    status: Status
    counts: Counts
    states: tuple[Any, ...]


def best_shared_strength(
    solver: Nested | Direct,
    problem: BilevelProblem | CriterionProblem,
    v0: float,
    *,
    bounds: tuple[float, float] = (-300.0, 300.0),
    index: Array | None = None,
    tol: float = 1e-3,
    accuracy: float = 1e-4,
) -> SharedSearch:
    """Search ``log v`` of one variance for all features, from ``v0`` outward.

    Parameters
    ----------
    solver : Nested or Direct
        Evaluates value and derivative.
    problem : BilevelProblem or CriterionProblem
        Its parametrization and hyperpenalty play no part.
    v0 : float
        Scale of the variances: one over the mean diagonal of the Gram matrix.
    bounds : tuple of float
        Range of ``log v``.
    index : ndarray of int, optional
        Features that have a strength, all by default; the others keep ``v = 0``.
    tol : float
        Accuracy of ``log v``.
    accuracy : float
        Tolerance of inexact inner solves.
    """
    run = _shared_run(solver, problem, index)

    def fun(log_v: float) -> tuple[float, float]:
        value, grad = run(np.array([log_v]), accuracy)
        return value, float(grad[0])

    found = minimize_scalar_log(fun, float(np.log(v0)), bounds=bounds, tol=tol)
    v = float(np.exp(found.log_v))
    return SharedSearch(v, found.value, found.status, run.counts, run.states)


def _shared_run(
    solver: Nested | Direct,
    problem: BilevelProblem | CriterionProblem,
    index: Array | None,
) -> ObjectiveRun:
    """The outer loss as a function of one log variance."""
    p = _n_features(problem)
    shared: Parametrization = SharedStrength(p)
    if index is not None:
        shared = Embedded(SharedStrength(len(index)), index, p)
    box = (np.array([-np.inf]), np.array([np.inf]))
    if isinstance(problem, CriterionProblem):
        return DirectRun(CriterionProblem(problem.criterion, shared, box))
    if not isinstance(solver, Nested):
        raise ValueError("Tasks need a Nested solver.")
    tasks = tuple(replace(task, parametrization=None) for task in problem.tasks)
    return NestedRun(solver, BilevelProblem(tasks, shared, box).stacked(), map)


def _n_features(problem: BilevelProblem | CriterionProblem) -> int:
    if isinstance(problem, CriterionProblem):
        return problem.criterion.n_features
    return problem.tasks[0].inner.n_features
