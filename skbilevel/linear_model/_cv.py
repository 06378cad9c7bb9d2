"""What ``cv`` and the metadata of ``fit`` say about rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import LeaveOneOut
from sklearn.utils.multiclass import check_classification_targets

from skbilevel._array_api import given_on_host
from skbilevel._records import record
from skbilevel._sklearn_compat import _num_samples
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._fold_features import FoldFeatures
from skbilevel.model_selection._plan import repeated
from skbilevel.model_selection._resampling import leave_one_unit_out

Splits = list[tuple[Array, Array]]


@record
class Resampling:
    """What ``cv`` and the metadata of ``fit`` say about rows.

    Parameters
    ----------
    criterion : str
        "folds", or a name of `CRITERIA`, whose closed form replaces them.
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
    told_of_edges : bool
        Whether the user is warned of a shared strength at an end of its range.
    """

    criterion: str
    n_folds: int
    splits: Splits | None
    repeat: Splits
    by_membership: bool
    groups: Array | None
    features: FoldFeatures | None = None
    told_of_edges: bool = True

    def among(self, counts: RowCounts) -> Resampling:
        """The same about the rows that count, numbered among themselves.

        A splitter and an iterable speak of the rows of the user, all of them; folds
        that are made here share out the rows that count.
        """
        groups, splits = counts.take(self.groups), self.splits
        if splits is not None:
            splits = _split_among(splits, counts)
        elif groups is not None:
            splits = _group_splits(groups, self.n_folds, counts.weight)
        repeat = self.repeat and _split_among(self.repeat, counts)
        return replace(self, splits=splits, repeat=repeat, groups=groups)


def read_resampling(
    owner: Any, split_params: dict[str, Any], X: Any, y: Any, weight: Any = None
) -> Resampling:
    """Splits, groups and criterion from ``cv`` of an estimator, ``owner``.

    ``split_params`` are for its splitter.
    """
    cv: Any = owner.cv
    cv = "loo" if isinstance(cv, LeaveOneOut) else cv
    if isinstance(cv, Integral) and cv < 2:
        raise ValueError(f"cv={cv} folds: at least 2 are needed.")
    if isinstance(cv, Integral):
        _check_folds(int(cv), y if is_classifier(owner) else None, X, weight)
    groups = _check_groups(split_params.get("groups"), _num_samples(X))
    criterion = cv if isinstance(cv, str) else "folds"
    n_folds = int(cv) if isinstance(cv, Integral) else 5
    splits: Splits | None = None
    repeat: Splits = []
    named = cv is None or isinstance(cv, str | Integral)
    if groups is not None and named:
        n_folds = _n_group_folds(groups, cv, weight)
    if not named and hasattr(cv, "split"):
        splits = [(_indices(a), _indices(b)) for a, b in cv.split(X, y, **split_params)]
        other = repeated(cv, np.random.default_rng(0))
        repeat = [] if other is None else list(other.split(X, y, **split_params))
    elif not named and isinstance(cv, Iterable):
        splits = [(_indices(a), _indices(b)) for a, b in cv]
        if not splits:
            raise ValueError(
                f"cv={cv!r} gives no split; a generator is used up once it was read, "
                "so give a list of splits."
            )
    by_membership = splits is not None and not named and not hasattr(cv, "split")
    return Resampling(criterion, n_folds, splits, repeat, by_membership, groups)


def _check_folds(n_folds: int, labels: Any, X: Any, weight: Any) -> None:
    """Raise and warn as scikit-learn's splitters do; ``labels`` are of classes."""
    n = _num_samples(X)
    counts = _have_weight(weight, n)
    if n_folds > counts.sum():
        raise ValueError(
            f"cv={n_folds} folds are more than the {counts.sum()} rows that have a "
            f"weight (n_samples={n}); give a smaller cv."
        )
    if labels is None:
        return
    with np.errstate(invalid="ignore"):  # of targets that are not finite
        check_classification_targets(labels)
    members = np.unique(np.asarray(labels)[counts], return_counts=True)[1]
    if n_folds > members.max():
        raise ValueError(
            f"cv={n_folds} folds are more than the members of every class, of which "
            f"the largest has {members.max()}; give a smaller cv."
        )
    if n_folds > members.min():
        warn_user(
            f"cv={n_folds} folds are more than the {members.min()} members of the "
            "least populated class, and some folds have no row of it"
            + ("; a smaller cv avoids that." if members.min() > 1 else "."),
            UserWarning,
        )


def _indices(rows: Any) -> Array:
    """Row indices from indices or a mask."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _check_groups(groups: Any, n_rows: int) -> Array | None:
    if groups is None:
        return None
    groups = np.asarray(given_on_host(groups))
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
    fold, filled = np.empty(len(size), dtype=int), np.zeros(n_folds)
    for k in np.argsort(size, kind="stable")[::-1]:
        fold[k] = np.argmin(filled)
        filled[fold[k]] += size[k]
    return leave_one_unit_out(np.arange(len(groups)), fold[unit])


def _n_group_folds(groups: Array, cv: Any, weight: Any) -> int:
    """Number of group folds: as asked for, or up to five."""
    n_groups = len(np.unique(groups[_have_weight(weight, len(groups))]))
    if n_groups < 2:
        raise ValueError("groups holds one label only; at least two are needed.")
    if not isinstance(cv, Integral):
        return min(5, n_groups)
    if int(cv) > n_groups:
        raise ValueError(
            f"cv={cv} folds are more than the {n_groups} labels of groups; give "
            "a smaller cv."
        )
    return int(cv)


def _have_weight(weight: Any, n_rows: int) -> Array:
    """Mask of rows that have a weight."""
    return np.broadcast_to(np.asarray(1.0 if weight is None else weight) != 0, n_rows)
