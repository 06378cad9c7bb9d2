"""What an outer search has seen so far: enough to end it at any moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, Source
from skbilevel.model_selection._progress import Progress
from skbilevel.problems import BilevelProblem
from skbilevel.solvers import IterInfo, Status, evaluate_bilevel
from skbilevel.solvers._shared import Visited

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


def found_start(
    outer: OuterVector,
    theta0: Array,
    value: float,
    seconds: float,
    edge: int,
    trace: float,
) -> CriterionResult:
    """The start as a result; its loss is not known where the user gave it."""
    v, history = outer.parametrization.v(theta0), one_line(value, seconds)
    return CriterionResult(
        v, value, Status.STOPPED, 1, history, final_edge(edge, v, trace)
    )


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
