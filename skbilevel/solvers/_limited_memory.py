"""An approximate inverse Hessian from the last steps of a descent."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import daxpy

from skbilevel._records import record
from skbilevel._typing import Array

# Smallest cosine of s and y, in the metric, of a pair that is used.
_LEAST_COSINE = 1e-10


class Pair(NamedTuple):
    """A step ``s``, the change ``y`` of the gradient over it, and ``s.y > 0``.

    ``typical`` says whether the first model may follow it.
    """

    s: Array
    y: Array
    product: float
    typical: bool = True


@record
class InverseHessian:
    """The limited-memory BFGS inverse; a value, every change gives a new one.

    ::

        B_0     = gamma diag(1 / metric)
        B_{i+1} = (I - s y^T / s.y) B_i (I - y s^T / s.y) + s s^T / s.y

    over the pairs from the oldest to the newest, so that ``B y = s`` holds exactly for
    the newest. With ``scaled``, gamma is ``s.y / y.(y / metric)`` of the newest typical
    pair, else 1.

    Parameters
    ----------
    metric : ndarray of shape (p,)
        Diagonal of the first model of the Hessian.
    memory : int
        Pairs that are kept; the oldest goes first.
    scaled : bool
        Whether the first model follows the newest typical pair.
    pairs : tuple of Pair
        In chronological order.

    References
    ----------
    J. Nocedal, S. Wright (2006). Numerical optimization. Algorithm 7.4.
    """

    metric: Array
    memory: int = 30
    scaled: bool = True
    pairs: tuple[Pair, ...] = ()

    @property
    def gamma(self) -> float:
        """Scale of the first model."""
        if self.scaled:
            for pair in reversed(self.pairs):
                if pair.typical:
                    return pair.product / float(pair.y @ (pair.y / self.metric))
        return 1.0

    def apply(self, vector: Array) -> Array:
        """``B vector`` by the two-loop recursion, O(memory p)."""
        q = np.array(vector, dtype=float)
        factors = []
        for s, y, product, _ in reversed(self.pairs):
            a = float(s @ q) / product
            q = daxpy(y, q, a=-a)  # in place, without a temporary array
            factors.append(a)
        r = self.gamma * q / self.metric
        for (s, y, product, _), a in zip(self.pairs, reversed(factors), strict=True):
            r = daxpy(s, r, a=a - float(y @ r) / product)
        return np.asarray(r)

    def push(self, s: Array, y: Array, typical: bool = True) -> InverseHessian:
        """With one more pair; without it where it shows no positive curvature."""
        pair = self._pair(s, y, typical)
        if pair is None or self.memory < 1:
            return self
        return replace(self, pairs=(*self.pairs, pair)[-self.memory :])

    def _pair(self, s: Array, y: Array, typical: bool) -> Pair | None:
        product = float(s @ y)
        lengths = float(s @ (self.metric * s)) * float(y @ (y / self.metric))
        if not product > _LEAST_COSINE * np.sqrt(lengths):
            return None
        return Pair(s, y, product, typical)

    def shifted(self, difference: Array) -> InverseHessian:
        """The pairs of the Hessian plus ``diag(difference)``.

        ::

            y <- y + difference * s

        It is exact where the gradient changes by ``difference * w``, as that of a
        quadratic penalty does between two thetas; pairs that lose their positive
        curvature are dropped.
        """
        moved = [self._pair(s, y + difference * s, ok) for s, y, _, ok in self.pairs]
        return replace(self, pairs=tuple(pair for pair in moved if pair is not None))
