"""The best shared strength of a criterion: the start of its search."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq

from skbilevel._records import record
from skbilevel.model_selection._criterion import OuterVector, Source
from skbilevel.model_selection._outer_space import OuterSpace
from skbilevel.model_selection._regime import Regime
from skbilevel.problems import (
    BilevelProblem,
    Criterion,
    CriterionProblem,
    SharedStrength,
)
from skbilevel.solvers import Direct, Nested, Status, best_shared_strength
from skbilevel.solvers._shared import Visited

# Range of log v relative to the trace: from the mean alone to least squares.
_SPAN = (-14.0, 22.0)
# Evaluations by Newton's method are dear: fewer are made ahead, and a start may be
# rough. One strength that is all that is searched is searched to the second number.
_NEWTON_SEARCH: dict[str, Any] = {"rtol": 1e-3, "scan": (3.0,), "accuracy": 1e-4}
_FINAL = 1e-5
# Where one strength is all that is searched, its loss is looked at from far stronger
# than the largest eigenvalue on in steps of this length, or of the second one where
# every look takes Newton's method some steps: no basin is narrower.
_FIRST, _STEPS = -3.0, (2.0, 3.0)
# Newton's method is not sent further, relative to one over the mean eigenvalue.
_NEWTON_REACH = 15.0
# A loss below this share of the loss of the mean consists of rounding errors.
_EXACT = 1e-10


@record
class SharedStart:
    """The best shared variance, and whether it is all that is to be found.

    ``final`` where it leaves no error to be reduced, or where one strength is all
    that was asked for. ``trace`` holds all evaluations.
    """

    v: float
    value: float
    edge: int
    final: bool
    states: tuple[Any, ...] = ()
    trace: tuple[Visited, ...] = ()


def shared_start(
    regime: Regime, source: Source, space: OuterSpace, guide: Criterion | None
) -> SharedStart:
    """The best shared variance and the end of its range it was found at."""
    p, trace = space.n_features, source.trace
    box = (np.array([-np.inf]), np.array([np.inf]))
    outer = OuterVector(SharedStrength(p), box)
    problem = source.problem(outer)
    if guide is not None:
        problem = outer.closed(guide)
    low, high = (each - np.log(trace) for each in _SPAN)
    with np.errstate(divide="ignore"):
        bounds = (
            max(low, float(np.log(space.low.min()))),
            min(high, float(np.log(space.high.max()))),
        )
    if bounds[0] >= bounds[1]:
        middle = float(np.clip(0.0, *sorted(bounds)))
        return SharedStart(float(np.exp(middle)), np.nan, 0, False)
    solver = regime.solver_of(problem)
    newton = not problem.quadratic
    search = _NEWTON_SEARCH if newton else {}
    if newton and space.one_strength:
        search = search | {"rtol": _FINAL}
    grid = None
    if space.one_strength:
        end = min(bounds[1], np.log(p / trace) + _NEWTON_REACH) if newton else bounds[1]
        step = _STEPS[newton]
        grid = np.arange(_FIRST - np.log(trace), end + step / 2, step)
    found = best_shared_strength(
        solver,
        problem,
        p / trace,
        bounds=bounds,
        grid=grid,
        tol=1e-3 if space.one_strength else 0.1,
        **search,
    )
    # Models at points of the scan are made anew for scores: cheap with factors alone.
    factored = not newton and regime.name in ("primal", "dual")
    trace_of = found.trace + found.scan if factored else found.trace
    floor = _EXACT * source.null_loss
    if found.value <= floor:
        v = _strongest(solver, problem, floor, bounds[0], float(np.log(found.v)))
        return SharedStart(v, floor, 0, True, (), trace_of)
    edges = {Status.AT_INFINITY: -1, Status.AT_ZERO: 1}
    edge = edges.get(found.status, 0)
    if (edge < 0 and bounds[0] > low) or (edge > 0 and bounds[1] < high):
        edge = 0
    alone = space.one_strength and space.family == "none" and space.metadata is None
    final = newton and alone
    return SharedStart(found.v, found.value, edge, final, found.states, trace_of)


def _strongest(
    solver: Nested | Direct,
    problem: BilevelProblem | CriterionProblem,
    floor: float,
    low: float,
    high: float,
) -> float:
    """The least shared variance whose loss is as small as ``floor``.

    Features that explain held-out targets exactly leave a loss of rounding errors,
    which has no meaningful minimum: the strongest regularization that does is taken.
    """
    run = solver.run(problem)  # type: ignore[arg-type]
    tiny = np.finfo(float).tiny

    def excess(log_v: float) -> float:
        value = run(np.array([log_v]), 1e-10)[0]
        return float(np.log(max(value, tiny) / floor))

    if excess(low) <= 0.0:
        return float(np.exp(low))
    return float(np.exp(brentq(excess, low, high, xtol=1e-13)))
