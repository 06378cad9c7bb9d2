"""Unbiased derivatives of one level from one batch, without and with a memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers.stochastic._levels import Derivatives, Level


class Estimator(Protocol):
    """Derivatives of a level whose mean over batches is exact."""

    level: Level

    def estimate(self, k: int, theta: Array, w: Array, q: Array) -> Derivatives:
        """From batch number ``k``."""


class Fresh:
    """The batch stands for all rows."""

    def __init__(self, level: Level) -> None:
        self.level = level

    def estimate(self, k: int, theta: Array, w: Array, q: Array) -> Derivatives:
        """Weighted mean of the batch, and the exact part."""
        reading = self.level.read(k, theta, w, q)
        parts = reading.assemble(reading.codes)
        exact = self.level.exact(theta, w, q)
        weight = self.level.sampler.weights[k]
        return tuple(weight * a + b for a, b in zip(parts, exact, strict=True))


class Remembered:
    """New minus remembered derivatives of the batch, plus the mean of all remembered.

    ::

        S = weight_k (phi_k - memory_k) + mean(memory);  memory_k <- phi_k

    The memory begins with one reading of all rows. A start at zero, as in released
    codes, makes the first epoch as noisy as one without a memory, for the same number
    of readings.
    """

    def __init__(self, level: Level, theta: Array, w: Array, q: Array) -> None:
        self.level = level
        self.memory = np.zeros(level.shape)
        self.mean: Derivatives | None = None
        for k in range(len(level.sampler)):
            self._replace(k, theta, w, q)

    def estimate(self, k: int, theta: Array, w: Array, q: Array) -> Derivatives:
        """From the batch and the memory, which is renewed."""
        assert self.mean is not None
        before = self.mean
        change = self._replace(k, theta, w, q)
        exact = self.level.exact(theta, w, q)
        weight = self.level.sampler.weights[k]
        return tuple(
            weight * a + b + c for a, b, c in zip(change, before, exact, strict=True)
        )

    def _replace(self, k: int, theta: Array, w: Array, q: Array) -> Derivatives:
        """Renew one batch; return how its mean has changed."""
        reading = self.level.read(k, theta, w, q)
        slots = self.level.slots(k)
        change = reading.assemble(reading.codes - self.memory[slots])
        self.memory[slots] = reading.codes
        share = self.level.sampler.shares[k]
        if self.mean is None:
            self.mean = tuple(np.zeros_like(part) for part in change)
        self.mean = tuple(a + share * b for a, b in zip(self.mean, change, strict=True))
        return change
