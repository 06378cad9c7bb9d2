"""How few numbers make the log variances of all columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.solvers.outer._gauss_newton import DeviationPenalty

# Lowest and highest numbers (F, g).
Bounds = tuple[Array, Array]


@record
class Strengths:
    """How few numbers make p log variances: ``log v = A theta``.

    Parameters
    ----------
    A : ndarray of shape (p, g) or None
        None is one strength per feature.
    metadata : ndarray of shape (F, g, q) or None
        Directions of ``theta`` that carry no penalty; None is the common level.
    """

    A: Array | None = None
    metadata: Array | None = None

    def expand(self, theta: Array) -> Array:
        """``log v`` (F, p) of ``theta`` (F, g)."""
        return theta if self.A is None else np.asarray(theta @ self.A.T)

    @property
    def several(self) -> Array:
        """Which strengths are those of several features."""
        return np.zeros(0) if self.A is None else (self.A != 0.0).sum(axis=0) > 1

    def size(self, p: int) -> int:
        """Number of strengths."""
        return p if self.A is None else int(self.A.shape[1])

    def deviations(self, p: int) -> DeviationPenalty:
        """Penalty on what the unpenalized directions do not explain."""
        g = self.size(p)
        if self.metadata is None:
            return DeviationPenalty(np.full((1, g, 1), 1.0 / np.sqrt(max(g, 1))))
        Q, _ = np.linalg.qr(self.metadata)
        # A column of zeros fills up the stack: it frees no direction.
        return DeviationPenalty(Q * self.metadata.any(axis=-2, keepdims=True))

    def reduce(self, grad: Array) -> Array:
        """Gradient (F, g) in ``theta`` from one (F, p) in ``log v``."""
        return grad if self.A is None else np.asarray(grad @ self.A)

    def pull_back(self, model: Any) -> Any:
        """A model in ``log v`` as one in ``theta``."""
        return model if self.A is None else model.pull_back(self.A)
