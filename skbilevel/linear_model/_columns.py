"""What the user says about columns: groups of strengths, unpenalized ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array


@dataclass(frozen=True)
class Groups:
    """One strength per label.

    Parameters
    ----------
    labels : ndarray of shape (g,)
        Distinct labels of penalized columns, sorted.
    members : ndarray of shape (p,)
        Index into ``labels`` of every penalized column.
    """

    labels: Array
    members: Array


def unpenalized_mask(value: Any, n_features: int, names: Array | None) -> Array:
    """Boolean mask from a mask, indices or column names."""
    mask = np.zeros(n_features, dtype=bool)
    if value is None:
        return mask
    array = np.atleast_1d(np.asarray(value))
    if array.size == 0:
        return mask
    if array.dtype == bool:
        if array.shape != (n_features,):
            raise ValueError(
                f"unpenalized is a mask of shape {array.shape}, but X has "
                f"{n_features} features."
            )
        return array.copy()
    if array.dtype.kind in "iu":
        if array.min() < -n_features or array.max() >= n_features:
            raise ValueError(
                f"unpenalized holds column {array.max()}, but X has {n_features} "
                "features."
            )
        mask[array] = True
        return mask
    if names is None:
        raise ValueError(
            "unpenalized holds column names, but X has none: give indices or a mask, "
            "call set_output(transform='pandas') of the transformers in front, or use "
            "BilevelSearchCV, which asks them for names."
        )
    unknown = sorted(set(array.tolist()) - set(names.tolist()))
    if unknown:
        raise ValueError(f"unpenalized names columns that X does not have: {unknown}.")
    return np.isin(names, array)


def strength_groups(value: Any, free: Array, names: Array | None) -> Groups | None:
    """Groups of the penalized columns; None is one strength per feature."""
    if value is None:
        return None
    n_features = len(free)
    if callable(value):
        value = value([f"x{j}" for j in range(n_features)] if names is None else names)
    if isinstance(value, str):
        if value != "shared":
            raise ValueError(
                f"feature_groups={value!r} is not known; give None, 'shared' or one "
                "label per feature."
            )
        labels = np.zeros(n_features, dtype=int)
    else:
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
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    distinct, members = np.unique(labels[~free], return_inverse=True)
    return Groups(distinct, members.ravel())


def _is_empty(label: Any) -> bool:
    """Whether a label is missing: None, an empty string, or not equal to itself."""
    return label is None or label == "" or bool(label != label)
