"""What ``cv`` and the metadata of ``fit`` say about rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import LeaveOneOut

from skbilevel._sklearn_compat import _num_samples
from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._fold_features import CountedFeatures, FoldFeatures
from skbilevel.model_selection._plan import repeated

Splits = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Resampling:
    """What ``cv`` and the metadata of ``fit`` say about rows.

    Parameters
    ----------
    criterion : {"folds", "loo", "gcv"}
        Closed forms replace folds where the user asks for them.
    n_folds : int
        Shuffled folds where no splits are given.
    splits : list of (train, valid) or None
        Splits of a splitter or of an iterable.
    repeat : list of (train, valid)
        The same splitter with another seed; empty where it takes none.
    by_membership : bool
        Splits were given row by row.
    groups : ndarray or None
        Labels of rows that stay together.
    features : FoldFeatures or None
        What transformers make of every training set; None where X is the same for all.
    """

    criterion: str
    n_folds: int
    splits: Splits | None
    repeat: Splits
    by_membership: bool
    groups: Array | None
    features: FoldFeatures | None = None

    def among(self, counts: RowCounts) -> Resampling:
        """The same about the rows that count, numbered among themselves.

        A splitter and an iterable speak of the rows of the user, all of them; folds
        that are made here share out the rows that count.
        """
        groups, splits, features = counts.take(self.groups), self.splits, self.features
        if splits is not None:
            splits = _split_among(splits, counts)
        elif groups is not None:
            splits = _group_splits(groups, self.n_folds, counts.weight)
        if features is not None:
            features = CountedFeatures(features, counts.index)
        repeat = self.repeat and _split_among(self.repeat, counts)
        return replace(
            self, splits=splits, repeat=repeat, groups=groups, features=features
        )


def read_resampling(
    cv: Any, split_params: dict[str, Any], X: Any, y: Any
) -> Resampling:
    """Splits, groups and criterion from ``cv`` and what is passed to the splitter."""
    cv = "loo" if isinstance(cv, LeaveOneOut) else cv
    if isinstance(cv, Integral) and cv < 2:
        raise ValueError(f"cv={cv} folds: at least 2 are needed.")
    groups = _check_groups(split_params.get("groups"), _num_samples(X))
    criterion = cv if isinstance(cv, str) else "folds"
    n_folds = int(cv) if isinstance(cv, Integral) else 5
    splits: Splits | None = None
    repeat: Splits = []
    named = cv is None or isinstance(cv, str | Integral)
    if not named and hasattr(cv, "split"):
        splits = list(cv.split(X, y, **split_params))
        other = repeated(cv, np.random.default_rng(0))
        repeat = [] if other is None else list(other.split(X, y, **split_params))
    elif not named and isinstance(cv, Iterable):
        splits = [(_indices(a), _indices(b)) for a, b in cv]
    by_membership = splits is not None and not named and not hasattr(cv, "split")
    return Resampling(criterion, n_folds, splits, repeat, by_membership, groups)


def _indices(rows: Any) -> Array:
    """Row indices from indices or a mask."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _check_groups(groups: Any, n_rows: int) -> Array | None:
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n_rows,):
        raise ValueError(f"groups has shape {groups.shape}, but X has {n_rows} rows.")
    return groups


def _split_among(splits: Splits, counts: RowCounts) -> Splits:
    """Splits of rows of the user, those that count alone."""
    pairs = [(counts.places(a), counts.places(b)) for a, b in splits]
    pairs = [(a, b) for a, b in pairs if len(a) and len(b)]
    if not pairs:
        raise ValueError(
            "cv gives no split with training and validation rows of positive "
            "weight; check cv and sample_weight."
        )
    return pairs


def _group_splits(groups: Array, n_folds: int, weight: Array) -> Splits:
    """Folds of whole groups, as GroupKFold makes them of repeated rows."""
    _, unit = np.unique(groups, return_inverse=True)
    size = np.bincount(unit, weight)
    n_folds = min(n_folds, len(size))
    if n_folds < 2:
        raise ValueError("groups holds one label only; at least two are needed.")
    fold, filled = np.empty(len(size), dtype=int), np.zeros(n_folds)
    for k in np.argsort(size, kind="stable")[::-1]:
        fold[k] = np.argmin(filled)
        filled[fold[k]] += size[k]
    label = fold[unit]
    sides = (label == k for k in range(n_folds))
    return [(np.flatnonzero(~b), np.flatnonzero(b)) for b in sides]
