"""AI-SARAH: variance-reduced descent whose steps come from the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._batches import Batches, count_batches
from skbilevel.solvers._oracle_base import (
    Descent,
    check_positive,
    metric_norm,
    metric_of,
)

# An outer loop whose full gradient is so much larger than the best is undone.
_GROWTH = 2.0
# Memory of steps is kept while no component of the metric moves by more than this.
_SAME_METRIC = 0.1


@dataclass(frozen=True)
class AISARAH:
    """Recursive gradients, and steps that minimize their own next length.

    Between two full gradients, from ``v = g_w`` and ``d = M^-1 v``, with batches S::

        xi(a) = |grad_S(w - a d) - grad_S(w) + v|^2        (norms of M^-1)
        xi'(0) = -2 d.H_S d,   xi''(0) = 2 |H_S d|^2 + 2 g_www,S [d, d, d]
        a     = min(-xi'(0) / xi''(0), a_max)
        v     <- grad_S(w - a d) - grad_S(w) + v;   w <- w - a d

    until ``|v|^2 < gamma |v_0|^2``, where v_0 is the last full gradient. ``1 / a_max``
    averages ``xi'' / -xi'`` with weight beta on the past. For least squares the step is
    the exact minimizer of xi. No step size is to be chosen.

    Parameters
    ----------
    gamma : float
        Reduction of the squared norm between two full gradients.
    batch_size : int
        Rows of a batch.
    beta : float
        Memory of steps.
    metric : bool
        Whether to work in the metric M of the problem. False is the Euclidean method of
        the paper, which strong penalties of single features slow down.
    n_passes : float or None
        Budget of passes over the rows; None goes on until the gradient is small enough.
    max_passes : float
        Largest number of passes without a budget.

    Notes
    -----
    Safeguards that the paper does not have. Where ``xi'' <= 0``, and for the first step
    of all (which sets a_max) wherever the third derivative is negative,
    ``|H_S d|^2`` stands alone: xi is then taken for a quadratic. Where v doubles a full
    gradient is due, and one twice as large as the best sends back to the best w and
    halves a_max. A first step of at most one in the metric (``1 / L``), tried instead,
    took more than three times the passes from far saturated starts and gained nothing
    elsewhere.

    Problems without ``third_derivative`` use ``|H_S d|^2`` alone, a Gauss-Newton model
    of xi; without rows the whole problem is the only batch. A step reads its batch 3.5
    times (3 without third derivatives): two gradients, a Hessian product, a
    third derivative. The paper counts it once.

    References
    ----------
    Z. Shi, A. Sadiev, N. Loizou, P. Richtarik, M. Takac (2023). AI-SARAH: adaptive and
    implicit stochastic recursive gradient methods. TMLR. Algorithm 2.
    """

    gamma: float = 1 / 32
    batch_size: int = 64
    beta: float = 0.999
    metric: bool = True
    n_passes: float | None = None
    max_passes: float = 1000.0
    requires = frozenset[str]()
    provides = frozenset[str]()

    def __post_init__(self) -> None:
        check_positive(self, "gamma", "batch_size", "n_passes", "max_passes")

    def solve(
        self,
        inner: InnerProblem,
        theta: Array,
        w: Array,
        *,
        threshold: float,
        rng: np.random.Generator,
        memory: Any = None,
        outer_grad: Callable[[Array], Array] | None = None,
    ) -> Descent:
        """Descend from ``w``."""
        bound = metric_of(inner, theta, w)
        count = count_batches(inner.n_rows, self.batch_size)
        batches = Batches(inner.n_rows, count, rng)
        run = _Run(self, inner, theta, bound, batches, memory)
        fixed = self.n_passes is not None
        budget = self.max_passes if self.n_passes is None else self.n_passes
        best, lowest = (w, inner.at(theta, w)), np.inf
        point = best[1]
        while not (fixed and run.spent >= budget):
            norm = metric_norm(point.grad, bound)
            run.spent += 1.0
            if norm < lowest:
                best, lowest = (w, point), norm
            if not fixed and (norm <= threshold or run.spent >= budget):
                memory = bound, run.delta
                return Descent(*best, lowest <= threshold, run.n_iter, memory)
            if not norm <= _GROWTH * lowest:
                w, point = best
                run.delta *= 2.0  # which halves the largest step
            # Without a fixed budget, room for the full gradient that has to follow.
            w = run.descend(w, point.grad, budget - (0.0 if fixed else 1.0))
            point = inner.at(theta, w)
        return Descent(w, point, True, run.n_iter, (bound, run.delta))


class _Run:
    """What one call of `AISARAH.solve` keeps."""

    def __init__(
        self,
        rule: AISARAH,
        inner: InnerProblem,
        theta: Array,
        bound: Array,
        batches: Batches,
        memory: Any,
    ) -> None:
        self.rule, self.inner, self.theta, self.batches = rule, inner, theta, batches
        self.bound = bound
        self.metric = bound if rule.metric else np.ones_like(bound)
        self.third = "third_derivative" in inner.provides
        self.spent, self.n_iter = 0.0, 0
        self.delta = self._recall(memory)

    def _recall(self, memory: Any) -> float:
        """``1 / a_max`` of the last call; 0 at the start and where M has moved."""
        if memory is None:
            return 0.0
        bound, delta = memory
        moved = float(np.abs(self.bound / bound - 1.0).max())
        return float(delta) if moved <= _SAME_METRIC else 0.0

    def descend(self, w: Array, v: Array, until: float) -> Array:
        """The loop between two full gradients; v is the one at w."""
        start = self._squared(v)
        goal, largest = self.rule.gamma * start, _GROWTH**2 * start
        cost = (3.5 if self.third else 3.0) / len(self.batches)
        while True:
            part = self.batches.of(self.inner, self.batches.draw())
            here = part.at(self.theta, w)
            d = v / self.metric
            size = self._size(here, d)
            w = w - size * d
            v = part.at(self.theta, w).grad - here.grad + v
            self.spent += cost
            self.n_iter += 1
            left = self._squared(v)
            # Where v grows, the full gradient tells what to do.
            if not goal <= left <= largest or left == 0.0 or self.spent >= until:
                return w

    def _squared(self, v: Array) -> float:
        return float((v * v / self.metric).sum())

    def _size(self, here: InnerPoint, d: Array) -> float:
        """One step of Newton's method on xi from zero, guarded."""
        slope, bend, plain = line_derivatives(here, d, self.metric, self.third)
        if not self.delta:
            bend = max(bend, plain)
        elif bend <= 0.0:
            bend = plain
        if not slope > 0.0 or not bend > 0.0:  # v is zero, or rounding
            return 0.0
        ratio = bend / slope
        if not self.delta:
            self.delta = ratio
            return 1.0 / ratio
        size = min(1.0 / ratio, 1.0 / self.delta)
        beta = self.rule.beta
        self.delta = beta * self.delta + (1.0 - beta) * ratio
        return size


def line_derivatives(
    here: InnerPoint, d: Array, metric: Array, third: bool
) -> tuple[float, float, float]:
    """``-xi'(0) / 2``, ``xi''(0) / 2``, and the latter without third derivatives.

    xi is the squared norm that v will have after a step along ``d = M^-1 v``.
    """
    Hd = here.hvp(d)
    plain = float((Hd * Hd / metric).sum())
    bend = plain + float(here.third(d)) if third else plain  # type: ignore[attr-defined]
    return float(d @ Hd), bend, plain
