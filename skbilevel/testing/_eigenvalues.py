"""The two ends of a spectrum, from products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skbilevel._typing import Array

# Exact up to so many unknowns, from outside in beyond them.
_STEPS = 60


def ends_of_spectrum(
    apply: Callable[[Array], Array], size: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a symmetric map.

    Lanczos' method with all vectors orthogonal to each other; a map of at most
    60 unknowns is formed.
    """
    if size <= _STEPS:
        matrix = np.stack([apply(unit) for unit in np.eye(size)])
        values = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
        return float(values[0]), float(values[-1])
    basis = np.zeros((0, size))
    next_vector = rng.standard_normal(size)
    images = []
    for _ in range(_STEPS):
        norm = float(np.linalg.norm(next_vector))
        if not norm > 1e-10 * np.sqrt(size):
            break
        basis = np.vstack([basis, next_vector / norm])
        images.append(apply(basis[-1]))
        next_vector = images[-1]
        for _ in range(2):
            next_vector = next_vector - basis.T @ (basis @ next_vector)
    small = basis @ np.stack(images, axis=1)
    values = np.linalg.eigvalsh(0.5 * (small + small.T))
    return float(values[0]), float(values[-1])
