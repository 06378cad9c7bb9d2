"""What X is: products, column sums and blocks of a dense or sparse matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from skbilevel._device_array import DeviceArray, in_double
from skbilevel._sparse import canonical
from skbilevel._typing import Array

# Rows are made dense, or double precision, in blocks of this size.
BLOCK_BYTES = 1 << 24
# Rows in another precision are converted a cache full at a time.
_CACHE_BYTES = 1 << 19


@runtime_checkable
class Design(Protocol):
    """A matrix known through its products. All results are float64."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def matvec(self, W: Array) -> Array:
        """``X W`` for W of shape (p, c)."""

    def rmatvec(self, R: Array) -> Array:
        """``X^T R`` for R of shape (n, c)."""

    def column_sums(self, s: Array) -> Array:
        """``sum_i s_i x_ij`` for s of shape (n,) or (n, c)."""
        out = self.rmatvec(s.reshape(len(s), -1))
        return out.reshape(-1, *s.shape[1:])

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2`` for s of shape (n,) or (n, c)."""

    def take_rows(self, rows: Array) -> Any:
        """Some rows: an array of a dense design, CSR of a sparse one."""

    def iter_blocks(
        self, rows: Array | None = None, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers and dense float64 rows, a few at a time."""

    def iter_columns(
        self, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[slice, Array]]:
        """Column slices and dense float64 columns, a few at a time."""

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T``, shape (n, n)."""


def as_design(X: Any) -> Design:
    """Wrap an array or a sparse matrix; a `Design` is returned as it is.

    Dense arrays are never copied; sparse ones are kept in CSC, whose transpose
    costs nothing.
    """
    if isinstance(X, Design):
        return X
    if isinstance(X, DeviceArray):
        return DenseDesign(X)
    if sparse.issparse(X):
        return SparseDesign.of(X)
    X = np.asanyarray(X)
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, got shape {X.shape}.")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    return DenseDesign(X)


@dataclass(frozen=True)
class DenseDesign(Design):
    """An array in any memory order, possibly float32, read-only or a memmap.

    Or a `DeviceArray`, which sees to blocks and precision itself.
    """

    X: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.X.shape[0], self.X.shape[1]

    @property
    def _direct(self) -> bool:
        # A product of mixed types would convert the whole of X at once.
        return isinstance(self.X, DeviceArray) or bool(self.X.dtype == np.float64)

    def matvec(self, W: Array) -> Array:
        """``X W``."""
        if self._direct:
            return np.asarray(self.X @ W)
        out = np.empty((self.shape[0], W.shape[1]))
        for rows, block in self._row_slices(_CACHE_BYTES):
            out[rows] = block @ W
        return out

    def rmatvec(self, R: Array) -> Array:
        """``X^T R``."""
        if self._direct:
            return np.asarray(self.X.T @ R)
        out = np.zeros((self.shape[1], R.shape[1]))
        for rows, block in self._row_slices(_CACHE_BYTES):
            out += block.T @ R[rows]
        return out

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2``."""
        out = np.zeros((self.shape[1], *s.shape[1:]))
        n_bytes = BLOCK_BYTES if isinstance(self.X, DeviceArray) else _CACHE_BYTES
        for rows, block in self._row_slices(n_bytes):
            out += (block * block).T @ s[rows]
        return out

    def take_rows(self, rows: Array) -> Array:
        """Some rows as an array."""
        return np.asarray(self.X[rows])

    def iter_blocks(
        self, rows: Array | None = None, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers and float64 rows, a few at a time."""
        rows = np.arange(self.shape[0]) if rows is None else rows
        for part in _slices(len(rows), self.shape[1], max_bytes):
            yield rows[part], np.asarray(self.X[rows[part]], dtype=np.float64)

    def iter_columns(
        self, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[slice, Array]]:
        """Column slices and float64 columns, a few at a time."""
        n, p = self.shape
        for index in _slices(p, n, max_bytes):
            yield index, np.asarray(self.X[:, index], dtype=np.float64)

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T``."""
        n, p = self.shape
        total, root = np.zeros((n, n)), np.sqrt(v)
        for index in _slices(p, n, BLOCK_BYTES):
            scaled = in_double(self.X[:, index]) * root[index]
            total += scaled @ scaled.T
        return total

    def _row_slices(self, max_bytes: int) -> Iterator[tuple[slice, Any]]:
        for rows in _slices(*self.shape, max_bytes):
            yield rows, in_double(self.X[rows])


def _slices(n: int, width: int, max_bytes: int) -> Iterator[slice]:
    """Slices of n rows or columns, each of so many float64 numbers."""
    step = max(1, max_bytes // (8 * max(width, 1)))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


@dataclass(frozen=True)
class SparseDesign(Design):
    """A CSC array of float64 values and its transpose, which shares its memory."""

    X: sparse.csc_array

    @classmethod
    def of(cls, X: Any) -> SparseDesign:
        """From any sparse matrix or array; float64 CSC is wrapped without a copy.

        Values are converted once: a product of float32 values with float64 vectors
        would convert all of them in every product.
        """
        return cls(canonical(sparse.csc_array(X, dtype=np.float64)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.X.shape[0]), int(self.X.shape[1])

    def matvec(self, W: Array) -> Array:
        """``X W``."""
        if W.shape[1] == 1:
            return np.asarray(self.X @ W[:, 0])[:, None]
        return np.asarray(self.X @ W)

    def rmatvec(self, R: Array) -> Array:
        """``X^T R``."""
        if R.shape[1] == 1:
            return np.asarray(self.X.T @ R[:, 0])[:, None]
        return np.asarray(self.X.T @ R)

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2``."""
        X = self.X
        squares = sparse.csc_array((X.data**2, X.indices, X.indptr), shape=X.shape)
        return np.asarray(squares.T @ s)

    def take_rows(self, rows: Array) -> sparse.csr_array:
        """Some rows as a CSR array."""
        return sparse.csr_array(self.X[rows])

    def iter_blocks(
        self, rows: Array | None = None, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers and dense rows, a few at a time."""
        n, p = self.shape
        rows = np.arange(n) if rows is None else rows
        source = sparse.csr_array(self.X)
        for part in _slices(len(rows), p, max_bytes):
            yield rows[part], source[rows[part]].toarray()

    def iter_columns(
        self, max_bytes: int = BLOCK_BYTES
    ) -> Iterator[tuple[slice, Array]]:
        """Column slices and dense columns, a few at a time."""
        n, p = self.shape
        for index in _slices(p, n, max_bytes):
            yield index, self.X[:, index].toarray()

    def kernel(self, v: Array) -> Array:
        """``X diag(v) X^T``."""
        X = self.X
        data = X.data * np.repeat(np.sqrt(v), np.diff(X.indptr))
        scaled = sparse.csc_array((data, X.indices, X.indptr), shape=X.shape)
        return np.asarray((scaled @ scaled.T).toarray())


@dataclass(frozen=True)
class SingleDesign(SparseDesign):
    """A `SparseDesign` in float32; the places of its values are shared.

    Tuning strengths is bound by the speed of memory, and needs few digits.
    """

    squares: sparse.csc_array

    @classmethod
    def of(cls, X: Any) -> SingleDesign:
        """From a design or a sparse matrix; values are copied, places are not."""
        X = X.X if isinstance(X, SparseDesign) else canonical(sparse.csc_array(X))
        data = X.data.astype(np.float32)
        single = sparse.csc_array((data, X.indices, X.indptr), shape=X.shape)
        squares = sparse.csc_array((data**2, X.indices, X.indptr), shape=X.shape)
        return cls(single, squares)

    def matvec(self, W: Array) -> Array:
        """``X W`` in float32."""
        return super().matvec(W.astype(np.float32, copy=False))

    def rmatvec(self, R: Array) -> Array:
        """``X^T R`` in float32."""
        return super().rmatvec(R.astype(np.float32, copy=False))

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2`` in float32."""
        return np.asarray(self.squares.T @ s.astype(np.float32, copy=False))
