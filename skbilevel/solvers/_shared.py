"""The best shared strength of a problem: where every other search starts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import BilevelProblem, CriterionProblem, Task
from skbilevel.problems._parametrizations import (
    Embedded,
    Parametrization,
    SharedStrength,
)
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import Counts, Status
from skbilevel.solvers._krylov_path import krylov_path
from skbilevel.solvers._nested import (
    Direct,
    Nested,
    ObjectiveRun,
)
from skbilevel.solvers.inner import CG
from skbilevel.solvers.outer._scalar import minimize_scalar_log

# Range of a path in log v, relative to one over the largest eigenvalue: from the mean
# alone to least squares. Weak strengths cost nothing unless they are reached.
_PATH = (-10.0, 20.0)
_PATH_STEP = 1.0
_POWER_STEPS = 8
# Accuracy of the losses of a coarse scan; basins whose floors are within this share of
# the lowest one are all searched, at most so many of them.
_COARSE, _NEAR, _BASINS = 0.1, 0.05, 3
# A scan ends where the loss is above its first value by this share.
_HOPELESS = 0.5
_TINY = 1e-300
# Beside the floor of a basin a first step of this length has the minimum in between.
_SHORT = 0.7
# A path ends where the loss has risen by the first share past its minimum; by the
# second one where there may be another minimum behind.
_RISE, _CLIMB = 1e-3, 0.2
# A minimum within this share of the loss at the end of a path is no minimum.
_FLAT = 1e-6
# Numbers in the states of one evaluation that are kept with it.
_KEPT_UP_TO = 500_000


@record
class Visited:
    """A shared ``log v``, the outer loss there, and the states of the tasks."""

    log_v: float
    value: float
    states: tuple[Any, ...] = ()


@record
class SharedSearch:
    """The best shared variance ``v``, its outer loss, and how the search ended.

    ``trace`` holds ``log v``, the outer loss and the states of every evaluation;
    states are empty where they are large. ``scan`` are the rough ones of a coarse scan.
    """

    v: float
    value: float
    status: Status
    counts: Counts
    states: tuple[Any, ...] = ()
    trace: tuple[Visited, ...] = ()
    scan: tuple[Visited, ...] = ()


def best_shared_strength(
    solver: Nested | Direct,
    problem: BilevelProblem | CriterionProblem,
    v0: float = 1.0,
    *,
    bounds: tuple[float, float] = (-300.0, 300.0),
    index: Array | None = None,
    grid: Array | None = None,
    tol: float = 1e-3,
    rtol: float = 0.0,
    scan: tuple[float, ...] = (-6.0, -3.0, 3.0, 6.0),
    accuracy: float = 1e-6,
) -> SharedSearch:
    """Search one variance for all features, on a range that widens by itself.

    The loss may have several minima. With a ``grid`` it is evaluated roughly at all
    its points first, and then searched in every basin that may hold the lowest one.

    Where inner problems are solved by conjugate gradients, the whole path costs about
    one solve at the best strength (`krylov_path`); otherwise value and derivative are
    evaluated at one strength after the other.

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
    grid : ndarray of shape (c,), optional
        Increasing ``log v`` of a coarse scan, in place of ``v0`` and ``scan``.
    tol : float
        Accuracy of ``log v``.
    rtol, scan : float, tuple of float
        See `minimize_scalar_log`.
    accuracy : float
        Tolerance of the inner and adjoint solves.
    """
    if isinstance(solver, Nested) and isinstance(solver.inner, CG):
        task = _shared_rows(problem)
        if task is not None:
            return _along_path(task, bounds, index, _RISE if grid is None else _CLIMB)
    run = _shared_run(solver, problem, index)

    trace: list[Visited] = []

    def fun(log_v: float) -> tuple[float, float]:
        value, grad = run(np.array([log_v]), accuracy)
        trace.append(Visited(float(log_v), float(value), _kept(run.states)))
        return value, float(grad[0])

    rough: list[Visited] = []
    search = partial(minimize_scalar_log, fun, bounds=bounds, tol=tol, rtol=rtol)
    if grid is None:
        found = search(float(np.log(v0)), scan=scan)
    else:
        rough = _coarse_scan(run, np.unique(np.clip(grid, *bounds)))
        ends = []
        for start in _basins(rough):
            run.states = _nearest(rough, start)
            ends.append(search(start, scan=(), stride=_SHORT))
        found = min(ends, key=lambda each: each.value)
    v = float(np.exp(found.log_v))
    return SharedSearch(
        v,
        found.value,
        found.status,
        run.counts,
        run.states,
        tuple(trace),
        tuple(rough),
    )


def _coarse_scan(run: ObjectiveRun, grid: Array) -> list[Visited]:
    """Rough losses from strong to weak strengths, each from the state before.

    It ends where no model at all is much better.
    """
    seen: list[Visited] = []
    for log_v in grid:
        value = float(run(np.array([log_v]), _COARSE)[0])
        if not np.isfinite(value):
            break
        seen.append(Visited(float(log_v), value, _kept(run.states)))
        if value > seen[0].value + _HOPELESS * abs(seen[0].value):
            break
    return seen


def _basins(seen: list[Visited]) -> list[float]:
    """Points of a scan beside which the lowest minimum may be, the best one first.

    Losses between a point and its neighbours are taken to be those of a parabola.
    """
    floors = []
    for k, each in enumerate(seen):
        beside = [seen[j] for j in (k - 1, k + 1) if 0 <= j < len(seen)]
        if any(each.value > other.value for other in beside):
            continue
        floor = each.value
        if len(beside) == 2:
            down, up = (other.value - floor for other in beside)
            floor -= 0.125 * (up - down) ** 2 / max(up + down, _TINY)
        floors.append((floor, each.log_v))
    lowest, _ = min(floors)
    near = [each for each in floors if each[0] <= lowest + _NEAR * abs(lowest)]
    return [log_v for _, log_v in sorted(near)[:_BASINS]]


def _nearest(seen: list[Visited], log_v: float) -> tuple[Any, ...]:
    """The states of the nearest point of a scan."""
    return min(seen, key=lambda each: abs(each.log_v - log_v)).states


def _kept(states: tuple[Any, ...]) -> tuple[Any, ...]:
    """States, unless several of them together would take much memory."""
    size = sum(inner.size for inner, _ in states if isinstance(inner, np.ndarray))
    return states if size <= _KEPT_UP_TO else ()


def _shared_rows(problem: BilevelProblem | CriterionProblem) -> Task | None:
    """The stack of all folds, if they are sets of shared rows."""
    if isinstance(problem, CriterionProblem):
        return None
    tasks = problem.stacked().tasks
    inner, outer = tasks[0].inner, tasks[0].outer
    rows = isinstance(inner, RowsDataFit) and isinstance(outer, RowsDataFit)
    if len(tasks) > 1 or not rows or "quadratic" not in inner.provides:
        return None
    return tasks[0]


def _along_path(
    task: Task, bounds: tuple[float, float], index: Array | None, rise: float
) -> SharedSearch:
    fit = task.inner
    assert isinstance(fit, RowsDataFit)
    mask = None
    if index is not None:
        mask = np.zeros(fit.n_features)
        mask[index] = 1.0
    center = -np.log(_largest_eigenvalue(fit, mask))
    grid = center + np.arange(_PATH[0], _PATH[1] + _PATH_STEP / 2, _PATH_STEP)
    grid = grid[(grid >= bounds[0]) & (grid <= bounds[1])]
    if not grid.size:
        grid = np.array([np.clip(center, *bounds)])
    path = krylov_path(task, grid, mask=mask, rise=rise)
    known = ~np.isnan(path.value)
    x, value = grid[known], path.value[known]
    if not x.size:
        return SharedSearch(np.exp(grid[0]), np.nan, Status.INNER, path.counts)
    k = int(np.argmin(value))
    status = Status.CONVERGED
    if value[k] >= value[0] * (1.0 - _FLAT):
        status = Status.AT_INFINITY
    elif k == len(grid) - 1:
        status = Status.AT_ZERO
    elif k == len(x) - 1:
        status = Status.INNER
    log_v, best = _refined(x, value, k)
    trace = tuple(map(Visited, x.tolist(), value.tolist()))
    return SharedSearch(float(np.exp(log_v)), best, status, path.counts, (), trace)


def _refined(x: Array, value: Array, k: int) -> tuple[float, float]:
    """Minimum of the cubic spline beside the smallest value."""
    if not 0 < k < len(x) - 1 or len(x) < 4:
        return float(x[k]), float(value[k])
    fine = np.linspace(x[k - 1], x[k + 1], 201)
    curve = CubicSpline(x, value)(fine)
    j = int(np.argmin(curve))
    return float(fine[j]), float(curve[j])


def _largest_eigenvalue(fit: RowsDataFit, mask: Array | None) -> float:
    """A lower bound of the order of the largest eigenvalue, by the power method."""
    total = np.sqrt(fit.weight)[..., None]
    rows = np.linspace(-1.0, 1.0, fit.design.shape[0])[:, None] * total
    rows = rows + total * fit.target.sum(axis=-1, keepdims=True)
    norm = 0.0
    for _ in range(_POWER_STEPS):
        size = float(np.sqrt((rows**2).sum()))
        if size == 0.0:
            break
        W = fit.pull(total * (rows / size))
        W = W if mask is None else W * mask[:, None]
        rows = total * fit.push(W)
        norm = float(np.sqrt((rows**2).sum()))
    return norm if norm > 0.0 else 1.0


def _shared_run(
    solver: Nested | Direct,
    problem: BilevelProblem | CriterionProblem,
    index: Array | None,
) -> ObjectiveRun:
    """The outer loss as a function of one log variance."""
    p = problem.n_features
    shared: Parametrization = SharedStrength(p)
    if index is not None:
        shared = Embedded(SharedStrength(len(index)), index, p)
    return solver.run(problem.shared(shared))  # type: ignore[arg-type]
