"""Weights of rows as outer variables, judged on rows that are trusted.

::

    min over c and rho of
        F = sum_k sum_j t_kj l_j(w_k) / sum_kj t_kj
            + factor (sum_m a_m (c_m - mean c)^2 + drift (rho - rho_0)^2)
    w_k = argmin over (b, W) of
        sum_i s_ki l_i(b + x_i W) / sum_i s_ki + 0.5 exp(rho) |W|^2
    s_ki = r_ki exp((Phi c)_i)

with losses ``l_i`` of rows, one task k for a mask of trusted rows and one for each
split of a splitter, prior weights ``r_ki`` of its training rows and ``t_kj`` of its
trusted rows. A weight is the exponential of a combination of columns of a basis ``Phi``
(n, g): indicators of labels give one weight per label, the identity one per row.

The loss is divided by the sum of the *weights*. Divided by the number of rows, it would
shrink beside the penalty as soon as weights fall, and weights of zero for all wrong
rows would then be a stronger regularization, not a cleaner data set.

With ``G = sum_i s_i l_i' / sum_i s_i`` and the adjoint ``g_ww q = f_w`` of a task, ::

    dF/ds_i   = - (<l_i', q> - <G, q>) / sum_i s_i
    dF/dc     = Phi^T (s * dF/ds) + hyperpenalty
    dF/drho   = - exp(rho) <W, q_W> + hyperpenalty

so that a row gains weight where its gradient points along ``q`` less than those of the
others do, and one adjoint solve tells this of all rows. ``F`` does not change where all
weights are multiplied by one number.

M. Ren, W. Zeng, B. Yang, R. Urtasun, "Learning to reweight examples for robust deep
learning", ICML 2018, and L. Franceschi et al., "Forward and reverse gradient-based
hyperparameter optimization", ICML 2017 (data hyper-cleaning), learn weights of rows
from trusted ones; the mean over weights, the basis and the hyperpenalty are this
package's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._losses import facts_of
from skbilevel.problems._oracles import OracleProblem
from skbilevel.problems._rows_datafit import RowsDataFit, RowsPoint

# Up to so many unknowns of a task its Hessian is an array.
_DENSE_UP_TO = 400


@record
class EqualWeights:
    """The hyperpenalty towards equal weights, and towards a strength.

    ::

        factor * (sum_m share_m (c_m - sum share c)^2 + drift (rho - log_alpha)^2)

    Parameters
    ----------
    factor : float
        Zero lets the weights free; they become equal as it grows.
    share : ndarray of shape (g,)
        Shares of the rows that the columns of the basis have; their sum is one.
    log_alpha : float
        The strength that costs nothing.
    drift : float
        Price of another strength beside that of unequal weights.
    """

    factor: float
    share: Array
    log_alpha: float = 0.0
    drift: float = 0.0

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at ``theta = (rho, c)``."""
        deviation = theta[1:] - self.share @ theta[1:]
        away = theta[0] - self.log_alpha
        value = self.share @ deviation**2 + self.drift * away**2
        grad = np.append(self.drift * away, self.share * deviation)
        return float(self.factor * value), 2.0 * self.factor * grad


