"""What the guard has to know of a family: trainers, and losses of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from skbilevel._typing import Array
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._row_views import RowViews, stacked
from skbilevel.problems import Loss, SquaredLoss
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows, CellMoments, RowMoments
from skbilevel.problems._summed_rows import SummedRows

# Matrices of training sets that are solved at once take no more than this.
_BATCH_BYTES = 1 << 27


class LossFamily(Protocol):
    """A loss, and how training sets of it are solved."""

    def trainers(self, views: RowViews, plan: NestedPlan) -> Sequence[Any]:
        """Trainers of the full set and of the outer folds, in this order."""

    @property
    def scored_by(self) -> tuple[Loss, float]:
        """The loss that candidates are scored by, and a factor of it."""

    def compared(
        self, rows: AugmentedRows, index: Array, eta: Array
    ) -> tuple[Array, Array]:
        """Linear predictions (r, c, t) of rows ``index``, and the targets (r, t)."""

    def finished(self, trainer: Any, candidates: Any, weight: Array) -> Any:
        """The candidates, those that have a weight as accurate as what is published."""


@dataclass(frozen=True)
class LeastSquares:
    """Squared error, summed over targets."""

    def trainers(
        self, views: RowViews, plan: NestedPlan
    ) -> Sequence[MomentTrainer | KernelTrainer]:
        """Primal in batches that fit in memory, dual one by one."""
        if not views.same:
            together = _one_table(views, plan)
            if together is not None:
                return self._trainers(views, *together)
        return [
            trainer
            for part in views.parts(plan)
            for trainer in self._trainers(views, *part)
        ]

    def _trainers(
        self, views: RowViews, rows: AugmentedRows, plan: NestedPlan
    ) -> Sequence[MomentTrainer | KernelTrainer]:
        sets = [plan.full, *plan.outer]
        if in_kernels(rows, sets):
            kernel_rows = KernelRows.of(rows)
            return [KernelTrainer.of(kernel_rows, s) for s in sets]
        source: RowMoments | CellMoments = RowMoments(rows)
        if plan.cell is not None:
            whole = rows is views.full
            source = (
                views.cells(plan.cell) if whole else CellMoments.of(rows, plan.cell)
            )
        per_set = 64 * rows.width**2 * max(1, len(sets[0].halves))
        step = max(1, _BATCH_BYTES // per_set)
        batches: list[list[TrainingSet]] = []
        for s in sets:
            same = batches and len(batches[-1][0].halves) == len(s.halves)
            if same and len(batches[-1]) < step:
                batches[-1].append(s)
            else:
                batches.append([s])
        return [MomentTrainer(rows, batch, source) for batch in batches]

    @property
    def scored_by(self) -> tuple[Loss, float]:
        """Squared errors."""
        return SquaredLoss(), 2.0

    def compared(
        self, rows: AugmentedRows, index: Array, eta: Array
    ) -> tuple[Array, Array]:
        """Both with the targets' shift taken out."""
        return eta, rows.targets(index)

    def finished(self, trainer: Any, candidates: Any, weight: Array) -> Any:
        """The candidates: they are solutions already."""
        return candidates


def _one_table(
    views: RowViews, plan: NestedPlan
) -> tuple[AugmentedRows, NestedPlan] | None:
    """The folds' rows below each other, for sums taken at once."""
    n_numbers = views.full.X.size * (1 + len(plan.outer))
    if plan.cell is not None or 8 * n_numbers > _BATCH_BYTES:
        return None
    made = stacked(views.all(), (plan.full, *plan.outer))
    if made is None or in_kernels(*made):
        return None
    table, sets = made
    return table, replace(plan, full=sets[0], outer=sets[1:])


def in_kernels(rows: AugmentedRows, sets: Sequence[TrainingSet]) -> bool:
    """Dual where columns outnumber rows, counted by weight.

    An integer weight counts as that many rows, so that weighting and repeating rows
    take the same path; tiny weights do not make a tall problem wide. Of cells of rows
    there are moments only.
    """
    if isinstance(rows, SummedRows):
        return False
    p = rows.n_penalized
    least = min(rows.weight[s.rows].sum() for s in sets)
    return bool(p > least and 2 * p > max(len(s.rows) for s in sets))
