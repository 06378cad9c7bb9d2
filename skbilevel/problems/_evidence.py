"""Marginal likelihood of ridge strengths, the noise variance profiled out.

With ``C = I + X diag(v) X^T`` (rows swept of unpenalized columns, weighted) and
``Q = y^T C^-1 y`` plus a tiny share of ``y^T y``::

    F(v) = [ (n - 1) log(Q / n) + log det C ] / n       averaged over targets

In the coordinates of the prior, ``K = I + d G d`` and ``omega = K^-1 d X^T y``::

    dF / d log v = [ 1 - diag(K^-1) - (n - 1) omega^2 / Q ] / n

and the expected Hessian is ``(I - K^-1)^2 / n``, elementwise square: positive
semidefinite by Schur's product theorem. MacKay (1992) calls F the evidence; it is
the marginal likelihood of random-effects models.

Where the noise variance is known (working responses of a likelihood that has no
dispersion), ``Q / noise`` takes the place of ``(n - 1) log(Q / n)``, and ``n`` only
sets the unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._dense_spd import (
    inverse_spd,
    logdet_spd,
    preconditioned,
)
from skbilevel.problems._kernel import KernelRows, dual_factor
from skbilevel.problems._moments import Swept
from skbilevel.problems._resampled import LeastSquaresModel

# Where features explain the target exactly the evidence has no maximum: a share of
# the target's variance always counts as noise. With a smaller share rounding decides
# between strengths: weights and repeated rows would no longer agree to 1e-7.
_NOISE_FLOOR = 1e-4
# A constant target has no variance at all; the reciprocal of this is still finite.
_TINY = 1e-250


@dataclass(frozen=True)
class MomentEvidence:
    """Evidence of F training sets at once, from their moments.

    Parameters
    ----------
    train : Swept
        Moments of the training sets.
    noise : float or None
        Noise variance, None where it is not known.
    unit : ndarray of shape (F,) or None
        Divides the evidence, the sums of the row weights by default.
    """

    train: Swept
    noise: float | None = None
    unit: Array | None = None

    def at(self, log_v: Array) -> LeastSquaresModel:
        """Value, gradient and expected Hessian at ``log_v`` of shape (F, p)."""
        n = self.train.weight if self.unit is None else self.unit
        d = np.exp(0.5 * log_v)
        K = preconditioned(self.train.gram, d)
        inverse = inverse_spd(K)
        scaled = d[..., None] * self.train.cross
        omega = inverse @ scaled
        Q = np.maximum(self.train.yy - (scaled * omega).sum(axis=-2), 0.0)
        Q = Q + _NOISE_FLOOR * self.train.yy + _TINY
        misfit, slope = _misfit(Q, n[:, None], self.noise)
        value = (misfit.mean(axis=-1) + logdet_spd(K)) / n
        quad = (omega**2 * slope[:, None, :]).mean(axis=-1)
        index = np.arange(K.shape[-1])
        grad = (1.0 - inverse[..., index, index] - quad) / n[:, None]
        leverage = -inverse
        leverage[..., index, index] += 1.0
        normal = leverage**2 / (2.0 * n[:, None, None])
        return LeastSquaresModel.of(value, grad, normal)


def _misfit(Q: Array, n: Array, noise: float | None) -> tuple[Array, Array]:
    """What ``Q`` adds to ``n`` times the evidence, and its derivative in Q."""
    if noise is None:
        return (n - 1) * np.log(Q / n), (n - 1) / Q
    return Q / noise, np.full_like(Q, 1.0 / noise)


@dataclass(frozen=True)
class KernelEvidence:
    """Evidence of one training set through its kernel, for p > n.

    ``noise`` and ``unit`` are those of `MomentEvidence`.
    """

    rows: KernelRows
    train: Array
    noise: float | None = None
    unit: float | None = None

    def value_and_grad(self, log_v: Array) -> tuple[float, Array]:
        """Value and gradient with respect to ``log v`` of shape (p,)."""
        value, grad, _ = self.value_grad_curvature(log_v)
        return value, grad

    def value_grad_curvature(self, log_v: Array) -> tuple[float, Array, Array]:
        """Value, gradient and the diagonal of the expected Hessian."""
        rows, train = self.rows, self.train
        v = np.exp(log_v)
        sweep_train, E = rows.sweep_map(train), rows.free[train]
        kernel = rows.kernel(v)[np.ix_(train, train)]
        root = rows.root_weight[train]
        factor, logdet = dual_factor(rows.center(kernel, E, sweep_train, E), root)
        y = root[:, None] * (rows.y[train] - E @ (sweep_train @ rows.y[train]))
        a = linalg.cho_solve(factor, y, check_finite=False)
        Q = (y * a).sum(axis=0) + _NOISE_FLOOR * (y * y).sum(axis=0) + _TINY
        n = float(rows.weight_of(train)) if self.unit is None else self.unit
        misfit, scale = _misfit(Q, np.asarray(n), self.noise)
        value = (misfit.mean() + logdet) / n
        # Whitened swept rows: L^-1 sqrt(s) (I - E P), applied to all columns of X.
        m = len(train)
        project = np.eye(m) - E @ sweep_train
        white = linalg.solve_triangular(
            factor[0], root[:, None] * project, lower=True, check_finite=False
        )
        lifted = project.T @ (root[:, None] * a)
        full = np.zeros((rows.rows.n_rows, m + a.shape[1]))
        full[train] = np.hstack([white.T, lifted])
        grad, leverage = np.empty_like(v), np.empty_like(v)
        for index, pulled in rows.pull_blocks(full):
            square = pulled**2
            leverage[index] = v[index] * square[:, :m].sum(axis=1)
            pull = v[index] * (square[:, m:] * scale).mean(axis=1)
            grad[index] = (leverage[index] - pull) / n
        return float(value), grad, leverage**2 / n
