"""One shared strength: every value of it from one eigendecomposition.

With swept, root-weighted rows ``Xs = U diag(sqrt(lam)) Q^T`` and ``v = c`` for all
features, the hat matrix is ``H0 + U diag(c lam / (1 + c lam)) U^T``; ``H0`` belongs
to the unpenalized columns. Then, with ``g = c lam / (1 + c lam)``::

    leave-one-out   F(c) = sum_i r_i^2 / (1 - h_i)^2 / sum(s)
    GCV             F(c) = n sum_i r_i^2 / (n - tr H)^2,    n = sum(s)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from skbilevel._typing import Array

# Relative to the largest eigenvalue: from the mean alone to least squares.
_SPAN = (-14.0, 22.0)
_STEP = 0.5


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and rotated targets of one training set.

    Parameters
    ----------
    lam : ndarray of shape (r,)
        Positive eigenvalues of the swept Gram matrix.
    rotated : ndarray of shape (r, t)
        ``U^T y`` for swept, root-weighted targets.
    left : ndarray of shape (n, r) or None
        ``U``; leave-one-out needs it, GCV does not.
    y : ndarray of shape (n, t) or None
        Swept, root-weighted targets.
    base : ndarray of shape (n,) or None
        Diagonal of ``H0``.
    yy : float
        ``sum |y|^2``.
    weight : float
        Sum of the row weights.
    n_free : int
        Rank of the unpenalized columns.
    """

    lam: Array
    rotated: Array
    left: Array | None
    y: Array | None
    base: Array | None
    yy: float
    weight: float
    n_free: int

    def grid(self) -> Array:
        """Values of ``log c`` that no optimum can leave."""
        top = self.lam.max() if self.lam.size else 1.0
        return np.arange(_SPAN[0], _SPAN[1] + _STEP / 2, _STEP) - np.log(top)

    def leave_one_out(self, log_c: Array) -> Array:
        """Leave-one-out loss at each ``log c``; a weighted row leaves as a whole."""
        if self.left is None or self.y is None or self.base is None:
            raise ValueError("this spectrum was made without its left vectors")
        shrink = _shrinkage(self.lam, log_c)
        denominator = 1.0 - self.base[:, None] - (self.left**2) @ shrink
        # A row that determines a coefficient alone has no out-of-sample residual.
        denominator = np.maximum(denominator, 1e-10)
        loss = np.zeros(len(log_c))
        for target, rotated in zip(self.y.T, self.rotated.T, strict=True):
            residual = target[:, None] - self.left @ (shrink * rotated[:, None])
            loss += ((residual / denominator) ** 2).sum(axis=0)
        return loss / self.weight

    def gcv(self, log_c: Array) -> Array:
        """Generalized cross-validation at each ``log c``."""
        shrink = _shrinkage(self.lam, log_c)
        power = (self.rotated**2).sum(axis=1)
        outside = max(self.yy - power.sum(), 0.0)
        rss = outside + ((1.0 - shrink) ** 2).T @ power
        freedom = self.weight - self.n_free - shrink.sum(axis=0)
        return self.weight * rss / np.maximum(freedom, 1e-10) ** 2


def _shrinkage(lam: Array, log_c: Array) -> Array:
    """``c lam / (1 + c lam)`` for all pairs, without overflow."""
    x = log_c[None, :] + np.log(lam)[:, None]
    return np.asarray(expit(x))


def refine_minimum(grid: Array, value: Array) -> float:
    """Vertex of the parabola through the smallest value and its neighbours."""
    k = int(np.argmin(value))
    if k == 0 or k == len(grid) - 1:
        return float(grid[k])
    a, b, c = value[k - 1 : k + 2]
    curvature = a - 2.0 * b + c
    if not curvature > 0:
        return float(grid[k])
    shift = 0.5 * (a - c) / curvature
    return float(grid[k] + np.clip(shift, -1.0, 1.0) * (grid[1] - grid[0]))
