"""A design seen with its columns centred and scaled, or with columns in front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._design import BLOCK_BYTES, Design


@dataclass(frozen=True)
class Centered(Design):
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

    def matvec(self, W: Array) -> Array:
        """``X (W / scale) - 1 (mean / scale . W)``."""
        W = W / self.scale[:, None]
        return self.base.matvec(W) - self.mean @ W

    def rmatvec(self, R: Array) -> Array:
        """The transpose of `matvec`."""
        out = self.base.rmatvec(R) - self.mean[:, None] * R.sum(axis=0)
        return np.asarray(out / self.scale[:, None])

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2`` of the centred columns."""
        shape = (-1, *[1] * (s.ndim - 1))
        mean, scale = self.mean.reshape(shape), self.scale.reshape(shape)
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


@dataclass(frozen=True)
class Headed(Design):
    """``[E, X]``, never copied side by side as a whole.

    Losses whose curvature varies keep their unpenalized columns among the others: the
    first rows of the coefficients are theirs, at variance infinity.

    Parameters
    ----------
    base : Design
        Penalized columns.
    free : ndarray of shape (n, m)
        Unpenalized columns, the constant one among them.
    """

    base: Design
    free: Array

    @property
    def n_free(self) -> int:
        """Number m of unpenalized columns."""
        return int(self.free.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        n, p = self.base.shape
        return n, self.n_free + p

    def matvec(self, W: Array) -> Array:
        """``E W_free + X W``."""
        m = self.n_free
        out = self.base.matvec(W[m:])
        return np.asarray(out + (self.free @ W[:m]).astype(out.dtype, copy=False))

    def rmatvec(self, R: Array) -> Array:
        """The transpose of `matvec`."""
        out = self.base.rmatvec(R)
        return np.concatenate([(self.free.T @ R).astype(out.dtype, copy=False), out])

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2``."""
        return np.concatenate([(self.free**2).T @ s, self.base.column_squares(s)])

    def take_rows(self, rows: Array) -> Any:
        """Some rows: an array, or CSR if the other columns are sparse."""
        block = self.base.take_rows(rows)
        if sparse.issparse(block):
            return sparse.csr_array(sparse.hstack([self.free[rows], block]))
        return np.hstack([self.free[rows], block])

    def iter_blocks(
        self, rows: Array | None = None, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers and dense rows, a few at a time."""
        for index, block in self.base.iter_blocks(rows, max_bytes):
            yield index, np.hstack([self.free[index], block])

    def iter_columns(
        self, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[slice, Array]]:
        """Column slices and dense columns, a few at a time."""
        m = self.n_free
        if m:
            yield slice(0, m), np.asarray(self.free, dtype=np.float64)
        for index, block in self.base.iter_columns(max_bytes):
            yield slice(m + index.start, m + index.stop), block

    def kernel(self, v: Array) -> Array:
        """``E diag(v_free) E^T + X diag(v) X^T``."""
        m = self.n_free
        return np.asarray(self.base.kernel(v[m:]) + (self.free * v[:m]) @ self.free.T)
