"""Losses of generalized linear models, as functions of the linear predictor.

All are convex in ``eta`` and written so that no finite ``eta`` overflows before the
loss itself does. Half-deviances are zero where the prediction equals the target.

What they return lies where the predictions lie: nothing here may turn a `DeviceArray`
into an array of NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from skbilevel._typing import Array
from skbilevel.problems._losses import (
    HALF_EVENT,
    BilinearMap,
    LinearMap,
    Loss,
    LossFacts,
)

# Beyond this, exp overflows in double precision.
_EXP_LIMIT = 700.0


def _times_both(k: Array) -> BilinearMap:
    return lambda U, V: k * U * V


def _softmax(eta: Array) -> Array:
    P = np.exp(eta - eta.max(axis=-1, keepdims=True))
    return P / P.sum(axis=-1, keepdims=True)


def minus_log_softmax(eta: Array) -> Array:
    """Minus the logarithms of class probabilities, without rounding these to zero."""
    below = eta.max(axis=-1, keepdims=True) - eta
    return np.log(np.exp(-below).sum(axis=-1, keepdims=True)) + below


def _exp(eta: Array) -> Array:
    return np.exp(np.minimum(eta, _EXP_LIMIT))


class _SingleLoss(LossFacts, Loss):
    """A loss of which no target is coupled with another."""

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """Multiplication by the curvature."""
        h = self.curvature(eta, y)
        return lambda D: h * D


class _PowerLoss(_SingleLoss):
    """Half a deviance with a log link and the variance ``mu^power``."""

    power: float

    def _means(self, eta: Array) -> tuple[float, float, Array | float, Array | float]:
        """``1 - r`` and ``2 - r`` for a power r, and these powers of the mean."""
        a, b = 1.0 - self.power, 2.0 - self.power
        return a, b, _exp(a * eta) if a else 1.0, _exp(b * eta) if b else 1.0

    def grad(self, eta: Array, y: Array) -> Array:
        """``mu^(2 - r) - y mu^(1 - r)``."""
        _, _, low, high = self._means(eta)
        return high - y * low

    def curvature(self, eta: Array, y: Array) -> Array:
        """``(2 - r) mu^(2 - r) - (1 - r) y mu^(1 - r)``."""
        a, b, low, high = self._means(eta)
        return b * high - a * y * low

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """Multiplication by ``(2 - r)^2 mu^(2 - r) - (1 - r)^2 y mu^(1 - r)``."""
        a, b, low, high = self._means(eta)
        return _times_both(b**2 * high - a**2 * y * low)

    def mean(self, eta: Array) -> Array:
        """``exp(eta)``."""
        return _exp(eta)


@dataclass(frozen=True)
class LogisticLoss(_SingleLoss):
    """``log(1 + exp(eta)) - y eta`` for y in [0, 1] (1 is the second class)."""

    curvature_bound: ClassVar[float | None] = 0.25

    def noise(self, n_targets: int) -> float | None:
        """One: a class has no dispersion."""
        return 1.0

    def indicators(self, y: Array) -> Array | None:
        """Indicators (n, 2) of both classes."""
        return np.hstack([1.0 - y, y])

    def with_pseudo_counts(
        self, y: Array, weight: Array, offset: Array | None
    ) -> Array:
        """See `LossFacts`; a label becomes a share if all rows have the same."""
        share = HALF_EVENT / (weight.sum() + 2.0 * HALF_EVENT)
        first, last = (y[weight > 0] == 0.0).all(), (y[weight > 0] == 1.0).all()
        return np.full_like(y, share if first else 1.0 - share) if first or last else y

    def value(self, eta: Array, y: Array) -> Array:
        """Negative log likelihood of the label."""
        tail = np.log1p(np.exp(-np.abs(eta)))
        return np.maximum(eta, 0.0) + tail - y * eta

    def grad(self, eta: Array, y: Array) -> Array:
        """Probability minus label."""
        return special.expit(eta) - y

    def curvature(self, eta: Array, y: Array) -> Array:
        """``p (1 - p)``."""
        # 1 - expit(eta) would lose digits.
        tail = np.exp(-np.abs(eta))
        return tail / (1.0 + tail) ** 2

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """Multiplication by ``p (1 - p) (1 - 2 p)``."""
        return _times_both(-self.curvature(eta, y) * np.tanh(0.5 * eta))

    def mean(self, eta: Array) -> Array:
        """Probability of the second class."""
        return special.expit(eta)


@dataclass(frozen=True)
class SoftmaxLoss(LossFacts):
    """``log sum_c exp(eta_c) - sum_c y_c eta_c`` for class indicators y.

    The value of a row is spread over its entries, whose sum is the loss.
    """

    curvature_bound: ClassVar[float | None] = 0.5
    coupled: ClassVar[bool] = True

    def noise(self, n_targets: int) -> float | None:
        """The classes of a row share one degree of freedom less than their number."""
        return (n_targets - 1.0) / n_targets

    def indicators(self, y: Array) -> Array | None:
        """The targets."""
        return y

    def with_pseudo_counts(
        self, y: Array, weight: Array, offset: Array | None
    ) -> Array:
        """See `LossFacts`; shares of missing classes are taken from the others."""
        missing = ~y[weight > 0].any(axis=0)
        if not missing.any():
            return y
        share = HALF_EVENT / (weight.sum() + HALF_EVENT * missing.sum())
        return np.where(missing, share, y * (1.0 - share * missing.sum()))

    def value(self, eta: Array, y: Array) -> Array:
        """Entries whose sum over classes is the negative log likelihood."""
        return y * minus_log_softmax(eta)

    def grad(self, eta: Array, y: Array) -> Array:
        """Probabilities minus indicators."""
        return _softmax(eta) - y

    def curvature(self, eta: Array, y: Array) -> Array:
        """Diagonal ``p_c (1 - p_c)`` of the second derivative."""
        P = _softmax(eta)
        return P * (1.0 - P)

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """``(diag(p) - p p^T) D`` of every row."""
        P = _softmax(eta)

        def apply(D: Array) -> Array:
            PD = P * D
            PD -= P * PD.sum(axis=-1, keepdims=True)
            return PD

        return apply

    def summed_second_derivative(self, eta: Array, weight: Array) -> Array:
        """``sum_i s_i (diag(p_i) - p_i p_i^T)``, one product for each column of s."""
        P = _softmax(eta)
        sums = np.empty((weight.shape[1], P.shape[1], P.shape[1]))
        for out, s in zip(sums, weight.T, strict=True):
            out[...] = np.diag(s @ P) - (s[:, None] * P).T @ P
        return sums

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """Derivative of ``(diag(p) - p p^T) V`` along ``U``."""
        P = _softmax(eta)

        def apply(U: Array, V: Array) -> Array:
            U = U - (P * U).sum(axis=-1, keepdims=True)
            V = V - (P * V).sum(axis=-1, keepdims=True)
            UV = U * V
            return P * (UV - (P * UV).sum(axis=-1, keepdims=True))

        return apply

    def mean(self, eta: Array) -> Array:
        """Class probabilities."""
        return _softmax(eta)


@dataclass(frozen=True)
class PoissonLoss(_PowerLoss):
    """Half Poisson deviance ``y log(y / mu) - y + mu`` with ``mu = exp(eta)``."""

    power = 1.0
    has_events: ClassVar[bool] = True

    def value(self, eta: Array, y: Array) -> Array:
        """Half deviance."""
        return special.xlogy(y, y) - y - y * eta + _exp(eta)


@dataclass(frozen=True)
class GammaLoss(_PowerLoss):
    """Half Gamma deviance ``log(mu / y) + y / mu - 1``, ``mu = exp(eta)``, y > 0."""

    power = 2.0

    def value(self, eta: Array, y: Array) -> Array:
        """Half deviance."""
        return eta - np.log(y) + y * _exp(-eta) - 1.0


@dataclass(frozen=True)
class TweedieLoss(_PowerLoss):
    """Half Tweedie deviance with a log link, variance ``mu^power``, 1 < power < 2.

    ::

        y^(2 - r) / ((1 - r) (2 - r)) - y mu^(1 - r) / (1 - r) + mu^(2 - r) / (2 - r)

    Powers 1 and 2 are `PoissonLoss` and `GammaLoss`; powers above 2 (y > 0) are not
    convex in ``eta`` for every y, but their Fisher information is positive.

    Parameters
    ----------
    power : float
        ``r`` of the variance function.
    """

    power: float = 1.5
    has_events: ClassVar[bool] = True

    def value(self, eta: Array, y: Array) -> Array:
        """Half deviance."""
        a, b, low, high = self._means(eta)
        constant = np.maximum(y, 0.0) ** b / (a * b)
        return constant - y * low / a + high / b
