"""Tasks of linear models by rows: batches, and derivatives of rows as a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._losses import Loss
from skbilevel.problems._row_reader import RowBlock, RowReader
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.problems._strength_tasks import StrengthTasks


@record
class RowSet:
    """Rows that count at one level, in the order that batches refer to.

    Parameters
    ----------
    reader : RowReader
        Reads rows of the design.
    index : ndarray of int of shape (n,)
        Rows of the design with a weight in any task.
    y : ndarray of shape (n, K or 1, t)
        Swept targets.
    scale : ndarray of shape (n, K)
        ``n`` times the share of each row in the level's objective.
    loss : Loss
        The same for all tasks.
    offset : ndarray of shape (n, 1, t) or None
        Added to predictions.
    """

    reader: RowReader
    index: Array
    y: Array
    scale: Array
    loss: Loss
    offset: Array | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.index)

    def take(self, rows: Array) -> RowSet:
        """Some of them; a mean over fewer rows of the same scales."""
        # `replace` would cost as much as the products of a small batch.
        return RowSet(
            self.reader,
            self.index[rows],
            self.y[rows],
            self.scale[rows],
            self.loss,
            None if self.offset is None else self.offset[rows],
        )

    @cached_property
    def block(self) -> RowBlock:
        """The rows themselves."""
        return self.reader.read(self.index)

    def predict(self, W: Array) -> Array:
        """Predictions (n, K, t)."""
        eta = self.block.push(W)
        return eta if self.offset is None else eta + self.offset

    def row_grad(self, eta: Array) -> Array:
        """Derivatives of the scaled losses in the predictions."""
        return np.asarray(self.scale[..., None] * self.loss.grad(eta, self.y))

    def row_hessian(self, eta: Array, U: Array) -> Array:
        """Second derivatives times ``U``."""
        if not self.loss.constant_curvature:
            U = self.loss.second_derivative(eta, self.y)(U)
        return np.asarray(self.scale[..., None] * U)

    def mean(self, R: Array) -> Array:
        """``X^T R / n``, flat."""
        return self.block.pull(R).reshape(-1) / self.n_rows


def rows_of_level(strengths: StrengthTasks, outer: bool = False) -> RowSet:
    """The rows of all tasks at the inner or the outer level."""
    fits: list[Any] = strengths.fits(outer)
    whole = RowsDataFit.stack(fits)
    weight = whole.weight
    index = np.flatnonzero((weight > 0).any(axis=0))
    share = np.concatenate([each.reshape(-1) for each in strengths.shares(outer)])
    scale = (len(index) * share[:, None] * weight[:, index]).T
    reader = RowReader(whole.design)
    if whole.sweep is not None:
        reader = RowReader(whole.design, whole.sweep.free, whole.free_map)
    return RowSet(
        reader,
        index,
        _targets_of(fits, index),
        np.ascontiguousarray(scale),
        whole.loss,
        None if whole.offset is None else whole.offset[index][:, None, :],
    )


def _targets_of(fits: Sequence[RowsDataFit], index: Array) -> Array:
    """Targets (n, K, t), or (n, 1, t) where all tasks have the same."""
    same = all(fit.sweep is None and fit.y is fits[0].y for fit in fits)
    if same:
        return np.asarray(fits[0].y, dtype=float)[index][:, None, :]
    t = fits[0].n_targets
    parts = [fit.target.reshape(-1, fit.design.shape[0], t) for fit in fits]
    return np.ascontiguousarray(np.concatenate(parts)[:, index].transpose(1, 0, 2))


@record
class _LevelRows:
    """What both levels have; derivatives of a row's loss are K t numbers."""

    strengths: StrengthTasks
    rows: RowSet

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.rows.n_rows

    def take(self, rows: Array) -> Self:
        """The mean over some rows."""
        return type(self)(self.strengths, self.rows.take(rows))

    def shaped(self, w: Array) -> Array:
        """Coefficients (K, p, t)."""
        *_, p, t = self.strengths.shapes[0]
        return w.reshape(-1, p, t)

    @property
    def n_predictions(self) -> int:
        """K t, the number of predictions of a row."""
        return int(self.rows.scale.shape[1] * self.rows.y.shape[-1])

    def grad_codes(self, theta: Array, w: Array) -> Array:
        """Derivatives of the losses of rows in their predictions."""
        eta = self.rows.predict(self.shaped(w))
        return self.rows.row_grad(eta).reshape(self.n_rows, -1)

    def assemble_grad(self, codes: Array) -> Array:
        """Mean gradient of the data fit from `grad_codes` of these rows."""
        shape = (-1, self.rows.scale.shape[1], self.rows.y.shape[-1])
        return self.rows.mean(codes.reshape(shape))

    @property
    def _no_slope(self) -> Array:
        """A derivative in theta that is zero."""
        return np.zeros(len(self.strengths.problem.bounds[0]))


