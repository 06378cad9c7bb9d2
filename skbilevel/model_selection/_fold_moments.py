"""Folds in the primal: moments of all sets from one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector, is_guided
from skbilevel.model_selection._named_criteria import CRITERIA
from skbilevel.model_selection._resampling import Pair, membership_atoms
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    GCV,
    BilevelProblem,
    Criterion,
    CriterionProblem,
    quadratic_task,
    transfer,
)
from skbilevel.problems._moments import (
    CELL_BYTES,
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

# From this many columns on, tasks are worth a thread each, and stay apart.
_TASKS_APART_FROM = 300


@record
class MomentFolds:
    """Swept moments of the full data, of training sets and of validation sets.

    A ``criterion`` of `CRITERIA` needs those of the full data alone.
    """

    rows: AugmentedRows
    metric: Array
    full: Swept
    train: Swept
    valid: Swept
    criterion: str = "folds"

    @classmethod
    def of(
        cls,
        views: RowViews,
        splits: Sequence[Pair],
        standardize: bool,
        criterion: str = "folds",
    ) -> MomentFolds:
        """From splits of the rows."""
        rows = views.full
        sums = _moments(rows, splits) if views.same else _moments_by_fold(views, splits)
        weight = np.array(
            [rows.weight.sum()]
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
        return cls(rows, metric, full, train, valid, criterion)

    @property
    def trace(self) -> float:
        """Trace of the Gram matrix of the full data."""
        return float(np.trace(self.full.gram))

    @property
    def null_loss(self) -> float:
        """Mean loss of the unpenalized columns alone."""
        return 0.5 * float(self.full.yy.sum() / self.full.weight_sum)

    def problem(self, outer: OuterVector) -> BilevelProblem | CriterionProblem:
        """One stack of folds; tasks of their own where p is large; or a closed form."""
        if self.criterion != "folds":
            closed = CRITERIA[self.criterion].moments
            assert closed is not None
            return outer.closed(closed(self.full, self.rows.n_free))
        train, valid = self.train, self.valid
        weight_full = float(self.full.weight_sum)
        if self.rows.n_penalized < _TASKS_APART_FROM:
            return outer.folds([quadratic_task(train, valid, weight_full)])
        parts = [(train.take(k), valid.take(k)) for k in range(len(self.train.yy))]
        return outer.folds([quadratic_task(*pair, weight_full) for pair in parts])

    def coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> Array:
        """Coefficients on the full data."""
        return self._solve(self.full.gram, self.full.cross, self.full.free, v)

    def fold_coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> list[Array]:
        """Coefficients of every training set, at strengths moved to it."""
        train = self.train
        scale = 1.0 / transfer(1.0, train.weight_sum, float(self.full.weight_sum))
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

    def thinned(self, chosen: Array) -> MomentFolds:
        """All rows: their moments are known, and cost the same however many."""
        return self

    def guide(self) -> Criterion | None:
        """GCV of the full data: one factorization where the folds take several."""
        if self.criterion != "folds" or not is_guided(self.rows):
            return None
        return GCV(self.full, float(self.rows.n_free))


def _moments(rows: AugmentedRows, splits: Sequence[Pair]) -> Array:
    """Moments of all rows, of the training sets, and of the validation sets."""
    sets = [np.arange(rows.n_rows), *(a for a, _ in splits), *(b for _, b in splits)]
    cell = membership_atoms(rows.n_rows, splits)
    n_cells = int(cell.max()) + 1
    if n_cells <= len(sets) and n_cells * 8 * rows.width**2 <= CELL_BYTES:
        return CellMoments.of(rows, cell).sums(sets)
    return RowMoments(rows).sums(sets)


def _moments_by_fold(views: RowViews, splits: Sequence[Pair]) -> Array:
    """The same where every fold has features of its own."""
    rows = [views.fold(k).rows for k in range(len(splits))]
    train = [own.moment(a) for own, (a, _) in zip(rows, splits, strict=True)]
    valid = [own.moment(b) for own, (_, b) in zip(rows, splits, strict=True)]
    return np.stack([views.full.moment(np.arange(views.full.n_rows)), *train, *valid])
