"""Criteria of generalized linear models: folds, and approximate leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, splits_among
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_criteria import penalized_design
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    BilevelProblem,
    Criterion,
    Design,
    Loss,
    RowsDataFit,
    Task,
)
from skbilevel.problems._approximate_leave_one_out import leave_out
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.problems._losses import facts_of
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.solvers import InnerSolver
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_system import WhitenedSystem, used_rows, whitened
from skbilevel.solvers.hypergradient._implicit import features_of

# Accuracy of published coefficients, and of those that only score held-out rows.
_TOL, _TOL_SCORES = 1e-10, 1e-7


@dataclass(frozen=True)
class GLMSource:
    """Criteria that read rows whose loss is not quadratic.

    Parameters
    ----------
    views : RowViews
        The rows as the folds see them; targets are class indicators, 0 and 1, counts
        or amounts.
    metric : ndarray of shape (p,)
        Scales of the columns.
    losses : tuple of Loss
        Those inside and outside.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    splits : sequence of (train, valid)
        Folds; none for approximate leave-one-out.
    inner : InnerSolver
        For folds and final coefficients.
    """

    views: RowViews
    metric: Array
    losses: tuple[Loss, Loss]
    offset: Array | None
    splits: Sequence[Pair]
    inner: InnerSolver

    @classmethod
    def of(
        cls,
        views: RowViews,
        losses: tuple[Loss, Loss],
        offset: Array | None,
        splits: Sequence[Pair],
        inner: InnerSolver,
        standardize: bool,
    ) -> GLMSource:
        """Scales from all rows; no column is copied for them."""
        rows = views.full
        ones = np.ones(rows.n_penalized)
        plain = cls(views, ones, losses, offset, splits, inner)
        if not standardize:
            return plain
        design = penalized_design(rows, ones)
        square = _centered_squares(design, rows.weight, bool(rows.n_free))
        metric = unit_metric(square, float(rows.weight.sum()))
        return replace(plain, metric=metric)

    @property
    def rows(self) -> AugmentedRows:
        """The rows."""
        return self.views.full

    @cached_property
    def tasks_of(self) -> GLMTasks:
        """Rows, losses and offsets; columns shifted and scaled implicitly."""
        rows = self.rows
        everything = np.arange(rows.n_rows)
        return GLMTasks(
            penalized_design(rows, self.metric),
            rows.targets(everything),
            rows.weight,
            *self.losses,
            rows.free_block(everything),
            self.offset,
        )

    @property
    def fit(self) -> RowsDataFit:
        """All rows as a data fit."""
        return self.tasks_of.fit

    @cached_property
    def _null_eta(self) -> Array:
        """Predictions (n, t) of the unpenalized columns alone."""
        made, rows = self.tasks_of, used_rows(self.fit)
        m = made.n_free
        problem = whitened(self.fit, rows, made.free[rows], m)
        found = minimize_whitened(problem)
        eta = made.free @ found.T
        return eta if made.offset is None else eta + made.offset

    @cached_property
    def null_loss(self) -> float:
        """Mean validation loss of the unpenalized columns alone, on all rows."""
        made = self.tasks_of
        loss = made.outer.value(self._null_eta, made.y).sum(axis=1)
        return float(made.weight @ loss / made.weight.sum())

    @property
    def null_deviance(self) -> tuple[float | None, float]:
        """Of no features: Pearson's statistic over the deviance, and the mean loss.

        None in place of the ratio where the dispersion of the loss is known.
        """
        made, eta = self.tasks_of, self._null_eta
        total = float(made.weight @ made.loss.value(eta, made.y).sum(axis=1))
        mean = total / float(made.weight.sum())
        if facts_of(made.loss).noise(made.y.shape[1]) is not None:
            return None, mean
        expected = made.loss.mean(eta)  # type: ignore[attr-defined]
        square = made.loss.grad(eta, made.y) ** 2 / made.loss.curvature(eta, expected)
        pearson = float(made.weight @ square.sum(axis=1))
        return (pearson / (2.0 * total) if total > 0.0 else 1.0), mean

    @cached_property
    def trace(self) -> float:
        """Trace of the Hessian of the null model, averaged over classes."""
        made = self.tasks_of
        curvature = made.loss.curvature(self._null_eta, made.y).mean(axis=1)
        weight = made.weight * curvature
        return float(_centered_squares(made.design, weight, bool(made.n_free)).sum())

    @cached_property
    def _tasks(self) -> list[Task]:
        if not self.splits:
            return [self.tasks_of.everything()]
        return [self._fold(k, *pair) for k, pair in enumerate(self.splits)]

    def _fold(self, k: int, train: Array, valid: Array) -> Task:
        """A fold; classes and events that its training rows lack are half of one."""
        made = self.tasks_of
        if not self.views.same:
            rows = self.views.fold(k).rows
            design = penalized_design(rows, self.metric)
            free = rows.free_block(np.arange(rows.n_rows))
            made = replace(made, design=design, free=free)
        task = made.fold(train, valid)
        inner = task.inner
        assert isinstance(inner, RowsDataFit)
        y = facts_of(inner.loss).with_pseudo_counts(inner.y, inner.weight, inner.offset)
        return task if y is inner.y else replace(task, inner=replace(inner, y=y))

    def problem(self, outer: OuterVector) -> BilevelProblem:
        """Folds as weights on shared rows, or all rows inside and outside."""
        return outer.folds(self._tasks)

    def _solution(
        self, fit: RowsDataFit, v: Array, start: Any = None, tol: float = _TOL
    ) -> tuple[Array, object]:
        """Coefficients of the columns as they are, and the system at them."""
        m = self.tasks_of.n_free
        v = np.concatenate([np.full((m, *v.shape[1:]), np.inf), v])
        found = self.inner.solve(fit, v, start, tol=tol)
        return np.concatenate([found.W[:m], self.metric[:, None] * found.W[m:]]), (
            found.system
        )

    def coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> Array:
        """Coefficients on the full data, from the mean of those of the tasks."""
        known = [inner for inner, _ in states]
        start = np.mean(known, axis=0) if known else None
        return self._solution(self.fit, v, start)[0]

    def fold_coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> list[Array]:
        """Coefficients of every training set, at strengths moved to it."""
        out = []
        starts = states or ((None, None),) * len(self._tasks)
        for task, (start, _) in zip(self._tasks, starts, strict=True):
            if self.splits:
                assert isinstance(task.inner, RowsDataFit)
                own = v * np.asarray(task.v_scale)
                out.append(self._solution(task.inner, own, start, _TOL_SCORES)[0])
        return out

    def left_out_predictions(self, v: Array) -> Array:
        """Linear predictions (n, t) of every row from the others."""
        coef, system = self._solution(self.fit, v)
        assert isinstance(system, WhitenedSystem)
        inside = self.rows.predict(np.arange(self.rows.n_rows), coef)
        made = self.tasks_of
        eta = inside if made.offset is None else inside + made.offset
        eta[system.rows] = leave_out(features_of(system), made.outer).eta
        return eta

    def thinned(self, chosen: Array) -> GLMSource:
        """The same criterion on some rows; on all where folds have their own."""
        if not self.views.same:
            return self
        views = RowViews(self.rows.take(chosen))
        offset = None if self.offset is None else self.offset[chosen]
        splits = splits_among(self.splits, chosen, self.rows.n_rows)
        return replace(self, views=views, offset=offset, splits=splits)

    def guide(self) -> Criterion | None:
        """None: no criterion is cheaper."""
        return None


def _centered_squares(design: Design, weight: Array, centre: bool) -> Array:
    """``sum_i s_i (x_ij - mean_j)^2``."""
    square = design.column_squares(weight)
    total = float(weight.sum())
    if not centre or not total > 0.0:
        return square
    mean = design.column_sums(weight) / total
    return np.asarray(np.maximum(square - total * mean**2, 0.0))
