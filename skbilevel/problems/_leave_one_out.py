"""Leave-one-out and generalized cross-validation of ridge as functions of ``v``.

Rows are multiplied by the square roots of their weights and the unpenalized columns
``E`` are projected out. With ``M = (I + X V X^T)^-1``, ``r = M y``, ``u = X^T r``,
``B = M X``, ``h`` the leverages of ``E``, ``S = sum_i s_i`` and m the rank of E::

    leave-one-out   D_i = M_ii - h_i,  e = r / D,   F = 0.5 sum e^2 / S
        dF/dv_j = ( -u_j (B^T (e / D))_j + ((B * B)^T (e^2 / D))_j ) / S

    GCV             f = tr(M) - m - (n - S),  F = 0.5 S sum r^2 / f^2
        dF/dv_j = S ( -u_j (B^T r)_j / f^2 + sum r^2 |B_j|^2 / f^3 )

Several targets share M; their terms add up. A weighted row leaves as a whole: its
squared error counts ``s_i`` times. GCV treats weights as counts of repeated rows, so
that ``n`` is replaced by S in the degrees of freedom ``f``.

A move ``dv = D dtheta`` changes the residuals by ``-B R`` with ``R_t = D * u_t``, and
the degrees of freedom of row i by ``-((B * B) D)_i``. Gauss-Newton matrices are::

    leave-one-out   J = (e * ((B * B) D) - B R) / D_i,    H = J^T J / S
    GCV             c = D^T (|B_j|^2),  q = R^T T^T u
                    H = S ( (B R)^T (B R) / f^2 - (q c^T + c q^T) / f^3
                            + |r|^2 c c^T / f^4 )
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import CriterionPoint
from skbilevel.problems._datafit import QuadraticDataFit
from skbilevel.problems._dense_spd import (
    factor_spd,
    inverse_of_factor,
    preconditioned,
)
from skbilevel.problems._swept_rows import SweptRows

# A row that determines a coefficient alone has no out-of-sample residual.
_LEAST_FREEDOM = 1e-10
# Below this v_j G_jj the quick formula for diag(T^T G T) would cancel.
_SMALL = 1e-3


@record
class _Primal:
    """``K = I + d G d``, its inverse, coefficients and ``u`` at one ``v``."""

    v: Array
    inverse: Array
    W: Array
    u: Array

    @classmethod
    def at(cls, moments: QuadraticDataFit, v: Array) -> _Primal:
        d = np.sqrt(v)
        inverse = inverse_of_factor(factor_spd(preconditioned(moments.gram, d)))
        omega = inverse @ (d[:, None] * moments.cross)
        W = d[:, None] * omega
        u = np.where(v[:, None] > 0, omega / _safe(d)[:, None], 0.0)
        if not v.all():
            u = np.where(v[:, None] > 0, u, moments.cross - moments.gram @ W)
        return cls(v, inverse, W, u)

    def columns_of_T(self, gram: Array, index: Array | slice) -> Array:
        """Columns of ``T = (I + V G)^-1``, so that ``B = X T``."""
        d = np.sqrt(self.v)
        T = d[:, None] * self.inverse[:, index] / _safe(d[index])
        gone = np.flatnonzero(self.v[index] == 0)
        if gone.size:
            columns = np.arange(len(d))[index][gone]
            T[:, gone] = -d[:, None] * (self.inverse @ (d[:, None] * gram[:, columns]))
            T[columns, gone] += 1.0
        return np.asarray(T)


def _safe(d: Array) -> Array:
    return np.where(d > 0, d, 1.0)


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-out loss of ridge with the strengths of the full data.

    Half the squared error of each row predicted from the others, averaged with the
    row weights (units of `BilevelProblem`: half of a mean squared error).

    Parameters
    ----------
    rows : SweptRows
        All rows.
    dual : bool or None
        Whether to factor (n, n) instead of (p, p) matrices; by default if n < p.

    Notes
    -----
    A call costs ``2 n p^2 + p^3`` operations in the primal and ``2 n^2 p + n^3`` in
    the dual; memory beyond the rows is one matrix of the factored size and a block.
    """

    rows: SweptRows
    dual: bool | None = None
    has_curvature: ClassVar[bool] = True

    @property
    def n_features(self) -> int:
        """Number of variances."""
        return self.rows.n_features

    @property
    def _use_dual(self) -> bool:
        n, p = self.rows.design.shape
        return bool(n < p) if self.dual is None else self.dual

    def at(self, v: Array) -> CriterionPoint:
        """Value, gradient and Gauss-Newton matrix at ``v``."""
        return self._dual(v) if self._use_dual else self._primal(v)

    def errors(self, v: Array) -> Array:
        """Errors (n, t) of rows predicted from the others, times root weights."""
        rows = self.rows
        if self._use_dual:
            _, residual, freedom = self._dual_rows(v)
            return np.asarray(residual / np.maximum(freedom, _LEAST_FREEDOM)[:, None])
        out = np.empty_like(rows.target)
        for index, _, freedom, residual in self._blocks(_Primal.at(rows.moments, v)):
            out[index] = residual / np.maximum(freedom, _LEAST_FREEDOM)[:, None]
        return out

    def _blocks(
        self, point: _Primal
    ) -> Iterator[tuple[Array | slice, Array, Array, Array]]:
        """Row numbers, ``B``, ``D`` and residuals, a few rows at a time."""
        rows = self.rows
        T = point.columns_of_T(rows.moments.gram, slice(None))
        for index, X in rows.row_blocks():
            B = X @ T
            freedom = 1.0 - (B * X) @ point.v - rows.free_leverage[index]
            yield index, B, freedom, rows.target[index] - X @ point.W

    def _dual_rows(self, v: Array) -> tuple[Array, Array, Array]:
        """``M``, residuals and ``D``."""
        M = _dual_inverse(self.rows, v)
        return M, M @ self.rows.target, np.diagonal(M) - self.rows.free_leverage

    def _primal(self, v: Array) -> CriterionPoint:
        rows = self.rows
        point = _Primal.at(rows.moments, v)
        p, t = point.W.shape
        total = float(rows.weight.sum())
        value, linear, square = 0.0, np.zeros((p, t)), np.zeros(p)
        for _, B, freedom, residual in self._blocks(point):
            part = _row_terms(residual, freedom)
            value += part[0]
            linear += B.T @ part[1]
            square += (B * B).T @ part[2]
        grad = (square - (point.u * linear).sum(axis=1)) / total

        def curvature(D: Array) -> Array:
            out = np.zeros((D.shape[1], D.shape[1]))
            for _, B, freedom, residual in self._blocks(point):
                images = np.stack([B @ (D * u[:, None]) for u in point.u.T])
                out += _sum_of_squares(residual, freedom, images, (B * B) @ D)
            return out / total

        return CriterionPoint(float(value / total), grad, curvature)

    def _dual(self, v: Array) -> CriterionPoint:
        rows, (M, residual, freedom) = self.rows, self._dual_rows(v)
        value, ratio, square = _row_terms(residual, freedom)
        grad = np.empty(rows.n_features)
        for index, X in rows.column_blocks():
            B = M @ X
            linear = (X.T @ residual) * (B.T @ ratio)
            grad[index] = (B * B).T @ square - linear.sum(axis=1)
        total = float(rows.weight.sum())

        def curvature(D: Array) -> Array:
            images, square = _dual_images(rows, M, residual, D)
            return _sum_of_squares(residual, freedom, images, square) / total

        return CriterionPoint(float(value / total), grad / total, curvature)


