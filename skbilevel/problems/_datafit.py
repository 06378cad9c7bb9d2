"""Data fits: values and derivatives in the coefficients; here from moments.

Coefficients ``W`` have shape (p, t) for t targets. Every data fit may also be a
*stack* of K data fits with the same columns, such as the training sets of K folds:
arrays then have one leading axis, ``W`` has shape (K, p, t) and values shape (K,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


class Linearization(Protocol):
    """A data fit at one point; everything is computed when first asked for."""

    @property
    def value(self) -> Array:
        """``sum_i s_i loss_i``, shape () or (K,)."""

    @property
    def grad(self) -> Array:
        """Gradient, the shape of ``W``."""

    def hvp(self, D: Array) -> Array:
        """Hessian times ``D``, the shape of ``W``."""

    def diag(self) -> Array:
        """Diagonal of the Hessian, shape (..., p, 1) or (..., p, t)."""


class DataFit(Protocol):
    """``sum_i s_i loss(b + x_i W, y_i)``, the unpenalized columns eliminated.

    Notes
    -----
    ``provides`` lists what a solver may rely on: ``quadratic`` (`at(0)` tells all),
    ``twice_differentiable``, ``dense_hessian`` (a (p, p) matrix is at hand), ``rows``
    (a `Design` is at hand).
    """

    @property
    def n_features(self) -> int:
        """Number of penalized coefficients of a target."""

    @property
    def n_targets(self) -> int:
        """Number of targets."""

    @property
    def batch(self) -> tuple[int, ...]:
        """() or (K,)."""

    @property
    def weight_sum(self) -> Array:
        """``sum_i s_i``, shape () or (K,)."""

    @property
    def provides(self) -> frozenset[str]:
        """Capability words."""

    @property
    def cross(self) -> Array:
        """Minus the gradient at ``W = 0``."""

    def at(self, W: Array) -> Linearization:
        """The oracles at ``W``."""


def zeros(fit: DataFit) -> Array:
    """Coefficients that are all zero."""
    return np.zeros((*fit.batch, fit.n_features, fit.n_targets))


@dataclass(frozen=True)
class QuadraticDataFit:
    """Squared loss from second moments; rows are no longer needed.

    ::

        0.5 * (yy - 2 <W, cross> + <W, gram W>)

    Parameters
    ----------
    gram : ndarray of shape (..., p, p)
        ``X^T S X`` of swept rows.
    cross : ndarray of shape (..., p, t)
        ``X^T S Y``.
    yy : ndarray of shape (..., t)
        ``sum_i s_i y_i^2``.
    weight_sum : ndarray of shape (...)
        ``sum_i s_i``.
    """

    gram: Array
    cross: Array
    yy: Array
    weight_sum: Array

    provides = frozenset({"quadratic", "twice_differentiable", "dense_hessian"})

    @property
    def n_features(self) -> int:
        """Number of penalized coefficients of a target."""
        return int(self.gram.shape[-1])

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return int(self.cross.shape[-1])

    @property
    def batch(self) -> tuple[int, ...]:
        """() or (K,)."""
        return tuple(self.gram.shape[:-2])

    def at(self, W: Array) -> QuadraticPoint:
        """The oracles at ``W``."""
        return QuadraticPoint(self, W)

    @property
    def _sums(self) -> tuple[Array, Array, Array, Array]:
        return self.gram, self.cross, self.yy, np.asarray(self.weight_sum, dtype=float)

    @staticmethod
    def stack(fits: Sequence[QuadraticDataFit]) -> QuadraticDataFit:
        """One stack of several data fits, copied side by side."""
        sums = zip(*(fit._sums for fit in fits), strict=True)
        return QuadraticDataFit(*(np.stack(each) for each in sums))

    def take(self, index: Any) -> QuadraticDataFit:
        """Some of a stack, as views; a stack of one at ``None``."""
        return QuadraticDataFit(*(each[index] for each in self._sums))


@record
class QuadraticPoint:
    """`QuadraticDataFit` at ``W``."""

    fit: QuadraticDataFit
    W: Array

    @cached_property
    def grad(self) -> Array:
        """``gram W - cross``."""
        return np.asarray(self.fit.gram @ self.W - self.fit.cross)

    @cached_property
    def value(self) -> Array:
        """Half the weighted sum of squared residuals."""
        inner = (self.W * (self.grad - self.fit.cross)).sum(axis=(-2, -1))
        value = 0.5 * (self.fit.yy.sum(axis=-1) + inner)
        return np.asarray(np.maximum(value, 0.0))

    def hvp(self, D: Array) -> Array:
        """``gram D``."""
        return np.asarray(self.fit.gram @ D)

    def diag(self) -> Array:
        """Diagonal of ``gram``."""
        return np.diagonal(self.fit.gram, axis1=-2, axis2=-1)[..., None]

    def hessian(self) -> Array:
        """``gram``."""
        return self.fit.gram
