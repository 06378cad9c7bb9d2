"""Newton's method for a loss of dense features with a unit penalty.

In the coordinates of the prior, ``w = sqrt(v) u``, every penalized problem is::

    min over T of  sum_i s_i loss(o_i + z_i T, y_i) + 0.5 c |T_penalized|^2,   c = 1

which is 1-strongly convex but for the unpenalized columns, whatever the strengths
are. ``Z = [E, X sqrt(v)]``, or any Z with ``Z Z^T = X diag(v) X^T`` where rows are
fewer than columns: then ``w = v X^T a`` with ``a = -s loss'`` at the solution. Where
every target has strengths of its own, it has features of its own.

The Hessian is factored, or the preconditioner of conjugate gradients beside a factor.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._device_array import rounding_of_sums
from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import (
    diagonal_of,
    factor_spd,
    inverse_of_factor,
)
from skbilevel.problems._losses import LinearMap, Loss, facts_of
from skbilevel.problems._target_features import (
    Features,
    Scaled,
    by_target,
    is_shared,
    predict,
    pull,
)
from skbilevel.solvers._pcg import coupled_gradients


@record
class Whitened:
    """The problem of the module docstring.

    Parameters
    ----------
    Z : ndarray of shape (n, m + r), (t, n, m + r) or Scaled
        Features, the unpenalized ones first; shared by the targets, or of each its
        own.
    n_free : int
        Number m of unpenalized columns.
    y : ndarray of shape (n, t)
        Targets.
    weight : ndarray of shape (n,)
        Row weights.
    loss : Loss
        The loss.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    penalty : float
        ``c``; other values serve paths of one shared strength, where Z stays.
    """

    Z: Features
    n_free: int
    y: Array
    weight: Array
    loss: Loss
    offset: Array | None = None
    penalty: float = 1.0

    @property
    def n_targets(self) -> int:
        """Number of targets or classes."""
        return int(self.y.shape[1])

    @property
    def width(self) -> int:
        """Number of features of a target."""
        return int(self.Z.shape[-1])

    @property
    def noise(self) -> float:
        """Changes of the objective, relative to it, that are rounding."""
        return rounding_of_sums(self.y)

    def enough(self, tol: float, eta: Array) -> float:
        """Decrements that are small; see `small_decrements`."""
        return float(small_decrements(self.loss, tol, eta, self.y, self.weight))

    def eta(self, T: Array) -> Array:
        """Predictions."""
        eta = predict(self.Z, T)
        return eta if self.offset is None else eta + self.offset

    def value(self, T: Array, eta: Array) -> float:
        """The objective."""
        loss = self.loss.value(eta, self.y).sum(axis=-1)
        square = self.penalty * (T[self.n_free :] ** 2).sum()
        return float(self.weight @ loss + 0.5 * square)

    def row_grad(self, eta: Array) -> Array:
        """``s_i loss'`` of every row, shape (n, t)."""
        return self.weight[:, None] * self.loss.grad(eta, self.y)

    def grad(self, T: Array, eta: Array) -> Array:
        """Gradient of the objective."""
        out = pull(self.Z, self.row_grad(eta))
        out[self.n_free :] += self.penalty * T[self.n_free :]
        return np.asarray(out)


def small_decrements(
    loss: Loss, tol: float, eta: Array, y: Array, weight: Array
) -> Array:
    """``tol`` times the sums of the weights, in the unit of the loss.

    The unit is one for log likelihoods, and for squares, whose targets were scaled. The
    noise of other losses is known up to a factor, which has the units of the targets:
    it is estimated at the predictions ``eta`` (..., n, t), by the squared gradients of
    the rows over their curvatures.
    """
    total = np.asarray(np.maximum(weight.sum(axis=-1), np.finfo(float).tiny))
    if loss.constant_curvature or facts_of(loss).noise(y.shape[-1]) is not None:
        return tol * total
    with np.errstate(all="ignore"):
        square = (weight * (loss.grad(eta, y) ** 2).sum(axis=-1)).sum(axis=-1)
        bend = (weight * loss.curvature(eta, y).sum(axis=-1)).sum(axis=-1)
        unit = np.maximum(square / bend, _EXACT * bend / total)
    # Where nothing bends, there is no estimate.
    return tol * total * np.where(np.isfinite(unit), unit, 1.0)


