"""Steps that see a batch of rows only: their metric, and how many rows they need."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem, OracleProblem
from skbilevel.solvers._batches import Batches
from skbilevel.solvers._ledger import Ledger
from skbilevel.solvers._oracle_base import largest_eigenvalue, metric_of

# Larger batches than these bytes of float64 rows hide nothing more of what a step costs
# besides its products, and leave the caches of a core.
_BATCH_BYTES = 1 << 21
_MIN_BATCH = 64
# Small data are cut into this many batches at least, or there is no noise to average.
_MIN_BATCHES = 8
# Beyond L_row / L rows the step hardly grows with the batch; so many times as much is
# what a step may waste to be worth its own cost.
_CRITICAL = 8.0
# Batches of both levels together where that number is not known.
_BLIND_BATCHES = 256

# Batches whose curvature is measured where no bound is known, and a margin for others.
_PROBES, _MARGIN = 4, 1.2


class BatchMetric:
    """M_b as a function of theta: steps ``D / M_b`` are stable on batches of b rows.

    With bounds from the problem, it is the expected smoothness of sampling without
    replacement, with the penalties exact::

        M_b(theta) = M(theta) + c L_row,   c = (n - b) / (b (n - 1))

    where ``L_row`` is the largest curvature of a row: one row gives ``M + L_row``, all
    rows give the full gradient's ``M``. Elsewhere M (or 1) is multiplied by the largest
    eigenvalue, relative to it, of a few batches; it is
    measured again when theta has moved by 1 and the problem gives no M.

    Parameters
    ----------
    inner : InnerProblem
        A mean over rows.
    batches : Batches
        Those that are drawn.
    theta, w : ndarray
        Where curvature is measured first, if it has to be.

    References
    ----------
    R. M. Gower, N. Loizou, X. Qian, A. Sailanbayev, E. Shulgin, P. Richtarik (2019).
    SGD: general analysis and improved rates. ICML.
    """

    def __init__(
        self, inner: InnerProblem, batches: Batches, theta: Array, w: Array
    ) -> None:
        self._inner, self._batches = inner, batches
        self._bound = inner.smoothness if "smoothness" in inner.provides else None
        self._factor, self._measured = 1.0, theta
        self._more: Array | float = 0.0
        row = row_bound(inner)
        if row is not None:
            self._more = rarity(inner.n_rows, batches.size) * row
        elif len(batches) > 1 or self._bound is None:
            self._measure(theta, w)

    def at(self, theta: Array, w: Array) -> Array:
        """M_b(theta)."""
        if self._bound is None and np.abs(theta - self._measured).max() > 1.0:
            self._measure(theta, w)
        return np.asarray(self._factor * (self._base(theta, w) + self._more))

    def _base(self, theta: Array, w: Array) -> Array:
        return (
            np.ones_like(w) if self._bound is None else np.asarray(self._bound(theta))
        )

    def _measure(self, theta: Array, w: Array) -> None:
        """Largest eigenvalue of some batches, in units of M, and a margin."""
        root = np.sqrt(np.broadcast_to(self._base(theta, w), w.shape))
        found = 0.0 if self._bound is None else 1.0
        for rows in self._batches.parts[:_PROBES]:
            point = self._inner.take(rows).at(theta, w)

            def scaled(d: Array, point: InnerPoint = point) -> Array:
                return np.asarray(point.hvp(d / root) / root)

            found = max(found, _MARGIN * largest_eigenvalue(scaled, len(w)))
        self._factor, self._measured = found, theta.copy()


def batch_metric(
    inner: InnerProblem,
    theta: Array,
    w: Array,
    batches: Batches,
    *,
    every: bool = False,
) -> Array:
    """M_b at one theta, which bounds batches as `metric_of` bounds all rows.

    As `BatchMetric`, but never below `metric_of`. Where *every* batch has to be below
    it, and not their mean alone as for variance-reduced methods, the bound is that of
    matrix concentration: with ``r = c L_row log(2 p)``, ``M + sqrt(2 r L) + 2 r / 3``,
    L the smallest M, holds for nearly all.
    """
    metric = metric_of(inner, theta, w)
    if len(batches) == 1:
        return metric
    row = row_bound(inner)
    if row is None or not every:
        return np.maximum(metric, BatchMetric(inner, batches, theta, w).at(theta, w))
    rare = rarity(inner.n_rows, batches.size) * row * np.log(2.0 * len(w))
    return np.asarray(metric + np.sqrt(2.0 * rare * metric.min()) + 2.0 * rare / 3.0)


def row_bound(inner: InnerProblem) -> Array | None:
    """``L_row``, the largest curvature of the loss of a row; None if not known."""
    if "smoothness" not in inner.provides:
        return None
    return getattr(inner, "row_smoothness", None)


def rarity(n: int, b: int) -> float:
    """What a batch of b of n rows keeps of the noise of one row."""
    return max(n - b, 0) / (b * max(n - 1, 1))


def default_batch_size(
    n_rows: int, n_columns: int, critical: float | None = None
) -> int:
    """Rows of a batch: few enough for steps to be many, enough to be worth a step.

    ``critical`` is ``L_row / L``, the largest curvature of a row over that of all: from
    so many rows on, the step is within a factor of two of that on all rows.
    """
    useful = n_rows / _BLIND_BATCHES if critical is None else _CRITICAL * critical
    size = min(_BATCH_BYTES // (8 * max(n_columns, 1)), int(useful))
    return max(1, min(max(_MIN_BATCH, size), n_rows // _MIN_BATCHES))


def critical_size(problem: OracleProblem, ledger: Ledger) -> float | None:
    """``L_row`` over the smallest M at corners of the box; None if not known.

    The penalty is part of M; where strengths are weakest, the rest is the data's.
    """
    row = row_bound(problem.inner)
    if row is None or problem.inner.smoothness is None:
        return None
    ledger.add(problem.inner.n_rows, 0.5)
    corners = [each for each in problem.box if np.isfinite(each).all()]
    at = (np.clip(problem.theta0, *problem.box), *corners)
    smallest = [np.asarray(problem.inner.smoothness(each)) for each in at]
    return float((row / np.min(smallest, axis=0)).max())
