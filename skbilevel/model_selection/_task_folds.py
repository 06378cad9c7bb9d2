"""Rows and tasks that are held out, and the criteria that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._task_criteria import (
    KnownTasks,
    NewTasks,
    TaskCriterion,
    TaskEpisodes,
    TaskEvidence,
)
from skbilevel.problems._task_moments import (
    TaskMoments,
    each_fold,
    ranks_within,
    support_and_query,
)

# From places of tasks to the criterion of these tasks alone.
MakeCriterion = Callable[[Array], TaskCriterion]
# A number of folds, or from a number of items to the label of the fold of each.
Folds = int | Callable[[int], Array]
# A support of half the rows of each task.
HALF = -1


@dataclass(frozen=True)
class TaskRows:
    """Rows of the working design with the place of their task, and their moments."""

    Z: Array
    y: Array
    weight: Array
    task: Array
    moments: TaskMoments

    @classmethod
    def of(
        cls, Z: Array, y: Array, weight: Array, task: Array, n_tasks: int
    ) -> TaskRows:
        """With moments of all rows."""
        moments = TaskMoments.of_rows(Z, y, weight, task, n_tasks)
        return cls(Z, y, weight, task, moments)

    def held_out(self, mask: Array) -> tuple[TaskMoments, TaskMoments]:
        """Moments of the rows of a mask, and of the other rows."""
        return support_and_query(
            self.moments, self.Z, self.y, self.weight, self.task, mask
        )

    def episodes(
        self, ranks: Array, size: int
    ) -> tuple[TaskMoments, TaskMoments, Array]:
        """Supports of ``size`` rows, the other rows, and which tasks have both."""
        n_rows = np.bincount(self.task, minlength=self.moments.n_tasks)
        limit = n_rows // 2 if size == HALF else np.full(len(n_rows), size)
        support, query = self.held_out(ranks < limit[self.task])
        return support, query, n_rows > limit


def folds_of_tasks(n_tasks: int, n_folds: Folds, rng: np.random.Generator) -> Array:
    """Label of the fold of every task, -1 in none."""
    if callable(n_folds):
        return n_folds(n_tasks)
    return rng.permutation(n_tasks) % min(n_folds, n_tasks)


def evidence_maker(rows: TaskRows) -> MakeCriterion:
    """Restricted likelihood of any of the tasks."""
    return lambda index: TaskEvidence(rows.moments.take(index))


def known_tasks_maker(
    rows: TaskRows, folds: int | Array, rng: np.random.Generator
) -> MakeCriterion:
    """Squared error of rows in folds, given or such that all tasks are in most."""
    if isinstance(folds, int):
        n_tasks = rows.moments.n_tasks
        # Tasks of a single row do not all belong to the first fold.
        first = rng.integers(folds, size=n_tasks)[rows.task]
        folds = (ranks_within(rows.task, n_tasks, rng) + first) % folds
    pairs = [rows.held_out(mask) for mask in each_fold(folds)]
    return lambda index: KnownTasks(
        tuple((train.take(index), test.take(index)) for test, train in pairs)
    )


def new_tasks_maker(
    rows: TaskRows, sizes: tuple[int, ...], n_folds: Folds, rng: np.random.Generator
) -> MakeCriterion:
    """Squared error of tasks in folds, after supports of several sizes."""
    ranks = ranks_within(rows.task, rows.moments.n_tasks, rng)
    drawn = [rows.episodes(ranks, size) for size in sizes]
    seed = int(rng.integers(2**31))

    def make(index: Array) -> TaskCriterion:
        fold = folds_of_tasks(len(index), n_folds, np.random.default_rng(seed))
        folds = []
        for mask in each_fold(fold):
            own = [index[mask][usable[index[mask]]] for _, _, usable in drawn]
            pairs = list(zip(drawn, own, strict=True))
            support = joined([s.take(k) for (s, _, _), k in pairs])
            query = joined([q.take(k) for (_, q, _), k in pairs])
            train = np.flatnonzero(~mask)
            folds.append(TaskEpisodes(train, support, query, np.concatenate(own)))
        return NewTasks(rows.moments.take(index), tuple(folds))

    return make


def joined(parts: list[TaskMoments]) -> TaskMoments:
    """Stacks one after the other."""
    return TaskMoments(
        np.concatenate([part.gram for part in parts]),
        np.concatenate([part.cross for part in parts]),
        np.concatenate([part.yy for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )
