"""A block of rows, and what is checked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from skbilevel._typing import Array

# What a block may hold beside X and y.
COLUMNS = ("sample_weight", "offset", "groups")
_NUMBERS = "biuf"


@dataclass(frozen=True)
class Block:
    """Some consecutive rows.

    Parameters
    ----------
    X : ndarray or CSR array of shape (n, m)
        Features, float32 or float64.
    y : ndarray of shape (n,) or (n, t)
        Targets or labels.
    sample_weight, offset, groups : ndarray of shape (n,) or None
        As in ``fit``.
    number : int
        Place of the block in its pass, from 0.
    start : int
        How many rows are before it.
    """

    X: Any
    y: Array
    sample_weight: Array | None = None
    offset: Array | None = None
    groups: Array | None = None
    number: int = 0
    start: int = 0

    @classmethod
    def of(cls, given: Any, number: int, start: int) -> Self:
        """From ``(X, y)``, a dict of arrays, or a block; all of it is checked.

        Raises
        ------
        ValueError
            If a part is missing, has another number of rows, or is not finite; the
            message names the block.
        """
        try:
            return cls._of(given, number, start)
        except (ValueError, TypeError) as error:
            raise ValueError(f"Block {number} of the rows: {error}") from error

    @classmethod
    def _of(cls, given: Any, number: int, start: int) -> Self:
        parts = _parts(given)
        X = _features(parts.pop("X"))
        y = _column(parts.pop("y"), "y", X.shape[0], flat=False)
        if y.dtype.kind in _NUMBERS:
            _check_finite(y, "y")
        if y.dtype.kind == "O" and any(each is None or each != each for each in y.flat):
            raise ValueError("y holds missing labels; drop such rows first.")
        more = {
            name: _column(value, name, X.shape[0])
            for name, value in parts.items()
            if value is not None
        }
        for name in ("sample_weight", "offset"):
            if name in more:
                more[name] = more[name].astype(np.float64)
                _check_finite(more[name], name)
        if "sample_weight" in more and (more["sample_weight"] < 0).any():
            raise ValueError("sample_weight holds negative numbers; give none below 0.")
        return cls(X, y, **more, number=number, start=start)

    @classmethod
    def joined(cls, blocks: Sequence[Self]) -> Self:
        """Blocks that follow each other as one, which starts where the first does."""
        first = blocks[0]
        if len(blocks) == 1:
            return first
        X = [block.X for block in blocks]
        parts: dict[str, Any] = {
            "X": sparse.vstack(X, "csr") if sparse.issparse(X[0]) else np.concatenate(X)
        }
        for name in ("y", *COLUMNS):
            values = [getattr(block, name) for block in blocks]
            parts[name] = None if values[0] is None else np.concatenate(values)
        return cls(**parts, number=first.number, start=first.start)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def weight(self) -> Array:
        """Row weights, ones where none are given."""
        given = self.sample_weight
        return np.ones(self.n_rows) if given is None else given

    @property
    def position(self) -> Array:
        """Places of the rows among all rows."""
        return np.arange(self.start, self.start + self.n_rows)

    def take(self, rows: Array) -> dict[str, Any]:
        """Some rows of every part, in their order, as a dict; no copy of all."""
        if len(rows) == self.n_rows:
            return _parts(self)
        return {
            name: None if value is None else value[rows]
            for name, value in _parts(self).items()
        }


def _parts(given: Any) -> dict[str, Any]:
    """Named parts of what a source gave."""
    if isinstance(given, Block):
        return {name: getattr(given, name) for name in ("X", "y", *COLUMNS)}
    if isinstance(given, dict):
        unknown = sorted(set(given) - {"X", "y", *COLUMNS})
        if unknown:
            raise ValueError(
                f"it has parts {unknown}; a dict may hold X, y, {', '.join(COLUMNS)}."
            )
        parts = dict(given)
    elif isinstance(given, tuple) and len(given) == 2:
        parts = dict(zip(("X", "y"), given, strict=True))
    else:
        raise TypeError(
            f"it is of type {type(given).__name__}; give a tuple (X, y), or a dict "
            f"with X, y and any of {', '.join(COLUMNS)}."
        )
    missing = [name for name in ("X", "y") if parts.get(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is missing.")
    return parts


def _features(X: Any) -> Any:
    """X in single or double precision, dense or CSR, finite."""
    if sparse.issparse(X):
        X = sparse.csr_array(X)
    else:
        X = np.asarray(X)
        if X.ndim != 2:
            raise ValueError(f"X must have two dimensions, but has shape {X.shape}.")
        if X.dtype.kind not in _NUMBERS:
            X = _numbers(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    _check_finite(X.data if sparse.issparse(X) else X, "X")
    return X


def _numbers(X: Array) -> Array:
    """Objects that are numbers as numbers."""
    try:
        return np.asarray(X, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "X holds values that are not numbers; encode them first."
        ) from error


def _column(value: Any, name: str, n_rows: int, flat: bool = True) -> Array:
    """One number or label for each row; ``flat`` allows a single column only."""
    dense: Array = np.asarray(value.toarray() if sparse.issparse(value) else value)
    if dense.ndim == 2 and dense.shape[1] == 1:
        dense = dense[:, 0]
    if dense.ndim not in ((1,) if flat else (1, 2)) or len(dense) != n_rows:
        raise ValueError(f"{name} has shape {dense.shape}, but X has {n_rows} rows.")
    return dense


def _check_finite(values: Array, name: str) -> None:
    """Raise where numbers are missing or infinite."""
    if values.dtype.kind != "f":
        return
    # The sum alone is enough where all is well, and takes one reading.
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    if np.isfinite(total) or np.isfinite(values).all():
        return
    place = np.argwhere(~np.isfinite(values))[0]
    column = f", column {place[1]}" if len(place) > 1 else ""
    raise ValueError(
        f"{name} holds NaN or infinity, first in row {place[0]} of the block{column}; "
        "fill or drop such rows first."
    )
