"""Factors, inverses and diagonals of symmetric positive definite matrices."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from skbilevel._typing import Array

# Below this size the loop over LAPACK calls costs more than the plain inverse.
_LOOP_FROM = 40
# First relative jitter of a matrix that rounding made indefinite.
_JITTER = 1e-13


def diagonal_of(K: Array) -> Array:
    """The diagonals of a stack (..., p, p) as a view, whatever its memory order."""
    return np.asarray(np.einsum("...ii->...i", K))


def factor_spd(K: Array) -> Array:
    """Lower Cholesky factor of a matrix, which is overwritten.

    The upper triangle of the result holds other numbers. Where rounding made the
    matrix indefinite, its diagonal grows by a share of itself until there is a factor.
    """
    if not K.size:
        return K
    diagonal, jitter = diagonal_of(K).copy(), 0.0
    while True:
        # A symmetric matrix is its transpose, and LAPACK wants columns first. It
        # writes over one triangle, from which the other one can be restored.
        factor, info = lapack.dpotrf(K.T, lower=1, overwrite_a=1, clean=0)
        if info == 0 and np.isfinite(diagonal_of(factor)).all():
            return np.asarray(factor)
        jitter = max(_JITTER, 100.0 * jitter)
        if jitter > 1e3 or not np.isfinite(diagonal).all():
            raise FloatingPointError(
                "The inner system is not finite; restrict alpha_bounds."
            )
        lower = np.tril(K, -1)
        K = lower + lower.T
        diagonal_of(K)[...] = diagonal * (1.0 + jitter)


def inverse_of_factor(L: Array, out: Array | None = None) -> Array:
    """Inverse of the matrix of which L is the lower factor."""
    if not L.size:
        return L
    lower = np.tril(lapack.dpotri(L, lower=1)[0])
    out = np.add(lower, lower.T, out=out)
    diagonal_of(out)[...] *= 0.5
    return np.asarray(out)


def inverse_of_lower(L: Array) -> Array:
    """Inverse of a lower factor, above whose diagonal other numbers stand."""
    return np.tril(lapack.dtrtri(L, lower=1)[0]) if L.size else np.zeros(L.shape)


def solve_spd(K: Array, b: Array) -> Array:
    """Solutions of a stack of systems (m, p, p), which are overwritten."""
    if K.shape[-1] < _LOOP_FROM:
        return np.linalg.solve(K, b[..., None])[..., 0]
    pairs = zip(K, b, strict=True)
    return np.stack([lapack.dpotrs(factor_spd(A), c, lower=1)[0] for A, c in pairs])


def inverse_and_logdet(K: Array) -> tuple[Array, Array]:
    """Inverses and log determinants of a stack (..., p, p) of ``I + PSD``."""
    p = K.shape[-1]
    if p < _LOOP_FROM:
        return np.linalg.inv(K), np.asarray(np.linalg.slogdet(K)[1])
    inverse, logdet = np.array(K, order="C").reshape(-1, p, p), []
    for each in inverse:
        factor = factor_spd(each)
        logdet.append(2.0 * np.log(diagonal_of(factor)).sum())
        inverse_of_factor(factor, out=each)
    return inverse.reshape(K.shape), np.reshape(logdet, K.shape[:-2])


def preconditioned(gram: Array, d: Array) -> Array:
    """``I + diag(d) G diag(d)`` for stacks of Gram matrices."""
    K = d[..., :, None] * gram * d[..., None, :]
    diagonal_of(K)[...] += 1.0
    return K
