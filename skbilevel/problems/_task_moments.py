"""Moments of many related tasks, one small Gram matrix per task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array

# Temporary stacks of matrices take no more than about so many bytes each.
_CHUNK_BYTES = 2**25


@record
class TaskMoments:
    """Weighted sums over the rows of each of T tasks.

    Parameters
    ----------
    gram : ndarray of shape (T, q, q)
        ``Z_i^T Z_i``.
    cross : ndarray of shape (T, q)
        ``Z_i^T y_i``.
    yy : ndarray of shape (T,)
        ``y_i^T y_i``.
    weight : ndarray of shape (T,)
        Sums of the row weights.
    """

    gram: Array
    cross: Array
    yy: Array
    weight: Array

    quadratic: ClassVar[bool] = True

    @classmethod
    def of_rows(
        cls, Z: Array, y: Array, weight: Array, task: Array, n_tasks: int
    ) -> TaskMoments:
        """From rows Z (n, q), targets, weights (n,) and places of tasks (n,)."""
        q = Z.shape[1]
        order = np.argsort(task, kind="stable")
        ends = np.searchsorted(task[order], np.arange(n_tasks + 1))
        root = np.sqrt(weight[order])
        rows = np.empty((len(order), q + 1))
        np.multiply(Z[order], root[:, None], out=rows[:, :q])
        np.multiply(y[order], root, out=rows[:, q])
        sums = squares(rows, ends)
        total = np.bincount(task, weight, minlength=n_tasks).astype(float)
        gram = np.ascontiguousarray(sums[:, :q, :q])
        return cls(gram, sums[:, :q, q].copy(), sums[:, q, q].copy(), total)

    @property
    def n_tasks(self) -> int:
        """Number of tasks, T."""
        return len(self.gram)

    @property
    def _sums(self) -> tuple[Array, Array, Array, Array]:
        return self.gram, self.cross, self.yy, self.weight

    def take(self, index: Array | slice) -> TaskMoments:
        """Some of the tasks."""
        return TaskMoments(*(each[index] for each in self._sums))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> TaskMoments:
        """Stacks one after the other."""
        stacks = zip(*(part._sums for part in parts), strict=True)
        return TaskMoments(*(np.concatenate(each) for each in stacks))

    def plus(self, other: TaskMoments) -> TaskMoments:
        """The same tasks with more rows."""
        return TaskMoments(*map(np.add, self._sums, other._sums))

    def chunks(self) -> list[slice]:
        """Slices of tasks whose matrices fit into a bounded amount of memory."""
        size = max(1, _CHUNK_BYTES // (8 * max(1, self.gram.shape[-1]) ** 2))
        starts = range(0, self.n_tasks, size)
        return [slice(start, start + size) for start in starts]

    def residuals(self, w: Array) -> Array:
        """``Z_i^T (y_i - Z_i w_i)`` for coefficients (T, q), of shape (T, q)."""
        return np.asarray(self.cross - np.matmul(self.gram, w[:, :, None])[:, :, 0])

    def value(self, w: Array) -> Array:
        """``0.5 |y_i - Z_i w_i|^2`` for coefficients (T, q), of shape (T,)."""
        inner = self.cross + self.residuals(w)
        return np.asarray(0.5 * np.maximum(self.yy - (w * inner).sum(axis=1), 0.0))

    def slopes(self, w: Array) -> Array:
        """Derivatives (T, q) of `value`."""
        return -self.residuals(w)

    def linearized(self, w: Array) -> TaskMoments:
        """The moments themselves, whatever the coefficients."""
        return self


def squares(rows: Array, ends: Array) -> Array:
    """``A_i^T A_i`` (T, k, k) of blocks ``A_i`` of rows, from an end to the next."""
    k = rows.shape[1]
    out = np.empty((len(ends) - 1, k, k))
    for i in range(len(out)):
        block = rows[ends[i] : ends[i + 1]]
        np.matmul(block.T, block, out=out[i])
    return out


def ranks_within(task: Array, n_tasks: int, rng: np.random.Generator) -> Array:
    """Place of every row in a random order of the rows of its task."""
    order = np.lexsort((rng.random(len(task)), task))
    first = np.searchsorted(task[order], np.arange(n_tasks))
    ranks = np.empty(len(task), dtype=int)
    ranks[order] = np.arange(len(task)) - first[task[order]]
    return ranks


def each_fold(fold: Array) -> Iterator[Array]:
    """Masks of the members of every fold, of labels 0, 1, ..."""
    for k in range(int(fold.max()) + 1):
        yield fold == k