# Up to this many unknowns the Hessian over all classes is formed and factored.
_DENSE_UP_TO = 200
_CG_ITER = 500
# So many numbers of rows are multiplied at once.
_CACHED = 1 << 18
# Added to the curvature of unpenalized columns, as a share of it: any unit will do.
_RIDGE = 1e-10
# Variances of targets, as a share of the curvature, that are rounding.
_EXACT = 1e-24


@record
class Curvature:
    """The Hessian of `Whitened` at one point; solves systems with it.

    Few unknowns: a factor over all of them. Many: conjugate gradients, preconditioned
    by a factor of the curvature averaged over the classes (one factor for every class
    takes no fewer seconds), or by one for every class where each has features of its
    own. An earlier one does as long as the point is near: ``stale``.
    """

    problem: Whitened
    eta: Array
    stale: Array | None = None

    @cached_property
    def factor(self) -> Array:
        """Lower Cholesky factor, or a stack of one for every class."""
        problem = self.problem
        if self.exact and problem.n_targets > 1:
            return factor_spd(self._all_classes())
        if self.stale is not None and not self.exact:
            return self.stale
        t = problem.n_targets
        if not isinstance(problem.Z, Scaled) and is_shared(problem.Z):
            return self._factor(gram(problem.Z, self._mean_curvature))
        curvature = self._row_curvature * (t / max(t - 1.0, 1.0))
        own = [self._factor(gram_of(problem.Z, c, curvature[:, c])) for c in range(t)]
        return own[0] if t == 1 else np.stack(own)

    def _factor(self, H: Array) -> Array:
        regularize(H, self.problem.n_free, self.problem.penalty)
        return factor_spd(H)

    @property
    def exact(self) -> bool:
        """Whether the factor is that of the whole Hessian, at this point."""
        return is_dense(self.problem)

    @cached_property
    def _second_derivative(self) -> LinearMap:
        return self.problem.loss.second_derivative(self.eta, self.problem.y)

    @cached_property
    def _row_curvature(self) -> Array:
        problem = self.problem
        curvature = problem.loss.curvature(self.eta, problem.y)
        return problem.weight[:, None] * curvature

    @property
    def _mean_curvature(self) -> Array:
        """One number a row; exact at even class probabilities."""
        t = self.problem.n_targets
        if t == 1:
            return self._row_curvature[:, 0]
        return self._row_curvature.mean(axis=1) * (t / (t - 1.0))

    def _all_classes(self) -> Array:
        """Hessian of shape (width t, width t)."""
        problem = self.problem
        Z, m, t = problem.Z, problem.n_free, problem.n_targets
        width = problem.width
        H = np.empty((width, t, width, t))
        if width <= t and not isinstance(Z, Scaled) and is_shared(Z):
            one, two = np.tril_indices(width)
            sums = self._summed(Z[:, one] * Z[:, two])
            H[one, :, two, :] = H[two, :, one, :] = sums
        else:
            own, blocks = [*by_target(Z, t)], self._row_blocks
            for c, d in np.transpose(np.tril_indices(t)):
                H[:, c, :, d] = (own[c] * blocks[:, c, d, None]).T @ own[d]
                H[:, d, :, c] = H[:, c, :, d].T
        for c in range(t):
            regularize(H[:, c, :, c], m, problem.penalty)
        # A common shift of an unpenalized column changes no prediction: a penalty
        # in that direction alone fixes it at zero.
        for j in range(m):
            H[j, :, j, :] += _positive(np.trace(H[j, :, j, :])) / t
        return H.reshape(width * t, width * t)

    def _summed(self, D: Array) -> Array:
        """Sums (q, t, t) of the rows' second derivatives times ``D`` (n, q)."""
        loss, weight = facts_of(self.problem.loss), self.problem.weight[:, None]
        known = loss.summed_second_derivative(self.eta, weight * D)
        return np.tensordot(D.T, self._row_blocks, 1) if known is None else known

    @cached_property
    def _row_blocks(self) -> Array:
        """Second derivatives (n, t, t) of the rows."""
        t = self.problem.n_targets
        out = np.empty((len(self.eta), t, t))
        unit = np.zeros((len(self.eta), t))
        for c in range(t):
            unit[:, c] = self.problem.weight
            out[:, c] = self._second_derivative(unit)
            unit[:, c] = 0.0
        return out

    def curved(self, D: Array) -> Array:
        """Second derivative of the loss in the predictions, times D (n, t)."""
        return self.problem.weight[:, None] * self._second_derivative(D)

    def apply(self, D: Array) -> Array:
        """Hessian times D (m + r, t)."""
        problem = self.problem
        out = pull(problem.Z, self.curved(predict(problem.Z, D)))
        out[problem.n_free :] += problem.penalty * D[problem.n_free :]
        return np.asarray(out)

    def inverse(self) -> Array:
        """``H^-1`` over all classes, of shape (width t, width t)."""
        L = self.factor if self.exact else factor_spd(self._all_classes())
        return inverse_of_factor(L)

    def _precondition(self, R: Array) -> Array:
        if self.exact and self.problem.n_targets > 1:
            return _solve_factored(self.factor, R.reshape(-1)).reshape(R.shape)
        if self.factor.ndim == 3:
            pairs = zip(self.factor, R.T, strict=True)
            return np.stack([_solve_factored(L, r) for L, r in pairs], axis=1)
        return _solve_factored(self.factor, R)

    def solve(
        self, B: Array, tol: float = 1e-12, enough: float = 0.0
    ) -> tuple[Array, int]:
        """``H^-1 B`` for B of shape (m + r, t), and the number of iterations.

        Where it is iterative, it ends as soon as the squared residual (in the norm
        of the preconditioner) has fallen by ``tol^2`` or is below ``enough``.
        """
        if self.exact:
            return self._precondition(B), 1
        X, _, n_iter = coupled_gradients(
            self.apply, B, self._precondition, tol=tol, max_iter=_CG_ITER, enough=enough
        )
        if self.problem.n_targets > 1:
            # A common shift of all classes changes no prediction; it is set to zero.
            free = X[: self.problem.n_free]
            free -= free.mean(axis=1, keepdims=True)
        return X, n_iter


