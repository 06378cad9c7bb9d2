"""Pointwise losses: value, derivative and curvature in the linear predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skbilevel._typing import Array

LinearMap = Callable[[Array], Array]
BilinearMap = Callable[[Array, Array], Array]


class Loss(Protocol):
    """A convex loss of a linear predictor ``eta`` and a target ``y``."""

    @property
    def constant_curvature(self) -> bool:
        """Whether `curvature` depends neither on ``eta`` nor on ``y``.

        The intercept can then be projected out once, before the coefficients are
        known.
        """

    def value(self, eta: Array, y: Array) -> Array:
        """Loss of every entry."""

    def grad(self, eta: Array, y: Array) -> Array:
        """Derivative with respect to ``eta``."""

    def curvature(self, eta: Array, y: Array) -> Array:
        """Diagonal of the second derivative with respect to ``eta``."""

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """The map ``D -> loss'' D``; couples the entries of a row at most."""


class CurvedLoss(Loss, Protocol):
    """A loss with a third derivative, which gradients of approximations need."""

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """The symmetric bilinear map that is the third derivative of every row."""


@dataclass(frozen=True)
class SquaredLoss:
    """``0.5 * (eta - y)^2``."""

    @property
    def constant_curvature(self) -> bool:
        """True: the curvature is 1 everywhere."""
        return True

    def value(self, eta: Array, y: Array) -> Array:
        """Half the squared residual."""
        return np.asarray(0.5 * (eta - y) ** 2)

    def grad(self, eta: Array, y: Array) -> Array:
        """The residual."""
        return np.asarray(eta - y)

    def curvature(self, eta: Array, y: Array) -> Array:
        """One."""
        return np.ones_like(eta)

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """The identity."""
        return lambda D: D

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """Zero."""
        return lambda U, V: np.zeros_like(U * V)
