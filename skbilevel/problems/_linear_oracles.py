"""Tasks of linear models as one inner and one outer problem known through oracles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import BilevelProblem, Task
from skbilevel.problems._datafit import DataFit, Linearization, QuadraticDataFit
from skbilevel.problems._linear_rows import (
    LinearRows,
    OuterRows,
    has_third,
    rows_of_level,
)
from skbilevel.problems._oracles import OracleProblem
from skbilevel.problems._rows_datafit import RowsDataFit, share_rows
from skbilevel.problems._smoothness import data_smoothness, row_smoothness
from skbilevel.problems._strength_tasks import StrengthTasks


def linear_oracles(problem: BilevelProblem, theta0: Array) -> OracleProblem:
    """Tasks as an `OracleProblem`; w holds the coefficients of all of them.

    Raises
    ------
    ValueError
        Where the box of theta allows to remove features: their strength is infinite,
        and only solvers that work on variances can take it.
    """
    strengths = StrengthTasks(problem)
    theta0 = np.asarray(theta0, dtype=float)
    low = np.where(np.isfinite(problem.bounds[0]), problem.bounds[0], theta0)
    if any((v <= 0).any() for v in strengths.variances(low)):
        raise ValueError(
            "The box of theta allows variances of zero, which this solver cannot "
            "take: give bounds with positive variances, or choose 'exact' or 'cg'."
        )
    return OracleProblem(
        LinearInner(strengths),
        LinearOuter(strengths),
        np.zeros(strengths.size),
        theta0,
        problem.bounds,
    )


@record
class LinearInner:
    """The sum over tasks of ``mean_loss_k(W_k) + 0.5 sum_jt d_kjt(theta) w_kjt^2``.

    Parameters
    ----------
    strengths : StrengthTasks
        The tasks.
    """

    strengths: StrengthTasks

    @property
    def provides(self) -> frozenset[str]:
        """Rows, if the tasks share theirs, and what the loss has."""
        words: set[str] = set()
        fits: list[Any] = self.strengths.fits(outer=False)
        if share_rows(fits):
            words |= {"row_batches", "row_codes", "grad_codes"}
        if all(isinstance(fit, RowsDataFit) and has_third(fit.loss) for fit in fits):
            words.add("third_derivative")
        if self._data_bound is not None:
            words |= {"smoothness", "diagonal_penalty"}
        if can_stack(self.strengths.tasks):
            words.add("many_thetas")
        return frozenset(words)

    @property
    def n_rows(self) -> int:
        """Rows with a weight in any task; 0 where they are not shared."""
        return self.rows.n_rows if "row_batches" in self.provides else 0

    @cached_property
    def rows(self) -> LinearRows:
        """The same problem by rows."""
        return LinearRows(self.strengths, rows_of_level(self.strengths))

    @cached_property
    def _data_bound(self) -> Array | None:
        return data_smoothness(self.strengths.tasks)

    @property
    def smoothness(self) -> Callable[[Array], Any] | None:
        """Largest eigenvalue of each task's mean loss, plus the penalty's diagonal."""
        bound = self._data_bound
        if bound is None:
            return None
        return lambda theta: bound + self.strengths.diagonal(theta)

    @cached_property
    def row_smoothness(self) -> Array | None:
        """Largest curvature of the loss of one row, repeated to the length of w."""
        largest = row_smoothness(self.rows.rows) if self.n_rows else None
        if largest is None:
            return None
        return np.repeat(largest, self.strengths.size // len(largest))

    def at(self, theta: Array, w: Array) -> LinearInnerPoint:
        """The oracles at (theta, w)."""
        return LinearInnerPoint(self.strengths, theta, w)

    def take(self, rows: Array) -> LinearRows:
        """The mean over some rows."""
        return self.rows.take(rows)

    def grad_many(self, thetas: Array, ws: Array) -> Array:
        """Gradients at the rows of (thetas, ws): one product with X serves all."""
        parts, start = [], 0
        for task, weight, shape in zip(
            self.strengths.tasks,
            self.strengths.weight_sums,
            self.strengths.shapes,
            strict=True,
        ):
            stop = start + int(np.prod(shape))
            W = ws[:, start:stop].reshape(-1, *shape)
            grad = stacked_grad(task.inner, W) / weight
            parts.append(grad.reshape(len(ws), -1))
            start = stop
        diagonal = np.stack([self.strengths.diagonal(theta) for theta in thetas])
        return np.asarray(np.concatenate(parts, axis=1) + diagonal * ws)


@record
class _LevelPoint:
    """One of the levels at one point; the predictions are computed once."""

    strengths: StrengthTasks
    theta: Array
    w: Array

    outer: ClassVar[bool]

    @cached_property
    def _points(self) -> list[Linearization]:
        fits = self.strengths.fits(self.outer)
        parts = self.strengths.split(self.w)
        return [fit.at(W) for fit, W in zip(fits, parts, strict=True)]

    @cached_property
    def _shares(self) -> list[Array]:
        return self.strengths.shares(self.outer)

    def _mean_loss(self) -> float:
        pairs = zip(self._shares, self._points, strict=True)
        return sum(float((share * point.value).sum()) for share, point in pairs)

    def _means(self, parts: list[Array]) -> Array:
        """Sums over the rows of every task, as means side by side."""
        pairs = zip(self._shares, parts, strict=True)
        means = [(share[..., None, None] * part).reshape(-1) for share, part in pairs]
        return np.concatenate(means)


class LinearInnerPoint(_LevelPoint):
    """`LinearInner` at one point."""

    cross_is_free = True
    outer = False

    @cached_property
    def _diagonal(self) -> Array:
        return self.strengths.diagonal(self.theta)

    @cached_property
    def value(self) -> float:
        """Mean losses and penalty."""
        return self._mean_loss() + 0.5 * float(self._diagonal @ self.w**2)

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        data = self._means([point.grad for point in self._points])
        return np.asarray(data + self._diagonal * self.w)

    def hvp(self, d: Array) -> Array:
        """Hessian times d."""
        parts = self.strengths.split(d)
        products = [p.hvp(D) for p, D in zip(self._points, parts, strict=True)]
        return np.asarray(self._means(products) + self._diagonal * d)

    def cross(self, d: Array) -> Array:
        """Derivative of ``<grad, d>`` in theta: no row is read."""
        return self.strengths.cross(self.theta, self.w, d)

    def third(self, d: Array) -> float:
        """Third derivative along d."""
        points: list[Any] = self._points
        triples = zip(self._shares, points, self.strengths.split(d), strict=True)
        return sum(float((share * at.third(D)).sum()) for share, at, D in triples)


@record
class LinearOuter:
    """``sum_k weight_k mean_loss_k(W_k) / sum_k weight_k`` plus the hyperpenalty."""

    strengths: StrengthTasks

    @property
    def provides(self) -> frozenset[str]:
        """Rows, if the tasks share theirs."""
        known = share_rows(self.strengths.fits(outer=True))
        return frozenset({"row_batches", "row_codes"} if known else ())

    @property
    def n_rows(self) -> int:
        """Rows with a weight in any task; 0 where they are not shared."""
        return self.rows.n_rows if self.provides else 0

    @cached_property
    def rows(self) -> OuterRows:
        """The same problem by rows."""
        return OuterRows(self.strengths, rows_of_level(self.strengths, outer=True))

    def at(self, theta: Array, w: Array) -> LinearOuterPoint:
        """The oracles at (theta, w)."""
        return LinearOuterPoint(self.strengths, theta, w)

    def take(self, rows: Array) -> OuterRows:
        """The mean over some rows."""
        return self.rows.take(rows)


class LinearOuterPoint(_LevelPoint):
    """`LinearOuter` at one point."""

    outer = True

    @cached_property
    def _penalty(self) -> tuple[float, Array]:
        return self.strengths.hyperpenalty(self.theta)

    @cached_property
    def value(self) -> float:
        """Pooled mean loss and hyperpenalty."""
        return self._mean_loss() + self._penalty[0]

    @cached_property
    def grad(self) -> Array:
        """Gradient in w."""
        return self._means([point.grad for point in self._points])

    @property
    def grad_theta(self) -> Array:
        """Gradient of the hyperpenalty."""
        return self._penalty[1]


def can_stack(tasks: Sequence[Task]) -> bool:
    """Whether `stacked_grad` knows the data fits of all tasks."""
    known = RowsDataFit | QuadraticDataFit
    return all(isinstance(task.inner, known) for task in tasks)


def stacked_grad(fit: DataFit, W: Array) -> Array:
    """Gradients (m, ..., p, t) at m coefficients, with one product for all of them."""
    if isinstance(fit, QuadraticDataFit):
        return _moments_grad(fit, W)
    assert isinstance(fit, RowsDataFit)
    if not fit.batch:
        # Leading axes of coefficients share rows, weights and targets; where all
        # are zero there is no product, and one gradient for all.
        return np.broadcast_to(fit.at(W).grad, W.shape)
    copies = RowsDataFit.stack([fit] * len(W))
    return copies.at(W.reshape(-1, *W.shape[-2:])).grad.reshape(W.shape)


def _moments_grad(fit: QuadraticDataFit, W: Array) -> Array:
    """The copies side by side, as targets of one stack of models."""
    m, t = len(W), W.shape[-1]
    wide = np.moveaxis(W, 0, -2)
    product = fit.gram @ wide.reshape(*wide.shape[:-2], m * t)
    return np.moveaxis(product.reshape(wide.shape), -2, 0) - fit.cross
