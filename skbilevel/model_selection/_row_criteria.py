"""Criteria that read rows: folds in the dual and matrix-free, and closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, is_guided, splits_among
from skbilevel.model_selection._named_criteria import CRITERIA
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    GCV,
    BilevelProblem,
    Centered,
    Criterion,
    CriterionProblem,
    Design,
    LeaveOneOut,
    RowsDataFit,
    SweptRows,
    Task,
    as_design,
    rows_task,
)
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.problems._ridge import solve_moments
from skbilevel.solvers import InnerSolver


@record
class RowSource:
    """Criteria that read the rows: folds in the dual and matrix-free, closed forms.

    Parameters
    ----------
    views : RowViews
        The rows as the folds see them.
    metric : ndarray of shape (p,)
        Scales of the columns.
    splits : sequence of (train, valid)
        Folds; none for a closed form.
    criterion : str
        What is tuned: "folds", or a name of `CRITERIA`.
    dual : bool
        Whether closed forms work on kernels.
    inner : InnerSolver
        For folds and final coefficients.
    """

    views: RowViews
    metric: Array
    splits: Sequence[Pair]
    criterion: str
    dual: bool
    inner: InnerSolver

    @classmethod
    def of(
        cls,
        views: RowViews,
        splits: Sequence[Pair],
        criterion: str,
        dual: bool,
        inner: InnerSolver,
        standardize: bool,
    ) -> RowSource:
        """Scales from all rows of positive weight; no column is copied for them."""
        ones = np.ones(views.full.n_penalized)
        plain = cls(views, ones, splits, criterion, dual, inner)
        if not standardize:
            return plain
        metric = unit_metric(plain.fit.curvature_diag, float(plain.fit.weight_sum))
        return replace(plain, metric=metric)

    @property
    def rows(self) -> AugmentedRows:
        """The rows."""
        return self.views.full

    @cached_property
    def design(self) -> Design:
        """Penalized columns, shifted and scaled implicitly."""
        return penalized_design(self.rows, self.metric)

    @cached_property
    def swept(self) -> SweptRows:
        """All rows, for closed forms."""
        rows = self.rows
        everything = np.arange(rows.n_rows)
        free = rows.free_block(everything) if rows.n_free else None
        return SweptRows(self.design, rows.targets(everything), rows.weight, free)

    @property
    def fit(self) -> RowsDataFit:
        """All rows as a data fit."""
        return self.swept.fit

    @cached_property
    def trace(self) -> float:
        """Trace of the Gram matrix of the full data."""
        return float(self.fit.curvature_diag.sum())

    @property
    def null_loss(self) -> float:
        """Mean loss of the unpenalized columns alone."""
        square = (self.swept.target**2).sum()
        return 0.5 * float(square / self.fit.weight_sum)

    def problem(self, outer: OuterVector) -> BilevelProblem | CriterionProblem:
        """Folds as weights on shared rows, or the closed form."""
        if self.criterion != "folds":
            return outer.closed(CRITERIA[self.criterion].rows(self))
        return outer.folds(self._tasks)

    @cached_property
    def _tasks(self) -> list[Task]:
        return [self._fold(k, *pair) for k, pair in enumerate(self.splits)]

    def _fold(self, k: int, train: Array, valid: Array) -> Task:
        swept, design, free = self.swept, self.design, self.swept.free
        if not self.views.same:
            rows = self.views.fold(k).rows
            design = penalized_design(rows, self.metric)
            if free is not None:
                free = rows.free_block(np.arange(rows.n_rows))
        return rows_task(design, swept.y, swept.weight, train, valid, free)

    def coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> Array:
        """Coefficients on the full data."""
        if self.criterion != "folds" and not self.dual:
            moments = self.swept.moments
            W = solve_moments(moments.gram, moments.cross, v[None])[0]
            return self._full(self.fit, W)
        return self._full(self.fit, self._inner_solution(self.fit, v))

    def fold_coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> list[Array]:
        """Coefficients of every training set, at strengths moved to it."""
        out = []
        for task in self._tasks if self.criterion == "folds" else ():
            assert isinstance(task.inner, RowsDataFit)
            W = self._inner_solution(task.inner, v * np.asarray(task.v_scale))
            out.append(self._full(task.inner, W))
        return out

    def _inner_solution(self, fit: RowsDataFit, v: Array) -> Array:
        if not len(v):
            return np.zeros((0, fit.n_targets))
        return self.inner.solve(fit, v).W

    def _full(self, fit: RowsDataFit, W: Array) -> Array:
        return np.concatenate([fit.free_coef(W), self.metric[:, None] * W])

    def left_out_predictions(self, v: Array) -> Array:
        """Shifted targets (n, t) of every row predicted from the others."""
        error = LeaveOneOut(self.swept, self.dual).errors(v)
        root = self.swept.root[:, None]
        safe = np.where(root > 0, root, 1.0)
        inside = self.rows.predict(np.arange(self.rows.n_rows), self.coefficients(v))
        return np.where(root > 0, self.swept.y - error / safe, inside)

    def thinned(self, chosen: Array) -> RowSource:
        """The same criterion on some rows; on all where folds have their own."""
        if not self.views.same:
            return self
        splits = splits_among(self.splits, chosen, self.rows.n_rows)
        return replace(self, views=RowViews(self.rows.take(chosen)), splits=splits)

    def guide(self) -> Criterion | None:
        """GCV where leave-one-out is asked for and rows are many."""
        if self.criterion != "loo" or not is_guided(self.rows) or self.dual:
            return None
        return GCV(self.swept.moments, self.swept.free_rank)


def penalized_design(rows: AugmentedRows, metric: Array) -> Design:
    """Penalized columns; a view wherever no column has to be taken out."""
    X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
    base, shift = as_design(X), rows.shift[rows.penalized]
    if not shift.any() and (metric == 1.0).all():
        return base
    return Centered(base, shift, 1.0 / metric)
