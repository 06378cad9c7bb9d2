"""Batches of rows for stochastic solvers, and a metric for their steps."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._oracle_base import largest_eigenvalue, metric_of

# Batches looked at, and what their largest eigenvalue may miss.
_SAMPLES, _STEPS, _MARGIN = 8, 10, 1.2


class Batches:
    """Rows in batches: shuffled anew in every epoch, every row once.

    Sizes differ by at most one, so that no epoch ends with a few noisy rows. Every
    batch is a uniformly drawn subset, and its mean therefore unbiased.

    Parameters
    ----------
    n_rows : int
        Rows; 0 for a problem that is no mean, which is a single batch.
    batch_size : int or None
        Rows of a batch at most; None takes all of them.
    rng : numpy.random.Generator
        Shuffles.
    """

    def __init__(
        self, n_rows: int, batch_size: int | None, rng: np.random.Generator
    ) -> None:
        size = max(n_rows, 1) if batch_size is None else batch_size
        if size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        self.n_rows = n_rows
        self.n_batches = max(1, -(-n_rows // size))
        self._rng = rng
        self._left: list[Array] = []

    def draw(self) -> Array:
        """The next batch."""
        if not self._left:
            order = self._rng.permutation(self.n_rows)
            self._left = np.array_split(order, self.n_batches)[::-1]
        return self._left.pop()

    def part(self, inner: InnerProblem) -> InnerProblem:
        """The mean over the next batch; the problem itself if there is only one."""
        return inner if self.n_batches == 1 else inner.take(self.draw())


def batch_metric(
    inner: InnerProblem,
    theta: Array,
    w: Array,
    batch_size: int,
    rng: np.random.Generator,
    *,
    every: bool = False,
) -> Array:
    """M that bounds Hessians of batches as `metric_of` bounds that of all rows.

    With n rows in batches of b, and ``L_row`` the largest curvature of one row::

        M_b = M + (n - b) / (b (n - 1)) L_row

    which is the expected smoothness of batches: their mean is what counts for
    variance-reduced methods. Where *every* batch has to be below it, the bound is that
    of matrix concentration: with ``r = (n - b) / (b (n - 1)) L_row log(2 p)``,
    ``M + sqrt(2 r L) + 2 r / 3``, L the smallest M, holds for nearly all.

    Problems without ``row_smoothness`` have M multiplied by the largest eigenvalue, in
    units of M, of a few batches at w.
    """
    metric = metric_of(inner, theta, w)
    n, b = inner.n_rows, batch_size
    if n <= b:
        return metric
    row = getattr(inner, "row_smoothness", None)
    if row is None:
        return metric * _sampled_factor(inner, theta, w, metric, b, rng)
    rare = (n - b) / (b * (n - 1)) * row
    if not every:
        return np.asarray(metric + rare)
    rare = rare * np.log(2.0 * len(w))
    return np.asarray(metric + np.sqrt(2.0 * rare * metric.min()) + 2.0 * rare / 3.0)


def _sampled_factor(
    inner: InnerProblem,
    theta: Array,
    w: Array,
    metric: Array,
    size: int,
    rng: np.random.Generator,
) -> float:
    """At least 1; from power iterations on a few batches."""
    root = np.sqrt(metric)
    largest = [1.0]
    for _ in range(_SAMPLES):
        rows = rng.choice(inner.n_rows, size, replace=False)
        point = inner.take(rows).at(theta, w)

        def scaled(d: Array, point: InnerPoint = point) -> Array:
            return np.asarray(point.hvp(d / root) / root)

        largest.append(_MARGIN * largest_eigenvalue(scaled, len(w), _STEPS))
    return max(largest)
