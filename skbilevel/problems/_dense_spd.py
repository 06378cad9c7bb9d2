"""Inverses and solves of stacks of small symmetric positive definite matrices."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from skbilevel._typing import Array

# Below this size the loop over LAPACK calls costs more than the plain inverse.
_LOOP_FROM = 40


def inverse_spd(K: Array) -> Array:
    """Inverse of a stack (..., p, p) of well conditioned matrices ``I + PSD``."""
    p = K.shape[-1]
    if p < _LOOP_FROM:
        return np.linalg.inv(K)
    out = np.empty_like(K)
    for source, target in zip(K.reshape(-1, p, p), out.reshape(-1, p, p), strict=True):
        # A symmetric matrix is its transpose, and LAPACK wants columns first.
        factor, info = lapack.dpotrf(source.T, lower=1)
        if info:
            target[...] = np.linalg.inv(source)
            continue
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        # potri fills one triangle and leaves zeros in the other.
        np.add(inverse, inverse.T, out=target)
        target.flat[:: p + 1] *= 0.5
    return out


def logdet_spd(K: Array) -> Array:
    """Log determinants of a stack of symmetric positive definite matrices."""
    factor = np.linalg.cholesky(K)
    return np.asarray(
        2.0 * np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    )


def preconditioned(gram: Array, d: Array) -> Array:
    """``I + diag(d) G diag(d)`` for stacks of Gram matrices."""
    K = d[..., :, None] * gram * d[..., None, :]
    index = np.arange(K.shape[-1])
    K[..., index, index] += 1.0
    return K