def _row_terms(residual: Array, freedom: Array) -> tuple[float, Array, Array]:
    """``0.5 sum e^2``, ``e / D`` and ``sum_t e^2 / D``."""
    D = np.maximum(freedom, _LEAST_FREEDOM)[:, None]
    e = residual / D
    return 0.5 * float((e * e).sum()), e / D, (e * e / D).sum(axis=1)


def _sum_of_squares(
    residual: Array, freedom: Array, images: Array, square: Array
) -> Array:
    free = np.maximum(freedom, _LEAST_FREEDOM)[:, None]
    out = np.zeros((square.shape[1], square.shape[1]))
    for k, image in enumerate(images):
        J = (residual[:, k : k + 1] / free * square - image) / free
        out += J.T @ J
    return out


def _dual_images(
    rows: SweptRows, M: Array, residual: Array, D: Array
) -> tuple[Array, Array]:
    """``B R`` (t, n, g) and ``(B * B) D`` (n, g)."""
    n, g = len(M), D.shape[1]
    images, square = np.zeros((residual.shape[1], n, g)), np.zeros((n, g))
    for index, X in rows.column_blocks():
        B, u = M @ X, X.T @ residual
        square += (B * B) @ D[index]
        for image, moved in zip(images, u.T, strict=True):
            image += B @ (D[index] * moved[:, None])
    return images, square


def _dual_inverse(rows: SweptRows, v: Array) -> Array:
    """``(I + X V X^T)^-1`` of the swept rows."""
    n = len(rows.weight)
    K = np.eye(n)
    root = np.sqrt(v)
    for index, X in rows.column_blocks():
        scaled = X * root[index]
        K += scaled @ scaled.T
    return inverse_of_factor(factor_spd(K))


