"""Data fits known through products with rows that all folds share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import QuadraticDataFit, zeros
from skbilevel.problems._design import Design
from skbilevel.problems._glm_losses import SoftmaxLoss
from skbilevel.problems._losses import LinearMap, Loss, SquaredLoss
from skbilevel.problems._sweep import Sweep

_SQUARED = SquaredLoss()


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
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    """

    design: Design
    y: Array
    weight: Array
    sweep: Sweep | None = None
    loss: Loss = _SQUARED
    offset: Array | None = None

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
        cross = self.pull_rows(self.weight[..., None] * self.sweep.free)
        explained = (np.swapaxes(cross, -1, -2) * self.free_map).sum(axis=-2)
        return np.asarray(np.maximum(squares - explained, 0.0))

    def push(self, W: Array) -> Array:
        """Swept predictions of all rows, shape (..., n, t)."""
        eta = self.push_rows(W)
        return eta if self.sweep is None else self.sweep.apply(eta)

    def predict(self, W: Array) -> Array:
        """`push`, with the offset added in the precision of the products."""
        eta = self.push(W)
        if self.offset is None:
            return eta
        return np.asarray(eta + self.offset.astype(eta.dtype, copy=False))

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

    @cached_property
    def free_map(self) -> Array:
        """Coefficients (..., m, p) of the columns on the unpenalized ones."""
        if self.sweep is None:
            return np.zeros((*self.batch, 0, self.n_features))
        maps = np.swapaxes(self.sweep.maps, -1, -2)
        return np.ascontiguousarray(np.swapaxes(self.pull_rows(maps), -1, -2))

    def swept_blocks(self, rows: Array | None = None) -> Iterator[tuple[Array, Array]]:
        """Row numbers and swept rows times the roots of their weights."""
        for index, block in self.design.iter_blocks(rows):
            if self.sweep is not None:
                block = block - self.sweep.free[index] @ self.free_map
            yield index, block * np.sqrt(self.weight[index, None])

    def at(self, W: Array) -> RowsPoint:
        """The oracles at ``W``."""
        return RowsPoint(self, W)

    @staticmethod
    def stack(fits: Sequence[RowsDataFit]) -> RowsDataFit:
        """One stack of data fits, or of stacks, that share design and targets."""
        first, sweep = fits[0], fits[0].sweep
        n = first.design.shape[0]
        if sweep is not None:
            shape = (-1, *sweep.maps.shape[-2:])
            maps = [fit.sweep.maps.reshape(shape) for fit in fits if fit.sweep]
            sweep = Sweep(sweep.free, np.concatenate(maps))
        weight = np.concatenate([fit.weight.reshape(-1, n) for fit in fits])
        return replace(first, weight=weight, sweep=sweep)


def share_rows(fits: Sequence[Any]) -> bool:
    """Whether data fits see the same rows in the same way, but for their targets."""
    first = fits[0]
    return all(
        isinstance(fit, RowsDataFit)
        and fit.design is first.design
        and fit.offset is first.offset
        and fit.loss == first.loss
        and (fit.sweep is None) == (first.sweep is None)
        for fit in fits
    )


def moments_of(fit: RowsDataFit) -> QuadraticDataFit:
    """The same data fit as second moments; one pass over the rows of its set."""
    weight = fit.weight
    if fit.batch:
        parts = [
            RowsDataFit(fit.design, fit.y, row, _part(fit.sweep, k), fit.loss)
            for k, row in enumerate(weight)
        ]
        return QuadraticDataFit.stack([moments_of(part) for part in parts])
    p = fit.n_features
    gram, cross = np.zeros((p, p)), np.zeros((p, fit.n_targets))
    root = np.sqrt(weight)[:, None]
    for index, block in fit.swept_blocks(np.flatnonzero(weight)):
        gram += block.T @ block
        cross += block.T @ (root[index] * fit.target[index])
    yy = (weight[:, None] * fit.target**2).sum(axis=0)
    return QuadraticDataFit(gram, cross, yy, fit.weight_sum)


