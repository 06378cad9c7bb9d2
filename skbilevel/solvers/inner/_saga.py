"""SAGA on the inner problem, with a memory of a few numbers per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem
from skbilevel.solvers._batches import Batches, batch_metric
from skbilevel.solvers._oracle_base import Descent, metric_norm, metric_of


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
        size = min(self.batch_size, max(inner.n_rows, 1))
        metric = batch_metric(inner, theta, w, size, rng) / self.step
        known, spent = memory_of(inner, theta, w, self.batch_size, rng, memory)
        fixed, n_iter = self.n_passes is not None, 0
        budget = self.max_passes if self.n_passes is None else self.n_passes
        goal = threshold
        # Without a fixed budget, room for a last look at the gradient.
        while spent < budget - (0.0 if fixed else 1.0):
            w = w - known.direction(theta, w) / metric
            spent += 1.0 / known.n_batches
            n_iter += 1
            if fixed or n_iter % known.n_batches:
                continue
            if metric_norm(known.mean(theta, w), bound) <= goal:
                point = inner.at(theta, w)
                norm = metric_norm(point.grad, bound)
                spent += 1.0
                if norm <= threshold:
                    return Descent(w, point, True, n_iter, known.keep())
                # The memory lags: ask more of it before the next look.
                goal *= min(0.5, threshold / norm)
        point = inner.at(theta, w)
        done = fixed or metric_norm(point.grad, bound) <= threshold
        return Descent(w, point, done, n_iter, known.keep())


class Memory(Protocol):
    """Last known gradients of batches."""

    n_batches: int

    def direction(self, theta: Array, w: Array) -> Array:
        """Unbiased estimate of the gradient at w from the next batch; updates."""

    def mean(self, theta: Array, w: Array) -> Array:
        """The gradient as far as the memory knows it."""

    def keep(self) -> Any:
        """What the next call may start from; None for nothing."""


def memory_of(
    inner: InnerProblem,
    theta: Array,
    w: Array,
    batch_size: int,
    rng: np.random.Generator,
    kept: Any = None,
) -> tuple[Memory, float]:
    """A memory, filled at w unless one is kept, and the passes that this took."""
    batches = Batches(inner.n_rows, batch_size, rng)
    if "grad_codes" not in inner.provides:
        return SlotMemory(inner, theta, w, batches, rng), 1.0
    if kept is None:
        return CodeMemory(inner, batches, *fill(inner, theta, w, batches)), 1.0
    codes, average = kept
    return CodeMemory(inner, batches, codes.copy(), average), 0.0


def fill(
    inner: InnerProblem, theta: Array, w: Array, batches: Batches
) -> tuple[Array, Array]:
    """Codes of all rows at w and the mean gradient that they make."""
    parts: list[tuple[Array, Array]] = []
    average = np.zeros(len(w))
    for _ in range(batches.n_batches):
        rows = batches.draw()
        part: Any = inner.take(rows)
        codes = part.grad_codes(theta, w)
        average += len(rows) / inner.n_rows * part.assemble_grad(codes)
        parts.append((rows, codes))
    table = np.empty((inner.n_rows, parts[0][1].shape[1]))
    for rows, codes in parts:
        table[rows] = codes
    return table, average


class CodeMemory:
    """A few numbers for each row of a linear model.

    Parameters
    ----------
    inner : InnerProblem
        Provides ``grad_codes``.
    batches : Batches
        Deals rows.
    codes : ndarray of shape (n_rows, n_codes)
        Last known codes; updated in place.
    average : ndarray of shape (p,)
        Mean gradient of the losses that they make.
    """

    def __init__(
        self, inner: InnerProblem, batches: Batches, codes: Array, average: Array
    ) -> None:
        self.inner, self.batches = inner, batches
        self.n_batches = batches.n_batches
        self.codes, self.average = codes, average

    def direction(self, theta: Array, w: Array) -> Array:
        """See `Memory`."""
        rows = self.batches.draw()
        part: Any = self.inner.take(rows)
        codes = part.grad_codes(theta, w)
        change = part.assemble_grad(codes - self.codes[rows])
        share = len(rows) / self.inner.n_rows
        found = self.average + share * self.n_batches * change
        self.average = self.average + share * change
        self.codes[rows] = codes
        return np.asarray(found + part.exact_grad(theta, w))

    def mean(self, theta: Array, w: Array) -> Array:
        """See `Memory`."""
        part: Any = self.inner.take(np.arange(1))
        return np.asarray(self.average + part.exact_grad(theta, w))

    def keep(self) -> Any:
        """See `Memory`."""
        return self.codes, self.average


class SlotMemory:
    """A gradient for each of some batches that stay the same.

    Parameters
    ----------
    inner : InnerProblem
        Any; without rows it is a single batch.
    theta, w : ndarray
        Where the memory is filled.
    batches : Batches
        Deals rows once.
    rng : numpy.random.Generator
        Shuffles the order of batches.
    """

    def __init__(
        self,
        inner: InnerProblem,
        theta: Array,
        w: Array,
        batches: Batches,
        rng: np.random.Generator,
    ) -> None:
        self.n_batches = batches.n_batches
        single = self.n_batches == 1
        rows = [] if single else [batches.draw() for _ in range(self.n_batches)]
        self.parts = [inner] if single else [inner.take(each) for each in rows]
        self.shares = np.array([len(each) / inner.n_rows for each in rows] or [1.0])
        self.slots = np.stack([part.at(theta, w).grad for part in self.parts])
        self.average = self.shares @ self.slots
        self._order = Batches(self.n_batches, 1, rng)

    def direction(self, theta: Array, w: Array) -> Array:
        """See `Memory`."""
        (k,) = self._order.draw()
        grad = self.parts[k].at(theta, w).grad
        change = self.shares[k] * (grad - self.slots[k])
        found = self.average + self.n_batches * change
        self.average = self.average + change
        self.slots[k] = grad
        return np.asarray(found)

    def mean(self, theta: Array, w: Array) -> Array:
        """See `Memory`."""
        return np.asarray(self.average)

    def keep(self) -> Any:
        """See `Memory`."""
        return None
