"""Penalties on the variances themselves, added to the outer loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skbilevel._typing import Array


class Hyperpenalty(Protocol):
    """A function of the variances that is added to the outer loss.

    Variances of targets with strengths of their own, (p, t), count one by one.
    """

    @property
    def needs_positive(self) -> bool:
        """Whether it is infinite at ``v = 0``."""

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in ``v``."""


@dataclass(frozen=True)
class SmoothPenalty:
    """``value * mean((R log v)^2)``: strengths close to what is not penalized.

    By default ``R`` takes off the mean, so that strengths are close to one shared
    strength; ``basis`` gives other directions that cost nothing.

    Parameters
    ----------
    value : float
        Factor.
    index : ndarray of int or None
        Features that count, all by default: one of each group, for instance.
    basis : ndarray of shape (p, q) or None
        Orthonormal columns that ``R`` projects out, instead of the constant one.
    """

    value: float
    index: Array | None = None
    basis: Array | None = None
    needs_positive = True

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in ``v``."""
        index = slice(None) if self.index is None else self.index
        flat = v.reshape(-1)
        log_v = np.log(flat[index])
        if self.basis is None:
            deviation = log_v - log_v.mean()
        else:
            deviation = log_v - self.basis @ (self.basis.T @ log_v)
        grad = np.zeros_like(flat)
        grad[index] = 2.0 * self.value / len(log_v) * deviation / flat[index]
        return self.value * float((deviation**2).mean()), grad.reshape(v.shape)


@dataclass(frozen=True)
class SparsePenalty:
    """``value * sum(v) / v0``: few features; needs no logarithm at zero."""

    value: float
    v0: float = 1.0
    needs_positive = False

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in ``v``."""
        slope = self.value / self.v0
        return slope * float(v.sum()), np.full_like(v, slope)
