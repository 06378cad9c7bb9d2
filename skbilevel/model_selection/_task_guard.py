"""The guard over families of strengths: tasks are left out, adapted to and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from skbilevel._threads import map_threads
from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging, Choice, publish
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._task_folds import (
    HALF,
    Folds,
    MakeCriterion,
    TaskRows,
    folds_of_tasks,
)
from skbilevel.model_selection._task_search import FoundStrengths, TaskSearch
from skbilevel.problems import SquaredLoss
from skbilevel.problems._task_moments import each_fold, ranks_within
from skbilevel.problems._task_solution import TaskPenalty, TaskSolution, adapted

# With fewer tasks nothing can be left out.
MIN_TASKS = 3
# Below so many tasks a gain of less than a standard error is none, and below so many
# the folds are drawn twice.
_FEW_TASKS, _TWICE_BELOW = 30, 200
# The family that others have to beat, and that the average is drawn back to.
BASE = "two"


@dataclass(frozen=True)
class Guarded:
    """What the guard chose.

    Parameters
    ----------
    found : tuple of FoundStrengths
        The candidates on all tasks, the one to beat first.
    choice : Choice
        Their scores and weights.
    penalty : TaskPenalty
        Variances at which one model has the averaged coefficients, as far as it can.
    score : float
        Mean squared error of the chosen ones on tasks that were left out.
    """

    found: tuple[FoundStrengths, ...]
    choice: Choice
    penalty: TaskPenalty
    score: float


@dataclass(frozen=True)
class LeftOut:
    """A model of one family without the tasks of one fold."""

    penalty: TaskPenalty
    c: Array


@dataclass(frozen=True)
class TaskGuard:
    """Chooses among families of strengths by tasks that were left out.

    Parameters
    ----------
    rows : TaskRows
        All rows.
    search : TaskSearch
        Searches one family.
    make : callable
        From places of tasks to the criterion of the search.
    sizes : tuple of int
        Rows of a left-out task that a model may adapt to; half of a task is tried too.
    n_folds : int or callable
        Folds of tasks.
    seed : int
        Seeds folds and supports.
    n_jobs : int or None
        Threads over folds.
    tell : callable
        Is given a line for every step.
    """

    rows: TaskRows
    search: TaskSearch
    make: MakeCriterion
    sizes: tuple[int, ...]
    n_folds: Folds
    seed: int
    n_jobs: int | None = None
    tell: Callable[[str], None] = lambda line: None

    def choose(self) -> Guarded:
        """Fit the candidates, judge them, and average."""
        families = self._families()
        found = self.candidates(families, np.arange(self.rows.moments.n_tasks))
        for each in found:
            self.tell(f"{each.family}: criterion {each.value:.6g}")
        few = self.rows.moments.n_tasks < _FEW_TASKS
        choice = Averaging(doubt=1.0 if few else 0.5).choose(self._judged(found))
        for each, loss, share in zip(found, choice.loss, choice.weight, strict=True):
            self.tell(f"{each.family}: left-out loss {loss:.6g}, weight {share:.3f}")
        penalty = self._averaged(found, choice.weight)
        return Guarded(found, choice, penalty, float(choice.loss @ choice.weight))

    def candidates(
        self,
        families: tuple[str, ...],
        index: Array,
        known: tuple[FoundStrengths, ...] | None = None,
    ) -> tuple[FoundStrengths, ...]:
        """Search every family on some of the tasks, from where ``known`` ended."""
        criterion = self.make(index)
        found: list[FoundStrengths] = []
        for k, family in enumerate(families):
            start = None if known is None else known[k].theta
            if start is None and family == "feature" and found:
                start = self._spread(found[0], family)
            found.append(self.search.run(family, criterion, start))
        return tuple(found)

    def _families(self) -> tuple[str, ...]:
        """Those that differ, the one to beat first."""
        every = self.search.columns.families()
        base = BASE if BASE in every else every[-1]
        return (base, *(each for each in every if each != base))

    def _spread(self, base: FoundStrengths, family: str) -> Array:
        """The base's variances as a start of a family with more of them."""
        columns = self.search.columns
        shape, old = columns.strengths(family), columns.strengths(base.family)
        theta = np.zeros(shape.size)
        own = shape.members >= 0
        theta[shape.members[own]] = base.theta[old.members[own]]
        if shape.tuned:
            theta[-1] = base.theta[-1]
        return theta

    def _judged(self, found: tuple[FoundStrengths, ...]) -> HeldOut:
        """What the candidates predict for tasks that were left out."""
        rows, n_tasks = self.rows, self.rows.moments.n_tasks
        parts: list[tuple[Array, Array]] = []
        for repeat in range(2 if n_tasks < _TWICE_BELOW else 1):
            rng = np.random.default_rng([self.seed, repeat])
            fold = folds_of_tasks(n_tasks, self.n_folds, rng)
            ranks = ranks_within(rows.task, n_tasks, rng)
            fit = partial(self._without, found)
            items = [(mask,) for mask in each_fold(fold)]
            models = (
                map_threads(fit, items, self.n_jobs)
                if self._pooled()
                else [fit(*item) for item in items]
            )
            for size in (*self.sizes, HALF):
                parts.append(self._episodes(models, fold, ranks, size))
        row, eta = (np.concatenate(part) for part in zip(*parts, strict=True))
        return HeldOut(
            row, eta, rows.y[row, None], SquaredLoss(), 2.0, rows.weight, rows.task
        )

    def _pooled(self) -> bool:
        return self.n_jobs not in (None, 1)

    def _without(
        self, known: tuple[FoundStrengths, ...], mask: Array
    ) -> tuple[LeftOut, ...]:
        """Models of all families without the tasks of a mask."""
        index = np.flatnonzero(~mask)
        families = tuple(each.family for each in known)
        found = self.candidates(families, index, known)
        moments = self.rows.moments.take(index)
        return tuple(
            LeftOut(each.penalty, TaskSolution.of(moments, each.penalty).centre.c)
            for each in found
        )

    def _episodes(
        self, models: list[tuple[LeftOut, ...]], fold: Array, ranks: Array, size: int
    ) -> tuple[Array, Array]:
        """Rows (m,) that are left after supports of a size, predictions (m, c, 1)."""
        rows = self.rows
        chosen = rows.chosen(ranks, size)
        support, _ = rows.held_out(chosen)
        row = np.flatnonzero(~chosen & (fold[rows.task] >= 0))
        task = rows.task[row]
        eta = np.empty((len(row), len(models[0]), 1))
        for k, own in enumerate(models):
            index, here = np.flatnonzero(fold == k), np.flatnonzero(fold[task] == k)
            few, place = support.take(index), np.searchsorted(index, task[here])
            Z = rows.Z[row[here]]
            for c, model in enumerate(own):
                w = adapted(few, model.penalty, model.c)
                eta[here, c, 0] = np.einsum("ij,ij->i", Z, w[place])
        return row, eta

    def _averaged(
        self, found: tuple[FoundStrengths, ...], weight: Array
    ) -> TaskPenalty:
        """Variances of the averaged coefficients."""
        used = [(a, each.penalty) for a, each in zip(weight, found, strict=True) if a]
        if len(used) == 1:
            return used[0][1]
        moments = self.rows.moments
        solutions = [(a, TaskSolution.of(moments, each)) for a, each in used]
        w = sum(a * solution.coefficients() for a, solution in solutions)
        c = sum(a * solution.centre.c for a, solution in solutions)
        u = moments.residuals(np.asarray(w))
        shape = self.search.columns.strengths("feature")
        own = shape.members >= 0
        v = np.zeros(len(own))
        # In units in which the variances of a label are equal.
        root = np.sqrt(shape.unit[own])
        v[own] = shape.unit[own] * publish(
            ((w - c)[:, own] / root).T, (u[:, own] * root).T, shape.members[own]
        )
        scale = np.array([each.beta for _, each in used])
        shares = np.array([a for a, _ in used])
        with np.errstate(divide="ignore"):
            beta = np.exp(shares @ np.log(scale))
        return TaskPenalty(v, beta)
