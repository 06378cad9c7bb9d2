"""Generalized cross-validation along one variance: a ratio of two squares.

With ``M = (I + X V X^T)^-1`` and feature j left out of it (``v_j = 0``), put
``s = M x_j``, ``t = x_j^T s`` and ``u = v_j / (1 + v_j t)``, which is in ``[0, 1/t)``.
Then ``M`` moves by ``-u s s^T``, and half the criterion of `GCV` is ::

    0.5 S (a - 2 b u + c u^2) / (T - d u)^2
    a = |M y|^2,  b = (s^T y) (s^T M y),  c = (s^T y)^2 d,  d = s^T s,  T = f at v_j = 0

Its one stationary point is ``u = (b T - a d) / (c T - b d)``, so that the minimum over
all ``v_j`` is that point, zero, or the largest ``u``. Terms of several targets add up.
"""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of, factor_spd, inverse_of_factor
from skbilevel.problems._leave_one_out import GCV

# Eigenvalues of a Gram matrix below this share of the largest are rounding.
_RANK = 1e-12
# To take a feature out of M cancels digits. A share above this is lost: M is made anew.
_CANCELS = 1e-8
# Degrees of freedom below this share of the rows are rounding.
_LEAST_FREEDOM = 1e-9


@record
class GCVLines:
    """Rows behind the criterion, as few as there are columns.

    Parameters
    ----------
    X : ndarray of shape (r, p)
        Swept and weighted rows, or as many combinations of them as their rank.
    y : ndarray of shape (r, t)
        Targets.
    rest : float
        Squares of the targets that no column reaches.
    freedom : float
        Degrees of freedom less those of these rows, ``f = freedom + tr(M)``.
    weight : float
        Sum S of the weights.
    """

    X: Array
    y: Array
    rest: float
    freedom: float
    weight: float

    @classmethod
    def of(cls, criterion: GCV) -> GCVLines:
        """From rows, or from moments by their eigenvectors."""
        rows, moments = criterion.rows, criterion.moments
        if rows is not None:
            X = np.concatenate([block for _, block in rows.column_blocks()], axis=1)
            weight = float(rows.weight.sum())
            freedom = weight - criterion.free_rank - len(X)
            return cls(X, rows.target, 0.0, freedom, weight)
        assert moments is not None
        size, vectors = np.linalg.eigh(moments.gram)
        kept = size > _RANK * max(size.max(initial=0.0), 0.0)
        root, vectors = np.sqrt(size[kept]), vectors[:, kept]
        y = (vectors.T @ moments.cross) / root[:, None]
        rest = max(float(moments.yy.sum() - (y * y).sum()), 0.0)
        weight = float(moments.weight_sum)
        freedom = weight - criterion.free_rank - len(root)
        return cls(root[:, None] * vectors.T, y, rest, freedom, weight)

    def inverse(self, v: Array) -> Array:
        """``M`` at v, without rounding of earlier steps."""
        K = (self.X * v) @ self.X.T
        diagonal_of(K)[...] += 1.0
        return inverse_of_factor(factor_spd(K))

    def step(
        self, M: Array, v: Array, j: int, low: float, high: float
    ) -> tuple[float, Array]:
        """The best ``v_j`` in [low, high], and M there; v is where M is."""
        x, old = self.X[:, j], v[j]
        left = 1.0 - old * float(x @ (M @ x))
        # M has no eigenvalue above one, so that this bounds the rounding of `left`.
        if old * float(x @ x) * np.finfo(float).eps > _CANCELS * left:
            M = self.inverse(np.where(np.arange(len(v)) == j, 0.0, v))
            old, left = 0.0, 1.0
        s = M @ x / left
        t, known = float(x @ s), old * left
        without = M + known * np.outer(s, s) if known else M
        ends = np.array([low / (1.0 + low * t), high / (1.0 + high * t)])
        u = self._best(without, s, ends)
        if u in ends:
            best = low if u == ends[0] else high
        else:
            best = min(max(u / (1.0 - u * t), low), high)
        return best, without - u * np.outer(s, s) if u else without

    def _best(self, M: Array, s: Array, ends: Array) -> float:
        residual, along = M @ self.y, s @ self.y
        a = float((residual**2).sum()) + self.rest
        b, d = float(along @ (s @ residual)), float(s @ s)
        c, T = float(along @ along) * d, self.freedom + float(np.trace(M))
        below = c * T - b * d
        inner = (b * T - a * d) / below if below else ends[0]
        # The first of equal values is taken: a feature that changes nothing stays out.
        u = np.array([ends[0], np.clip(inner, *ends), ends[1]])
        f = T - d * u
        fine = f > _LEAST_FREEDOM * self.weight
        value = (a - 2.0 * b * u + c * u * u) / np.where(fine, f, 1.0) ** 2
        return float(u[np.where(fine, value, np.inf).argmin()])
