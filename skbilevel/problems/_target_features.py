"""Products with features that targets share, or of which each has its own.

Three forms: an array (n, r) for all targets, `Scaled` columns of one matrix, and an
array (t, n, r), which factors of different kernels need.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.linalg import solve_triangular

from skbilevel._records import record
from skbilevel._typing import Array


@record
class Scaled:
    """Columns of one matrix, which every target scales in its own way.

    Parameters
    ----------
    base : ndarray of shape (n, r)
        The columns.
    scale : ndarray of shape (r, t)
        Their factors.
    """

    base: Array
    scale: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the array (t, n, r) this stands for."""
        return (self.scale.shape[1], *self.base.shape)

    def __len__(self) -> int:
        """Return the number of targets."""
        return int(self.scale.shape[1])

    def __iter__(self) -> Iterator[Array]:
        """Iterate over the features (n, r) of the targets."""
        return (self[c] for c in range(len(self)))

    def __getitem__(self, target: int) -> Array:
        """Return the features (n, r) of one target."""
        return self.base * self.scale[:, target]


Features = Array | Scaled


def is_shared(Z: Features) -> bool:
    """Whether all targets have the same features."""
    return len(Z.shape) == 2


def predict(Z: Features, T: Array) -> Array:
    """``Z T``; classes one after the other in memory, sums over them are fast then."""
    if isinstance(Z, Scaled):
        return predict(Z.base, Z.scale * T)
    if not is_shared(Z):
        return np.asarray((Z @ T.T[:, :, None])[:, :, 0].T)
    return Z @ T if T.shape[1] == 1 else (T.T @ Z.T).T


def pull(Z: Features, R: Array) -> Array:
    """``Z^T R``."""
    if isinstance(Z, Scaled):
        return np.asarray(Z.scale * (Z.base.T @ R))
    if not is_shared(Z):
        return np.asarray((R.T[:, None, :] @ Z)[:, 0, :].T)
    return np.asarray(Z.T @ R)


def solve_transposed(L: Array, T: Array) -> Array:
    """``L^-T T`` for lower factors of kernels: one of all targets, or of each."""
    solve = partial(solve_triangular, trans=1, lower=True, check_finite=False)
    if is_shared(L):
        return np.asarray(solve(L, T))
    return np.stack([solve(own, T[:, c]) for c, own in enumerate(L)], axis=1)


def take_rows(Z: Features, rows: slice) -> Features:
    """Some rows of the features."""
    if isinstance(Z, Scaled):
        return Scaled(Z.base[rows], Z.scale)
    return Z[..., rows, :]


def by_target(Z: Features, n_targets: int) -> Features | list[Array]:
    """Features of every target in turn: a sequence of (n, r)."""
    if isinstance(Z, Scaled) or not is_shared(Z):
        return Z
    return [Z] * n_targets


def prepend(head: Array, Z: Features) -> Features:
    """Features behind columns (n, m) that all targets have."""
    if isinstance(Z, Scaled):
        ones = np.ones((head.shape[1], len(Z)))
        return Scaled(np.hstack([head, Z.base]), np.vstack([ones, Z.scale]))
    if is_shared(Z):
        return np.hstack([head, Z])
    return np.concatenate([by_target(head, len(Z)), Z], axis=2)


def by_columns(v: Array) -> Array:
    """Variances that multiply coefficients: (p, 1) where targets share them."""
    return v if v.ndim == 2 else v[:, None]
