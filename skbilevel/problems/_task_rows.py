"""Rows of many related tasks under a loss that is not quadratic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._losses import CurvedLoss
from skbilevel.problems._task_moments import TaskMoments, squares


@record
class CurvedTasks:
    """Rows of T tasks, those of one task side by side, and their loss.

    Parameters
    ----------
    Z : ndarray of shape (n, q)
        Rows.
    y : ndarray of shape (n,)
        Targets.
    row_weight : ndarray of shape (n,)
        Weights of the rows.
    task : ndarray of int, shape (n,)
        Place of the task of every row, ascending.
    n_tasks : int
        Number of tasks.
    loss : CurvedLoss
        Loss of a linear prediction and a target.
    known : TaskMoments or None
        A quadratic function of the coefficients of every task that is added to the
        loss: rows that are not here any more.
    """

    Z: Array
    y: Array
    row_weight: Array
    task: Array
    n_tasks: int
    loss: CurvedLoss
    known: TaskMoments | None = None

    quadratic: ClassVar[bool] = False

    @classmethod
    def of_rows(
        cls,
        Z: Array,
        y: Array,
        weight: Array,
        task: Array,
        n_tasks: int,
        loss: CurvedLoss,
    ) -> CurvedTasks:
        """From rows in any order."""
        order = np.argsort(task, kind="stable")
        return cls(Z[order], y[order], weight[order], task[order], n_tasks, loss)

    @cached_property
    def _ends(self) -> Array:
        return np.asarray(np.searchsorted(self.task, np.arange(self.n_tasks + 1)))

    @cached_property
    def _members(self) -> sparse.csr_array:
        """Ones (T, n) at the rows of every task."""
        n = len(self.task)
        ones = (np.ones(n), np.arange(n), self._ends)
        return sparse.csr_array(ones, shape=(self.n_tasks, n))

    @cached_property
    def weight(self) -> Array:
        """Sums (T,) of the row weights."""
        total = np.bincount(self.task, self.row_weight, minlength=self.n_tasks)
        return np.asarray(total, dtype=float)

    def take(self, index: Array | slice) -> CurvedTasks:
        """Some of the tasks."""
        kept = np.arange(self.n_tasks)[index]
        place = np.full(self.n_tasks, -1)
        place[kept] = np.arange(len(kept))
        rows = np.flatnonzero(place[self.task] >= 0)
        made = CurvedTasks.of_rows(
            self.Z[rows],
            self.y[rows],
            self.row_weight[rows],
            place[self.task[rows]],
            len(kept),
            self.loss,
        )
        return made if self.known is None else made.plus(self.known.take(kept))

    def plus(self, known: TaskMoments) -> CurvedTasks:
        """With a quadratic function of the coefficients of every task."""
        return replace(self, known=known)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> CurvedTasks:
        """Stacks one after the other."""
        before = np.cumsum([0, *(part.n_tasks for part in parts)])
        tasks = [part.task + n for part, n in zip(parts, before[:-1], strict=True)]
        return CurvedTasks(
            np.concatenate([part.Z for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.row_weight for part in parts]),
            np.concatenate(tasks),
            int(before[-1]),
            parts[0].loss,
        )

    def _eta(self, w: Array) -> Array:
        return np.asarray(np.einsum("ij,ij->i", self.Z, w[self.task]))

    def _summed(self, row: Array) -> Array:
        """``sum of row * z`` over the rows of every task, of shape (T, q)."""
        return np.asarray(self._members @ (row[:, None] * self.Z))

    def value(self, w: Array) -> Array:
        """Losses (T,) of the rows of every task at coefficients (T, q)."""
        rows = self.row_weight * self.loss.value(self._eta(w), self.y)
        out = np.bincount(self.task, rows, minlength=self.n_tasks)
        if self.known is not None:
            out = out + self.known.value(w)
        return np.asarray(out)

    def slopes(self, w: Array) -> Array:
        """Derivatives (T, q) of `value`."""
        out = self._summed(self.row_weight * self.loss.grad(self._eta(w), self.y))
        return out if self.known is None else out + self.known.slopes(w)

    def linearized(self, w: Array) -> TaskMoments:
        """Moments of the quadratic that has value, slopes and curvature at ``w``."""
        eta = self._eta(w)
        root = np.sqrt(self.row_weight * self.loss.curvature(eta, self.y))
        gram = squares(self.Z * root[:, None], self._ends)
        if self.known is not None:
            gram += self.known.gram
        cross = np.matmul(gram, w[:, :, None])[:, :, 0] - self.slopes(w)
        inner = 2.0 * cross - np.matmul(gram, w[:, :, None])[:, :, 0]
        yy = 2.0 * self.value(w) + (w * inner).sum(axis=1)
        return TaskMoments(gram, cross, yy, self.weight)

    def bent(self, w: Array, covariance: Array) -> Array:
        """Derivatives (T, q) of half the log determinant with respect to ``w``.

        The log determinant is one of the Hessian, in which coefficients have the
        ``covariance`` (T, q, q); it depends on ``w`` by the curvature of the loss.
        """
        eta, one = self._eta(w), np.ones(len(self.y))
        spread = np.empty(len(self.y))
        for i, C in enumerate(covariance):
            own = slice(self._ends[i], self._ends[i + 1])
            spread[own] = np.einsum("ij,ij->i", self.Z[own] @ C, self.Z[own])
        third = self.loss.third_derivative(eta, self.y)(one, one)
        return self._summed(0.5 * self.row_weight * third * spread)
