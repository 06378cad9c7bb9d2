"""Tasks that share one outer vector, and the problem they make up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._centered import Headed
from skbilevel.problems._datafit import DataFit, QuadraticDataFit
from skbilevel.problems._design import Design
from skbilevel.problems._hyperpenalties import Hyperpenalty
from skbilevel.problems._losses import Loss
from skbilevel.problems._parametrizations import Parametrization
from skbilevel.problems._rows_datafit import RowsDataFit, share_rows
from skbilevel.problems._sweep import Sweep

# A stack of copied Gram matrices pays only while the copies are small.
_STACK_BYTES = 1 << 23
_OPEN = (np.array([-np.inf]), np.array([np.inf]))


def transfer(
    v: Array | float, weight_train: Array | float, weight_full: Array | float
) -> Array:
    """Variances for the full data from variances tuned on a training set.

    Hold-out and K-fold criteria keep strengths in units of the mean loss:
    ``alpha_full = alpha_train * weight_full / weight_train``.
    """
    return np.asarray(np.asarray(v) * (np.asarray(weight_train) / weight_full))


@dataclass(frozen=True)
class Task:
    """An inner data fit, penalized, and an outer one, not penalized.

    Parameters
    ----------
    inner, outer : DataFit
        For a fold: training rows, and validation rows seen with the intercept of the
        training rows. May be stacks of K tasks.
    weight : float or ndarray of shape (K,)
        Weight of the task's mean outer loss; the sum of the validation weights makes
        the sum over tasks the pooled loss.
    v_scale : float or ndarray of shape (K,)
        The inner problem is solved at ``v_scale * v(theta)``; with
        ``1 / transfer(1, weight_train, weight_full)``, theta is in units of the full
        data.
    parametrization : tuple of Parametrization, optional
        Replaces that of the problem, one for each of the K tasks, where strengths
        depend on the training rows (metadata computed per fold).
    n_free : int
        Unpenalized columns in front of the others; their variance is infinite.
    """

    inner: DataFit
    outer: DataFit
    weight: float | Array
    v_scale: float | Array = 1.0
    parametrization: tuple[Parametrization, ...] | None = None
    n_free: int = 0

    def variances(self, shared: Parametrization, theta: Array) -> Array:
        """Prior variances (..., p) of the inner problems, or (p, t) of one of them."""
        if self.parametrization is None:
            base = shared.v(theta)
        else:
            base = self._shaped([each.v(theta) for each in self.parametrization])
        v = np.asarray(base * np.asarray(self.v_scale)[..., None])
        if not self.n_free:
            return v
        free = list(v.shape)
        free[self._axis] = self.n_free
        return np.concatenate([np.full(free, np.inf), v], self._axis)

    @property
    def _axis(self) -> int:
        """Axis of the features: single tasks may have variances (p, t) by target."""
        return len(self.inner.batch)

    def pull_back(self, shared: Parametrization, theta: Array, grad: Array) -> Array:
        """Gradient in theta from the gradient in the variances."""
        kept = np.arange(self.n_free, grad.shape[self._axis])
        grad = np.take(grad, kept, axis=self._axis)
        grad = grad * np.asarray(self.v_scale)[..., None]
        if self.parametrization is None:
            return shared.vjp(theta, grad.sum(axis=0) if self.inner.batch else grad)
        each = grad if self.inner.batch else grad[None]
        pairs = zip(self.parametrization, each, strict=True)
        return np.asarray(sum(par.vjp(theta, g) for par, g in pairs))

    def _shaped(self, rows: Sequence[Array]) -> Array:
        return np.stack(rows) if self.inner.batch else rows[0]


def _check_bounds(
    parametrization: Parametrization,
    bounds: tuple[Array, Array],
    hyperpenalty: Hyperpenalty | None,
) -> None:
    low, high = bounds
    if (low > high).any():
        raise ValueError("Every lower bound must not exceed its upper bound.")
    if hyperpenalty is not None and hyperpenalty.needs_positive:
        chosen = getattr(hyperpenalty, "index", None)
        lowest = parametrization.v(low).reshape(-1)
        if (lowest <= 0 if chosen is None else lowest[chosen] <= 0).any():
            raise ValueError(
                "This hyperpenalty is infinite where a feature is removed: give "
                "bounds with v_min > 0."
            )


@dataclass(frozen=True)
class BilevelProblem:
    """Tasks that share ``theta``.

    ::

        min over theta of  sum_k weight_k mean_loss_k(W_k(theta)) / sum_k weight_k
                           + hyperpenalty(v(theta))

    Parameters
    ----------
    tasks : tuple of Task
        The folds, or a single hold-out.
    parametrization : Parametrization
        How theta gives the variances.
    bounds : tuple of two ndarrays
        Box of theta; `Parametrization.bounds` makes one.
    hyperpenalty : Hyperpenalty or None
        Added to the loss; sees the variances in units of the full data.
    """

    tasks: tuple[Task, ...]
    parametrization: Parametrization
    bounds: tuple[Array, Array]
    hyperpenalty: Hyperpenalty | None = None

    def __post_init__(self) -> None:
        _check_bounds(self.parametrization, self.bounds, self.hyperpenalty)
        if not self.total_weight > 0:
            raise ValueError("The weights of the tasks must have a positive sum.")

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all tasks."""
        return float(sum(np.sum(task.weight) for task in self.tasks))

    @property
    def n_features(self) -> int:
        """Number of variances of a target."""
        return self.tasks[0].inner.n_features - self.tasks[0].n_free

    @property
    def quadratic(self) -> bool:
        """Whether no evaluation takes Newton's method some steps."""
        return "quadratic" in self.tasks[0].inner.provides

    @property
    def has_curvature(self) -> bool:
        """Whether a Gauss-Newton matrix costs about as much as some evaluations."""
        # Coupled classes are one system for every coordinate of theta, not one column.
        return self.quadratic or self.tasks[0].inner.n_targets == 1

    def shared(self, parametrization: Parametrization) -> BilevelProblem:
        """The same tasks, with one parametrization for all, without a box."""
        tasks = tuple(replace(task, parametrization=None) for task in self.tasks)
        return BilevelProblem(tasks, parametrization, _OPEN)

    def stacked(self) -> BilevelProblem:
        """The same problem with compatible tasks side by side in one stack."""
        return replace(self, tasks=stack_tasks(self.tasks))


