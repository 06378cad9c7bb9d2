"""How the outer vector ``theta`` gives one prior variance ``v_j`` to each feature.

``v_j = 1 / alpha_j`` with ``alpha_j`` the strength of scikit-learn's Ridge; ``v_j = 0``
removes a feature. Where features may be removed, the coordinate is linear near zero
and logarithmic above a reference value::

    v = v0 * z              for 0 <= z <= 1
    v = v0 * exp(z - 1)     for z > 1

with a continuous derivative, so that a bounded method reaches exact zeros and no
step overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skbilevel._typing import Array

# exp of this is finite, and its reciprocal is a normal number.
LOG_LIMIT = 300.0


class Parametrization(Protocol):
    """The map from ``theta`` to prior variances and its transposed derivative."""

    @property
    def size(self) -> int:
        """Length of ``theta``."""

    def v(self, theta: Array) -> Array:
        """Prior variances of shape (p,)."""

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta`` from the gradient in ``v``."""

    def jacobian(self, theta: Array) -> Array:
        """Derivative ``dv / dtheta`` of shape (p, g)."""

    def bounds(self, v_min: float, v_max: float) -> tuple[Array, Array]:
        """Box of ``theta`` that keeps ``v`` in ``[v_min, v_max]``."""
        return self.init(v_min), self.init(v_max)

    def init(self, v: Array | float) -> Array:
        """The ``theta`` closest to given variances."""

    def publish(self, theta: Array) -> Array:
        """Strengths ``alpha = 1 / v``; inf where a feature is removed."""
        return strengths(self.v(theta))