def _part(sweep: Sweep | None, k: int) -> Sweep | None:
    return None if sweep is None else Sweep(sweep.free, sweep.maps[k])


@record
class RowsPoint:
    """`RowsDataFit` at ``W``; the predictions are computed once."""

    fit: RowsDataFit
    W: Array

    @cached_property
    def eta(self) -> Array:
        """Swept predictions."""
        if self.W.any():
            return self.fit.predict(self.W)
        shape = (*self.fit.batch, self.fit.design.shape[0], self.fit.n_targets)
        offset = self.fit.offset
        return np.zeros(shape) if offset is None else np.broadcast_to(offset, shape)

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

    def row_hessian(self, D: Array) -> Array:
        """Second derivative of the value in the predictions, times ``D``."""
        if not self.fit._quadratic:
            D = self._second_derivative(D)
        return np.asarray(self.fit.weight[..., None] * D)

    @cached_property
    def _second_derivative(self) -> LinearMap:
        return self.fit.loss.second_derivative(self.eta, self.fit.target)

    def hvp(self, D: Array) -> Array:
        """Hessian times ``D``: one product with X and one with its transpose."""
        return self.fit.pull(self.row_hessian(self.fit.push(D)))

    def third(self, D: Array) -> Array:
        """Third derivative of the value along ``D``."""
        if self.fit._quadratic:
            return np.zeros(self.fit.batch)
        loss: Any = self.fit.loss
        U = self.fit.push(D)
        each = (loss.third_derivative(self.eta, self.fit.target)(U, U) * U).sum(axis=-1)
        return np.asarray((self.fit.weight * each).sum(axis=-1))

    def diag(self) -> Array:
        """Diagonal of the Hessian."""
        if self.fit._quadratic:
            return self.fit.curvature_diag[..., None]
        fit = self.fit
        curvature = fit.loss.curvature(self.eta, fit.target) * fit.weight[..., None]
        if curvature.ndim == 2:
            return self.fit.design.column_squares(curvature)
        squares = [self.fit.design.column_squares(each) for each in curvature]
        return np.stack(squares)


@record
class RowCurvature:
    """``s_i d^2 loss_i`` at fixed predictions.

    A Hessian is applied many times at one point: probabilities are made once.

    Parameters
    ----------
    weighted : ndarray of shape (n, t)
        Row weights times second derivatives (softmax: times probabilities).
    mean : ndarray of shape (n, t) or None
        Probabilities of a softmax, which couples classes; None for separate targets.
    """

    weighted: Array
    mean: Array | None

    @classmethod
    def of(cls, fit: RowsDataFit, eta: Array) -> RowCurvature:
        """At predictions ``eta``, in their precision."""
        weight = fit.weight[:, None].astype(eta.dtype, copy=False)
        if isinstance(fit.loss, SoftmaxLoss):
            mean = fit.loss.mean(eta)
            return cls(weight * mean, mean)
        curvature = fit.loss.curvature(eta, fit.target)
        return cls(weight * curvature.astype(eta.dtype, copy=False), None)

    def apply(self, D: Array) -> Array:
        """Times ``D`` of shape (n, t)."""
        if self.mean is None:
            return np.asarray(self.weighted * D)
        inner = np.einsum("ij,ij->i", self.mean, D)[:, None]
        return np.asarray(self.weighted * (D - inner))

    def take(self, rows: Array) -> RowCurvature:
        """Of some rows."""
        mean = None if self.mean is None else self.mean[rows]
        return RowCurvature(self.weighted[rows], mean)

    @property
    def diagonal(self) -> Array:
        """The part that couples no classes, shape (n, t)."""
        if self.mean is None:
            return self.weighted
        return np.asarray(self.weighted * (1.0 - self.mean))
