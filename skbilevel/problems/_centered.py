"""A design seen with its columns centred and scaled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._design import BLOCK_BYTES, Design


@dataclass(frozen=True)
class Centered:
    """``(X - 1 mean^T) / scale`` without forming it.

    Parameters
    ----------
    base : Design
        The matrix as it is stored.
    mean, scale : ndarray of shape (p,)
        Subtracted from, and then divided into, every column.
    """

    base: Design
    mean: Array
    scale: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.base.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        return self.base.dtype

    def matvec(self, W: Array) -> Array:
        """``X (W / scale) - 1 (mean / scale . W)``."""
        W = W / self.scale[:, None]
        return self.base.matvec(W) - self.mean @ W

    def rmatvec(self, R: Array) -> Array:
        """The transpose of `matvec`."""
        out = self.base.rmatvec(R) - self.mean[:, None] * R.sum(axis=0)
        return np.asarray(out / self.scale[:, None])

    def column_sums(self, s: Array) -> Array:
        """``sum_i s_i x_ij`` of the centred columns."""
        total = s.sum(axis=0)
        mean, scale = self._columns(s.ndim)
        return np.asarray((self.base.column_sums(s) - mean * total) / scale)

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2`` of the centred columns."""
        mean, scale = self._columns(s.ndim)
        first, total = self.base.column_sums(s), s.sum(axis=0)
        second = self.base.column_squares(s) - 2 * mean * first + mean**2 * total
        return np.asarray(np.maximum(second, 0.0) / scale**2)

    def take_rows(self, rows: Array) -> Array:
        """Some rows as an array."""
        block = self.base.take_rows(rows)
        block = block.toarray() if sparse.issparse(block) else block
        return np.asarray((block - self.mean) / self.scale)

    def iter_blocks(
        self, rows: Array | None = None, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers and dense rows, a few at a time."""
        for index, block in self.base.iter_blocks(rows, max_bytes):
            yield index, (block - self.mean) / self.scale

    def iter_columns(
        self, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[slice, Array]]:
        """Column slices and dense columns, a few at a time."""
        for index, block in self.base.iter_columns(max_bytes):
            yield index, (block - self.mean[index]) / self.scale[index]

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T`` of the centred columns."""
        u = v / self.scale**2
        cross = self.base.matvec((u * self.mean)[:, None])
        out = self.base.kernel(u) - cross - cross.T
        return np.asarray(out + (u * self.mean) @ self.mean)

    def _columns(self, ndim: int) -> tuple[Array, Array]:
        if ndim == 1:
            return self.mean, self.scale
        return self.mean[:, None], self.scale[:, None]
