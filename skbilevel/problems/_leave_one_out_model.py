"""Leave-one-out loss of ridge with its Gauss-Newton model in ``log v``.

With the notation of `skbilevel.problems._leave_one_out`, ``R_t = v * u_t`` and
``A = (B * B) v / D``, ``C = B / D`` (rows divided by ``D_i``)::

    d e_t / d log v = e_t * A - C * R_t

so that the sum over targets needs three products of (n, p) matrices for any number
of targets, ``E`` of shape (n, t) being the errors::

    J^T J = A^T diag(sum_t e_t^2) A - Q - Q^T + (C^T C) * (R R^T)
    Q = A^T ((E R^T) * C)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._leave_one_out import _LEAST_FREEDOM, _dual_inverse, _Primal
from skbilevel.problems._resampled import LeastSquaresModel
from skbilevel.problems._swept_rows import SweptRows

# A block and what is made of it stay in the cache.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class LeftOutRows:
    """Squared errors of rows predicted from all others, of one training set.

    Parameters
    ----------
    rows : SweptRows
        The training rows; a weighted row leaves as a whole.
    scale : float
        Divides the sum of squares.
    dual : bool
        Whether to factor (n, n) matrices, and to know the Gauss-Newton matrix through
        products only.

    Notes
    -----
    Cost of one evaluation: ``6 n p^2 + p^3`` in the primal, ``2 n^2 p + n^3`` in the
    dual, and ``4 n p`` for each of its products.
    """

    rows: SweptRows
    scale: float
    dual: bool

    def at(self, log_v: Array) -> LeastSquaresModel:
        """Model at ``log_v`` of shape (1, p)."""
        v = np.exp(log_v[0])
        return self._dual(v) if self.dual else self._primal(v)

    def _primal(self, v: Array) -> LeastSquaresModel:
        rows, p = self.rows, len(v)
        point = _Primal.at(rows.moments, v)
        T = point.columns_of_T(rows.moments.gram, slice(None))
        R = v[:, None] * point.u
        value, slope = 0.0, np.zeros(p)
        normal, inner = np.zeros((p, p)), np.zeros((p, p))
        for index, X in self._row_blocks():
            B = X @ T
            freedom = 1.0 - (B * X) @ v - rows.free_leverage[index]
            D = np.maximum(freedom, _LEAST_FREEDOM)[:, None]
            e = (rows.target[index] - X @ point.W) / D
            C = B / D
            A = B * C * v
            square = (e * e).sum(axis=1)
            value += float(square.sum())
            slope += square @ A - (R * (C.T @ e)).sum(axis=1)
            cross = A.T @ ((e @ R.T) * C)
            scaled = np.sqrt(square)[:, None] * A
            normal += scaled.T @ scaled - cross - cross.T
            inner += C.T @ C
        normal += inner * (R @ R.T)
        return LeastSquaresModel.of(
            np.array([value / self.scale]),
            2.0 * slope[None] / self.scale,
            normal[None] / self.scale,
        )

    def _row_blocks(self) -> Iterator[tuple[Array, Array]]:
        """Row numbers and swept rows, as many as the cache holds."""
        n, p = self.rows.design.shape
        step = max(64, _BLOCK_BYTES // (8 * max(p, 1)))
        for index, X in self.rows.row_blocks():
            number = np.arange(n)[index]
            for start in range(0, len(X), step):
                part = slice(start, start + step)
                yield number[part], X[part]

    def _dual(self, v: Array) -> LeastSquaresModel:
        rows = self.rows
        M = _dual_inverse(rows, v)
        residual = M @ rows.target
        D = np.maximum(np.diagonal(M) - rows.free_leverage, _LEAST_FREEDOM)[:, None]
        e = residual / D
        B, R = np.empty(rows.design.shape), np.empty((len(v), e.shape[1]))
        for index, X in rows.column_blocks():
            B[:, index] = M @ X
            R[index] = v[index, None] * (X.T @ residual)
        moved = _Moved(B, B * B, e, D, R, v)
        grad = 2.0 * moved.adjoint(e) / self.scale

        def product(x: Array) -> Array:
            return moved.adjoint(moved.apply(x[0]))[None] / self.scale

        value = np.array([float((e * e).sum()) / self.scale])
        return LeastSquaresModel(value, grad[None], product, None)


@dataclass(frozen=True)
class _Moved:
    """Derivative of the errors, ``J x = (e * ((B * B) (v * x)) - B (R * x)) / D``."""

    B: Array
    square: Array
    e: Array
    D: Array
    R: Array
    v: Array

    def apply(self, x: Array) -> Array:
        """``J x`` of shape (n, t)."""
        freed = self.square @ (self.v * x)
        return np.asarray(
            (self.e * freed[:, None] - self.B @ (self.R * x[:, None])) / self.D
        )

    def adjoint(self, r: Array) -> Array:
        """``J^T r`` of shape (p,)."""
        r = r / self.D
        along = (self.e * r).sum(axis=1)
        pulled = (self.R * (self.B.T @ r)).sum(axis=1)
        return np.asarray(self.v * (along @ self.square) - pulled)
