"""Marginal likelihood of ridge strengths, the noise variance profiled out.

With ``C = I + X diag(v) X^T`` (rows swept of unpenalized columns, weighted) and
``Q = y^T C^-1 y`` plus a tiny share of ``y^T y``, m unpenalized columns::

    F(v) = [ (n - m) log(Q / n) + log det C ] / n       averaged over targets

In the coordinates of the prior, ``K = I + d G d`` and ``omega = K^-1 d X^T y``::

    dF / d log v = [ 1 - diag(K^-1) - (n - m) omega^2 / Q ] / n

and the expected Hessian is ``(I - K^-1)^2 / n``, elementwise square: positive
semidefinite by Schur's product theorem. MacKay (1992) calls F the evidence; it is
the marginal likelihood of random-effects models.

Where the noise variance is known (working responses of a likelihood that has no
dispersion), ``Q / noise`` takes the place of ``(n - m) log(Q / n)``, and ``n`` only
sets the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
from scipy import linalg, sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import CriterionPoint
from skbilevel.problems._datafit import QuadraticDataFit
from skbilevel.problems._dense_spd import (
    diagonal_of,
    inverse_and_logdet,
    inverse_of_lower,
    preconditioned,
)
from skbilevel.problems._kernel import KernelSet
from skbilevel.problems._resampled import LeastSquaresModel

# Where features explain the target exactly the evidence has no maximum: a share of
# the target's variance always counts as noise. With a smaller share rounding decides
# between strengths: weights and repeated rows would no longer agree to 1e-7.
_NOISE_FLOOR = 1e-4
# A constant target has no variance at all; the reciprocal of this is still finite.
_TINY = 1e-250
# Below this share of one over a column's sum of squares a variance acts as zero.
_ZERO = 1e-8
# Numbers in a Hessian along few directions.
_HESSIAN_ENTRIES = 1 << 24
# Columns that a block takes: as many as stay in the cache of a core.
_COLUMNS = 512


@record
class EvidencePoint:
    """The evidence of one training set: value, gradient and expected Hessian.

    Derivatives are in ``log v``. ``hessian`` gives the matrix (g, g) along a derivative
    (p, g) of ``log v``, None where it would need much memory; ``diagonal`` (p,) is that
    of the whole matrix.
    """

    value: float
    grad: Array
    diagonal: Array
    hessian: Callable[[Array], Array | None]


@record
class MomentEvidence:
    """Evidence of F training sets at once, from their moments.

    Parameters
    ----------
    train : QuadraticDataFit
        Moments of the training sets.
    noise : float or None
        Noise variance, None where it is not known.
    unit : ndarray of shape (F,) or None
        Divides the evidence, the sums of the row weights by default.
    n_free : int
        Number m of unpenalized columns, the constant one among them.
    """

    train: QuadraticDataFit
    noise: float | None = None
    unit: Array | None = None
    n_free: int = 1

    def at(self, log_v: Array) -> LeastSquaresModel:
        """Value, gradient and expected Hessian at ``log_v`` of shape (F, p)."""
        n = self.train.weight_sum if self.unit is None else self.unit
        d = np.exp(0.5 * log_v)
        K = preconditioned(self.train.gram, d)
        inverse, logdet = inverse_and_logdet(K)
        scaled = d[..., None] * self.train.cross
        omega = inverse @ scaled
        Q = np.maximum(self.train.yy - (scaled * omega).sum(axis=-2), 0.0)
        Q = Q + _NOISE_FLOOR * self.train.yy + _TINY
        misfit, slope = _misfit(Q, n[:, None], self.noise, self.n_free)
        value = (misfit.mean(axis=-1) + logdet) / n
        quad = (omega**2 * slope[:, None, :]).mean(axis=-1)
        leverage = 1.0 - diagonal_of(inverse)
        grad = (leverage - quad) / n[:, None]
        normal = inverse**2
        diagonal_of(normal)[...] = leverage**2
        normal /= 2.0 * n[:, None, None]
        return LeastSquaresModel.of(value, grad, normal)

    def point(self, v: Array) -> EvidencePoint:
        """The first of the sets, at variances (p,)."""
        model = self.at(np.log(v)[None])
        assert model.normal is not None
        whole = 2.0 * model.normal[0]
        return EvidencePoint(
            float(model.value[0]),
            model.grad[0],
            np.diagonal(whole),
            lambda moved: moved.T @ whole @ moved,
        )


def _misfit(
    Q: Array, n: Array, noise: float | None, n_free: int
) -> tuple[Array, Array]:
    """What ``Q`` adds to ``n`` times the evidence, and its derivative in Q."""
    if noise is None:
        left = np.maximum(n - n_free, 0.0)
        return left * np.log(Q / n), left / Q
    return Q / noise, np.full_like(Q, 1.0 / noise)


@record
class KernelEvidence:
    """Evidence of one training set through its kernel, for p > n.

    ``noise``, ``unit`` and ``n_free`` are those of `MomentEvidence`.
    """

    train: KernelSet
    noise: float | None = None
    unit: float | None = None
    n_free: int = 1

    def point(self, v: Array) -> EvidencePoint:
        """All that is known at variances (p,)."""
        y = self.train.y
        factor, logdet = self.train.factor(self.train.rows.kernel(v))
        a = linalg.cho_solve(factor, y, check_finite=False)
        Q = (y * a).sum(axis=0) + _NOISE_FLOOR * (y * y).sum(axis=0) + _TINY
        n = self._unit
        misfit, scale = _misfit(Q, np.asarray(n), self.noise, self.n_free)
        value = (misfit.mean() + logdet) / n
        square, pulled = np.empty(len(v)), np.empty((len(v), a.shape[1]))
        for index, white, own in self._whitened(factor[0], a):
            square[index], pulled[index] = np.einsum("ij,ij->j", white, white), own
        leverage = v * square
        grad = (leverage - v * (pulled**2 * scale).mean(axis=1)) / n
        hessian = partial(self._expected_hessian, factor[0], v)
        return EvidencePoint(float(value), grad, leverage**2 / n, hessian)

    def _expected_hessian(self, L: Array, v: Array, moved: Array) -> Array | None:
        """Expected Hessian (g, g) along ``moved``; None where it is large."""
        D = v[:, None] * moved
        n = len(self.train.index)
        if D.shape[1] * n * n > _HESSIAN_ENTRIES:
            return None
        parts = np.zeros((D.shape[1], n, n))
        for index, white, _ in self._whitened(L, np.empty((n, 0))):
            for part, column in zip(parts, D[index].T, strict=True):
                part += (white * column) @ white.T
        return np.tensordot(parts, parts, ((1, 2), (1, 2))) / self._unit

    def _whitened(self, L: Array, a: Array) -> Iterator[tuple[slice, Array, Array]]:
        """Blocks of ``L^-1 X`` and ``X^T a`` of swept, weighted columns."""
        train, inverse = self.train, np.asfortranarray(inverse_of_lower(L))
        if self._swept is None:
            both = np.hstack([inverse.T, a])
            full = np.zeros((train.rows.rows.n_rows, both.shape[1]))
            full[train.index] = train.root[:, None] * both
            train.lift(full)
            for index, pulled in train.rows.pull_blocks(full):
                yield index, pulled[:, : len(L)].T, pulled[:, len(L) :]
            return
        for start in range(0, self._swept.shape[1], _COLUMNS):
            index = slice(start, start + _COLUMNS)
            X = self._swept[:, index]
            block = np.array(X.T, order="F")
            # A triangular product takes half the time of a full one.
            white = linalg.blas.dtrmm(
                1.0, inverse, block, side=1, lower=1, trans_a=1, overwrite_b=1
            )
            yield index, white.T, X.T @ a

    @property
    def _unit(self) -> float:
        """What the evidence is divided by."""
        if self.unit is not None:
            return self.unit
        return self.train.rows.weight_of(self.train.index)

    @cached_property
    def _swept(self) -> Array | None:
        """Training rows of dense columns, swept and weighted, metric included."""
        train = self.train
        if sparse.issparse(train.rows.X):
            return None
        X = train.rows.X[train.index] * train.rows.metric
        X -= train.free @ (train.sweep @ X)
        X *= train.root[:, None]
        return np.asarray(X)


@record
class EvidenceVariance:
    """The evidence as an outer criterion of ``v``: ``0.5 t exp(c F(v))``.

    With ``c = n / (n - m)``, ``exp(c F) = Q / n det(C)^(1 / (n - m))`` is the variance
    that the t targets would need for the same evidence without columns. It has the
    same minimizer as F and, unlike F, is positive and in the units of other criteria.

    Parameters
    ----------
    evidence : MomentEvidence or KernelEvidence
        ``F`` and its derivatives in ``log v`` of one training set.
    square : ndarray of shape (p,)
        Weighted sums of squares of the swept columns.
    n_targets : int
        Number of targets, t.
    weight : float
        Sum of the row weights.
    n_free : int
        Number m of unpenalized columns.
    """

    evidence: MomentEvidence | KernelEvidence
    square: Array
    n_targets: int
    weight: float
    n_free: int = 1
    has_curvature: ClassVar[bool] = True

    @property
    def n_features(self) -> int:
        """Number of variances."""
        return len(self.square)

    def at(self, v: Array) -> CriterionPoint:
        """Value, gradient, and a curvature with the expected Hessian of ``F``.

        The noise variance follows the strengths, which takes a matrix of rank one from
        the Hessian. Where a kernel form would need much memory for all of it, its
        diagonal takes its place.
        """
        # Variances that have a logarithm; the smallest ones act as zeros.
        v = np.maximum(v, _ZERO / np.where(self.square > 0, self.square, 1.0))
        # What makes the value that of a noise.
        power = self.weight / max(self.weight - self.n_free, 1.0)
        point = self.evidence.point(v)
        value = 0.5 * self.n_targets * float(np.exp(power * point.value))
        grad, diagonal = power * point.grad, power * point.diagonal

        def curvature(D: Array) -> Array:
            moved = D / v[:, None]
            slope, whole = moved.T @ grad, point.hessian(moved)
            if whole is None:
                whole = moved.T @ (diagonal[:, None] * moved)
            else:
                noise = moved.T @ np.sqrt(diagonal)
                whole = power * whole - np.outer(noise, noise) / self.weight
            return np.asarray(value * (whole + np.outer(slope, slope)))

        return CriterionPoint(value, value * grad / v, curvature)
