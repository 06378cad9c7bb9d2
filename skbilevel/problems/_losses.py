"""Pointwise losses: value, derivative and curvature in the linear predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from skbilevel._typing import Array

LinearMap = Callable[[Array], Array]
BilinearMap = Callable[[Array, Array], Array]
# What a missing class or event counts.
HALF_EVENT = 0.5


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


class LossFacts:
    """What is known of a loss beside its derivatives.

    The defaults hold for any loss; a subclass says what is special about it.

    Attributes
    ----------
    constant_curvature : bool
        See `Loss`.
    curvature_bound : float or None
        The largest curvature in the predictions; None if there is none.
    coupled : bool
        Whether the targets of a row are coupled, and a constant that is added to all
        predictions of a row changes nothing.
    has_events : bool
        Whether targets count events: no finite prediction fits zeros alone.
    """

    constant_curvature: ClassVar[bool] = False
    curvature_bound: ClassVar[float | None] = None
    coupled: ClassVar[bool] = False
    has_events: ClassVar[bool] = False

    def noise(self, n_targets: int) -> float | None:
        """Variance of working responses; None if it is known up to a factor only.

        That of counts is not known: they vary more than Poisson's law says.
        """
        return None

    def indicators(self, y: Array) -> Array | None:
        """Class indicators (n, c) of targets; None if they are no classes."""
        return None

    def summed_second_derivative(self, eta: Array, weight: Array) -> Array | None:
        """Sums (q, t, t) of the rows' second derivatives, weighted in q ways (n, q).

        None where it has no form of its own, and is summed from `second_derivative`.
        """
        return None

    def with_pseudo_counts(
        self, y: Array, weight: Array, offset: Array | None
    ) -> Array:
        """Targets (n, t) with half a class or event where the rows have none.

        The likelihood of rows that lack a class or an event is largest at a
        probability of zero, and a held-out row that has it would cost whatever the
        solver's tolerance makes of that. What is missing counts as half of one among
        all rows, as under Jeffreys' prior.
        """
        if not self.has_events or y[weight > 0].any():
            return y
        shift = np.zeros_like(y) if offset is None else offset
        expected = np.exp(shift - shift.max())
        return np.asarray(HALF_EVENT * expected / (weight @ expected))


def facts_of(loss: Loss) -> LossFacts:
    """The facts of a loss; the defaults for a class that states none."""
    return loss if isinstance(loss, LossFacts) else LossFacts()


@dataclass(frozen=True)
class SquaredLoss(LossFacts):
    """``0.5 * (eta - y)^2``."""

    constant_curvature: ClassVar[bool] = True
    curvature_bound: ClassVar[float | None] = 1.0

    def value(self, eta: Array, y: Array) -> Array:
        """Half the squared residual."""
        return 0.5 * (eta - y) ** 2

    def grad(self, eta: Array, y: Array) -> Array:
        """The residual."""
        return eta - y

    def curvature(self, eta: Array, y: Array) -> Array:
        """One."""
        return np.ones_like(eta)

    def second_derivative(self, eta: Array, y: Array) -> LinearMap:
        """The identity."""
        return lambda D: D

    def third_derivative(self, eta: Array, y: Array) -> BilinearMap:
        """Zero."""
        return lambda U, V: np.zeros_like(U * V)