def is_dense(problem: Whitened) -> bool:
    """Whether there are so few unknowns that a factor over all of them is cheap."""
    return problem.n_targets * problem.width <= _DENSE_UP_TO


def gram(Z: Array, d: Array) -> Array:
    """``Z^T diag(d) Z``; of many rows in parts that stay in the cache."""
    root = np.sqrt(np.maximum(d, 0.0))[:, None]
    step = max(512, _CACHED // max(1, Z.shape[1]))
    if len(Z) > step and isinstance(Z, np.ndarray):
        starts = range(0, len(Z), step)
        parts = (root[k : k + step] * Z[k : k + step] for k in starts)
        return np.asarray(sum(part.T @ part for part in parts))
    scaled = root * Z
    return np.asarray(scaled.T @ scaled)


def gram_of(Z: Features, target: int, d: Array) -> Array:
    """The same of the features of one target."""
    if not isinstance(Z, Scaled):
        return gram(Z[target], d)
    scale = Z.scale[:, target]
    return np.asarray(scale[:, None] * gram(Z.base, d) * scale)


def regularize(H: Array, n_free: int, penalty: float) -> None:
    """Add the penalty; columns without one keep a share of their own curvature."""
    diagonal = diagonal_of(H)
    diagonal[n_free:] += penalty
    free = diagonal[:n_free]
    free += _RIDGE * _positive(free)


def _positive(curvature: Any) -> Any:
    """Curvatures, and one in place of none."""
    return np.where(curvature > 0.0, curvature, 1.0)


def _solve_factored(L: Array, B: Array) -> Array:
    if not L.size:  # neither features nor an intercept
        return B
    return np.asarray(linalg.lapack.dpotrs(L, B, lower=1)[0])
