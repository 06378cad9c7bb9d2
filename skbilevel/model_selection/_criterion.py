"""From rows and splits to the criterion that strengths are tuned on.

Strengths refer to the full data. A fold, or a single hold-out, is a training set
solved at strengths moved to its weight (`transfer`: units of the mean loss) and a
validation set; the criterion pools the validation rows. Leave-one-out and GCV see
the strengths of the full data as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._resampling import Pair
from skbilevel.problems import (
    GCV,
    BilevelProblem,
    Centered,
    Criterion,
    CriterionProblem,
    Design,
    Hyperpenalty,
    LeaveOneOut,
    Parametrization,
    QuadraticDataFit,
    RowsDataFit,
    SweptRows,
    Task,
    as_design,
    quadratic_task,
    rows_task,
    transfer,
)
from skbilevel.problems._moments import (
    AugmentedRows,
    CellMoments,
    RowMoments,
    Swept,
    scaled,
    sweep,
    sweep_map,
    unit_metric,
)
from skbilevel.problems._ridge import solve_moments
from skbilevel.solvers import InnerSolver

_CELL_BYTES = 1 << 28
# From this many columns on, tasks are worth a thread each, and stay apart.
_TASKS_APART_FROM = 300
# From these sizes on GCV finds most of the way for the criterion that is asked for.
_GUIDED_FROM, _GUIDED_ROWS = 150, 4.0


@dataclass(frozen=True)
class OuterVector:
    """How the outer vector gives strengths, its box, and what is added to the loss.

    ``per_fold`` replaces the parametrization in the folds, where strengths depend on
    training rows.
    """

    parametrization: Parametrization
    bounds: tuple[Array, Array]
    hyperpenalty: Hyperpenalty | None = None
    per_fold: tuple[Parametrization, ...] | None = None


class Source(Protocol):
    """A criterion waiting for its outer vector, and coefficients at given variances.

    ``metric`` (p,) scales the columns; variances ``v`` refer to scaled columns.
    """

    rows: AugmentedRows
    metric: Array

    @property
    def trace(self) -> float:
        """Trace of the Gram matrix of the full data."""

    @property
    def variance(self) -> float:
        """Total variance of the swept targets."""

    def problem(self, outer: OuterVector) -> BilevelProblem | CriterionProblem:
        """The problem to solve."""

    def coefficients(self, v: Array) -> Array:
        """Coefficients (n_free + p, t) on the full data, free columns first."""

    def fold_coefficients(self, v: Array) -> list[Array]:
        """The same for every training set."""

    def guide(self) -> Criterion | None:
        """A cheap criterion with almost the same minimum, where there is one."""


@dataclass(frozen=True)
class MomentFolds:
    """Folds in the primal: moments of all sets from one pass over the rows."""

    rows: AugmentedRows
    metric: Array
    n_positive: int
    full: Swept
    train: Swept
    valid: Swept

    @classmethod
    def of(
        cls,
        rows: AugmentedRows,
        positive: Array,
        splits: Sequence[Pair],
        standardize: bool,
    ) -> MomentFolds:
        """From splits of rows of positive weight."""
        sums = _moments(rows, positive, splits)
        weight = np.array(
            [rows.weight[positive].sum()]
            + [rows.weight[a].sum() for a, _ in splits]
            + [rows.weight[b].sum() for _, b in splits]
        )
        K, m, p = len(splits), rows.n_free, rows.n_penalized
        free = sweep_map(sums[: K + 1], m)
        full = sweep(sums[0], m, p, weight[0], free[0])
        train = sweep(sums[1 : K + 1], m, p, weight[1 : K + 1], free[1:])
        valid = sweep(sums[K + 1 :], m, p, weight[K + 1 :], free[1:])
        metric = np.ones(p)
        if standardize:
            square = np.maximum(np.diagonal(full.gram), 0.0)
            metric = unit_metric(square, float(weight[0]))
            full, train, valid = (scaled(s, metric) for s in (full, train, valid))
        return cls(rows, metric, len(positive), full, train, valid)

    @property
    def trace(self) -> float:
        """Trace of the Gram matrix of the full data."""
        return float(np.trace(self.full.gram))

    @property
    def variance(self) -> float:
        """Total variance of the swept targets."""
        return float(self.full.yy.sum() / self.full.weight)

    def problem(self, outer: OuterVector) -> BilevelProblem:
        """One stack of folds; tasks of their own where p is large."""
        train, valid = _fit(self.train), _fit(self.valid)
        weight_full = float(self.full.weight)
        if self.rows.n_penalized < _TASKS_APART_FROM:
            scale = 1.0 / transfer(1.0, train.weight_sum, weight_full)
            tasks = [Task(train, valid, valid.weight_sum, scale, outer.per_fold)]
        else:
            own = outer.per_fold or (None,) * len(self.train.weight)
            tasks = [
                quadratic_task(_part(train, k), _part(valid, k), weight_full, each)
                for k, each in enumerate(own)
            ]
        return BilevelProblem(
            tuple(tasks), outer.parametrization, outer.bounds, outer.hyperpenalty
        )

    def coefficients(self, v: Array) -> Array:
        """Coefficients on the full data."""
        return self._solve(self.full.gram, self.full.cross, self.full.free, v)

    def fold_coefficients(self, v: Array) -> list[Array]:
        """Coefficients of every training set, at strengths moved to it."""
        train = self.train
        scale = 1.0 / transfer(1.0, train.weight, float(self.full.weight))
        return [
            self._solve(gram, cross, free, v * factor)
            for gram, cross, free, factor in zip(
                train.gram, train.cross, train.free, scale, strict=True
            )
        ]

    def _solve(self, gram: Array, cross: Array, free: Array, v: Array) -> Array:
        w = self.metric[:, None] * solve_moments(gram, cross, v[None])[0]
        p = len(v)
        return np.concatenate([free[:, p:] - free[:, :p] @ w, w])

    def guide(self) -> Criterion | None:
        """GCV of the full data: one factorization where the folds take several."""
        n = min(float(self.full.weight), self.n_positive)
        p = self.rows.n_penalized
        if p < _GUIDED_FROM or n < _GUIDED_ROWS * p:
            return None
        return GCV(_fit(self.full), float(self.rows.n_free))


def _fit(moments: Swept) -> QuadraticDataFit:
    return QuadraticDataFit(moments.gram, moments.cross, moments.yy, moments.weight)


def _part(fit: QuadraticDataFit, k: int) -> QuadraticDataFit:
    """One data fit of a stack: views, not copies."""
    return QuadraticDataFit(fit.gram[k], fit.cross[k], fit.yy[k], fit.weight_sum[k])


def _moments(rows: AugmentedRows, positive: Array, splits: Sequence[Pair]) -> Array:
    """Moments of all rows, of the training sets, and of the validation sets."""
    sets = [positive, *(a for a, _ in splits), *(b for _, b in splits)]
    cell = _cells(rows.n_rows, positive, sets[1:])
    n_cells = 0 if cell is None else int(cell.max()) + 1
    few = n_cells <= len(sets) and n_cells * 8 * rows.width**2 <= _CELL_BYTES
    if cell is not None and few:
        return CellMoments.of(rows, cell).sums(sets)
    return RowMoments(rows).sums(sets)


def _cells(n_rows: int, positive: Array, sets: Sequence[Array]) -> Array | None:
    """Rows that no set tells apart share a cell; rows without weight have none."""
    if len(sets) > 60:
        return None
    code = np.zeros(n_rows, dtype=np.int64)
    for bit, index in enumerate(sets):
        code[index] |= 1 << bit
    cell = np.full(n_rows, -1)
    cell[positive] = np.unique(code[positive], return_inverse=True)[1].ravel()
    return cell


@dataclass(frozen=True)
class RowSource:
    """Criteria that read the rows: folds in the dual and matrix-free, closed forms.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    metric : ndarray of shape (p,)
        Scales of the columns.
    design : Design
        Penalized columns, shifted and scaled implicitly.
    splits : sequence of (train, valid)
        Folds; none for a closed form.
    criterion : {"folds", "loo", "gcv"}
        What is tuned.
    dual : bool or None
        Whether closed forms work on kernels.
    inner : InnerSolver
        For folds and final coefficients.
    """

    rows: AugmentedRows
    metric: Array
    design: Design
    splits: Sequence[Pair]
    criterion: str
    dual: bool | None
    inner: InnerSolver

    @classmethod
    def of(
        cls,
        rows: AugmentedRows,
        splits: Sequence[Pair],
        criterion: str,
        dual: bool | None,
        inner: InnerSolver,
        standardize: bool,
    ) -> RowSource:
        """Scales from all rows of positive weight; no column is copied for them."""
        ones = np.ones(rows.n_penalized)
        plain = cls(
            rows, ones, _design(rows, ones), splits, criterion, dual, inner
        )
        if not standardize:
            return plain
        metric = unit_metric(plain.fit.curvature_diag, float(plain.fit.weight_sum))
        return replace(plain, metric=metric, design=_design(rows, metric))

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
    def variance(self) -> float:
        """Total variance of the swept targets."""
        return float((self.swept.target**2).sum() / self.fit.weight_sum)

    @cached_property
    def _closed(self) -> Criterion:
        if self.criterion == "loo":
            return LeaveOneOut(self.swept, self.dual)
        return GCV.of(self.swept, self.dual)

    def problem(self, outer: OuterVector) -> BilevelProblem | CriterionProblem:
        """Folds as weights on shared rows, or the closed form."""
        parametrization, bounds = outer.parametrization, outer.bounds
        if self.criterion != "folds":
            return CriterionProblem(
                self._closed, parametrization, bounds, outer.hyperpenalty
            )
        own = outer.per_fold or (None,) * len(self.splits)
        tasks = tuple(
            replace(task, parametrization=None if each is None else (each,))
            for task, each in zip(self._tasks, own, strict=True)
        )
        return BilevelProblem(tasks, parametrization, bounds, outer.hyperpenalty)

    @cached_property
    def _tasks(self) -> list[Task]:
        swept = self.swept
        return [
            rows_task(self.design, swept.y, swept.weight, train, valid, swept.free)
            for train, valid in self.splits
        ]

    def coefficients(self, v: Array) -> Array:
        """Coefficients on the full data."""
        primal = self.criterion != "folds" and not _is_dual(self.design, self.dual)
        if primal:
            moments = self.swept.moments
            return self._full(self.fit, solve_moments(moments.gram, moments.cross, v[None])[0])
        return self._full(self.fit, self.inner.solve(self.fit, v).W)

    def fold_coefficients(self, v: Array) -> list[Array]:
        """Coefficients of every training set, at strengths moved to it."""
        out = []
        for task in self._tasks if self.criterion == "folds" else ():
            assert isinstance(task.inner, RowsDataFit)
            W = self.inner.solve(task.inner, v * np.asarray(task.v_scale)).W
            out.append(self._full(task.inner, W))
        return out

    def _full(self, fit: RowsDataFit, W: Array) -> Array:
        return np.concatenate([fit.free_coef(W), self.metric[:, None] * W])

    def left_out_predictions(self, v: Array) -> Array:
        """Shifted targets (n, t) of every row predicted from the others."""
        error = LeaveOneOut(self.swept, self.dual).errors(v)
        root = self.swept.root[:, None]
        safe = np.where(root > 0, root, 1.0)
        inside = self.rows.predict(np.arange(self.rows.n_rows), self.coefficients(v))
        return np.where(root > 0, self.swept.y - error / safe, inside)

    def guide(self) -> Criterion | None:
        """GCV where leave-one-out is asked for and rows are many."""
        n = min(float(self.rows.weight.sum()), np.count_nonzero(self.rows.weight))
        p = self.rows.n_penalized
        many = p >= _GUIDED_FROM and n >= _GUIDED_ROWS * p
        if self.criterion != "loo" or not many or self.dual:
            return None
        return GCV(self.swept.moments, self.swept.free_rank)


def _is_dual(design: Design, dual: bool | None) -> bool:
    n, p = design.shape
    return n < p if dual is None else dual


def _design(rows: AugmentedRows, metric: Array) -> Design:
    """Penalized columns; a view wherever no column has to be taken out."""
    X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
    base, shift = as_design(X), rows.shift[rows.penalized]
    if not shift.any() and (metric == 1.0).all():
        return base
    return Centered(base, shift, 1.0 / metric)