@dataclass(frozen=True)
class CriterionPoint:
    """A criterion at one ``v``.

    Parameters
    ----------
    value : float
        Its value.
    grad : ndarray of shape (p,)
        Exact gradient in ``v``.
    curvature : callable or None
        From ``D = dv / dtheta`` of shape (p, g) to a positive semidefinite matrix
        (g, g) in place of the Hessian in ``theta``, where there is one. It shares the
        factors of the value.
    """

    value: float
    grad: Array
    curvature: Callable[[Array], Array] | None = None


class Criterion(Protocol):
    """An outer objective in closed form, such as leave-one-out."""

    @property
    def n_features(self) -> int:
        """Number of variances."""

    @property
    def has_curvature(self) -> bool:
        """Whether its points have a curvature."""

    def at(self, v: Array) -> CriterionPoint:
        """Value, gradient and curvature at ``v``."""


@dataclass(frozen=True)
class CriterionProblem:
    """``criterion(v(theta)) + hyperpenalty(v(theta))`` on a box."""

    criterion: Criterion
    parametrization: Parametrization
    bounds: tuple[Array, Array]
    hyperpenalty: Hyperpenalty | None = None
    quadratic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bounds(self.parametrization, self.bounds, self.hyperpenalty)

    @property
    def n_features(self) -> int:
        """Number of variances of a target."""
        return self.criterion.n_features

    @property
    def has_curvature(self) -> bool:
        """Whether the criterion has a Gauss-Newton matrix."""
        return self.criterion.has_curvature

    def shared(self, parametrization: Parametrization) -> CriterionProblem:
        """The same criterion, with one parametrization, without a box."""
        return CriterionProblem(self.criterion, parametrization, _OPEN)


