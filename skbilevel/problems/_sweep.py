"""Elimination of the intercept and other unpenalized columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array

# Singular values of unpenalized columns of size one that are zero but for rounding,
# relative to the largest: those of moments are squares.
RANK = 3e-7
# What is left of a sum of squares is rounding below this share of it.
ROUNDING = 64.0 * np.finfo(float).eps


def regression_map(Z: Array) -> Array:
    """Matrices (..., m, n) that regress on the columns of Z (..., n, m).

    Where columns are collinear, coefficients are the shortest ones of columns of unit
    length: a unit of a column changes no rank and no prediction.
    """
    size = np.linalg.norm(Z, axis=-2, keepdims=True)
    size = np.where(size > 0.0, size, 1.0)
    return np.asarray(np.linalg.pinv(Z / size, rcond=RANK) / np.swapaxes(size, -1, -2))


@dataclass(frozen=True)
class Sweep:
    """Elimination of the intercept and other unpenalized columns.

    ``T eta = eta - E (P eta)``, where ``P`` regresses on the columns of ``E`` using
    training rows only, and ``T`` applies to all rows: this is how the intercept of a
    training set reaches its validation rows.

    Parameters
    ----------
    free : ndarray of shape (n, m)
        Unpenalized columns of all rows, the constant one among them.
    maps : ndarray of shape (..., m, n)
        ``P``; columns of rows outside the training set are zero.
    """

    free: Array
    maps: Array

    @classmethod
    def of(cls, free: Array, weight: Array) -> Sweep:
        """Weighted least squares on rows of weight (..., n); minimum norm."""
        if free.shape[1] == 1 and (free == 1.0).all():
            total = weight.sum(axis=-1, keepdims=True)
            maps = weight / np.where(total > 0, total, 1.0)
            return cls(free, maps[..., None, :])
        root = np.sqrt(weight)[..., None]
        return cls(free, regression_map(root * free) * np.swapaxes(root, -1, -2))

    def coef(self, eta: Array) -> Array:
        """``P eta`` of shape (..., m, t)."""
        return np.asarray(self.maps @ eta)

    def apply(self, eta: Array) -> Array:
        """``T eta`` for eta of shape (..., n, t)."""
        return np.asarray(eta - self.free @ self.coef(eta))

    def adjoint(self, R: Array) -> Array:
        """``T^T R`` for R of shape (..., n, t)."""
        inner = self.free.T @ R
        return np.asarray(R - np.swapaxes(self.maps, -1, -2) @ inner)
