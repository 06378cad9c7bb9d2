"""The search for strengths on a criterion: start, solver, result, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, Source
from skbilevel.model_selection._outer_space import OuterSpace
from skbilevel.model_selection._progress import Listener, Progress
from skbilevel.model_selection._regime import Regime, optimizer
from skbilevel.model_selection._shared_start import SharedStart, shared_start
from skbilevel.problems import BilevelProblem, Criterion, CriterionProblem
from skbilevel.problems._strength_tasks import StrengthTasks
from skbilevel.solvers import (
    LBFGSB,
    Direct,
    IterInfo,
    Nested,
    Result,
    Status,
    evaluate_bilevel,
    minimize_bilevel,
)
from skbilevel.solvers._base import OnIter, OuterOptimizer
from skbilevel.solvers._nested import MapTasks
from skbilevel.solvers._oracle_base import OracleSolver
from skbilevel.solvers._shared import Visited
from skbilevel.solvers.outer._surrogate import Surrogate
from skbilevel.solvers.outer._trust_region import TrustRegion

# Outer value, and theta where it was measured.
Best = tuple[float, Array]


@dataclass(frozen=True)
class CriterionResult:
    """Variances of scaled columns, and how they were found.

    ``loss`` is the criterion without its hyperpenalty; ``edge`` is -1 if the best
    shared strength is infinite, 1 if it is zero, else 0. ``states`` are those of the
    tasks at the last evaluation; ``trace`` holds the shared strengths that were
    evaluated.
    """

    v: Array
    loss: float
    status: Status
    n_iter: int
    history: dict[str, Array]
    edge: int
    states: tuple[Any, ...] = ()
    trace: tuple[Visited, ...] = ()


def bare_loss(outer: OuterVector, value: float, v: Array) -> float:
    """An outer value without its hyperpenalty."""
    if outer.hyperpenalty is None:
        return value
    return value - outer.hyperpenalty.value_and_grad(v)[0]


def final_edge(edge: int, v: Array, trace: float) -> int:
    """The edge of the shared strength, unless separate strengths left it."""
    if edge < 0 and (v * trace).max() > 1e-3:
        return 0
    if edge > 0 and (v * trace).min() < 1e3:
        return 0
    return edge


def one_line(value: float, seconds: float) -> dict[str, Array]:
    """A history of one line."""
    line = {"value": value, "grad_norm": 0.0, "tol": 0.0, "seconds": seconds}
    return {name: np.full(1, each) for name, each in line.items()}


def later(history: dict[str, Array], seconds: float) -> dict[str, Array]:
    """A history whose clock began so many seconds earlier.

    Solvers of others need not look at the clock.
    """
    known = history.get("seconds")
    if known is None:
        known = np.full(len(history["value"]), np.nan)
    return history | {"seconds": known + seconds}


def better_of(source: Source, outer: OuterVector, theta0: Array, theta: Array) -> Best:
    """The better one of theta and the start, by accurate solves."""
    problem = source.problem(outer)
    assert isinstance(problem, BilevelProblem)
    start = evaluate_bilevel(problem, theta0)
    end = evaluate_bilevel(problem, theta, w0=start.w)
    best = end if end.value <= start.value else start
    return best.value, best.theta


class SearchHistory:
    """Listens to the outer iterations of one search, and tells the progress of it.

    Parameters
    ----------
    progress : Progress
        Who wants to know.
    outer : OuterVector
        What theta means.
    edge, trace
        See `final_edge`.
    seconds : float
        Those that had passed before the iterations began.
    judge : callable or None
        Measures how good theta is, where the values of an algorithm are rough: from
        theta to the best of it and the start.
    """

    def __init__(
        self,
        progress: Progress,
        outer: OuterVector,
        edge: int,
        trace: float,
        seconds: float,
        judge: Callable[[Array], Best] | None = None,
    ) -> None:
        self._progress, self._outer = progress, outer
        self._edge, self._trace, self._seconds = edge, trace, seconds
        self._judge = judge
        self._lines: list[IterInfo] = []
        self._best: Best | None = None

    def on_iter(self, info: IterInfo) -> bool:
        """Keep the best theta; whether to stop."""
        info = replace(info, seconds=info.seconds + self._seconds)
        theta = np.array(info.theta)
        # Theta is kept once, and an algorithm need not know its value.
        self._lines.append(replace(info, theta=np.empty(0)))
        rough = self._judge is not None or self._best is None
        if rough or not info.value > self._best[0]:  # type: ignore[index]
            self._best = info.value, theta
        best, n_lines = self._best, len(self._lines)
        assert best is not None
        known = partial(self._found, best, n_lines)
        return self._progress.tell("iteration", known, info=info)

    def _found(self, best: Best, n_lines: int) -> CriterionResult:
        """The best theta of the first lines as a result."""
        value, theta = best if self._judge is None else self._judge(best[1])
        v = self._outer.parametrization.v(theta)
        columns = ("value", "grad_norm", "tol", "seconds")
        history = {
            name: np.array([getattr(line, name) for line in self._lines[:n_lines]])
            for name in columns
        }
        loss = bare_loss(self._outer, value, v)
        edge = final_edge(self._edge, v, self._trace)
        return CriterionResult(v, loss, Status.STOPPED, n_lines, history, edge)


# Log of the weakest start, relative to one over the mean diagonal of the Hessian.
_WEAKEST_START = 7.0
# Of X with more numbers than this, the first shared strength is searched on so many
# rows, or on so many per column.
_START_ON_FEW_FROM, _START_ROWS, _START_ROWS_PER_COLUMN = 20_000_000, 5000, 20
# Working targets have a variance near one unless they are constant.
_CONSTANT = 1e-20
# An accurate solve is so accurate; no loss is worse by less than this.
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Search:
    """Options of the outer loop.

    Parameters
    ----------
    regime : Regime
        Who solves.
    tol, max_iter : float, int
        Of the outer loop.
    listener : Listener or None
        Is told the start and every outer iteration, and may end the search.
    map_tasks : callable
        Like `map`; runs tasks that are not stacked.
    seed : int
        Of stochastic solvers.
    """

    regime: Regime
    tol: float
    max_iter: int
    listener: Listener | None = None
    map_tasks: MapTasks = map
    seed: int = 0

    def run(
        self, source: Source, space: OuterSpace, v_init: Array | None
    ) -> CriterionResult:
        """Strengths from a start, or from the best shared strength."""
        began, p = perf_counter(), space.n_features
        if not p or not source.trace > 0 or source.null_loss < _CONSTANT:
            return _nothing(space, source.null_loss)
        progress = Progress(self.listener)
        progress.begin(self._n_steps)
        finite = self.regime.oracles is not None
        # The minimum that a cheap criterion leads to need not be the lowest one.
        guide = None if finite or space.one_strength else source.guide()
        edge, value, trace = 0, np.nan, tuple[Visited, ...]()
        if v_init is None:
            few = None if space.one_strength else self._few_rows(source)
            sample = source if few is None else source.thinned(few)
            shared = shared_start(self.regime, sample, space, guide)
            v_init, edge = np.full(space.low.shape, shared.v), shared.edge
            value = shared.value
            trace = shared.trace if guide is None and sample is source else ()
            if edge > 0 and not space.one_strength:
                # Where no strength matters none would ever be moved.
                v_init = np.minimum(v_init, np.exp(_WEAKEST_START) * p / source.trace)
            if shared.final and sample is source:
                found = _found_shared(shared, space, perf_counter() - began)
                progress.tell("start", lambda: found)
                return found
        v_init = np.clip(v_init, space.low, space.high)
        positive = v_init[v_init > 0]
        v_ref = float(np.exp(np.log(positive).mean())) if positive.size else 0.0
        v_ref = max(v_ref, 1.0 / source.trace)
        outer = space.outer_vector(v_ref, source.null_loss, finite)
        theta0 = outer.parametrization.init(np.maximum(v_init, _least(outer, v_ref)))
        before = perf_counter() - began

        def first() -> CriterionResult:
            """The start; its loss is not known where the user gave it."""
            v, line = outer.parametrization.v(theta0), one_line(value, before)
            at = final_edge(edge, v, source.trace)
            return CriterionResult(v, value, Status.STOPPED, 1, line, at)

        if progress.tell("start", first):
            return first()
        judge = partial(better_of, source, outer, theta0) if finite else None
        course = SearchHistory(progress, outer, edge, source.trace, before, judge)
        result = self._solve(source, outer, guide, theta0, course.on_iter)
        return CriterionResult(
            result.v,
            bare_loss(outer, result.value, result.v),
            result.status,
            max(1, result.n_iter),
            later(result.history, before),
            final_edge(edge, result.v, source.trace),
            result.states,
            trace,
        )

    @property
    def _n_steps(self) -> int | None:
        """The start and the iterations; solvers of others count as they like."""
        own = isinstance(self.regime.given, str) and self.regime.oracles is None
        return 1 + self.max_iter if own else None

    def _few_rows(self, source: Source) -> Array | None:
        """Enough rows for a start, where a search for it on all of them is long."""
        rows = source.rows
        n = max(_START_ROWS, _START_ROWS_PER_COLUMN * rows.n_penalized)
        if rows.X.size <= _START_ON_FEW_FROM or rows.n_rows < 4 * n:
            return None
        rng = np.random.default_rng(self.seed)
        chosen = rng.choice(rows.n_rows, n, replace=False)
        return np.sort(chosen)

    def _outer(
        self,
        solver: Nested | Direct,
        problem: BilevelProblem | CriterionProblem,
        outer: OuterVector,
        guide: Criterion | None,
    ) -> OuterOptimizer:
        own = optimizer(solver, problem)
        if guide is None or outer.per_fold is not None:
            return own
        cheap, direct = outer.closed(guide), Direct(LBFGSB())
        run, inner = direct.run(cheap), optimizer(direct, cheap)
        if isinstance(inner, TrustRegion):
            inner = TrustRegion(run.curvature)
        # For folds the guide gives the starting point alone: a step on the folds costs
        # little more than a step on GCV.
        rounds = 6 if isinstance(problem, CriterionProblem) else 0
        return Surrogate(run, inner, own, max_rounds=rounds)

    def _solve(
        self,
        source: Source,
        outer: OuterVector,
        guide: Criterion | None,
        theta0: Array,
        on_iter: OnIter,
    ) -> Result:
        problem = source.problem(outer)
        published = self.regime.oracles
        if published is not None:
            return self._solve_published(problem, published, theta0, on_iter)
        solver: Any = self.regime.solver_of(problem)
        if not self.regime.keeps_outer:
            solver = replace(solver, outer=self._outer(solver, problem, outer, guide))
        apart = isinstance(problem, BilevelProblem) and len(problem.tasks) > 1
        words = problem.tasks[0].inner.provides if apart else ()  # type: ignore[union-attr]
        stacked = "rows" in words and "quadratic" in words
        tasks = self.map_tasks if apart and not stacked else None
        return minimize_bilevel(
            problem,
            solver,
            theta0=theta0,
            tol=self.tol,
            max_iter=self.max_iter,
            on_iter=on_iter,
            map_tasks=tasks,
        )

    def _solve_published(
        self, problem: Any, published: OracleSolver, theta0: Array, on_iter: OnIter
    ) -> Result:
        """From an accurate start, which is kept if the algorithm ends above it."""
        if not isinstance(problem, BilevelProblem):
            raise ValueError(
                f"solver={self.regime.given!r} needs held-out rows: give cv a number "
                "of folds or a splitter, or choose solver='auto'."
            )
        start = evaluate_bilevel(problem, theta0)
        result = minimize_bilevel(
            problem,
            published,
            theta0=theta0,
            w0=start.w,
            tol=self.tol,
            max_iter=self.max_iter,
            random_state=self.seed,
            on_iter=on_iter,
        )
        if result.value <= start.value:
            return replace(result, states=_states_of(problem, result.w))
        above = result.value - start.value > _ROUNDING * abs(start.value)
        return replace(
            start,
            status=Status.WORSE if above else result.status,
            n_iter=result.n_iter,
            history=result.history,
            counts=start.counts + result.counts,
            states=_states_of(problem, start.w),
        )


def _states_of(problem: BilevelProblem, w: Array | None) -> tuple[Any, ...]:
    """Coefficients of every fold, from which the final solves go on."""
    if w is None or len(problem.tasks) != len(problem.stacked().tasks):
        return ()
    return tuple((W, None) for W in StrengthTasks(problem).split(w))


def _found_shared(
    shared: SharedStart, space: OuterSpace, seconds: float
) -> CriterionResult:
    history = one_line(shared.value, seconds)
    v = np.full(space.shape, shared.v)
    status = Status.CONVERGED
    edge, states, trace = shared.edge, shared.states, shared.trace
    return CriterionResult(v, shared.value, status, 1, history, edge, states, trace)


def _least(outer: OuterVector, v_ref: float) -> float:
    """A start at zero has no logarithm where one is taken."""
    penalty = outer.hyperpenalty
    needs = penalty is not None and penalty.needs_positive
    return v_ref * 1e-10 if needs else 0.0


def _nothing(space: OuterSpace, loss: float) -> CriterionResult:
    """Constant columns or targets: no strength to find; the loss is in-sample."""
    zero = np.zeros(space.shape)
    return CriterionResult(zero, loss, Status.CONVERGED, 1, one_line(loss, 0.0), 0)
