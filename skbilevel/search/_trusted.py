"""What ``trusted``, ``labels`` and ``cv`` say about rows whose weights are learned."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from skbilevel._label_functions import distinct
from skbilevel._typing import Array

Split = tuple[Array, Array]
# Folds that order rows by their losses, and parts of the trusted rows.
_FOLDS = 5


def trusted_mask(trusted: Any, n_rows: int) -> Array:
    """A mask of all rows; errors say what is wrong with it."""
    mask = np.asarray(trusted)
    if mask.shape != (n_rows,):
        raise ValueError(
            f"trusted has shape {mask.shape}, but X has {n_rows} rows; give a mask "
            "with one True or False for every row."
        )
    if mask.dtype != bool:
        if mask.dtype.kind not in "iufO" or not np.isin(mask, (0, 1)).all():
            raise ValueError(
                "trusted holds other values than True and False; give a mask, not "
                "numbers of rows."
            )
        mask = mask.astype(bool)
    return mask


def split_by_mask(mask: Array, counted: Array) -> list[Split]:
    """Rows to weigh and trusted rows among those of positive weight."""
    train, trusted = np.flatnonzero(counted & ~mask), np.flatnonzero(counted & mask)
    if len(trusted) < 2:
        raise ValueError(
            f"trusted marks {len(trusted)} rows of positive weight; at least 2 are "
            "needed, and some dozens to judge weights."
        )
    if len(train) < 2:
        raise ValueError(
            "trusted marks all rows, or all but one: no rows are left whose weights "
            "could be learned."
        )
    return [(train, trusted)]


def split_by_cv(
    cv: Any, X: Any, y: Any, codes: Array, counted: Array, seed: int, params: Any
) -> list[Split]:
    """Splits of a number of folds, a splitter or an iterable."""
    rows = np.flatnonzero(counted)
    if isinstance(cv, Integral):
        cv = int(cv)
        if cv < 2:
            raise ValueError(f"cv={cv} folds: at least 2 are needed.")
        if len(rows) < cv:
            raise ValueError(
                f"cv={cv} folds are more than the n_samples={len(rows)} rows of "
                "positive weight; give a smaller cv."
            )
        return folds_of(rows, codes[rows], cv, seed)
    pairs = cv.split(X, y, **params) if hasattr(cv, "split") else cv
    splits = []
    for train, valid in pairs:
        sides = (np.arange(len(counted))[np.asarray(side)] for side in (train, valid))
        a, b = (side[counted[side]] for side in sides)
        if len(a) > 1 and len(b):
            splits.append((a, b))
    if not splits:
        raise ValueError(
            "cv gives no split with training and validation rows of positive weight; "
            "check cv and sample_weight."
        )
    return splits


def folds_of(rows: Array, strata: Array, n_folds: int, seed: int) -> list[Split]:
    """Folds of rows, every class shared out evenly."""
    parts = parts_of(rows, strata, n_folds, seed)
    return [(np.setdiff1d(rows, part), part) for part in parts]


def parts_of(rows: Array, strata: Array, n_parts: int, seed: int) -> list[Array]:
    """Disjoint parts of rows, every class shared out evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    return [np.sort(rows[order[k::n_parts]]) for k in range(n_parts)]


def ordering_folds(splits: list[Split], codes: Array, seed: int) -> list[Split]:
    """The splits themselves where they leave out every row once; folds elsewhere."""
    rows = np.unique(np.concatenate([train for train, _ in splits]))
    valid = np.sort(np.concatenate([valid for _, valid in splits]))
    if len(splits) > 1 and np.array_equal(valid, rows):
        return splits
    return folds_of(rows, codes[rows], min(_FOLDS, len(rows)), seed)


def judging_parts(splits: list[Split], codes: Array, seed: int) -> list[Array]:
    """Parts of the trusted rows of a single split; those of several are the parts."""
    if len(splits) > 1:
        return [trusted for _, trusted in splits]
    trusted = splits[0][1]
    return parts_of(trusted, codes[trusted], min(_FOLDS, len(trusted)), seed)


def label_codes(labels: Any, n_rows: int, rows: Array) -> tuple[Array, Array]:
    """Labels of some rows, and every row's place there; -1 for the other rows."""
    labels = np.asarray(labels)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"labels has shape {labels.shape}, but X has {n_rows} rows; give one label "
            "for every row."
        )
    known = distinct(labels[rows].tolist())
    place = {label: k for k, label in enumerate(known)}
    codes = np.full(n_rows, -1)
    codes[rows] = [place[label] for label in labels[rows].tolist()]
    names = np.empty(len(known), dtype=object)
    names[:] = known
    return (names.astype(labels.dtype) if labels.dtype != object else names), codes
