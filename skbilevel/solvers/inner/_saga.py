"""SAGA on the inner problem, with a memory of a few numbers per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem
from skbilevel.solvers._batch_metric import batch_metric
from skbilevel.solvers._batches import (
    Batches,
    Derivatives,
    Reading,
    Remembered,
    VectorLevel,
    count_batches,
)
from skbilevel.solvers._oracle_base import (
    Descent,
    check_positive,
    metric_norm,
    metric_of,
)


@dataclass(frozen=True)
class SAGA:
    """Steps along a batch's gradient, corrected by what was known of it.

    ::

        w <- w - step * M_b^-1 (grad_S(w) - memory_S + mean of the memory)
        memory_S <- grad_S(w)

    Parameters
    ----------
    step : float
        Fraction of the inverse of M_b, which bounds the expected smoothness of batches.
    batch_size : int
        Rows of a batch.
    n_passes : float or None
        Budget of passes over the rows; None goes on until the gradient is small enough.
    max_passes : float
        Largest number of passes without a budget.

    Notes
    -----
    The memory holds, for problems that provide ``grad_codes`` (linear models), one
    number for each row, task and target; rows are then dealt anew in every epoch, and
    the penalty is exact. Elsewhere batches are dealt once and each has a slot of p
    numbers. The first pass fills the memory at the start. One gradient of a batch per
    step, and one of all rows whenever the mean of the memory looks small enough.

    The next call goes on from a memory of codes without that pass: they do not depend
    on theta.

    References
    ----------
    A. Defazio, F. Bach, S. Lacoste-Julien (2014). SAGA: a fast incremental gradient
    method with support for non-strongly convex composite objectives. NeurIPS.
    """

    step: float = 1 / 3
    batch_size: int = 64
    n_passes: float | None = None
    max_passes: float = 1000.0
    requires = frozenset[str]()
    provides = frozenset[str]()

    def __post_init__(self) -> None:
        check_positive(self, "step", "batch_size", "n_passes", "max_passes")

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
        coded = "grad_codes" in inner.provides
        batches = Batches(inner.n_rows, count, rng, fixed=not coded)
        metric = batch_metric(inner, theta, w, batches) / self.step
        known = memory_of(inner, theta, w, batches, memory)
        spent = 0.0 if coded and memory is not None else 1.0
        fixed, n_iter = self.n_passes is not None, 0
        budget = self.max_passes if self.n_passes is None else self.n_passes

        def keep() -> Any:
            return (known.memory, known.mean) if coded else None

        goal = threshold
        # Without a fixed budget, room for a last look at the gradient.
        while spent < budget - (0.0 if fixed else 1.0):
            w = w - known.estimate(batches.draw(), theta, w)[0] / metric
            spent += 1.0 / count
            n_iter += 1
            if fixed or n_iter % count:
                continue
            if metric_norm(known.whole(theta, w)[0], bound) <= goal:
                point = inner.at(theta, w)
                norm = metric_norm(point.grad, bound)
                spent += 1.0
                if norm <= threshold:
                    return Descent(w, point, True, n_iter, keep())
                # The memory lags: ask more of it before the next look.
                goal *= min(0.5, threshold / norm)
        point = inner.at(theta, w)
        done = fixed or metric_norm(point.grad, bound) <= threshold
        return Descent(w, point, done, n_iter, keep())


def memory_of(
    inner: InnerProblem, theta: Array, w: Array, batches: Batches, kept: Any = None
) -> Remembered:
    """Gradients of all batches, read at w unless codes of rows are kept."""
    if "grad_codes" in inner.provides:
        return Remembered(GradCodes(inner, batches), theta, w, kept=kept)
    level = VectorLevel(inner, batches, lambda point: (point.grad,))
    return Remembered(level, theta, w)


class GradCodes:
    """Gradients of rows of linear models, a few numbers each.

    Parameters
    ----------
    inner : InnerProblem
        Provides ``grad_codes``.
    batches : Batches
        Deals rows.
    """

    def __init__(self, inner: InnerProblem, batches: Batches) -> None:
        self.inner, self.batches = inner, batches
        self.slots: list[Any] = batches.parts
        self.n_slots = inner.n_rows
        self._any: Any = inner.take(np.arange(1))

    def read(self, k: int, *at: Array) -> Reading:
        """Codes of the rows of a batch."""
        part: Any = self.inner.take(self.batches.parts[k])
        return Reading(part.grad_codes(*at), lambda codes: (part.assemble_grad(codes),))

    def exact(self, *at: Array) -> Derivatives:
        """Gradient of the penalty."""
        return (self._any.exact_grad(*at),)