@record
class WeightedRows:
    """The inner level: tasks whose rows have the weights of the outer variables.

    Parameters
    ----------
    fits : tuple of RowsDataFit
        The training rows of every task with their prior weights. Their designs have
        ``n_free`` unpenalized columns in front, and losses are not swept.
    basis : ndarray or sparse array of shape (n, g)
        Columns whose combination is the logarithm of the weights.
    n_free : int
        Number of unpenalized columns.
    """

    fits: tuple[RowsDataFit, ...]
    basis: Any
    n_free: int = 1

    n_rows = 0

    @property
    def provides(self) -> frozenset[str]:
        """A bound on the curvature, and the Hessian where it is small."""
        words = {
            "dense_hessian": self.size <= _DENSE_UP_TO,
            "smoothness": facts_of(self.fits[0].loss).curvature_bound is not None,
        }
        return frozenset(word for word, given in words.items() if given)

    @property
    def smoothness(self) -> Callable[[Array], Array] | None:
        """The trace of the data's part, which is above its largest eigenvalue.

        It costs no product with X, and this is a problem for Newton's method.
        """
        bound = facts_of(self.fits[0].loss).curvature_bound
        if bound is None:
            return None
        _, p, t = self.shape

        def of(theta: Array) -> Array:
            factors, strength = self.factors(theta), np.full(p, np.exp(theta[0]))
            # The held mean of the intercepts of several classes has curvature one.
            strength[: self.n_free] = float(t > 1)
            weights = [fit.weight * factors for fit in self.fits]
            traces = [bound * (each @ self._squares) / each.sum() for each in weights]
            return np.concatenate([np.repeat(x + strength, t) for x in traces])

        return of

    @cached_property
    def _squares(self) -> Array:
        """Squared norms of the rows."""
        out = np.zeros(self.basis.shape[0])
        for rows, block in self.fits[0].design.iter_blocks():
            out[rows] = np.einsum("ij,ij->i", block, block)
        return out

    @property
    def shape(self) -> tuple[int, int, int]:
        """Tasks, columns and targets."""
        return len(self.fits), self.fits[0].n_features, self.fits[0].n_targets

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(np.prod(self.shape))

    def factors(self, theta: Array) -> Array:
        """What every row's prior weight is multiplied with."""
        return np.asarray(np.exp(self.basis @ theta[1:]))

    def at(self, theta: Array, w: Array) -> WeightedRowsPoint:
        """The oracles at ``theta = (rho, c)``."""
        return WeightedRowsPoint(self, theta, w)

    def take(self, rows: Array) -> WeightedRows:
        """Batches are not offered: the sum of the weights needs all rows."""
        raise NotImplementedError("the mean over the weights has no batches")


@record
class WeightedRowsPoint:
    """`WeightedRows` at one point."""

    rows: WeightedRows
    theta: Array
    w: Array

    @cached_property
    def _points(self) -> list[RowsPoint]:
        """The mean loss of every task."""
        factors, points = self.rows.factors(self.theta), []
        for fit, W in zip(self.rows.fits, self._split(self.w), strict=True):
            weight = fit.weight * factors
            points.append(replace(fit, weight=weight / weight.sum()).at(W))
        return points

    def _split(self, w: Array) -> Array:
        return w.reshape(self.rows.shape)

    @cached_property
    def _strength(self) -> Array:
        """Strengths of one task's coefficients, (p, 1)."""
        strength = np.full((self.rows.shape[1], 1), np.exp(self.theta[0]))
        strength[: self.rows.n_free] = 0.0
        return strength

    def _penalty_times(self, D: Array) -> Array:
        """The penalty's Hessian times D (K, p, t).

        With several classes the unpenalized rows have one direction more that changes
        no probability, the same number for all classes. Their mean is held at zero.
        """
        out = self._strength * D
        if self.rows.shape[2] > 1:
            free = slice(0, self.rows.n_free)
            out[:, free] += D[:, free].mean(axis=-1, keepdims=True)
        return np.asarray(out)

    @cached_property
    def value(self) -> float:
        """Mean losses and penalties."""
        W = self._split(self.w)
        penalty = 0.5 * float((W * self._penalty_times(W)).sum())
        return float(sum(float(point.value) for point in self._points)) + penalty

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        data = np.stack([point.grad for point in self._points])
        return np.asarray((data + self._penalty_times(self._split(self.w))).reshape(-1))

    def hvp(self, d: Array) -> Array:
        """Hessian times d."""
        D = self._split(d)
        data = [point.hvp(each) for point, each in zip(self._points, D, strict=True)]
        return np.asarray((np.stack(data) + self._penalty_times(D)).reshape(-1))

    def hessian(self) -> Array:
        """The Hessian; tasks are blocks of it."""
        _, p, t = self.rows.shape
        blocks = [_dense_hessian(point).reshape(p * t, p * t) for point in self._points]
        penalty = np.diag(np.repeat(self._strength, t))
        if t > 1:
            free = self.rows.n_free * t
            penalty[:free, :free] += np.kron(
                np.eye(self.rows.n_free), np.full((t, t), 1 / t)
            )
        return np.asarray(linalg.block_diag(*(block + penalty for block in blocks)))

    def cross(self, d: Array) -> Array:
        """Derivative of ``<grad, d>`` in ``theta = (rho, c)``."""
        D, by_row = self._split(d), np.zeros(self.rows.basis.shape[0])
        for point, each in zip(self._points, D, strict=True):
            loss_grad = point.fit.loss.grad(point.eta, point.fit.target)
            along = (loss_grad * point.fit.push(each)).sum(axis=-1)
            share = point.fit.weight
            by_row += share * (along - share @ along)
        rho = float((self._strength * self._split(self.w) * D).sum())
        return np.append(rho, self.rows.basis.T @ by_row)


