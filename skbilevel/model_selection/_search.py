"""The search for strengths on a criterion: start, solver, result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, Source
from skbilevel.model_selection._outer_space import OuterSpace
from skbilevel.problems import BilevelProblem, CriterionProblem, SharedStrength
from skbilevel.solvers import (
    CG,
    INNER,
    LBFGSB,
    SOLVERS,
    Direct,
    Implicit,
    InnerSolver,
    Nested,
    Result,
    Status,
    best_shared_strength,
    choose_regime,
    resolve,
)
from skbilevel.solvers._base import OnIter, OuterOptimizer
from skbilevel.solvers._curvature import has_curvature
from skbilevel.solvers._nested import DirectRun, MapTasks, NestedRun
from skbilevel.solvers.outer._surrogate import Surrogate
from skbilevel.solvers.outer._trust_region import TrustRegion

# Range of log v relative to the trace: from the mean alone to least squares.
_SPAN = (-14.0, 22.0)
_MEMORY = 1 << 30
# A loss below this share of the loss of the mean consists of rounding errors.
_EXACT = 1e-10
# Working targets have a variance near one unless they are constant.
_CONSTANT = 1e-20
# Up to this many strengths their curvature is formed and factored.
_CURVATURE_UP_TO = 300


@dataclass(frozen=True)
class Found:
    """Variances of scaled columns, and how they were found.

    ``loss`` is the criterion without its hyperpenalty; ``edge`` is -1 where no
    strength but an infinite one helps, 1 where none helps at all.
    """

    v: Array
    loss: float
    status: Status
    n_iter: int
    history: dict[str, Array]
    edge: int


@dataclass(frozen=True)
class Regime:
    """Which form of the data suits, and who solves inner problems on it.

    ``given`` is what the user asked for: an optimizer that is part of it stays.
    """

    name: str
    solver: Nested | None
    given: Any = "auto"

    @property
    def inner(self) -> InnerSolver:
        """Inner solver for rows."""
        if self.solver is not None:
            return self.solver.inner
        return INNER["dual" if self.name == "dual" else "cg"]


def check_solver(solver: Any) -> None:
    """Raise with the known names unless it is one of them, or a solver."""
    known = list(dict.fromkeys(["auto", "exact", *SOLVERS, *INNER]))
    if isinstance(solver, str) and solver in known:
        return
    if not isinstance(solver, Nested):
        names = ", ".join(repr(each) for each in known)
        raise ValueError(
            f"solver={solver!r} is not known; choose one of {names}, or give a "
            "skbilevel.solvers.Nested."
        )


def choose(solver: Any, n: int, p: int, sparse: bool, n_folds: int) -> Regime:
    """Regime of a solver name or value; see `skbilevel.solvers.choose_regime`."""
    check_solver(solver)
    if isinstance(solver, Nested):
        needs = solver.inner.requires
        if "dense_hessian" in needs:
            return Regime("primal", solver, solver)
        name = "dual" if "rows" in needs else "matrix-free"
        return Regime(name, solver, solver)
    if solver in ("auto", "exact"):
        name = choose_regime(n, p, sparse)
        if solver == "exact":
            name = "primal" if p <= n else "dual"
        elif name == "primal" and 16 * (n_folds + 1) * p**2 > _MEMORY:
            name = "matrix-free"
        return Regime(name, None, solver)
    value = SOLVERS.get(solver) or Nested(INNER[solver], Implicit(), LBFGSB())
    return replace(choose(value, n, p, sparse, n_folds), given=solver)


@dataclass(frozen=True)
class Search:
    """Options of the outer loop.

    Parameters
    ----------
    regime : Regime
        Who solves.
    tol, max_iter : float, int
        Of the outer loop.
    on_iter : callable or None
        Called after every outer iteration.
    map_tasks : callable
        Like `map`; runs tasks that are not stacked.
    """

    regime: Regime
    tol: float
    max_iter: int
    on_iter: OnIter | None = None
    map_tasks: MapTasks = map

    def run(self, source: Source, space: OuterSpace, v_init: Array | None) -> Found:
        """Strengths from a start, or from the best shared strength."""
        p = space.n_features
        if not p or not source.trace > 0 or source.variance < _CONSTANT:
            return _nothing(p, 0.5 * source.variance)
        guide = source.guide()
        edge = 0
        if v_init is None:
            shared = self._shared(source, space, guide)
            v_init, edge = np.full(p, shared.v), shared.edge
            if shared.exact:
                return _found_shared(shared, p)
        v_init = np.clip(v_init, space.low, space.high)
        positive = v_init[v_init > 0]
        v_ref = float(np.exp(np.log(positive).mean())) if positive.size else 0.0
        v_ref = max(v_ref, 1.0 / source.trace)
        outer = space.outer_vector(v_ref, 0.5 * source.variance)
        theta0 = outer.parametrization.init(np.maximum(v_init, _least(outer, v_ref)))
        result = self._solve(source, outer, guide, theta0)
        loss = result.value
        if outer.hyperpenalty is not None:
            loss -= outer.hyperpenalty.value_and_grad(result.v)[0]
        return Found(
            result.v,
            loss,
            result.status,
            max(1, result.n_iter),
            result.history,
            _final_edge(edge, result.v, source.trace),
        )

    def _shared(self, source: Source, space: OuterSpace, guide: Any) -> _Shared:
        """The best shared variance and the end of its range it was found at."""
        p, trace = space.n_features, source.trace
        box = (np.array([-np.inf]), np.array([np.inf]))
        outer = OuterVector(SharedStrength(p), box)
        problem = source.problem(outer)
        if guide is not None:
            problem = CriterionProblem(guide, outer.parametrization, box)
        low, high = (each - np.log(trace) for each in _SPAN)
        with np.errstate(divide="ignore"):
            bounds = (
                max(low, float(np.log(space.low.min()))),
                min(high, float(np.log(space.high.max()))),
            )
        if bounds[0] >= bounds[1]:
            middle = float(np.clip(0.0, *sorted(bounds)))
            return _Shared(float(np.exp(middle)), np.nan, 0, False)
        solver = self._solver(problem)
        found = best_shared_strength(
            solver,
            problem,
            p / trace,
            bounds=bounds,
            tol=1e-3 if space.one_strength else 1e-2,
        )
        floor = _EXACT * 0.5 * source.variance
        if found.value <= floor:
            v = _strongest(solver, problem, floor, bounds[0], float(np.log(found.v)))
            return _Shared(v, floor, 0, True)
        edges = {Status.AT_INFINITY: -1, Status.AT_ZERO: 1}
        edge = edges.get(found.status, 0)
        if (edge < 0 and bounds[0] > low) or (edge > 0 and bounds[1] < high):
            edge = 0
        return _Shared(found.v, found.value, edge, False)

    def _solver(self, problem: BilevelProblem | CriterionProblem) -> Nested | Direct:
        if isinstance(problem, CriterionProblem):
            return Direct(LBFGSB())
        solver = self.regime.solver
        if solver is None and self.regime.name == "primal":
            by_size = resolve("auto", problem)
            assert isinstance(by_size, Nested)
            solver = by_size
        if solver is None:
            solver = Nested(self.regime.inner, Implicit(), LBFGSB())
        return solver

    def _outer(
        self,
        solver: Nested | Direct,
        problem: BilevelProblem | CriterionProblem,
        outer: OuterVector,
        guide: Any,
    ) -> OuterOptimizer:
        own = _optimizer(solver, problem)
        if guide is None or outer.per_fold is not None:
            return own
        cheap = CriterionProblem(
            guide, outer.parametrization, outer.bounds, outer.hyperpenalty
        )
        run = DirectRun(cheap)
        inner = _optimizer(Direct(LBFGSB()), cheap)
        if isinstance(inner, TrustRegion):
            inner = TrustRegion(run.curvature)
        # For folds it gives the start: their own steps cost little more than its own.
        rounds = 6 if isinstance(problem, CriterionProblem) else 0
        return Surrogate(run, inner, own, max_rounds=rounds)

    def _solve(
        self, source: Source, outer: OuterVector, guide: Any, theta0: Array
    ) -> Result:
        problem = source.problem(outer)
        solver: Any = self._solver(problem)
        if not isinstance(self.regime.given, Nested):
            solver = replace(solver, outer=self._outer(solver, problem, outer, guide))
        apart = isinstance(problem, BilevelProblem) and len(problem.tasks) > 1
        in_rows = apart and "rows" in problem.tasks[0].inner.provides  # type: ignore[union-attr]
        tasks = self.map_tasks if apart and not in_rows else None
        return solver.solve(
            problem,
            theta0,
            tol=self.tol,
            max_iter=self.max_iter,
            on_iter=self.on_iter,
            map_tasks=tasks,
        )


@dataclass(frozen=True)
class _Shared:
    """The best shared variance; ``exact`` where it leaves no error to be reduced."""

    v: float
    value: float
    edge: int
    exact: bool


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
    run: Any
    if isinstance(problem, CriterionProblem):
        run = DirectRun(problem)
    else:
        assert isinstance(solver, Nested)
        run = NestedRun(solver, problem.stacked(), map)
    tiny = np.finfo(float).tiny

    def excess(log_v: float) -> float:
        value = run(np.array([log_v]), 1e-10)[0]
        return float(np.log(max(value, tiny) / floor))

    if excess(low) <= 0.0:
        return float(np.exp(low))
    return float(np.exp(brentq(excess, low, high, xtol=1e-13)))


def _found_shared(shared: _Shared, p: int) -> Found:
    one = np.ones(1)
    history = {"value": shared.value * one, "grad_norm": 0.0 * one, "tol": 0.0 * one}
    v = np.full(p, shared.v)
    return Found(v, shared.value, Status.CONVERGED, 1, history, 0)


def _optimizer(
    solver: Nested | Direct, problem: BilevelProblem | CriterionProblem
) -> OuterOptimizer:
    """Quasi-Newton from the Gauss-Newton matrix where that is cheap to have."""
    small = len(problem.bounds[0]) <= _CURVATURE_UP_TO
    inner = solver.inner if isinstance(solver, Nested) else None
    iterative = isinstance(inner, CG)
    if not small or iterative or not has_curvature(problem):
        return LBFGSB()
    return TrustRegion()


def _least(outer: OuterVector, v_ref: float) -> float:
    """A start at zero has no logarithm where one is taken."""
    penalty = outer.hyperpenalty
    needs = penalty is not None and penalty.needs_positive
    return v_ref * 1e-10 if needs else 0.0


def _nothing(p: int, loss: float) -> Found:
    """Constant columns or targets: no strength to find; the loss is in-sample."""
    zero = np.zeros(1)
    history = {"value": zero + loss, "grad_norm": zero, "tol": zero}
    return Found(np.zeros(p), loss, Status.CONVERGED, 1, history, 0)


def _final_edge(edge: int, v: Array, trace: float) -> int:
    """The edge of the shared strength, unless separate strengths left it."""
    if edge < 0 and (v * trace).max() > 1e-3:
        return 0
    if edge > 0 and (v * trace).min() < 1e3:
        return 0
    return edge


