"""Restricted marginal likelihood of a loss that is not quadratic, by Laplace.

With priors ``N(0, phi v_j)`` of the coefficients and flat ones of the unpenalized
columns E, the likelihood is integrated over all of them around the solution. With the
objective ``J = sum_i s_i loss_i + 0.5 sum_j w_j^2 / v_j`` at it and its Hessian H in
the coordinates of the prior, twice its negative logarithm is, up to a constant, ::

    2 J / phi + (n - m) log phi + log det H

for m unpenalized columns. Where the dispersion phi is not known it is profiled out:
``phi = k 2 J / (n - m)``, which leaves ``((n - m) / k) log J + log det H``. With k = 1
this is the extended quasi-likelihood of Nelder and Pregibon (1987); for a squared loss
it is `_evidence`. Deviances of rare events are far below one for each row, though the
events follow Poisson's law; so k is the ratio of Pearson's statistic to the deviance
of the model without features.

Derivatives are those of `_approximate_leave_one_out`, for ``F = log det H``::

    dF/deta_k = a_k = sum_c K_k[e_c, (G_kk)_c],    u_j . [X^T (a - C G a)]_j
    dF/dv_j at fixed eta = sum_t [X^T (C - C G C) X]_jj,    d(2 J)/dv_j = -|u_j|^2
"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._approximate_leave_one_out import (
    Features,
    RowTerms,
    contracted,
    crossed,
    slices_of,
)
from skbilevel.problems._target_features import by_target


def log_determinant(at: Features, n_free: int) -> RowTerms:
    """``log det H``, without the directions that change no probability."""
    (n, r), t = at.Z.shape[-2:], at.eta.shape[1]
    C, inverse = at.curvature, at.inverse
    through, row_grad = at.through(_bend(at))
    inside = 1.0 - np.diagonal(inverse).reshape(r, t)

    def square(X: Array) -> Array:
        out = np.empty((X.shape[1], t))
        for columns in slices_of(X.shape[1], 8 * t * max(4 * n, r * t)):
            block = X[:, columns]
            K = crossed(block, C, at.Z).reshape(block.shape[1], t, r * t)
            known = np.einsum("icc,ib->bc", C, block**2)
            out[columns] = known - ((K @ inverse) * K).sum(axis=-1)
        return out

    value = -float(np.linalg.slogdet(inverse)[1])
    return RowTerms(value - _common(at, n_free), row_grad, square, through, inside)


def _bend(at: Features) -> Array:
    """``a``: third derivatives with the blocks of ``G``."""
    if at.eta.shape[1] > 1:
        return contracted(at, at.inverse)
    Z = np.asarray(at.Z)
    h = np.einsum("ij,ij->i", Z @ at.inverse, Z)
    return at.third(h[:, None], np.ones_like(at.eta))


def _common(at: Features, n_free: int) -> float:
    """What fixes a shift that all classes share adds: it is no part of the model."""
    if at.eta.shape[1] == 1:
        return 0.0
    E = next(iter(by_target(at.Z, at.eta.shape[1])))[:, :n_free]
    trace = np.einsum("icc->i", at.curvature) @ E**2
    return float(np.log(np.where(trace > 0.0, trace, 1.0)).sum())
