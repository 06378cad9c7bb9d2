"""Batches of rows, each of them once per epoch."""

from __future__ import annotations

import numpy as np

# Larger batches than these bytes of float64 rows hide nothing more of what a step costs
# besides its products, and leave the caches of a core.
_BATCH_BYTES = 1 << 21
_MIN_BATCH = 64
# Small data are cut into this many batches at least, or there is no noise to average.
_MIN_BATCHES = 8
# Beyond L_max / L rows the step hardly grows with the batch; so many times as much is
# what a step may waste to be worth its own cost.
_CRITICAL = 8.0
# Batches of both levels together where that number is not known.
_BLIND_BATCHES = 256


class BatchSampler:
    """A partition of the rows, visited in a new random order in every epoch.

    Batches differ by at most one row. One that is drawn with probability ``1 / B``
    stands for all rows without bias if it is weighted by ``size * B / n``.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_batches : int
        Number of batches B; at most one for every row.
    rng : numpy.random.Generator
        Draws the partition and the orders.
    """

    def __init__(self, n_rows: int, n_batches: int, rng: np.random.Generator) -> None:
        n_batches = min(max(n_batches, 1), n_rows)
        # Rows of a batch in their own order: memory is read forwards.
        parts = np.array_split(rng.permutation(n_rows), n_batches)
        self.parts = [np.sort(part) for part in parts]
        sizes = np.array([len(part) for part in self.parts])
        self.weights = sizes * n_batches / n_rows
        self.shares = sizes / n_rows
        self._rng = rng
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def size(self) -> int:
        """Rows of the smallest batch."""
        return min(len(part) for part in self.parts)

    def draw(self) -> int:
        """Number of the next batch."""
        if not self._order:
            self._order = self._rng.permutation(len(self.parts)).tolist()
        return self._order.pop()


def default_batch_size(
    n_rows: int, n_columns: int, critical: float | None = None
) -> int:
    """Rows of a batch: few enough for steps to be many, enough to be worth a step.

    ``critical`` is ``L_max / L``, the largest curvature of a row over that of all: from
    so many rows on, the step is within a factor of two of that on all rows.
    """
    useful = n_rows / _BLIND_BATCHES if critical is None else _CRITICAL * critical
    size = min(_BATCH_BYTES // (8 * max(n_columns, 1)), int(useful))
    return max(1, min(max(_MIN_BATCH, size), n_rows // _MIN_BATCHES))
