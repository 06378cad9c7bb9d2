"""Sources of blocks that lie in memory or in memory maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

# Bytes of X in a block where the user does not say how many rows.
_BLOCK_BYTES = 1 << 25


def array_source(
    X: Any, y: Any, more: dict[str, Any], block_rows: int | None
) -> tuple[Callable[[], Iterator[dict[str, Any]]], list[str] | None]:
    """Blocks of arrays, and names of the columns."""
    names = None
    if hasattr(X, "iloc"):
        names = [str(name) for name in X.columns]
    elif sparse.issparse(X):
        X = sparse.csr_array(X)
    elif not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(f"X must have two dimensions, but has shape {X.shape}.")
    parts = {
        # Lists as arrays; all else is sliced as it is.
        name: value if hasattr(value, "shape") else np.asarray(value)
        for name, value in {"y": y, **more}.items()
        if value is not None
    }
    n = int(X.shape[0])
    for name, value in parts.items():
        if len(value) != n:
            raise ValueError(f"{name} has {len(value)} rows, but X has {n}.")
    step = block_rows or max(1, _BLOCK_BYTES // max(1, _row_bytes(X)))

    def blocks() -> Iterator[dict[str, Any]]:
        for start in range(0, n, step):
            rows = slice(start, min(n, start + step))
            yield {
                "X": _read(X, rows),
                **{name: _read(value, rows) for name, value in parts.items()},
            }

    return blocks, names


def _read(value: Any, rows: slice) -> Any:
    """A slice in memory, so that a memory map is read by whoever reads ahead."""
    if hasattr(value, "iloc"):
        return value.iloc[rows].to_numpy()
    part = value[rows]
    return np.array(part) if isinstance(part, np.memmap) else part


def _row_bytes(X: Any) -> int:
    if sparse.issparse(X):
        return int(16 * X.nnz // max(1, X.shape[0]))
    return int(X.shape[1] * getattr(getattr(X, "dtype", None), "itemsize", 8))
