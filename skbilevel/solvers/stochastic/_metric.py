"""The metric of steps that see a batch of rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._ledger import Ledger
from skbilevel.solvers._oracle_base import largest_eigenvalue
from skbilevel.solvers.stochastic._sampler import BatchSampler

# Batches whose curvature is measured where no bound is known, and a margin for others.
_PROBES, _MARGIN = 4, 1.2


def known_smoothness(problem: OracleProblem) -> Callable[[Array], Any] | None:
    """M as a function of theta, where the problem has one."""
    inner = problem.inner
    return inner.smoothness if "smoothness" in inner.provides else None


def row_curvature(
    problem: OracleProblem, ledger: Ledger
) -> tuple[Array | None, float | None]:
    """``L_max`` of rows, and its ratio to the smallest M at corners of the box.

    The penalty is part of M; where strengths are weakest, the rest is the data's.
    """
    bound = known_smoothness(problem)
    largest = getattr(problem.inner, "row_smoothness", None)
    if bound is None or largest is None:
        return None, None
    ledger.add(problem.inner.n_rows, 0.5)
    corners = [each for each in problem.box if np.isfinite(each).all()]
    smallest = [np.asarray(bound(each)) for each in (problem.theta0, *corners)]
    return largest, float((largest / np.min(smallest, axis=0)).max())


class BatchMetric:
    """M_b with steps ``D / M_b`` that are stable on batches of b rows.

    With bounds from the problem, it is the expected smoothness of sampling without
    replacement, with the penalties exact::

        M_b(theta) = M(theta) + c L_max,   c = (n - b) / (b (n - 1))

    where ``L_max`` is the largest curvature of a row: one row gives ``L_max``, all rows
    give the full gradient's ``M``. Elsewhere M (or 1) is multiplied by the largest
    eigenvalue, relative to it, that power iterations find on a few batches; it is
    measured again when theta has moved by 1 and the problem gives no M.

    References
    ----------
    R. M. Gower, N. Loizou, X. Qian, A. Sailanbayev, E. Shulgin, P. Richtarik (2019).
    SGD: general analysis and improved rates. ICML.
    """

    def __init__(
        self,
        problem: OracleProblem,
        sampler: BatchSampler,
        largest_row: Array | None,
        theta: Array,
        w: Array,
    ) -> None:
        self._inner, self._sampler = problem.inner, sampler
        self._bound = known_smoothness(problem)
        self._factor, self._measured = 1.0, theta
        self._more: Array | float = 0.0
        n, b = problem.inner.n_rows, sampler.size
        if largest_row is not None:
            self._more = (n - b) / (b * max(n - 1, 1)) * largest_row
        elif b < n or self._bound is None:
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
        root = np.sqrt(np.broadcast_to(self._base(theta, w), w.shape))
        found = [0.0]
        for rows in self._sampler.parts[:_PROBES]:
            point = self._inner.take(rows).at(theta, w)
            found.append(
                largest_eigenvalue(
                    lambda d, p=point: p.hvp(d / root) / root,  # type: ignore[misc]
                    len(w),
                )
            )
        known = 0.0 if self._bound is None else 1.0
        self._factor, self._measured = max(_MARGIN * max(found), known), theta.copy()
