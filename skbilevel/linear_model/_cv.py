"""What ``cv`` and the metadata of ``fit`` say about rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import GroupKFold, LeaveOneOut

from skbilevel._sklearn_compat import _num_samples
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.linear_model._fold_features import FoldFeatures
from skbilevel.model_selection._criterion import splits_among
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

    def among(self, rows: Array, n_rows: int) -> Resampling:
        """The same about some of ``n_rows`` rows."""
        splits = self.splits
        return replace(
            self,
            splits=None if splits is None else splits_among(splits, rows, n_rows),
            repeat=splits_among(self.repeat, rows, n_rows),
            groups=None if self.groups is None else self.groups[rows],
        )


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
    if named and groups is not None:
        asked = cv if isinstance(cv, Integral) else None
        splits = _group_splits(groups, asked, X, y)
    elif not named and hasattr(cv, "split"):
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
    counts = np.broadcast_to(np.asarray(1.0 if weight is None else weight) != 0, (n,))
    if n_folds > counts.sum():
        raise ValueError(
            f"cv={n_folds} folds are more than the {counts.sum()} rows that have a "
            "weight; give a smaller cv."
        )
    if labels is None:
        return
    members = np.unique(np.asarray(labels)[counts], return_counts=True)[1]
    if n_folds > members.max():
        raise ValueError(
            f"cv={n_folds} folds are more than the members of every class, of which "
            f"the largest has {members.max()}; give a smaller cv."
        )
    if n_folds > members.min():
        warn_user(
            f"cv={n_folds} folds are more than the {members.min()} members of the "
            "least populated class, and some folds have no row of it; a smaller cv "
            "avoids that.",
            UserWarning,
        )


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


def _group_splits(groups: Array, n_folds: Any, X: Any, y: Any) -> Splits:
    """Group folds where groups are given without a splitter; None is up to five."""
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError("groups holds one label only; at least two are needed.")
    n_folds = min(5, n_groups) if n_folds is None else n_folds
    if n_folds > n_groups:
        raise ValueError(
            f"cv={n_folds} folds are more than the {n_groups} labels of groups; give "
            "a smaller cv."
        )
    return list(GroupKFold(n_folds).split(X, y, groups))
