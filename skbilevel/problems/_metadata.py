"""Strengths as a function of feature metadata: the guard for very many features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from skbilevel._typing import Array
from skbilevel.problems._parametrizations import LOG_LIMIT, Parametrization, log_of

# Columns that depart from their mean by less than this share of it are constant.
_ROUNDING = 1e-10


def metadata_transform(
    Z: Array, weight: Array | None = None, mean: Array | None = None
) -> Array:
    """Matrix T such that the columns of ``(Z - mean) T`` are orthonormal.

    From a pivoted QR of ``diag(sqrt(weight)) (Z - mean)``; collinear columns are
    dropped, so T has shape (q, r) with r the rank, and so are those that differ from
    their mean by rounding alone. Raw columns break a quasi-Newton search.

    Parameters
    ----------
    Z : ndarray of shape (p, q)
        Metadata, one row per feature.
    weight : ndarray of shape (p,), optional
        Weight of each feature, summing to one; equal by default. Half equal and half
        proportional to the square root of the number of rows a feature occurs in
        keeps common features from moving by many times the nominal step.
    mean : ndarray of shape (q,), optional
        Subtracted from every row; nothing by default.
    """
    p, q = Z.shape
    if not p:
        return np.zeros((q, 0))
    weight = np.full(p, 1.0 / p) if weight is None else weight
    mean = np.zeros(q) if mean is None else mean
    Z = Z - mean
    # Columns of very different scales are equally informative.
    norm = np.sqrt(np.einsum("i,ij,ij->j", weight, Z, Z))
    scale = np.where(norm > _ROUNDING * np.abs(mean), norm, np.inf)
    Z *= np.sqrt(weight)[:, None]
    Z /= scale
    R, pivot = qr(Z, mode="r", pivoting=True, overwrite_a=True)
    diagonal = np.abs(np.diag(R))
    rank = int((diagonal > 1e-10 * max(diagonal.max(initial=0.0), 1e-300)).sum())
    T = np.zeros((q, rank))
    T[pivot[:rank]] = solve_triangular(R[:rank, :rank], np.eye(rank))
    return np.asarray(T / scale[:, None])


@dataclass(frozen=True)
class MetadataStrengths(Parametrization):
    """Strengths as a function of feature metadata.

    ::

        log v = clip(offset + Z beta + delta, lower, upper)

    Parameters
    ----------
    Z : ndarray of shape (p, q)
        Metadata columns, made orthonormal by `metadata_transform`.
    offset : float
        ``log v`` at ``beta = 0``, usually of the best shared strength.
    lower, upper : float
        The box around it.
    deviations : bool
        Whether ``theta = (beta, delta)`` with one free deviation for every feature.
    """

    Z: Array
    offset: float = 0.0
    lower: float = -LOG_LIMIT
    upper: float = LOG_LIMIT
    deviations: bool = False

    @property
    def size(self) -> int:
        """q, or q + p with deviations."""
        p, q = self.Z.shape
        return int(q + p if self.deviations else q)

    def _log_v(self, theta: Array) -> Array:
        q = self.Z.shape[1]
        shape = self.offset + self.Z @ theta[:q]
        return np.asarray(shape + theta[q:] if self.deviations else shape)

    def v(self, theta: Array) -> Array:
        """Prior variances."""
        return np.asarray(np.exp(np.clip(self._log_v(theta), self.lower, self.upper)))

    def _slope(self, theta: Array) -> Array:
        """Derivative of the variances in ``log v``; zero where it is clipped."""
        log_v = self._log_v(theta)
        inside = (log_v > self.lower) & (log_v < self.upper)
        slope = np.exp(np.clip(log_v, self.lower, self.upper))
        return np.asarray(np.where(inside, slope, 0.0))

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta``; zero through features that are clipped."""
        inner = self._slope(theta) * grad
        beta = self.Z.T @ inner
        return np.concatenate([beta, inner]) if self.deviations else np.asarray(beta)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the variances."""
        slope = self._slope(theta)
        beta = slope[:, None] * self.Z
        return np.hstack([beta, np.diag(slope)]) if self.deviations else beta

    def bounds(self, v_min: float, v_max: float) -> tuple[Array, Array]:
        """No coefficient may carry a feature further than the box is wide."""
        low = max(self.lower, float(log_of(v_min)))
        high = min(self.upper, float(log_of(v_max)))
        width = max(high - low, 1e-12)
        reach = np.abs(self.Z).max(axis=0)
        beta = width / np.where(reach > 0, reach, 1.0)
        if not self.deviations:
            return -beta, beta
        span = np.concatenate([beta, np.full(len(self.Z), width)])
        return -span, span

    def init(self, v: Array | float) -> Array:
        """Least squares on ``log v``; deviations are what it leaves."""
        log_v = np.broadcast_to(log_of(v) - self.offset, len(self.Z))
        beta = np.linalg.lstsq(self.Z, log_v, rcond=None)[0]
        if not self.deviations:
            return np.asarray(beta)
        return np.concatenate([beta, log_v - self.Z @ beta])
