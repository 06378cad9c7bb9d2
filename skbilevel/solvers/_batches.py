"""Batches of rows: every row once in every epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    return max(1, -(-n_rows // size))
