"""The guard over families of strengths: tasks are left out, adapted to and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from skbilevel._records import record
from skbilevel._threads import map_threads
from skbilevel._typing import Array
from skbilevel.model_selection._average import Choice
from skbilevel.model_selection._held_out import clustered_error
from skbilevel.model_selection._task_folds import (
    HALF,
    Folds,
    MakeCriterion,
    TaskRows,
    evidence_maker,
    folds_of_tasks,
)
from skbilevel.model_selection._task_search import (
    FoundStrengths,
    SearchPoint,
    TaskSearch,
)
from skbilevel.problems._task_moments import each_fold, ranks_within
from skbilevel.problems._task_newton import settle, solve
from skbilevel.problems._task_solution import TaskPenalty, adapted

# With fewer tasks nothing can be left out.
MIN_TASKS = 3
# With fewer tasks than this the folds are drawn twice.
_TWICE_BELOW = 200
# The family that others have to beat, by so many standard errors.
BASE, _DOUBT = "two", 0.5
_TINY = 1e-250


@record
class Guarded:
    """What was chosen; without the guard there is one candidate and no error.

    Parameters
    ----------
    found : tuple of FoundStrengths
        The candidates on all tasks, the one to beat first.
    choice : Choice
        Their losses on tasks that were left out, and weights.
    score : float
        Mean loss of the chosen one on these tasks; the criterion without the guard.
    """

    found: tuple[FoundStrengths, ...]
    choice: Choice
    score: float

    @property
    def chosen(self) -> FoundStrengths:
        """The candidate that is published."""
        return self.found[int(np.argmax(self.choice.weight))]


@record
class Episodes:
    """Mean losses (c, e) of candidates on e tasks, after supports of one size."""

    losses: Array
    weight: Array
    task: Array

    @property
    def relative(self) -> Array:
        """Over the least mean loss of a candidate."""
        least = float((self.losses @ self.weight).min() / self.weight.sum())
        return self.losses / max(least, _TINY)


@record
class LeftOut:
    """A model of one family without the tasks of one fold."""

    penalty: TaskPenalty
    c: Array


@record
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
    by_evidence : bool
        Whether that is the evidence; other criteria are searched from where it ends.
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
    by_evidence: bool
    sizes: tuple[int, ...]
    n_folds: Folds
    seed: int
    n_jobs: int | None = None
    tell: Callable[[str], None] = lambda line: None

    def choose(self) -> Guarded:
        """Fit the candidates, judge them, and take one."""
        families = self._families()
        every, near = np.arange(self.rows.n_tasks), None
        if not self.by_evidence:
            near = self.candidates(families, every, make=evidence_maker(self.rows))
        found = self.candidates(families, every, near)
        for each in found:
            self.tell(f"{each.family}: criterion {each.value:.6g}")
        choice, score = self._chosen(self._judged(found))
        for each, loss, share in zip(found, choice.loss, choice.weight, strict=True):
            chosen = " (chosen)" if share else ""
            self.tell(f"{each.family}: relative left-out loss {loss:.6g}{chosen}")
        return Guarded(found, choice, score)

    def candidates(
        self,
        families: tuple[str, ...],
        index: Array,
        known: tuple[FoundStrengths, ...] | None = None,
        make: MakeCriterion | None = None,
    ) -> tuple[FoundStrengths, ...]:
        """Search every family on some of the tasks, from where ``known`` ended."""
        criterion = (make or self.make)(index)
        found: list[FoundStrengths] = []
        for k, family in enumerate(families):
            start = None if known is None else known[k].end
            if start is None and family == "feature" and found:
                start = SearchPoint(self._spread(found[0], family))
            elif start is not None:
                own = self.by_evidence and make is None
                near = tuple(each.take(index) for each in start.near) if own else ()
                start = replace(start, near=near)
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
        theta[shape.members[own]] = base.end.theta[old.members[own]]
        if shape.tuned:
            theta[-1] = base.end.theta[-1]
        return theta

    def _judged(self, found: tuple[FoundStrengths, ...]) -> list[Episodes]:
        """Losses of the candidates on tasks that were left out."""
        n_tasks, out = self.rows.n_tasks, []
        for repeat in range(2 if n_tasks < _TWICE_BELOW else 1):
            rng = np.random.default_rng([self.seed, repeat])
            fold = folds_of_tasks(self.rows.appearance, self.n_folds, rng)
            ranks = ranks_within(self.rows.task, n_tasks, rng)
            fit = partial(self._without, found)
            items = [(mask,) for mask in each_fold(fold)]
            models = (
                map_threads(fit, items, self.n_jobs)
                if self.n_jobs not in (None, 1)
                else [fit(*item) for item in items]
            )
            for size in (*self.sizes, HALF):
                made = self._episodes(models, fold, ranks, size)
                out += [made] if made.weight.sum() > 0.0 else []
        return out

    def _chosen(self, judged: list[Episodes]) -> tuple[Choice, float]:
        """The best candidate, where it is better than the first beyond doubt.

        Losses that are not in nats are relative to the least one after supports of the
        same size: a percent counts the same whether a task is hardly known or well.
        """
        own = self.rows.loss.relative
        blocks = [each.relative if own else each.losses for each in judged]
        losses = np.concatenate(blocks, axis=1)
        weight = np.concatenate([each.weight for each in judged])
        task = np.concatenate([each.task for each in judged])
        loss = losses @ weight / weight.sum()
        excess = losses - losses[0] - (loss - loss[0])[:, None]
        error = clustered_error(excess, weight, task)
        best = int(np.argmin(loss + _DOUBT * error))
        chosen = (np.arange(len(loss)) == best).astype(float)
        plain = np.concatenate([each.losses[best] for each in judged])
        return Choice(loss, error, chosen), float(plain @ weight / weight.sum())

    def _without(
        self, known: tuple[FoundStrengths, ...], mask: Array
    ) -> tuple[LeftOut, ...]:
        """Models of all families without the tasks of a mask."""
        index = np.flatnonzero(~mask)
        families = tuple(each.family for each in known)
        found = self.candidates(families, index, known)
        data = self.rows.data.take(index)
        out = []
        for each in found:
            near = each.end.near[0] if self.by_evidence and each.end.near else None
            c = solve(data, each.penalty, near).centre.c
            out.append(LeftOut(each.penalty, c))
        return tuple(out)

    def _episodes(
        self, models: list[tuple[LeftOut, ...]], fold: Array, ranks: Array, size: int
    ) -> Episodes:
        """Losses on the rows that are left after supports of a size."""
        support, query, usable = self.rows.episodes(ranks, size)
        losses, unit = np.zeros((len(models[0]), len(fold))), self.rows.loss.unit
        for k, own in enumerate(models):
            index = np.flatnonzero((fold == k) & usable)
            few, rest = support.take(index), query.take(index)
            for row, model in zip(losses, own, strict=True):
                near = settle(few, model.penalty, model.c)
                w = adapted(near, model.penalty, model.c)
                row[index] = unit * rest.value(w) / np.maximum(rest.weight, 1e-300)
        kept = np.flatnonzero(usable & (fold >= 0) & (query.weight > 0.0))
        return Episodes(losses[:, kept], query.weight[kept], kept)
