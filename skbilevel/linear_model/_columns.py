"""What the user says about columns: groups of strengths, unpenalized ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._label_functions import asks_for_transformer
from skbilevel._records import record
from skbilevel._typing import Array


@record
class Groups:
    """One strength per label.

    Parameters
    ----------
    labels : ndarray of shape (g,)
        Distinct labels of penalized columns, sorted.
    members : ndarray of shape (p,)
        Index into ``labels`` of every penalized column.
    added : callable or None
        Returns the labels of columns behind the last one, which only folds have. None:
        all have the one label there is.
    """

    labels: Array
    members: Array
    added: Callable[[], list[Any]] | None = None

    def widened(self, n_columns: int) -> Groups:
        """The same for more columns."""
        n_added = n_columns - len(self.members)
        if n_added <= 0:
            return self
        more = [0] * n_added if self.added is None else self._places(self.added())
        return replace(self, members=np.r_[self.members, np.array(more, dtype=int)])

    def _places(self, labels: list[Any]) -> list[int]:
        known = {label: k for k, label in enumerate(self.labels.tolist())}
        unknown = sorted({str(each) for each in labels if each not in known})
        if unknown:
            raise ValueError(
                f"A training fold has columns of the group {unknown[0]!r}, which no "
                "column of the full data is in: use transformers whose columns do not "
                "depend on the rows, or feature_groups=None."
            )
        return [known[each] for each in labels]


def unpenalized_mask(
    value: Any,
    n_features: int,
    names: Array | None,
    parameter: str = "unpenalized",
) -> Array:
    """Boolean mask from a mask, indices or column names, for messages ``parameter``."""
    mask = np.zeros(n_features, dtype=bool)
    if value is None:
        return mask
    array = np.atleast_1d(np.asarray(value))
    if array.size == 0:
        return mask
    if array.dtype == bool:
        if array.shape != (n_features,):
            raise ValueError(
                f"{parameter} is a mask of shape {array.shape}, but X has "
                f"{n_features} features."
            )
        return array.copy()
    if array.dtype.kind in "iu":
        if array.min() < -n_features or array.max() >= n_features:
            raise ValueError(
                f"{parameter} holds column {array.max()}, but X has {n_features} "
                "features."
            )
        mask[array] = True
        return mask
    if names is None:
        raise ValueError(
            f"{parameter} holds column names, but X has none: give indices or a mask, "
            "call set_output(transform='pandas') of the transformers in front, or use "
            "BilevelSearchCV, which asks them for names."
        )
    unknown = sorted(set(array.tolist()) - set(names.tolist()))
    if unknown:
        raise ValueError(f"{parameter} names columns that X does not have: {unknown}.")
    return np.isin(names, array)


def strength_groups(
    value: Any,
    free: Array,
    names: Array | None,
    transformer: Any = None,
    added: Callable[[], list[Any]] | None = None,
) -> Groups | None:
    """Groups of the penalized columns; None is one strength per feature.

    ``transformer`` is what made the columns, where a search knows it, and ``added`` is
    as in `Groups`.
    """
    if value is None:
        return None
    labels = column_labels(value, len(free), names, transformer)
    distinct, members = np.unique(labels[~free], return_inverse=True)
    return Groups(distinct, members.ravel(), added)


def column_labels(
    value: Any, n_features: int, names: Array | None, transformer: Any = None
) -> Array:
    """One label for each column."""
    if callable(value):
        known = [f"x{j}" for j in range(n_features)] if names is None else names
        value = _called(value, known, transformer)
    if isinstance(value, str):
        if value != "shared":
            raise ValueError(
                f"feature_groups={value!r} is not known; give None, 'shared' or one "
                "label per feature."
            )
        return np.zeros(n_features, dtype=int)
    labels = np.asarray(value)
    if labels.shape != (n_features,):
        raise ValueError(
            f"feature_groups has shape {labels.shape}, but X has {n_features} "
            "features: give one label per feature."
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("feature_groups holds NaN or inf; give every feature one.")
    if labels.dtype.kind in "OU" and any(_is_empty(x) for x in labels):
        raise ValueError(
            "feature_groups holds an empty label; give every feature a label."
        )
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def _called(make: Callable[..., Any], names: Any, transformer: Any) -> Any:
    """Labels that a callable makes of names, or of the fitted transformers."""
    if not asks_for_transformer(make):
        return make(names)
    if transformer is None:
        name = getattr(make, "__name__", "a callable")
        raise ValueError(
            f"feature_groups={name} asks for the transformers that made X, and only a "
            "BilevelSearchCV and the pipeline of make_additive know them: put the "
            "pipeline into one, or fit the transformers first and give the labels that "
            "original_columns makes."
        )
    return make(transformer=transformer)


def _is_empty(label: Any) -> bool:
    """Whether a label is missing: None, an empty string, or not equal to itself."""
    return label is None or label == "" or bool(label != label)
