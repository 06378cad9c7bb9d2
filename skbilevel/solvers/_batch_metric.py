"""The metric of steps that see a batch of rows only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem
from skbilevel.solvers._batches import Batches
from skbilevel.solvers._oracle_base import largest_eigenvalue, metric_of

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
        base = np.broadcast_to(self._base(theta, w), w.shape)
        parts = self._batches.parts[:_PROBES]
        known = 0.0 if self._bound is None else 1.0
        found = _largest_of_batches(self._inner, parts, theta, w, base)
        self._factor, self._measured = max(found, known), theta.copy()


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
    if row is None:
        parts = batches.parts[:_PROBES]
        found = _largest_of_batches(inner, parts, theta, w, metric)
        return metric * max(1.0, found)
    rare = rarity(inner.n_rows, batches.size) * row
    if not every:
        return np.asarray(metric + rare)
    rare = rare * np.log(2.0 * len(w))
    return np.asarray(metric + np.sqrt(2.0 * rare * metric.min()) + 2.0 * rare / 3.0)


def row_bound(inner: InnerProblem) -> Array | None:
    """``L_row``, the largest curvature of the loss of a row; None if not known."""
    if "smoothness" not in inner.provides:
        return None
    return getattr(inner, "row_smoothness", None)


def rarity(n: int, b: int) -> float:
    """What a batch of b of n rows keeps of the noise of one row."""
    return max(n - b, 0) / (b * max(n - 1, 1))


def _largest_of_batches(
    inner: InnerProblem, parts: Iterable[Array], theta: Array, w: Array, metric: Array
) -> float:
    """Largest eigenvalue of some batches, in units of a metric, and a margin."""
    root = np.sqrt(metric)
    found = [0.0]
    for rows in parts:
        point = inner.take(rows).at(theta, w)
        found.append(
            largest_eigenvalue(
                lambda d, p=point: p.hvp(d / root) / root,  # type: ignore[misc]
                len(w),
            )
        )
    return _MARGIN * max(found)
