"""Validation losses of classifiers other than the log loss.

One class each for binary problems (one column of log odds, y in {0, 1}) and several
classes (one column of scores for each, y their indicators): log odds ``eta`` are the
two scores ``-eta / 2`` and ``eta / 2``. All are smooth enough for a gradient, none
changes under a common shift of the scores, and their second derivatives are positive
semidefinite: that of Gauss-Newton where the loss is not convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from skbilevel._typing import Array
from skbilevel.problems._losses import LinearMap, LossFacts

_TINY = 1e-300


def _two(eta: Array) -> Array:
    """Scores of both classes from log odds."""
    return np.concatenate([-0.5 * eta, 0.5 * eta], axis=-1)


def _indicators(y: Array) -> Array:
    return np.concatenate([1.0 - y, y], axis=-1)


def _one(S: Array) -> Array:
    """The transpose of `_two`."""
    return np.asarray(0.5 * (S[..., 1:] - S[..., :1]))


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class _ClassLoss(LossFacts):
    """What binary and multiclass forms share; a subclass says how scores count."""

    # What the loss of two scores counts for log odds.
    _binary_share: ClassVar[float] = 1.0

    def value(self, eta: Array, y: Array) -> Array:
        """Entries whose sum over the last axis is the loss of a row."""
        if eta.shape[-1] > 1:
            return self._value(eta, y)
        both = self._value(_two(eta), _indicators(y))
        return np.asarray(self._binary_share * both.sum(axis=-1, keepdims=True))

    def grad(self, eta: Array, y: Array) -> Array:
        """Derivative in ``eta``."""
        if eta.shape[-1] > 1:
            return self._grad(eta, y)
        return self._binary_share * _one(self._grad(_two(eta), _indicators(y)))

    def curvature(self, eta: Array, y: Array) -> Array:
        """Diagonal of `second_derivative`."""
        apply, t = self.second_derivative(eta, y), eta.shape[-1]
        columns = [apply(np.broadcast_to(row, eta.shape)) for row in np.eye(t)]
        return np.stack([each[..., c] for c, each in enumerate(columns)], axis=-1)

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """The map of the class docstring."""
        if eta.shape[-1] > 1:
            return self._second(eta, y)
        apply = self._second(_two(eta), _indicators(y))
        # One number a row, for any number of columns of D.
        bend = self._binary_share * _one(apply(_two(np.ones_like(eta))))
        return lambda D: np.asarray(bend * D)

    def _value(self, eta: Array, y: Array) -> Array:
        raise NotImplementedError

    def _grad(self, eta: Array, y: Array) -> Array:
        raise NotImplementedError

    def _second(self, eta: Array, y: Array) -> LinearMap:
        raise NotImplementedError


@dataclass(frozen=True)
class BrierLoss(_ClassLoss):
    """``sum_c (p_c - y_c)^2`` over several classes, ``(p - y)^2`` for two.

    The second derivative is that of Gauss-Newton, ``2 C C`` with
    ``C = diag(p) - p p^T``, and half of it for log odds.
    """

    # Of two classes each error counts once, as in scikit-learn.
    _binary_share: ClassVar[float] = 0.5

    def _value(self, eta: Array, y: Array) -> Array:
        return np.asarray((special.softmax(eta, axis=-1) - y) ** 2)

    def _grad(self, eta: Array, y: Array) -> Array:
        P = special.softmax(eta, axis=-1)
        PE = P * (P - y)
        return np.asarray(2.0 * (PE - P * PE.sum(axis=-1, keepdims=True)))

    def _second(self, eta: Array, y: Array) -> LinearMap:
        P = special.softmax(eta, axis=-1)

        def half(D: Array) -> Array:
            return np.asarray(P * (D - _dot(P, D)))

        return lambda D: 2.0 * half(half(D))


@dataclass(frozen=True)
class SmoothZeroOneLoss(_ClassLoss):
    """``1 - softmax(k eta)_y``: the share of wrong predictions as k grows.

    The second derivative is that of Gauss-Newton for the square of its root.

    Parameters
    ----------
    sharpness : float
        ``k``. With 1 it is the probability of the wrong classes; a row counts the
        less the farther it is from the boundary, in units of 1 / k.
    """

    sharpness: float = 2.0

    def _wrong(self, eta: Array, y: Array) -> Array:
        # The probability of the other classes; 1 - p_y would lose digits.
        P = special.softmax(self.sharpness * eta, axis=-1)
        return np.asarray(P * (1.0 - y))

    def _value(self, eta: Array, y: Array) -> Array:
        return self._wrong(eta, y)

    def _grad(self, eta: Array, y: Array) -> Array:
        wrong = self._wrong(eta, y)
        total = wrong.sum(axis=-1, keepdims=True)
        return np.asarray(self.sharpness * (1.0 - total) * (wrong - y * total))

    def _second(self, eta: Array, y: Array) -> LinearMap:
        total = self._wrong(eta, y).sum(axis=-1, keepdims=True)
        root = self._grad(eta, y) / np.sqrt(2.0 * np.maximum(total, _TINY))
        return lambda D: root * _dot(root, D)


@dataclass(frozen=True)
class SquaredHingeLoss(_ClassLoss):
    """``sum_c max(0, 1 - (eta_y - eta_c))^2`` over the other classes c.

    For two classes that is the squared hinge of the log odds. The second derivative
    is exact but where a margin is exactly one.
    """

    def _gap(self, eta: Array, y: Array) -> Array:
        return np.asarray((1.0 - y) * np.maximum(1.0 - (_dot(y, eta) - eta), 0.0))

    def _value(self, eta: Array, y: Array) -> Array:
        return np.asarray(self._gap(eta, y) ** 2)

    def _grad(self, eta: Array, y: Array) -> Array:
        gap = self._gap(eta, y)
        return np.asarray(2.0 * (gap - y * gap.sum(axis=-1, keepdims=True)))

    def _second(self, eta: Array, y: Array) -> LinearMap:
        active = (self._gap(eta, y) > 0.0).astype(float)

        def apply(D: Array) -> Array:
            moved = active * (D - _dot(y, D))
            return np.asarray(2.0 * (moved - y * moved.sum(axis=-1, keepdims=True)))

        return apply
