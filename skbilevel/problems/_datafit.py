"""Data fits: values and derivatives in the coefficients, from moments or from rows.

Coefficients ``W`` have shape (p, t) for t targets. Every data fit may also be a
*stack* of K data fits with the same columns, such as the training sets of K folds:
arrays then have one leading axis, ``W`` has shape (K, p, t) and values shape (K,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._design import Design
from skbilevel.problems._losses import Loss, SquaredLoss


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

    @staticmethod
    def stack(fits: Sequence[QuadraticDataFit]) -> QuadraticDataFit:
        """One stack of several data fits, copied side by side."""
        return QuadraticDataFit(
            np.stack([fit.gram for fit in fits]),
            np.stack([fit.cross for fit in fits]),
            np.stack([fit.yy for fit in fits]),
            np.stack([np.asarray(fit.weight_sum, dtype=float) for fit in fits]),
        )


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Sweep:
    """Elimination of the intercept and other unpenalized columns.

    ``T eta = eta - E (P eta)``, where ``P`` regresses on the columns of ``E`` using
    training rows only, and ``T`` applies to all rows: this is how the intercept of a
    training set reaches its validation rows.

    Parameters
    ----------
    free : ndarray of shape (n, m)
        Unpenalized columns of all rows, the constant one among them.
    maps : ndarray of shape (..., m, n)
        ``P``; columns of rows outside the training set are zero.
    """

    free: Array
    maps: Array

    @classmethod
    def of(cls, free: Array, weight: Array) -> Sweep:
        """Weighted least squares on rows of weight (..., n); minimum norm."""
        if free.shape[1] == 1 and (free == 1.0).all():
            total = weight.sum(axis=-1, keepdims=True)
            maps = weight / np.where(total > 0, total, 1.0)
            return cls(free, maps[..., None, :])
        root = np.sqrt(weight)[..., None]
        maps = np.linalg.pinv(root * free) * np.swapaxes(root, -1, -2)
        return cls(free, maps)

    def coef(self, eta: Array) -> Array:
        """``P eta`` of shape (..., m, t)."""
        return np.asarray(self.maps @ eta)

    def apply(self, eta: Array) -> Array:
        """``T eta`` for eta of shape (..., n, t)."""
        return np.asarray(eta - self.free @ self.coef(eta))

    def adjoint(self, R: Array) -> Array:
        """``T^T R`` for R of shape (..., n, t)."""
        inner = self.free.T @ R
        return np.asarray(R - np.swapaxes(self.maps, -1, -2) @ inner)


@dataclass(frozen=True)
class RowsDataFit:
    """A data fit known through products with the rows; X is shared, never copied.

    Rows outside of a set have weight zero, so training and validation sets of all
    folds are views of one design, and a stack of K folds costs one product with
    ``K t`` columns.

    Parameters
    ----------
    design : Design
        All rows. Columns whose strength is fixed at ``v = 0`` (such as unpenalized
        ones, which belong in ``sweep.free``) may stay in it.
    y : ndarray of shape (n, t)
        Targets.
    weight : ndarray of shape (..., n)
        Row weights, zero outside of the set.
    sweep : Sweep or None
        Elimination of the unpenalized columns, made from the *training* rows.
    loss : Loss
        Only losses of constant curvature can be swept.
    """

    design: Design
    y: Array
    weight: Array
    sweep: Sweep | None = None
    loss: Loss = SquaredLoss()

    def __post_init__(self) -> None:
        if self.sweep is not None and not self.loss.constant_curvature:
            raise ValueError(
                "Unpenalized columns can only be projected out in advance where the "
                "curvature of the loss is constant; pass sweep=None."
            )

    @property
    def n_features(self) -> int:
        """Number of columns of the design."""
        return self.design.shape[1]

    @property
    def n_targets(self) -> int:
        """Number of targets."""
        return int(self.y.shape[1])

    @property
    def batch(self) -> tuple[int, ...]:
        """() or (K,)."""
        return tuple(self.weight.shape[:-1])

    @property
    def provides(self) -> frozenset[str]:
        """Rows and two derivatives; quadratic if the loss is."""
        words = {"rows", "twice_differentiable"}
        return frozenset(words | ({"quadratic"} if self._quadratic else set()))

    @property
    def _quadratic(self) -> bool:
        return self.loss.constant_curvature

    @cached_property
    def weight_sum(self) -> Array:
        """``sum_i s_i``."""
        return np.asarray(self.weight.sum(axis=-1))

    @cached_property
    def target(self) -> Array:
        """Swept targets of shape (..., n, t)."""
        y = np.asarray(self.y, dtype=np.float64)
        if self.sweep is None:
            return np.broadcast_to(y, (*self.batch, *y.shape))
        return self.sweep.apply(y)

    @cached_property
    def cross(self) -> Array:
        """Minus the gradient at ``W = 0``."""
        return -self.at(zeros(self)).grad

    @cached_property
    def curvature_diag(self) -> Array:
        """Diagonal of the Hessian of a quadratic loss, shape (..., p)."""
        squares = self.design.column_squares(self.weight.T)
        squares = squares.T if self.batch else squares
        if self.sweep is None:
            return np.asarray(squares)
        # The norm of the part of each column that the unpenalized ones explain.
        free, S = self.sweep.free, self.weight[..., None, :]
        side = np.swapaxes(free, -1, -2) * S
        R = np.swapaxes(side, -1, -2)
        moment = side @ free
        cross = self.pull_rows(R)
        explained = ((cross @ np.linalg.pinv(moment, hermitian=True)) * cross).sum(-1)
        return np.asarray(np.maximum(squares - explained, 0.0))

    def push(self, W: Array) -> Array:
        """Swept predictions of all rows, shape (..., n, t)."""
        eta = self.push_rows(W)
        return eta if self.sweep is None else self.sweep.apply(eta)

    def pull(self, R: Array) -> Array:
        """The transpose of `push`."""
        return self.pull_rows(R if self.sweep is None else self.sweep.adjoint(R))

    def push_rows(self, W: Array) -> Array:
        """``X W`` of shape (..., n, t)."""
        if W.ndim == 2:
            return self.design.matvec(W)
        K, p, t = W.shape
        flat = self.design.matvec(np.swapaxes(W, 0, 1).reshape(p, K * t))
        return np.swapaxes(flat.reshape(-1, K, t), 0, 1)

    def pull_rows(self, R: Array) -> Array:
        """``X^T R`` of shape (..., p, t)."""
        if R.ndim == 2:
            return self.design.rmatvec(R)
        K, n, t = R.shape
        flat = self.design.rmatvec(np.swapaxes(R, 0, 1).reshape(n, K * t))
        return np.swapaxes(flat.reshape(-1, K, t), 0, 1)

    def free_coef(self, W: Array) -> Array:
        """Coefficients (..., m, t) of the unpenalized columns."""
        if self.sweep is None:
            return np.zeros((*self.batch, 0, self.n_targets))
        return self.sweep.coef(self.y - self.push_rows(W))

    def at(self, W: Array) -> RowsPoint:
        """The oracles at ``W``."""
        return RowsPoint(self, W)

    @staticmethod
    def stack(fits: Sequence[RowsDataFit]) -> RowsDataFit:
        """One stack of data fits that share design and targets."""
        first, sweeps = fits[0], [fit.sweep for fit in fits]
        sweep = None
        if first.sweep is not None:
            maps = np.stack([each.maps for each in sweeps if each is not None])
            sweep = Sweep(first.sweep.free, maps)
        weight = np.stack([fit.weight for fit in fits])
        return RowsDataFit(first.design, first.y, weight, sweep, first.loss)


def moments_of(fit: RowsDataFit) -> QuadraticDataFit:
    """The same data fit as second moments; one pass over the rows of its set."""
    weight = fit.weight
    if fit.batch:
        parts = [RowsDataFit(fit.design, fit.y, row, _part(fit.sweep, k), fit.loss)
                 for k, row in enumerate(weight)]
        return QuadraticDataFit.stack([moments_of(part) for part in parts])
    rows = np.flatnonzero(weight)
    p = fit.n_features
    gram, cross = np.zeros((p, p)), np.zeros((p, fit.n_targets))
    sweep, shift = fit.sweep, None
    if sweep is not None:
        shift = fit.design.rmatvec(sweep.maps.T).T
    for index, block in fit.design.iter_blocks(rows):
        if sweep is not None:
            block = block - sweep.free[index] @ shift
        root = np.sqrt(weight[index])[:, None]
        block = block * root
        gram += block.T @ block
        cross += block.T @ (root * fit.target[index])
    yy = (weight[:, None] * fit.target**2).sum(axis=0)
    return QuadraticDataFit(gram, cross, yy, fit.weight_sum)


def _part(sweep: Sweep | None, k: int) -> Sweep | None:
    return None if sweep is None else Sweep(sweep.free, sweep.maps[k])


@dataclass(frozen=True)
class RowsPoint:
    """`RowsDataFit` at ``W``; the predictions are computed once."""

    fit: RowsDataFit
    W: Array

    @cached_property
    def eta(self) -> Array:
        """Swept predictions."""
        if not self.W.any():
            shape = (*self.fit.batch, self.fit.design.shape[0], self.fit.n_targets)
            return np.zeros(shape)
        return self.fit.push(self.W)

    @cached_property
    def value(self) -> Array:
        """``sum_i s_i loss_i``."""
        loss = self.fit.loss.value(self.eta, self.fit.target)
        return np.asarray((self.fit.weight * loss.sum(axis=-1)).sum(axis=-1))

    @cached_property
    def row_grad(self) -> Array:
        """Derivative of the value in every swept prediction, shape (..., n, t)."""
        grad = self.fit.loss.grad(self.eta, self.fit.target)
        return np.asarray(self.fit.weight[..., None] * grad)

    @cached_property
    def grad(self) -> Array:
        """Gradient."""
        return self.fit.pull(self.row_grad)

    @cached_property
    def _row_curvature(self) -> Array:
        weight = self.fit.weight[..., None]
        if self.fit._quadratic:
            return weight
        return np.asarray(weight * self.fit.loss.curvature(self.eta, self.fit.target))

    def hvp(self, D: Array) -> Array:
        """Hessian times ``D``: one product with X and one with its transpose."""
        return self.fit.pull(self._row_curvature * self.fit.push(D))

    def diag(self) -> Array:
        """Diagonal of the Hessian."""
        if self.fit._quadratic:
            return self.fit.curvature_diag[..., None]
        curvature = self._row_curvature
        if curvature.ndim == 2:
            return self.fit.design.column_squares(curvature)
        squares = [self.fit.design.column_squares(each) for each in curvature]
        return np.stack(squares)
