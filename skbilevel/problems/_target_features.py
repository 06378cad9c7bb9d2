"""Products with features that targets share, (n, r), or have one each, (t, n, r)."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array


def predict(Z: Array, T: Array) -> Array:
    """``Z T``; classes one after the other in memory, sums over them are fast then."""
    if Z.ndim == 3:
        return np.asarray((Z @ T.T[:, :, None])[:, :, 0].T)
    return np.asarray(Z @ T if T.shape[1] == 1 else (T.T @ Z.T).T)


def pull(Z: Array, R: Array) -> Array:
    """``Z^T R``."""
    if Z.ndim == 3:
        return np.asarray((R.T[:, None, :] @ Z)[:, 0, :].T)
    return np.asarray(Z.T @ R)


def by_target(Z: Array, n_targets: int) -> Array:
    """A view of shape (t, n, r)."""
    return np.broadcast_to(Z, (n_targets, *Z.shape[-2:]))
