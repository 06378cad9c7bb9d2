"""The largest curvature of one row: what steps on batches have to know."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._linear_rows import RowSet
from skbilevel.problems._losses import facts_of
from skbilevel.problems._row_reader import RowBlock

# Rows read at once, and numbers of dense ones.
_CHUNK, _ENTRIES = 4096, 1 << 22


def row_smoothness(rows: RowSet) -> Array | None:
    """``max_i c scale_ik |x_i|^2`` of every task k; None without a curvature bound."""
    bound = facts_of(rows.loss).curvature_bound
    if bound is None:
        return None
    largest = np.zeros(rows.scale.shape[1])
    first = rows.take(np.arange(1)).block.X
    chunk = _CHUNK
    if not sparse.issparse(first):
        chunk = max(1, min(chunk, _ENTRIES // first.shape[1]))
    for start in range(0, rows.n_rows, chunk):
        part = rows.take(np.arange(start, min(start + chunk, rows.n_rows)))
        each = part.scale * squared_norms(part.block)
        largest = np.maximum(largest, each.max(axis=0))
    return bound * largest


def squared_norms(block: RowBlock) -> Array:
    """Squared norms (b, 1 or K) of rows as `RowBlock.push` sees them."""
    # Squares of columns far from zero cancel with those of their means.
    X, scale, mean = block.X.astype(np.float64), block.scale, block.mean
    p = X.shape[1]
    share = np.ones(p) if scale is None else 1.0 / scale**2
    if sparse.issparse(X):
        squares = X.multiply(X) @ share
    else:
        squares = (X * X) @ share
    if mean is not None:
        squares = squares - 2.0 * (X @ (mean * share)) + mean @ (mean * share)
    if block.head is not None:
        squares = squares + (block.head**2).sum(axis=1)
    squares = np.asarray(squares)[:, None]
    if block.free is None or block.shift is None:
        return squares
    # x - shift_k^T f, with <x, shift_k^T f> from one push of the shifts.
    F, shift = block.free, block.shift
    plain = RowBlock(X, mean, scale, block.head, None, None)
    mixed = plain.push(np.swapaxes(shift, -1, -2))
    inner = (mixed * F[:, None, :]).sum(axis=-1)
    own = np.einsum("bm,kmj,klj,bl->bk", F, shift, shift, F, optimize=True)
    return np.asarray(squares - 2.0 * inner + own)