def stack_tasks(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """One task in place of several, where they are of a kind that can be stacked."""
    if len(tasks) < 2 or any(task.inner.batch for task in tasks):
        return tuple(tasks)
    inner = _stack([task.inner for task in tasks])
    outer = _stack([task.outer for task in tasks])
    if inner is None or outer is None:
        return tuple(tasks)
    own = [task.parametrization for task in tasks]
    given = tuple(each[0] for each in own if each is not None)
    n_free = {task.n_free for task in tasks}
    if (given and len(given) < len(tasks)) or len(n_free) > 1:
        return tuple(tasks)
    return (
        Task(
            inner,
            outer,
            np.array([task.weight for task in tasks], dtype=float),
            np.array([task.v_scale for task in tasks], dtype=float),
            given or None,
            n_free.pop(),
        ),
    )


def _stack(fits: Sequence[DataFit]) -> DataFit | None:
    quadratic = [fit for fit in fits if isinstance(fit, QuadraticDataFit)]
    if len(quadratic) == len(fits):
        small = sum(fit.gram.nbytes for fit in quadratic) <= _STACK_BYTES
        return QuadraticDataFit.stack(quadratic) if small else None
    # Newton's method needs another number of steps in every task.
    if not share_rows(fits) or "quadratic" not in fits[0].provides:
        return None
    rows = [fit for fit in fits if isinstance(fit, RowsDataFit)]
    same = all(fit.y is rows[0].y for fit in rows)
    return RowsDataFit.stack(rows) if same else None


def quadratic_task(
    train: QuadraticDataFit,
    valid: QuadraticDataFit,
    weight_full: float,
    parametrization: Parametrization | None = None,
) -> Task:
    """A fold, or a stack of folds, from moments; theta in units of the full data."""
    scale = 1.0 / transfer(1.0, train.weight_sum, weight_full)
    own = None if parametrization is None else (parametrization,)
    return Task(train, valid, valid.weight_sum, scale, own)


def rows_task(
    design: Design,
    y: Array,
    weight: Array,
    train: Array,
    valid: Array,
    free: Array | None = None,
    parametrization: Parametrization | None = None,
) -> Task:
    """A fold as weights on shared rows; theta in units of the full data.

    Parameters
    ----------
    design : Design
        All rows; shared by all folds.
    y : ndarray of shape (n, t)
        Targets; pass the same array for all folds, so that they can be stacked.
    weight : ndarray of shape (n,)
        Row weights.
    train, valid : ndarray of int
        Rows of the two sets.
    free : ndarray of shape (n, m), optional
        Unpenalized columns, the constant one among them.
    parametrization : Parametrization, optional
        Replaces the problem's own.
    """
    inner_weight, outer_weight = np.zeros(len(weight)), np.zeros(len(weight))
    inner_weight[train], outer_weight[valid] = weight[train], weight[valid]
    sweep = None if free is None or not free.shape[1] else Sweep.of(free, inner_weight)
    inner = RowsDataFit(design, y, inner_weight, sweep)
    outer = RowsDataFit(design, y, outer_weight, sweep)
    scale = 1.0 / transfer(1.0, inner.weight_sum, float(weight.sum()))
    own = None if parametrization is None else (parametrization,)
    return Task(inner, outer, outer.weight_sum, scale, own)


@dataclass(frozen=True)
class GLMTasks:
    """Makes tasks of sets of the same rows.

    Parameters
    ----------
    design : Design
        Penalized columns of all rows.
    y : ndarray of shape (n, t)
        Targets: class indicators, 0 and 1, counts or amounts.
    weight : ndarray of shape (n,)
        Row weights.
    loss, outer : Loss
        Losses inside and outside.
    free : ndarray of shape (n, m)
        Unpenalized columns, the constant one among them.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    """

    design: Design
    y: Array
    weight: Array
    loss: Loss
    outer: Loss
    free: Array
    offset: Array | None = None

    @property
    def n_free(self) -> int:
        """Number of unpenalized columns."""
        return int(self.free.shape[1])

    @cached_property
    def fit(self) -> RowsDataFit:
        """All rows; the first coefficients are those of the unpenalized columns."""
        design = Headed(self.design, self.free)
        return RowsDataFit(
            design, self.y, self.weight, loss=self.loss, offset=self.offset
        )

    def fold(
        self, train: Array, valid: Array, parametrization: Parametrization | None = None
    ) -> Task:
        """Training and validation rows; theta in units of the full data."""
        inside, outside = np.zeros(len(self.weight)), np.zeros(len(self.weight))
        inside[train], outside[valid] = self.weight[train], self.weight[valid]
        fit = self.fit
        inner = replace(fit, weight=inside)
        outer = replace(fit, weight=outside, loss=self.outer)
        scale = 1.0 / transfer(1.0, inner.weight_sum, float(self.weight.sum()))
        own = None if parametrization is None else (parametrization,)
        return Task(inner, outer, outer.weight_sum, scale, own, self.n_free)

    def everything(self) -> Task:
        """All rows inside and outside, for criteria that leave out each of them."""
        fit = self.fit
        outer = replace(fit, loss=self.outer)
        return Task(fit, outer, fit.weight_sum, n_free=self.n_free)
