"""Strengths and coefficients from noisy moments: functions of them, and so free.

The noisy cross moments of a linear model are ``b = G w + e`` with noise e of covariance
``C = sigma^2 G + s^2 I``: what the targets leave unexplained, and what was added. So
``0.5 (b - G w)^T C^-1 (b - G w)`` is the log likelihood of w, quadratic like any
other, with ``G C^-1 G`` and ``G C^-1 b`` in place of moments. It has a known noise
variance of one, and the evidence of this package chooses strengths on it without rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._releases import NoisyMoments
from skbilevel.problems import (
    CriterionProblem,
    FeatureStrengths,
    GroupStrengths,
    Parametrization,
)
from skbilevel.problems._evidence import EvidenceVariance, MomentEvidence
from skbilevel.problems._moments import Swept, sweep, sweep_map
from skbilevel.solvers import minimize_bilevel

# The log of variances times the likelihood's curvature stays between these.
_LOWEST, _HIGHEST = -14.0, 14.0
_TOL, _MAX_ITER = 1e-6, 200
# Share of the variance of the targets that is always noise.
_NOISE_FLOOR = 1e-4
# Share of the mean eigenvalue below which a direction counts as absent.
_ABSENT = 1e-12
# Sweeps of the lasso, and the largest step at its end as a share of the coefficients.
_MAX_SWEEPS, _LASSO_TOL = 1000, 1e-8
# Probability that any of the columns that tell nothing gets a coefficient.
_FALSE_FINDING = 0.1


@record
class Spectrum:
    """Eigenvectors of noisy second moments; eigenvalues that noise made negative are 0.

    ``level`` is how large an eigenvalue of noise alone is.
    """

    values: Array
    vectors: Array
    level: float

    @classmethod
    def of(cls, moments: NoisyMoments) -> Spectrum:
        """Positive part of the matrix."""
        values, vectors = np.linalg.eigh(moments.gram)
        level = moments.noise * math.sqrt(len(values))
        floor = _ABSENT * max(float(np.abs(values).mean()), 1e-300)
        return cls(np.maximum(values, 0.0), vectors, max(level, floor))

    def solver(self, penalty: Array | None) -> Callable[[Array], Array]:
        """The inverse of the matrix plus ``penalty``, by default of ``level``."""
        if penalty is None:
            weight = 1.0 / (self.values + self.level)
            return lambda g: np.asarray(self.vectors @ (weight * (self.vectors.T @ g)))
        matrix = (self.vectors * self.values) @ self.vectors.T
        matrix[np.diag_indices(len(matrix))] += penalty
        return _least_norm_inverse(matrix)


def _least_norm_inverse(matrix: Array) -> Callable[[Array], Array]:
    values, vectors = np.linalg.eigh(matrix)
    kept = values > _ABSENT * max(values[-1], 1e-300)
    weight = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    return lambda g: np.asarray(vectors @ (weight * (vectors.T @ g)))


def residual_variance(moments: NoisyMoments, w: Array) -> float:
    """Mean square of what ``w`` leaves unexplained, never below a small share."""
    left = (moments.yy - float(moments.cross @ w)) / moments.n_rows
    total = max(moments.yy / moments.n_rows, 0.0)
    return min(max(left, _NOISE_FLOOR), max(total, _NOISE_FLOOR))


def likelihood(moments: NoisyMoments, intercept: bool) -> tuple[Swept, float]:
    """The likelihood of coefficients as swept moments, and the residual variance."""
    spectrum = Spectrum.of(moments)
    w = spectrum.solver(None)(moments.cross)
    sigma2 = residual_variance(moments, w)
    # Noise of the gram matrix reaches the cross moments through the coefficients.
    added = moments.cross_noise**2 + 0.5 * moments.noise**2 * float(w @ w)
    values = spectrum.values
    safe = np.maximum(sigma2 * values + added, 1e-300)
    rotated = spectrum.vectors.T @ moments.cross
    q = len(values)
    joint = np.empty((q + 1, q + 1))
    joint[:q, :q] = (spectrum.vectors * (values**2 / safe)) @ spectrum.vectors.T
    joint[:q, q] = joint[q, :q] = spectrum.vectors @ (values / safe * rotated)
    joint[q, q] = float((rotated**2 / safe).sum())
    n_free = int(intercept)
    weight = np.asarray(float(moments.n_rows))
    free = sweep_map(joint, n_free)
    return sweep(joint, n_free, q - n_free, weight, free), sigma2


def noisy_evidence(swept: Swept) -> EvidenceVariance:
    """The evidence of strengths given a likelihood whose noise variance is one."""
    # In this unit the misfit is at most one, and its exponential finite.
    unit = max(float(swept.weight_sum), float(swept.yy.sum()))
    evidence = MomentEvidence(swept.take(None), noise=1.0, unit=np.array([unit]))
    return EvidenceVariance(evidence, np.diagonal(swept.gram), 1, unit)


def tune(
    moments: NoisyMoments, intercept: bool, members: Array | None
) -> tuple[Array, Array]:
    """Coefficients and penalty (q,) of the strengths that have most evidence.

    There is a strength for each column or label of columns; that of the constant column
    is zero.
    """
    swept, sigma2 = likelihood(moments, intercept)
    p = swept.n_features
    unit = p / max(float(np.trace(swept.gram)), 1e-300)
    lowest, highest = unit * math.exp(_LOWEST), unit * math.exp(_HIGHEST)
    how: Parametrization = FeatureStrengths(p, lowest)
    if members is not None:
        how = GroupStrengths(members, lowest)
    bounds = how.bounds(lowest, highest)
    problem = CriterionProblem(noisy_evidence(swept), how, bounds)
    start = 0.5 * (bounds[0] + bounds[1])
    found = minimize_bilevel(problem, theta0=start, tol=_TOL, max_iter=_MAX_ITER)
    v = how.v(found.theta)
    w = np.linalg.solve(swept.gram + np.diag(1.0 / v), swept.cross)[:, 0]
    penalty = sigma2 / v
    if intercept:
        w = np.append(swept.free[0, p:] - swept.free[0, :p] @ w, w)
        penalty = np.append(0.0, penalty)
    return w, penalty


def lasso_of_moments(
    moments: NoisyMoments, penalty: Array | None, n_free: int
) -> tuple[Array, Array]:
    """Coefficients and penalty (q,) of ``0.5 w G w - b w + sum_j penalty_j |w_j|``.

    Eigenvalues of G that noise made negative are zero, and all get what noise alone
    can reach. Without a penalty it is the size of the largest of the noisy cross
    moments of columns that tell nothing, the noise of sampling included.
    """
    spectrum = Spectrum.of(moments)
    start = spectrum.solver(None)(moments.cross)
    q = len(start)
    gram = (spectrum.vectors * (spectrum.values + spectrum.level)) @ spectrum.vectors.T
    if penalty is None:
        penalty = _universal(moments, start, gram)
        penalty[:n_free] = 0.0
    w = np.zeros(q)
    left = moments.cross.copy()
    size = np.diagonal(gram)
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for j in range(q):
            target = left[j] + size[j] * w[j]
            new = math.copysign(max(abs(target) - penalty[j], 0.0), target) / size[j]
            change = new - w[j]
            if change != 0.0:
                left -= change * gram[j]
                w[j] = new
                largest = max(largest, abs(change))
        if largest <= _LASSO_TOL * max(float(abs(w).max()), 1e-300):
            break
    return w, penalty


def _universal(moments: NoisyMoments, w: Array, gram: Array) -> Array:
    """What cross moments of columns that tell nothing rarely exceed."""
    sampling = residual_variance(moments, w) * np.diagonal(gram)
    added = moments.cross_noise**2 + 0.5 * moments.noise**2 * float(w @ w)
    often = float(-ndtri(0.5 * _FALSE_FINDING / len(w)))
    return np.asarray(often * np.sqrt(sampling + added))
