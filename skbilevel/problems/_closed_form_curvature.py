"""Gauss-Newton matrices of leave-one-out and generalized cross-validation.

With the notation of `skbilevel.problems._leave_one_out`, a move ``dv = D dtheta``
changes the residuals by ``-B R`` with ``R_t = D * u_t``, and the degrees of freedom of
row i by ``-((B * B) D)_i``::

    leave-one-out   J = (e * ((B * B) D) - B R) / D_i,    H = J^T J / S
    GCV             c = D^T (|B_j|^2),  q = R^T T^T u
                    H = S ( (B R)^T (B R) / f^2 - (q c^T + c q^T) / f^3
                            + |r|^2 c c^T / f^4 )
"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._leave_one_out import (
    _LEAST_FREEDOM,
    GCV,
    LeaveOneOut,
    _dual_inverse,
    _Primal,
)
from skbilevel.problems._swept_rows import SweptRows


def leave_one_out_curvature(criterion: LeaveOneOut, v: Array, D: Array) -> Array:
    """Matrix (g, g) for the derivative ``D = dv / dtheta`` of shape (p, g)."""
    rows, t = criterion.rows, criterion.rows.target.shape[1]
    g = D.shape[1]
    out = np.zeros((g, g))
    total = float(rows.weight.sum())
    if criterion._use_dual:
        M, residual, moved = _dual_parts(rows, v)
        images, square = np.zeros((t, len(M), g)), np.zeros((len(M), g))
        for index, X in rows.column_blocks():
            B = M @ X
            square += (B * B) @ D[index]
            for k in range(t):
                images[k] += B @ (D[index] * moved[index, k : k + 1])
        freedom = np.diagonal(M) - rows.free_leverage
        return _sum_of_squares(residual, freedom, images, square) / total
    point = _Primal.at(rows.moments, v)
    T = point.columns_of_T(rows.moments.gram, slice(None))
    # R is known before the rows are: T R once, and products with few columns.
    steps = [T @ (D * point.u[:, k : k + 1]) for k in range(t)]
    for block, X in rows.row_blocks():
        B = X @ T
        freedom = 1.0 - (B * X) @ v - rows.free_leverage[block]
        residual = rows.target[block] - X @ point.W
        images = np.stack([X @ step for step in steps])
        out += _sum_of_squares(residual, freedom, images, (B * B) @ D)
    return out / total


def _sum_of_squares(
    residual: Array, freedom: Array, images: Array, square: Array
) -> Array:
    free = np.maximum(freedom, _LEAST_FREEDOM)[:, None]
    out = np.zeros((square.shape[1], square.shape[1]))
    for k, image in enumerate(images):
        J = (residual[:, k : k + 1] / free * square - image) / free
        out += J.T @ J
    return out


def _dual_parts(rows: SweptRows, v: Array) -> tuple[Array, Array, Array]:
    """``M``, residuals, and ``u = X^T r``."""
    M = _dual_inverse(rows, v)
    residual = M @ rows.target
    moved = np.empty((len(v), residual.shape[1]))
    for index, X in rows.column_blocks():
        moved[index] = X.T @ residual
    return M, residual, moved


def gcv_curvature(criterion: GCV, v: Array, D: Array) -> Array:
    """Matrix (g, g) for the derivative ``D = dv / dtheta`` of shape (p, g)."""
    g = D.shape[1]
    inner, along = np.zeros((g, g)), np.zeros(g)
    if criterion.rows is not None:
        rows = criterion.rows
        M, residual, moved = _dual_parts(rows, v)
        images = np.zeros((residual.shape[1], len(M), g))
        column = np.empty(len(v))
        for index, X in rows.column_blocks():
            B = M @ X
            column[index] = (B * B).sum(axis=0)
            for k, image in enumerate(images):
                image += B @ (D[index] * moved[index, k : k + 1])
        for k, image in enumerate(images):
            inner += image.T @ image
            along += image.T @ residual[:, k]
        weight, rss = float(rows.weight.sum()), float((residual**2).sum())
        effective = len(M) - float(np.trace(M))
    else:
        moments = criterion.moments
        assert moments is not None
        point = _Primal.at(moments, v)
        T = point.columns_of_T(moments.gram, slice(None))
        column = (T * (moments.gram @ T)).sum(axis=0)
        for k in range(point.u.shape[1]):
            step = T @ (D * point.u[:, k : k + 1])
            inner += step.T @ (moments.gram @ step)
            along += step.T @ point.u[:, k]
        weight = float(moments.weight_sum)
        rss = float(moments.yy.sum() - ((moments.cross + point.u) * point.W).sum())
        effective = len(v) - float(np.trace(point.inverse))
    f = max(weight - criterion.free_rank - effective, _LEAST_FREEDOM)
    c = D.T @ column
    mixed = np.outer(along, c)
    square = max(rss, 0.0) * np.outer(c, c) / f**4
    return np.asarray(weight * (inner / f**2 - (mixed + mixed.T) / f**3 + square))
