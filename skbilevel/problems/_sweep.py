"""Elimination of the intercept and other unpenalized columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array


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
        maps = np.linalg.pinv(root * free) * np.swapaxes(root, -1, -2)
        return cls(free, maps)

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