@dataclass(frozen=True)
class GCV:
    """Generalized cross-validation of ridge with the strengths of the full data.

    Parameters
    ----------
    moments : QuadraticDataFit or None
        Moments of swept rows: all that the primal needs, at ``p^3`` a call.
    free_rank : float
        Rank of the unpenalized columns, the constant one included.
    rows : SweptRows or None
        Rows instead of moments for the dual, at ``2 n^2 p + n^3`` a call.
    """

    moments: QuadraticDataFit | None = None
    free_rank: float = 0.0
    rows: SweptRows | None = None
    has_curvature: ClassVar[bool] = True

    @classmethod
    def of(cls, rows: SweptRows, dual: bool | None = None) -> GCV:
        """From rows; in the dual by default if n < p."""
        n, p = rows.design.shape
        if n < p if dual is None else dual:
            return cls(None, rows.free_rank, rows)
        return cls(rows.moments, rows.free_rank)

    @property
    def n_features(self) -> int:
        """Number of variances."""
        source = self.moments if self.rows is None else self.rows
        assert source is not None
        return source.n_features

    def at(self, v: Array) -> CriterionPoint:
        """Value, gradient and Gauss-Newton matrix at ``v``."""
        if self.rows is not None:
            return self._dual(self.rows, v)
        assert self.moments is not None
        return self._primal(self.moments, v)

    def _primal(self, moments: QuadraticDataFit, v: Array) -> CriterionPoint:
        point = _Primal.at(moments, v)
        weight = float(moments.weight_sum)
        # |r|^2 = y.y - (C + u).W, since u = C - G W.
        fit = ((moments.cross + point.u) * point.W).sum()
        rss = max(float(moments.yy.sum() - fit), 0.0)
        effective = len(v) - float(np.trace(point.inverse))
        linear = (point.u * self._shrunk(moments, point)).sum(axis=1)

        def moved(D: Array) -> tuple[Array, Array]:
            T = point.columns_of_T(moments.gram, slice(None))
            steps = [T @ (D * u[:, None]) for u in point.u.T]
            inner = sum(step.T @ (moments.gram @ step) for step in steps)
            along = sum(step.T @ u for step, u in zip(steps, point.u.T, strict=True))
            return np.asarray(inner), np.asarray(along)

        column = _column_norms(moments, point)
        return self._point(weight, rss, effective, linear, column, moved)

    def _shrunk(self, moments: QuadraticDataFit, point: _Primal) -> Array:
        """``B^T r = T^T u``."""
        d = np.sqrt(point.v)[:, None]
        omega = point.inverse @ (d * point.u)
        out = omega / _safe(d)
        if not point.v.all():
            out = np.where(d > 0, out, point.u - moments.gram @ (d * omega))
        return np.asarray(out)

    def _dual(self, rows: SweptRows, v: Array) -> CriterionPoint:
        M = _dual_inverse(rows, v)
        residual = M @ rows.target
        effective = len(M) - float(np.trace(M))
        linear, column = np.empty(len(v)), np.empty(len(v))
        for index, X in rows.column_blocks():
            B = M @ X
            linear[index] = ((X.T @ residual) * (B.T @ residual)).sum(axis=1)
            column[index] = (B * B).sum(axis=0)

        def moved(D: Array) -> tuple[Array, Array]:
            images, _ = _dual_images(rows, M, residual, D)
            inner = sum(image.T @ image for image in images)
            along = sum(
                image.T @ r for image, r in zip(images, residual.T, strict=True)
            )
            return np.asarray(inner), np.asarray(along)

        weight, rss = float(rows.weight.sum()), float((residual**2).sum())
        return self._point(weight, rss, effective, linear, column, moved)

    def _point(
        self,
        weight: float,
        rss: float,
        effective: float,
        linear: Array,
        column: Array,
        moved: Callable[[Array], tuple[Array, Array]],
    ) -> CriterionPoint:
        """From sums that both forms have; ``moved`` is ``(B R)^T (B R)`` and ``q``."""
        f = max(weight - self.free_rank - effective, _LEAST_FREEDOM)
        grad = weight * (rss * column / f - linear) / f**2

        def curvature(D: Array) -> Array:
            inner, q = moved(D)
            c = D.T @ column
            mixed = np.outer(q, c)
            square = rss * np.outer(c, c) / f**4
            out = inner / f**2 - (mixed + mixed.T) / f**3 + square
            return np.asarray(weight * out)

        return CriterionPoint(0.5 * weight * rss / f**2, grad, curvature)


def _column_norms(moments: QuadraticDataFit, point: _Primal) -> Array:
    """``|B_j|^2``, the diagonal of ``T^T G T``."""
    v, inverse = point.v, point.inverse
    shrunk = np.diagonal(inverse) - np.einsum("ij,ij->j", inverse, inverse)
    out = shrunk / np.where(v > 0, v, 1.0)
    small = np.flatnonzero(v * np.diagonal(moments.gram) < _SMALL)
    if small.size:
        T = point.columns_of_T(moments.gram, small)
        out[small] = (T * (moments.gram @ T)).sum(axis=0)
    return np.asarray(out)
