"""Batches of rows, and unbiased derivatives of one level from one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


class Batches:
    """A partition of the rows, visited in a random order.

    Sizes differ by at most one, so that no epoch ends with a few noisy rows. One batch
    of B stands for all rows without bias if it is weighted by ``size * B / n``.

    Parameters
    ----------
    n_rows : int
        Rows n; 0 for a problem that is no mean, which is a single batch.
    n_batches : int
        Number of batches B; at most one for every row.
    rng : numpy.random.Generator
        Draws partitions and orders.
    fixed : bool
        Whether the partition stays, for memories with a slot for every batch. Otherwise
        rows are dealt anew in every epoch: every batch is then a uniformly drawn
        subset, whose plain mean is unbiased.
    """

    def __init__(
        self,
        n_rows: int,
        n_batches: int,
        rng: np.random.Generator,
        *,
        fixed: bool = False,
    ) -> None:
        self.n_rows = max(n_rows, 1)
        self._n = min(max(n_batches, 1), self.n_rows)
        self._rng, self._fixed = rng, fixed
        self._order: list[int] = []
        self.parts, self._used = self._deal(), False
        sizes = np.array([len(part) for part in self.parts])
        self.shares = sizes / self.n_rows
        self.weights = self.shares * self._n

    def _deal(self) -> list[Array]:
        if self._n == 1:
            return [np.arange(self.n_rows)]
        order = self._rng.permutation(self.n_rows)
        # Rows of a batch in their own order: memory is read forwards.
        return [np.sort(part) for part in np.array_split(order, self._n)]

    def __len__(self) -> int:
        return self._n

    @property
    def size(self) -> int:
        """Rows of the smallest batch."""
        return self.n_rows // self._n

    def draw(self) -> int:
        """Number of the next batch; its rows are ``parts[number]`` until the next."""
        if not self._order:
            if self._used and not self._fixed:
                self.parts[:] = self._deal()
            self._used = True
            self._order = self._rng.permutation(self._n).tolist()
        return self._order.pop()

    def of(self, level: Any, k: int) -> Any:
        """The mean of a level over a batch; the level itself if there is only one."""
        return level if self._n == 1 else level.take(self.parts[k])


def count_batches(n_rows: int, batch_size: int | None) -> int:
    """Batches of at most so many rows; None takes all rows in one."""
    size = max(n_rows, 1) if batch_size is None else batch_size
    return max(1, -(-n_rows // size))


Derivatives = tuple[Any, ...]


@record
class Reading:
    """Derivatives of one batch: numbers, and the linear map that makes them.

    Parameters
    ----------
    codes : ndarray of shape (n_slots, n_codes)
        What a memory keeps.
    assemble : callable
        From codes to the mean over the batch.
    """

    codes: Array
    assemble: Callable[[Array], Derivatives]


class Level(Protocol):
    """Derivatives of the inner or the outer objective, by batches.

    Which ones is the level's own affair, and so is the point: ``at`` below is
    ``theta, w`` for gradients, ``theta, w, q`` where there are Hessian products.
    """

    batches: Batches
    slots: list[Any]  # where a memory keeps every batch
    n_slots: int  # lines of a memory of all batches

    def read(self, k: int, *at: Array) -> Reading:
        """Derivatives of one batch, from one reading of its rows."""

    def exact(self, *at: Array) -> Iterable[Any]:
        """What is the same for all rows and not part of a reading."""


class VectorLevel:
    """A level known through its oracles only: a memory keeps whole derivatives.

    Parameters
    ----------
    problem : InnerProblem or OuterProblem
        The level.
    batches : Batches
        A fixed partition.
    derive : callable
        From a point of the level, and q if there is one, to the derivatives.
    """

    def __init__(
        self, problem: Any, batches: Batches, derive: Callable[..., Derivatives]
    ) -> None:
        self.problem, self.batches, self._derive = problem, batches, derive
        self.n_slots = len(batches)
        self.slots: list[Any] = [slice(k, k + 1) for k in range(self.n_slots)]

    def read(self, k: int, *at: Array) -> Reading:
        """Derivatives of a batch, side by side."""
        theta, w, *q = at
        parts = self._derive(self.batches.of(self.problem, k).at(theta, w), *q)
        cuts = np.cumsum([len(part) for part in parts])[:-1]
        return Reading(
            np.concatenate(parts)[None], lambda codes: tuple(np.split(codes[0], cuts))
        )

    def exact(self, *at: Array) -> Iterable[Any]:
        """Nothing is left out of a reading."""
        return repeat(0.0)


class Fresh:
    """The batch stands for all rows."""

    def __init__(self, level: Level) -> None:
        self.level = level

    def estimate(self, k: int, *at: Array) -> Derivatives:
        """Weighted mean of the batch, and the exact part."""
        reading = self.level.read(k, *at)
        parts = reading.assemble(reading.codes)
        weight = self.level.batches.weights[k]
        return tuple(
            weight * a + b for a, b in zip(parts, self.level.exact(*at), strict=False)
        )


class Remembered:
    """New minus remembered derivatives of the batch, plus the mean of all remembered.

    ::

        S = weight_k (phi_k - memory_k) + mean(memory);  memory_k <- phi_k

    The memory begins with one reading of all rows. A start at zero, as in released
    codes, makes the first epoch as noisy as one without a memory, for the same number
    of readings.

    Parameters
    ----------
    level : Level
        Reads batches.
    at : ndarrays
        The point where the memory is filled.
    kept : tuple or None
        ``memory, mean`` of an earlier one for the same rows, copied in place of a first
        reading.
    """

    def __init__(
        self, level: Level, *at: Array, kept: tuple[Array, Derivatives] | None = None
    ) -> None:
        self.level = level
        self.memory: Array | None = None
        self.mean: Derivatives | None = None
        if kept is not None:
            self.memory, self.mean = kept[0].copy(), kept[1]
            return
        for k in range(len(level.batches)):
            self._replace(k, *at)

    def estimate(self, k: int, *at: Array) -> Derivatives:
        """From the batch and the memory, which is renewed."""
        before = self.whole(*at)
        change = self._replace(k, *at)
        weight = self.level.batches.weights[k]
        return tuple(weight * a + b for a, b in zip(change, before, strict=True))

    def whole(self, *at: Array) -> Derivatives:
        """Derivatives over all rows, as far as the memory knows them."""
        assert self.mean is not None
        exact = self.level.exact(*at)
        return tuple(a + b for a, b in zip(self.mean, exact, strict=False))

    def _replace(self, k: int, *at: Array) -> Derivatives:
        """Renew one batch; return how its mean has changed."""
        reading, slots = self.level.read(k, *at), self.level.slots[k]
        if self.memory is None:
            self.memory = np.zeros((self.level.n_slots, reading.codes.shape[1]))
        change = reading.assemble(reading.codes - self.memory[slots])
        self.memory[slots] = reading.codes
        share = self.level.batches.shares[k]
        before = self.mean or tuple(np.zeros_like(part) for part in change)
        self.mean = tuple(a + share * b for a, b in zip(before, change, strict=True))
        return change


# What makes derivatives of a level whose mean over batches is exact.
Estimator = Fresh | Remembered