class LinearRows(_LevelRows):
    """`LinearInner` as a mean over rows; the penalty is the same for all of them.

    Codes of a row are the derivatives of its loss in the predictions, and their
    products with the predictions of q: 2 K t numbers.
    """

    @property
    def provides(self) -> frozenset[str]:
        """Rows, and third derivatives if the loss has them."""
        words = {"row_batches", "row_codes", "grad_codes"}
        third = {"third_derivative"} if has_third(self.rows.loss) else set()
        return frozenset(words | third)

    # That of all rows is known to `LinearInner`.
    smoothness: ClassVar[None] = None

    def at(self, theta: Array, w: Array) -> LinearRowsPoint:
        """The oracles at (theta, w)."""
        return LinearRowsPoint(self, theta, w)

    @property
    def n_codes(self) -> int:
        """Two for every task and target."""
        return 2 * self.n_predictions

    def codes(self, theta: Array, w: Array, q: Array) -> Array:
        """Codes of all rows, from one product with them."""
        W, Q = self.shaped(w), self.shaped(q)
        t = W.shape[-1]
        both = self.rows.block.push(np.concatenate([W, Q], axis=-1))
        eta, U = both[..., :t], both[..., t:]
        if self.rows.offset is not None:
            eta = eta + self.rows.offset
        first, second = self.rows.row_grad(eta), self.rows.row_hessian(eta, U)
        return np.concatenate([first, second], axis=-1).reshape(self.n_rows, -1)

    def assemble(self, codes: Array) -> tuple[Array, ...]:
        """Mean gradient and Hessian product of the data fit, from codes of rows."""
        K, t = self.rows.scale.shape[1], self.rows.y.shape[-1]
        both = self.rows.block.pull(codes.reshape(-1, K, 2 * t)) / self.n_rows
        return both[..., :t].reshape(-1), both[..., t:].reshape(-1), self._no_slope

    def exact_grad(self, theta: Array, w: Array) -> Array:
        """Gradient of the penalty."""
        return np.asarray(self.strengths.diagonal(theta) * w)

    def exact(self, theta: Array, w: Array, q: Array) -> tuple[Array, ...]:
        """The penalty's part, and the whole of the cross product."""
        d = self.strengths.diagonal(theta)
        return d * w, d * q, self.strengths.cross(theta, w, q)


class OuterRows(_LevelRows):
    """`LinearOuter` as a mean over rows; the hyperpenalty is the same for all of them.

    Codes of a row are the derivatives of its loss in the predictions: K t numbers.
    """

    provides = frozenset({"row_batches", "row_codes"})

    def at(self, theta: Array, w: Array) -> OuterRowsPoint:
        """The oracles at (theta, w)."""
        return OuterRowsPoint(self, theta, w)

    @property
    def n_codes(self) -> int:
        """One for every task and target."""
        return self.n_predictions

    def codes(self, theta: Array, w: Array, q: Array) -> Array:
        """Codes of all rows."""
        return self.grad_codes(theta, w)

    def assemble(self, codes: Array) -> tuple[Array, ...]:
        """Mean gradient, from codes of rows."""
        return self.assemble_grad(codes), self._no_slope

    def exact(self, theta: Array, w: Array, q: Array) -> tuple[Array, ...]:
        """The hyperpenalty's part."""
        return np.zeros(len(w)), self.strengths.hyperpenalty(theta)[1]


@record
class _LevelRowsPoint:
    """One of the levels at one point; the predictions are computed once."""

    problem: _LevelRows
    theta: Array
    w: Array

    @cached_property
    def _eta(self) -> Array:
        return self.problem.rows.predict(self.problem.shaped(self.w))

    def _mean_loss(self) -> float:
        rows = self.problem.rows
        loss = rows.loss.value(self._eta, rows.y).sum(axis=-1)
        return float((rows.scale * loss).sum()) / rows.n_rows

    def _mean_grad(self) -> Array:
        rows = self.problem.rows
        return rows.mean(rows.row_grad(self._eta))


class LinearRowsPoint(_LevelRowsPoint):
    """`LinearRows` at one point."""

    cross_is_free = True

    @cached_property
    def _diagonal(self) -> Array:
        return self.problem.strengths.diagonal(self.theta)

    @cached_property
    def value(self) -> float:
        """Mean loss and penalty."""
        return self._mean_loss() + 0.5 * float(self._diagonal @ self.w**2)

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        return np.asarray(self._mean_grad() + self._diagonal * self.w)

    def hvp(self, d: Array) -> Array:
        """Hessian times d."""
        rows = self.problem.rows
        U = rows.block.push(self.problem.shaped(d))
        return np.asarray(
            rows.mean(rows.row_hessian(self._eta, U)) + self._diagonal * d
        )

    def cross(self, d: Array) -> Array:
        """Derivative of ``<grad, d>`` in theta."""
        return self.problem.strengths.cross(self.theta, self.w, d)

    def third(self, d: Array) -> float:
        """Third derivative along d."""
        rows = self.problem.rows
        if rows.loss.constant_curvature:
            return 0.0
        U = rows.block.push(self.problem.shaped(d))
        bilinear = rows.loss.third_derivative(self._eta, rows.y)  # type: ignore[attr-defined]
        each = rows.scale * (bilinear(U, U) * U).sum(axis=-1)
        return float(each.sum()) / rows.n_rows


class OuterRowsPoint(_LevelRowsPoint):
    """`OuterRows` at one point."""

    @cached_property
    def _penalty(self) -> tuple[float, Array]:
        return self.problem.strengths.hyperpenalty(self.theta)

    @cached_property
    def value(self) -> float:
        """Mean loss and hyperpenalty."""
        return self._mean_loss() + self._penalty[0]

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        return self._mean_grad()

    @property
    def grad_theta(self) -> Array:
        """Gradient of the hyperpenalty."""
        return self._penalty[1]


def has_third(loss: Loss) -> bool:
    """Whether third derivatives are known; those of a quadratic loss are zero."""
    return loss.constant_curvature or hasattr(loss, "third_derivative")
