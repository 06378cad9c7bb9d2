"""The only place where noise is drawn, and where rows are sampled."""

from __future__ import annotations

import os

import numpy as np
from scipy.special import ndtri

from skbilevel._records import record
from skbilevel._typing import Array

_BITS = 53


@record
class SystemRandomness:
    """Noise that nobody can repeat: every bit is one of the operating system's."""

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """Independent numbers, uniform on (0, 1)."""
        size = int(np.prod(shape))
        bits = np.frombuffer(os.urandom(8 * size), dtype=np.uint64)
        whole = (bits >> np.uint64(64 - _BITS)).astype(np.float64)
        return ((whole + 0.5) / 2.0**_BITS).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Independent standard normal numbers."""
        return np.asarray(ndtri(self.uniform(shape)))


@record
class SeededRandomness:
    """Noise that can be repeated: for tests, never for a release."""

    generator: np.random.Generator

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """Independent numbers, uniform on (0, 1)."""
        return self.generator.random(shape)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Independent standard normal numbers."""
        return self.generator.standard_normal(shape)


# Where noise comes from.
Randomness = SystemRandomness | SeededRandomness


def randomness(seed: int | None) -> Randomness:
    """Noise of the operating system, or of a generator with a seed."""
    if seed is None:
        return SystemRandomness()
    return SeededRandomness(np.random.default_rng(seed))
