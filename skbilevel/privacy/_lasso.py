"""The lasso on noisy moments: a function of them, and so free."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from skbilevel._typing import Array
from skbilevel.privacy._releases import NoisyMoments
from skbilevel.privacy._strengths import Spectrum, residual_variance

_MAX_SWEEPS, _TOL = 1000, 1e-8
# Probability that any of the columns that tell nothing gets a coefficient.
_FALSE_FINDING = 0.1


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
        if largest <= _TOL * max(float(abs(w).max()), 1e-300):
            break
    return w, penalty


def _universal(moments: NoisyMoments, w: Array, gram: Array) -> Array:
    """What cross moments of columns that tell nothing rarely exceed."""
    sampling = residual_variance(moments, w) * np.diagonal(gram)
    added = moments.cross_noise**2 + 0.5 * moments.noise**2 * float(w @ w)
    often = float(-ndtri(0.5 * _FALSE_FINDING / len(w)))
    return np.asarray(often * np.sqrt(sampling + added))
