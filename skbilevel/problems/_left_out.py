"""What leaving out rows needs of a full fit, and what it gives; one target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._losses import CurvedLoss, Loss
from skbilevel.problems._target_features import Features as TargetFeatures
from skbilevel.problems._target_features import take_rows

# A row that determines a prediction alone has no prediction without it.
LEAST_FREEDOM = 1e-10
# Predictions are moved no farther: a Newton step that long predicts nothing.
LONGEST = 30.0


@dataclass(frozen=True)
class Features:
    """The full fit in whitened features.

    Parameters
    ----------
    Z : ndarray of shape (n, r), (t, n, r) or Scaled
        Features, the unpenalized ones first; shared by the targets, or of each its
        own.
    inverse : ndarray of shape (r t, r t)
        Inverse of the Hessian in them.
    eta : ndarray of shape (n, t)
        Predictions at the solution.
    y, weight : ndarray of shape (n, t) and (n,)
        Targets and weights.
    loss : CurvedLoss
        The loss inside.
    """

    Z: TargetFeatures
    inverse: Array
    eta: Array
    y: Array
    weight: Array
    loss: CurvedLoss

    @cached_property
    def row_grad(self) -> Array:
        """``r``."""
        return np.asarray(self.weight[:, None] * self.loss.grad(self.eta, self.y))

    @cached_property
    def curvature(self) -> Array:
        """``C`` as blocks (n, t, t)."""
        apply = self.loss.second_derivative(self.eta, self.y)
        units = np.eye(self.eta.shape[1])
        blocks = [apply(np.broadcast_to(e, self.eta.shape)) for e in units]
        return np.asarray(self.weight[:, None, None] * np.stack(blocks, axis=-1))

    def third(self, U: Array, V: Array) -> Array:
        """``K[U, V]`` for U and V of shape (n, t)."""
        apply = self.loss.third_derivative(self.eta, self.y)
        return np.asarray(self.weight[:, None] * apply(U, V))

    def take(self, rows: slice) -> Features:
        """Some of the rows, with the Hessian of all of them."""
        return Features(
            take_rows(self.Z, rows),
            self.inverse,
            self.eta[rows],
            self.y[rows],
            self.weight[rows],
            self.loss,
        )


@dataclass(frozen=True)
class RowTerms:
    """A function of the full fit, and what its gradient in the variances is made of.

    Parameters
    ----------
    value : float
        The function.
    row_grad : ndarray of shape (n, t)
        ``a - C G a``: what the coefficients' dependence on the variances contributes.
    square : callable
        The terms (b, t) of the second sum of the criterion's module from blocks of
        columns (n, b) of X.
    through : ndarray of shape (r, t)
        ``H^-1 Z^T a``.
    inside : ndarray of shape (r, t)
        What ``square`` of the columns of Z would be, times their penalty: 1 but for
        unpenalized ones.
    """

    value: float
    row_grad: Array
    square: Callable[[Array], Array]
    through: Array
    inside: Array


@dataclass(frozen=True)
class LeftOut(RowTerms):
    """What leaving out each row gives; ``value`` is the weighted sum of outer losses.

    Parameters
    ----------
    eta : ndarray of shape (n, t)
        Predictions of every row without it.
    jacobian : callable or None
        Derivative (n, b) of ``eta`` in the variances of blocks of columns (n, b),
        given their ``u`` (b,); without the third derivative. One target only.
    """

    eta: Array
    jacobian: Callable[[Array, Array], Array] | None = None


def leave_out_single(at: Features, outer: Loss) -> LeftOut:
    """One target: every block is a number."""
    Z, c, r = np.asarray(at.Z), at.curvature[:, 0, 0], at.row_grad[:, 0]
    ZS = Z @ at.inverse
    h = np.einsum("ij,ij->i", ZS, Z)
    D = np.maximum(1.0 - c * h, LEAST_FREEDOM)
    delta = r * h / D
    short = np.abs(delta) <= LONGEST
    delta = np.clip(delta, -LONGEST, LONGEST)
    eta = at.eta + delta[:, None]
    value = float(at.weight @ outer.value(eta, at.y)[:, 0])
    f = at.weight * outer.grad(eta, at.y)[:, 0]
    phi, rho = np.where(short, f / D, f), np.where(short, r / D, 0.0)
    Q = (ZS * (phi * rho)[:, None]).T @ ZS
    bend = np.where(short, h * phi * delta, 0.0) - np.einsum("ij,ij->i", Z @ Q, Z)
    a = phi + at.third(bend[:, None], np.ones_like(eta))[:, 0]
    through = at.inverse @ (Z.T @ a)
    row_grad = a - c * (Z @ through)
    # N^T Z = Z H^-1 P with P the diagonal of the penalty, for any Z.
    inside = ((phi * rho) @ ZS**2)[:, None]

    slope = np.where(short, 1.0 / D, 1.0)[:, None]
    bow = np.where(short, r / D**2, 0.0)[:, None]

    def turned(X: Array) -> Array:
        return np.asarray(X - ZS @ (Z.T @ (c[:, None] * X)))

    def square(X: Array) -> Array:
        return np.asarray(((phi * rho) @ turned(X) ** 2)[:, None])

    def jacobian(X: Array, u: Array) -> Array:
        XN = turned(X)
        return np.asarray(XN * (slope * u + bow * XN))

    return LeftOut(
        value, row_grad[:, None], square, through[:, None], inside, eta, jacobian
    )
