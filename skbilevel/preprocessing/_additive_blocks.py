"""Additive models of many rows: the columns of the terms are never held as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from skbilevel._sklearn_compat import _num_samples, _routing_enabled, _safe_indexing
from skbilevel._typing import Array
from skbilevel.blocks import RowBlocks

# Numbers that the columns of all terms may have together, of all rows.
_LARGEST = 50_000_000
# Random rows from which terms are learned, where these are not all.
_SAMPLE = 50_000
# Rows whose columns are made at once.
_BLOCK = 1 << 15
_BESIDE = ("sample_weight", "offset", "groups")


@dataclass(frozen=True)
class TableBlocks:
    """A table whose rows go through transformers block by block.

    Parameters
    ----------
    transform : callable
        Makes the columns of all terms of some rows.
    X : array or data frame
        The table.
    beside : dict
        What has an entry for every row: y, weights, offsets, groups or tasks.
    """

    transform: Callable[[Any], Any]
    X: Any
    beside: dict[str, Any]

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the blocks, from the first one."""
        for start in range(0, _num_samples(self.X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            beside = self.beside.items()
            part = {name: _safe_indexing(value, rows) for name, value in beside}
            part["X"] = self.transform(_safe_indexing(self.X, rows))
            yield part


def in_blocks(
    pipeline: Any, X: Any, y: Any, params: dict[str, Any]
) -> RowBlocks | None:
    """Rows for the last step, whose transformers are fitted; None for fewer rows.

    What places knots and scales is a random part of the rows, with every category, and
    the smallest and the largest value of every column among them.
    """
    name, last = pipeline.steps[-1]
    beside = {key.removeprefix(f"{name}__"): value for key, value in params.items()}
    known = set(beside) <= set(_BESIDE) and not _routing_enabled()
    if not known or not _reads_blocks(last) or not hasattr(X, "shape"):
        return None
    n = _num_samples(X)
    if n <= _SAMPLE or y is None:
        return None
    rows = telling_rows(X, _SAMPLE)
    part = _safe_indexing(X, rows)
    transformers = pipeline[:-1]
    width = transformers.fit(part, np.asarray(y)[rows]).transform(part[:2]).shape[1]
    if n * width <= _LARGEST:
        return None
    given = {"y": y, **beside}
    given = {key: np.asarray(each) for key, each in given.items() if each is not None}
    return RowBlocks(TableBlocks(transformers.transform, X, given))


def predicted(predict: Callable[..., Any], X: Any, params: dict[str, Any]) -> Any:
    """What a method says of all rows, a block after the other where they are many."""
    n = _num_samples(X) if hasattr(X, "shape") else 0
    beside = {name: value for name, value in params.items() if np.ndim(value)}
    # What has another length is refused with the number of all rows.
    if n <= _BLOCK or any(_num_samples(value) != n for value in beside.values()):
        return predict(X, **params)
    parts = TableBlocks(lambda rows: rows, X, beside)()
    found = [predict(**{**params, **part}) for part in parts]
    if isinstance(found[0], tuple):
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))
    return np.concatenate(found)


def _reads_blocks(last: Any) -> bool:
    """Whether the last step takes row blocks, with the parameters that it has."""
    cv = getattr(last, "cv", None)
    return (
        hasattr(last, "_fit_blocks")
        and last.hyperpenalty == "auto"
        and (cv is None or isinstance(cv, Integral))
        and last.scoring is None
        and last.feature_metadata is None
    )


def telling_rows(X: Any, size: int) -> Array:
    """Random rows, and those with the ends, the gaps and the categories of columns."""
    n = _num_samples(X)
    rows = [np.random.default_rng(0).choice(n, size, replace=False)]
    for j in range(X.shape[1]):
        values = np.asarray(_safe_indexing(X, j, axis=1))
        if values.dtype.kind not in "biuf":
            rows.append(np.unique(values.astype(str), return_index=True)[1])
            continue
        missing = np.flatnonzero(np.isnan(values))[:1]
        known = np.isfinite(values)
        ends = [np.where(known, values, far) for far in (np.inf, -np.inf)]
        rows.append(np.array([ends[0].argmin(), ends[1].argmax(), *missing]))
    return np.unique(np.concatenate(rows))
