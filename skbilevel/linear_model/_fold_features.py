"""Features that are made anew from the training rows of every fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.linear_model._data import Prepared, seen_by_fold
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_views import RowViews, View
from skbilevel.problems._moments import AugmentedRows


class FoldFeatures(Protocol):
    """What the transformers of a pipeline make of every training set.

    ``padded`` asks for zero columns where a set has fewer than another: one strength
    for all columns does not mind which is which, and columns with labels that only
    some folds have stand behind the others.
    """

    @property
    def names(self) -> Array | None:
        """Names of the columns of the full data; None if they have none."""

    @property
    def transformer(self) -> Any:
        """What made the columns of the full data."""

    @property
    def padded(self) -> bool:
        """Whether folds may have more columns than the full data."""

    @property
    def added(self) -> Callable[[], list[Any]] | None:
        """Labels of these columns; None where all columns have the same."""

    def fold(self, train: Array, valid: Array) -> tuple[Any, Array | None]:
        """X (n, m) of a fold, and the columns of the full data that its columns are.

        Rows outside of the fold are zero. Columns that the full data do not have are
        -1; None stands for the same columns.
        """


def views_of(
    data: Prepared, pairs: list[Pair], features: FoldFeatures | None
) -> RowViews:
    """The rows as the folds see them; ``features`` number them as the user does."""
    rows, counts = data.rows, data.counts
    if features is None:
        return RowViews(rows)

    def make(train: Array, valid: Array) -> View:
        X, place = features.fold(counts.index[train], counts.index[valid])
        return View(seen_by_fold(rows, counts.take(X), train), place)

    views = RowViews(rows, pairs, make)
    return _padded(views) if features.padded else views


def _padded(views: RowViews) -> RowViews:
    """Zero columns behind the last one, up to the widest fold."""
    known = views.all()
    width = max(each.X.shape[1] for each in known)
    if all(each.X.shape[1] == width for each in known):
        return views
    wide = [_widened(each, width) for each in known]
    made = {k: View(each) for k, each in enumerate(wide[1:])}
    return RowViews(wide[0], views.pairs, views.make, made)


def _widened(rows: AugmentedRows, width: int) -> AugmentedRows:
    more = width - rows.X.shape[1]
    if not more:
        return rows
    if sparse.issparse(rows.X):
        zeros: Any = sparse.csr_array((rows.n_rows, more), dtype=rows.X.dtype)
        X: Any = sparse.hstack([rows.X, zeros], format="csr")
    else:
        X = np.pad(rows.X, ((0, 0), (0, more)))
    shift = np.pad(rows.shift, (0, more))
    penalized = np.r_[rows.penalized, np.arange(width - more, width)]
    return replace(rows, X=X, shift=shift, penalized=penalized)