def strengths(v: Array) -> Array:
    """``alpha = 1 / v``; inf where a feature is removed."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / v)


def _linear_then_exp(z: Array) -> tuple[Array, Array]:
    """The coordinate of the module docstring and its derivative, for v0 = 1."""
    upper = np.exp(np.clip(z - 1.0, 0.0, LOG_LIMIT))
    low = z <= 1.0
    return np.where(low, np.maximum(z, 0.0), upper), np.where(low, 1.0, upper)


def _linear_then_exp_inverse(ratio: Array) -> Array:
    return np.where(ratio <= 1.0, ratio, 1.0 + np.log(np.maximum(ratio, 1.0)))


@dataclass(frozen=True)
class FeatureStrengths(Parametrization):
    """One strength for every feature.

    Parameters
    ----------
    n_features : int
        Number of features p, the length of ``theta``.
    v0 : float or ndarray of shape (p,)
        Variance at ``theta = 1``, where the coordinate turns from linear to
        logarithmic; the best shared strength is a good choice.
    """

    n_features: int
    v0: float | Array = 1.0

    @property
    def size(self) -> int:
        """Length of ``theta``."""
        return self.n_features

    def v(self, theta: Array) -> Array:
        """Prior variances."""
        return np.asarray(self.v0 * _linear_then_exp(theta)[0])

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta``."""
        return np.asarray(self.v0 * _linear_then_exp(theta)[1] * grad)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the variances."""
        return np.diag(self.vjp(theta, np.ones(self.n_features)))

    def init(self, v: Array | float) -> Array:
        """``theta`` of given variances."""
        ratio = np.broadcast_to(v / np.asarray(self.v0), self.n_features)
        return _linear_then_exp_inverse(ratio)


@dataclass(frozen=True)
class GroupStrengths(Parametrization):
    """One strength for every label.

    Parameters
    ----------
    labels : ndarray of int of shape (p,)
        Label of each feature, from 0 to the number of groups minus one.
    v0 : float or ndarray of shape (n_groups,)
        Variance at ``theta = 1``.
    """

    labels: Array
    v0: float | Array = 1.0

    @property
    def size(self) -> int:
        """Number of groups."""
        return int(self.labels.max()) + 1

    def v(self, theta: Array) -> Array:
        """Prior variances."""
        return np.asarray((self.v0 * _linear_then_exp(theta)[0])[self.labels])

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta``."""
        total = np.bincount(self.labels, weights=grad, minlength=self.size)
        return np.asarray(self.v0 * _linear_then_exp(theta)[1] * total)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the variances."""
        out = np.zeros((len(self.labels), self.size))
        slope = self.v0 * _linear_then_exp(theta)[1]
        out[np.arange(len(out)), self.labels] = slope[self.labels]
        return out

    def init(self, v: Array | float) -> Array:
        """``theta`` of the geometric mean of each group; zero if any is zero."""
        v = np.broadcast_to(v, self.labels.shape)
        with np.errstate(divide="ignore"):
            log_sum = np.bincount(self.labels, weights=np.log(v), minlength=self.size)
        count = np.bincount(self.labels, minlength=self.size)
        mean = np.exp(log_sum / np.maximum(count, 1))
        return _linear_then_exp_inverse(mean / self.v0)

    def publish_groups(self, theta: Array) -> Array:
        """Strengths ``alpha`` of the groups."""
        return strengths(self.v0 * _linear_then_exp(theta)[0])


@dataclass(frozen=True)
class SharedStrength(Parametrization):
    """The same strength for all features; ``theta = log v``."""

    n_features: int

    @property
    def size(self) -> int:
        """One."""
        return 1

    def v(self, theta: Array) -> Array:
        """Prior variances."""
        return np.full(self.n_features, np.exp(theta[0]))

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta``."""
        return np.array([np.exp(theta[0]) * grad.sum()])

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the variances."""
        return self.v(theta)[:, None]

    def init(self, v: Array | float) -> Array:
        """Logarithm of the geometric mean; it has no zero."""
        return np.array([log_of(v).mean()])


def log_of(v: Array | float) -> Array:
    """Logarithm, finite at zero."""
    return np.asarray(np.log(np.maximum(v, np.exp(-LOG_LIMIT))))


@dataclass(frozen=True)
class Embedded(Parametrization):
    """A parametrization of some columns; the others keep ``v = 0``.

    With it, unpenalized columns may stay in the design that a matrix-free solver
    reads: they are eliminated through `Sweep` and have no strength.

    Parameters
    ----------
    inner : Parametrization
        Strengths of the chosen columns.
    index : ndarray of int
        The chosen columns.
    n_features : int
        Number of all columns.
    """

    inner: Parametrization
    index: Array
    n_features: int

    @property
    def size(self) -> int:
        """Length of ``theta``."""
        return self.inner.size

    def v(self, theta: Array) -> Array:
        """Prior variances of all columns."""
        out = np.zeros(self.n_features)
        out[self.index] = self.inner.v(theta)
        return out

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta``."""
        return self.inner.vjp(theta, grad[self.index])

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the variances."""
        out = np.zeros((self.n_features, self.size))
        out[self.index] = self.inner.jacobian(theta)
        return out

    def bounds(self, v_min: float, v_max: float) -> tuple[Array, Array]:
        """Box of ``theta``."""
        return self.inner.bounds(v_min, v_max)

    def init(self, v: Array | float) -> Array:
        """``theta`` of given variances of all columns, or of one value."""
        if np.ndim(v) == 0:
            return self.inner.init(v)
        return self.inner.init(np.asarray(v)[self.index])


@dataclass(frozen=True)
class ByTarget(Parametrization):
    """Strengths of its own for every target: ``v`` has shape (p, t).

    Parameters
    ----------
    flat : Parametrization
        Of ``p t`` strengths, the targets of a feature one after the other.
    n_targets : int
        Number of targets t.
    """

    flat: Parametrization
    n_targets: int

    @property
    def size(self) -> int:
        """Length of ``theta``."""
        return self.flat.size

    def _shaped(self, flat: Array) -> Array:
        return flat.reshape(-1, self.n_targets, *flat.shape[1:])

    def v(self, theta: Array) -> Array:
        """Prior variances (p, t)."""
        return self._shaped(self.flat.v(theta))

    def vjp(self, theta: Array, grad: Array) -> Array:
        """Gradient in ``theta`` from one (p, t) in ``v``."""
        return self.flat.vjp(theta, grad.reshape(-1))

    def jacobian(self, theta: Array) -> Array:
        """Derivative (p, t, g) of the variances."""
        return self._shaped(self.flat.jacobian(theta))

    def bounds(self, v_min: float, v_max: float) -> tuple[Array, Array]:
        """Box of ``theta``."""
        return self.flat.bounds(v_min, v_max)

    def init(self, v: Array | float) -> Array:
        """``theta`` of given variances (p, t), flat or not, or of one value."""
        return self.flat.init(np.reshape(v, -1) if np.ndim(v) else v)
