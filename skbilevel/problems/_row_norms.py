"""Squared norms of rows as tasks see them, without a copy of the design."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._row_reader import RowBlock, RowReader

# Rows that are looked at in one go: a few megabytes where they are dense.
_CHUNK_NUMBERS = 1 << 19


def largest_rows(reader: RowReader, index: Array, scale: Array) -> Array:
    """``max_i scale_ik |x_ik|^2`` of every task k, shape (K,).

    ``x_ik`` is row i centred, scaled and swept by task k, as in `RowBlock.push`.
    """
    step = max(1, _CHUNK_NUMBERS // max(reader.design.shape[1], 1))
    largest = np.zeros(scale.shape[1])
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        squares = squared_norms(reader.read(index[part]))
        largest = np.maximum(largest, (scale[part] * squares).max(axis=0))
    return largest


def squared_norms(block: RowBlock) -> Array:
    """``|x_ik|^2`` of shape (b, K), or (b, 1) without a sweep.

    A sweep subtracts ``E S_k`` from the rows; the square is expanded, so that no
    block is made for every task.
    """
    squares = _before_sweep(block)[:, None]
    if block.free is None or block.shift is None:
        return squares
    K, m, p = block.shift.shape
    # Columns of all shifts as if they were targets of one task.
    shifts = block.shift.reshape(1, K * m, p).transpose(0, 2, 1)
    unswept = RowBlock(block.X, block.mean, block.scale, block.head, None, None)
    along = unswept.push(shifts).reshape(-1, K, m)
    gram = block.shift @ block.shift.transpose(0, 2, 1)
    free = block.free
    cross = np.einsum("bkm,bm->bk", along, free)
    own = np.einsum("bm,kmc,bc->bk", free, gram, free)
    return np.asarray(np.maximum(squares - 2.0 * cross + own, 0.0))


def _before_sweep(block: RowBlock) -> Array:
    X, mean, scale = block.X, block.mean, block.scale
    inverse = 1.0 if scale is None else 1.0 / scale
    if sparse.issparse(X):
        squares = X.multiply(X) @ np.broadcast_to(inverse, X.shape[1]) ** 2
        if mean is not None:
            shift = mean * inverse**2
            squares = squares - 2.0 * (X @ shift) + mean @ shift
    else:
        rows = X * inverse if mean is None else (X - mean) * inverse
        squares = np.einsum("ij,ij->i", rows, rows)
    if block.head is not None:
        squares = squares + (block.head**2).sum(axis=1)
    return np.asarray(squares)
