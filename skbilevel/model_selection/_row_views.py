"""Rows as the folds see them: features may be made from training rows alone.

A scaler, a vocabulary or principal components that are fitted in every training set
give every fold an X of its own. Rows keep their numbers in all of them; columns need
not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._resampling import NestedPlan, Pair, TrainingSet
from skbilevel.problems._moments import AugmentedRows, CellMoments


@record
class View:
    """The rows of one fold.

    Parameters
    ----------
    rows : AugmentedRows
        All rows; those outside of the fold are never read.
    place : ndarray of shape (p,) or None
        The penalized column of the full data that every penalized column is, -1 where
        it is none of them. None: the columns are the same.
    """

    rows: AugmentedRows
    place: Array | None = None

    def pull(self, values: Array, n_columns: int) -> Array:
        """Values (p, ...) of the fold's columns as values of the full data's."""
        if self.place is None:
            return values
        out = np.zeros((n_columns, *values.shape[1:]))
        known = self.place >= 0
        out[self.place[known]] = values[known]
        return out


@record
class RowViews:
    """The rows of the full data, and those of every fold, made when first asked for.

    Parameters
    ----------
    full : AugmentedRows
        The full data.
    pairs : sequence of (train, valid)
        The folds.
    make : callable or None
        From the rows of a fold to its `View`; None where the features are given.
    """

    full: AugmentedRows
    pairs: Sequence[Pair] = ()
    make: Callable[[Array, Array], View] | None = None
    _made: dict[int, View] = field(default_factory=dict, repr=False)
    _cells: list[CellMoments] = field(default_factory=list, repr=False)

    def cells(self, cell: Array) -> CellMoments:
        """Moments of the cells of the full data, from one pass that is made once."""
        if not self._cells:
            self._cells.append(CellMoments.of(self.full, cell))
        return self._cells[0]

    @property
    def moment(self) -> Array | None:
        """Moment of all rows, where those of their cells were taken; else None."""
        return self._cells[0].moments.sum(axis=0) if self._cells else None

    @property
    def same(self) -> bool:
        """Whether all folds see the rows of the full data."""
        return self.make is None

    def fold(self, k: int) -> View:
        """The rows of fold ``k``."""
        if self.make is None:
            return View(self.full)
        if k not in self._made:
            self._made[k] = self.make(*self.pairs[k])
        return self._made[k]

    def all(self) -> list[AugmentedRows]:
        """The rows of the full data and of every fold, in this order."""
        return [self.full, *(self.fold(k).rows for k in range(len(self.pairs)))]

    def parts(self, plan: NestedPlan) -> list[tuple[AugmentedRows, NestedPlan]]:
        """Plans of the training sets that have the same rows, the full one first."""
        if self.same:
            return [(self.full, plan)]
        sets = (plan.full, *plan.outer)
        return [
            (rows, _only(plan, s)) for rows, s in zip(self.all(), sets, strict=True)
        ]


def _only(plan: NestedPlan, s: TrainingSet) -> NestedPlan:
    """The plan of one training set; other rows are in no cell."""
    cell = plan.cell
    if cell is not None:
        inside = np.zeros(len(cell), dtype=bool)
        inside[s.rows] = True
        cell = np.where(inside, cell, -1)
    return replace(plan, full=s, outer=(), held_out=(), cell=cell)


def stacked(
    rows: Sequence[AugmentedRows], sets: Sequence[TrainingSet]
) -> tuple[AugmentedRows, list[TrainingSet]] | None:
    """One table of all rows, and a training set in every part of it.

    Sums over sets of rows are then taken for all parts at once. None where columns
    differ in number or units.
    """
    first = rows[0]
    shape = first.X.shape
    if len(first.free) or any(x.X.shape != shape or x.shift.any() for x in rows):
        return None
    parts: list[Any] = [each.X for each in rows]
    is_sparse = sparse.issparse(first.X)
    X = sparse.vstack(parts, format="csr") if is_sparse else np.concatenate(parts)
    table = replace(
        first,
        X=X,
        y=np.tile(first.y, (len(rows), 1)),
        weight=np.tile(first.weight, len(rows)),
    )
    return table, [moved(s, k * shape[0]) for k, s in enumerate(sets)]


def moved(s: TrainingSet, by: int) -> TrainingSet:
    """The same set of rows with other numbers."""
    shared = None if s.shared is None else [(a + by, b + by) for a, b in s.shared]
    return TrainingSet(s.rows + by, [(a + by, b + by) for a, b in s.halves], shared)
