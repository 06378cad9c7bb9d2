"""Rows and tasks that are held out, and the criteria that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems import LogisticLoss
from skbilevel.problems._task_criteria import (
    KnownTasks,
    LaplaceEvidence,
    NewTasks,
    TaskCriterion,
    TaskEpisodes,
    TaskEvidence,
)
from skbilevel.problems._task_moments import (
    TaskMoments,
    each_fold,
    ranks_within,
)
from skbilevel.problems._task_newton import TaskData
from skbilevel.problems._task_rows import CurvedTasks

# From places of tasks to the criterion of these tasks alone.
MakeCriterion = Callable[[Array], TaskCriterion]
# A number of folds, or from a number of items to the label of the fold of each.
Folds = int | Callable[[int], Array]
# A support of half the rows of each task.
HALF = -1


@record
class TaskLoss:
    """What a loss makes of rows of tasks.

    Parameters
    ----------
    make : callable
        From Z, y, weights, places of tasks and their number to a stack of tasks.
    evidence : callable
        From a stack of tasks to their restricted likelihood.
    unit : float
        Factor that makes the loss of a stack the one that is reported.
    relative : bool
        Whether errors count relative to others, not by their size.
    """

    make: Callable[[Array, Array, Array, Array, int], TaskData]
    evidence: Callable[[Any], TaskCriterion]
    unit: float
    relative: bool


SQUARED = TaskLoss(TaskMoments.of_rows, TaskEvidence, 2.0, True)
LOGISTIC = TaskLoss(
    partial(CurvedTasks.of_rows, loss=LogisticLoss()), LaplaceEvidence, 1.0, False
)


@record
class TaskRows:
    """Rows of the working design with the place of their task."""

    Z: Array
    y: Array
    weight: Array
    task: Array
    n_tasks: int
    loss: TaskLoss

    @cached_property
    def data(self) -> TaskData:
        """All rows as a stack."""
        return self.loss.make(self.Z, self.y, self.weight, self.task, self.n_tasks)

    @property
    def appearance(self) -> Array:
        """Places of the tasks in the order of their first rows."""
        _, first = np.unique(self.task, return_index=True)
        return np.asarray(first.argsort().argsort())

    def part(self, mask: Array) -> TaskData:
        """The rows of a mask as a stack of all tasks."""
        Z, y, weight, task = self.Z[mask], self.y[mask], self.weight[mask], self.task
        return self.loss.make(Z, y, weight, task[mask], self.n_tasks)

    def episodes(self, ranks: Array, size: int) -> tuple[TaskData, TaskData, Array]:
        """Supports of ``size`` rows, the other rows, and which tasks have both."""
        n_rows = np.bincount(self.task, minlength=self.n_tasks)
        limit = n_rows // 2 if size == HALF else np.full(len(n_rows), size)
        few = ranks < limit[self.task]
        return self.part(few), self.part(~few), n_rows > limit


def folds_of_tasks(
    appearance: Array, n_folds: Folds, rng: np.random.Generator
) -> Array:
    """Label of the fold of every task, -1 in none.

    Drawn folds go to tasks in the order in which they appear.
    """
    n_tasks = len(appearance)
    if callable(n_folds):
        return n_folds(n_tasks)
    drawn = rng.permutation(n_tasks) % min(n_folds, n_tasks)
    return np.asarray(drawn[appearance.argsort().argsort()])


def evidence_maker(rows: TaskRows) -> MakeCriterion:
    """Restricted likelihood of any of the tasks."""
    return lambda index: rows.loss.evidence(rows.data.take(index))


def known_tasks_maker(
    rows: TaskRows, folds: int | Array, rng: np.random.Generator
) -> MakeCriterion:
    """Loss of rows in folds, given or such that all tasks are in most."""
    if isinstance(folds, int):
        # Tasks of a single row do not all belong to the first fold.
        first = rng.integers(folds, size=rows.n_tasks)[rows.appearance][rows.task]
        folds = (ranks_within(rows.task, rows.n_tasks, rng) + first) % folds
    pairs = [(rows.part(~mask), rows.part(mask)) for mask in each_fold(folds)]
    return lambda index: KnownTasks(
        tuple((train.take(index), test.take(index)) for train, test in pairs)
    )


def new_tasks_maker(
    rows: TaskRows, sizes: tuple[int, ...], n_folds: Folds, rng: np.random.Generator
) -> MakeCriterion:
    """Loss of tasks in folds, after supports of several sizes."""
    ranks = ranks_within(rows.task, rows.n_tasks, rng)
    drawn = [rows.episodes(ranks, size) for size in sizes]
    seed = int(rng.integers(2**31))

    def make(index: Array) -> TaskCriterion:
        draw = np.random.default_rng(seed)
        fold = folds_of_tasks(rows.appearance[index], n_folds, draw)
        folds = []
        for mask in each_fold(fold):
            own = [index[mask][usable[index[mask]]] for _, _, usable in drawn]
            pairs = list(zip(drawn, own, strict=True))
            support = [few.take(k) for (few, _, _), k in pairs]
            query = [rest.take(k) for (_, rest, _), k in pairs]
            # All are of the kind that the loss makes.
            join: Callable[[Any], TaskData] = type(support[0]).joined
            train = np.flatnonzero(~mask)
            folds.append(TaskEpisodes(train, join(support), join(query)))
        return NewTasks(rows.data.take(index), tuple(folds))

    return make