@record
class TrustedRows:
    """The outer level: the loss of trusted rows and the hyperpenalty.

    Parameters
    ----------
    fits : tuple of RowsDataFit
        The trusted rows of every task.
    penalty : EqualWeights
        The hyperpenalty.
    """

    fits: tuple[RowsDataFit, ...]
    penalty: EqualWeights

    n_rows = 0
    provides = frozenset[str]()

    def at(self, theta: Array, w: Array) -> TrustedRowsPoint:
        """The oracles at ``theta = (rho, c)``."""
        return TrustedRowsPoint(self, theta, w)

    def take(self, rows: Array) -> TrustedRows:
        """Batches are not offered."""
        raise NotImplementedError("the inner level has no batches")


@record
class TrustedRowsPoint:
    """`TrustedRows` at one point."""

    trusted: TrustedRows
    theta: Array
    w: Array

    @cached_property
    def _points(self) -> list[RowsPoint]:
        fits = self.trusted.fits
        W = self.w.reshape(len(fits), fits[0].n_features, -1)
        return [fit.at(each) for fit, each in zip(fits, W, strict=True)]

    @cached_property
    def _total(self) -> float:
        return float(sum(float(fit.weight_sum) for fit in self.trusted.fits))

    @cached_property
    def _penalty(self) -> tuple[float, Array]:
        return self.trusted.penalty.value_and_grad(self.theta)

    @cached_property
    def value(self) -> float:
        """Mean loss of the trusted rows, and the hyperpenalty."""
        loss = sum(float(point.value) for point in self._points)
        return float(loss / self._total + self._penalty[0])

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        grads = np.stack([point.grad for point in self._points])
        return np.asarray(grads.reshape(-1) / self._total)

    @property
    def grad_theta(self) -> Array:
        """Gradient of the hyperpenalty."""
        return self._penalty[1]


def row_weights_problem(
    train: Sequence[RowsDataFit],
    trusted: Sequence[RowsDataFit],
    basis: Any,
    penalty: EqualWeights,
    *,
    spread: float,
    drift: float,
    n_free: int = 1,
) -> OracleProblem:
    """Weights of rows as outer variables of an `OracleProblem`.

    Parameters
    ----------
    train, trusted : sequence of RowsDataFit
        Rows of the inner and of the outer level, task by task.
    basis : ndarray or sparse array of shape (n, g)
        Columns whose combination is the logarithm of the weights.
    penalty : EqualWeights
        The hyperpenalty.
    spread : float
        ``|c_m| <= log(spread)``: no weight is more than ``spread`` times what it was.
    drift : float
        ``exp(rho)`` stays within this factor of ``exp(penalty.log_alpha)``.
    n_free : int
        Number of unpenalized columns in front.

    Returns
    -------
    problem : OracleProblem
        Of ``theta = (rho, c)``, to start from equal weights.
    """
    inner = WeightedRows(tuple(train), basis, n_free)
    g = basis.shape[1]
    half = np.append(np.log(drift), np.full(g, np.log(spread)))
    start = np.append(penalty.log_alpha, np.zeros(g))
    outer = TrustedRows(tuple(trusted), penalty)
    return OracleProblem(
        inner, outer, np.zeros(inner.size), start, (start - half, start + half)
    )


def _dense_hessian(point: RowsPoint) -> Array:
    """``X^T C X`` of one task, (p, t, p, t), C coupling the classes of a row."""
    (n, t), p = point.eta.shape, point.fit.n_features
    out = np.zeros((p, t, p, t))
    for c in range(t):
        unit = np.zeros((n, t))
        unit[:, c] = 1.0
        curvature = point.row_hessian(unit)
        for rows, block in point.fit.design.iter_blocks():
            for e in range(c, t):
                out[:, e, :, c] += block.T @ (curvature[rows, e, None] * block)
        for e in range(c + 1, t):
            out[:, c, :, e] = out[:, e, :, c].T
    return out
