"""A few rows of a design at a time, for tasks that share it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._centered import Centered, Headed
from skbilevel.problems._design import DenseDesign, Design, SparseDesign


@record
class RowReader:
    """Reads rows of ``([E, (X - mean) / scale])`` seen through the sweeps of K tasks.

    Nothing of the size of X is made but, once, the row order of a sparse one. Shifts,
    scales and sweeps are applied to coefficients, never to rows.

    Parameters
    ----------
    design : Design
        All rows.
    free : ndarray of shape (n, m) or None
        Unpenalized columns that are eliminated.
    shift : ndarray of shape (K, m, p) or None
        Coefficients of the columns on them in every task.
    """

    design: Design
    free: Array | None = None
    shift: Array | None = None

    @cached_property
    def _parts(self) -> tuple[Any, Array | None, Array | None, Array | None]:
        """Stored matrix, mean and scale of its columns, and columns in front."""
        design: Any = self.design
        head, mean, scale = None, None, None
        if isinstance(design, Headed):
            design, head = design.base, design.free
        if isinstance(design, Centered):
            design, mean, scale = design.base, design.mean, design.scale
        if isinstance(design, SparseDesign):
            return sparse.csr_array(design.X), mean, scale, head
        if isinstance(design, DenseDesign):
            return design.X, mean, scale, head
        return design, mean, scale, head

    def read(self, rows: Array) -> RowBlock:
        """Some rows."""
        X, mean, scale, head = self._parts
        # A check against the protocol would cost more than a small batch.
        block = X.take_rows(rows) if hasattr(X, "take_rows") else X[rows]
        if not sparse.issparse(block) and block.dtype != np.float32:
            block = np.asarray(block, dtype=np.float64)
        return RowBlock(
            block,
            mean,
            scale,
            None if head is None else head[rows],
            None if self.free is None else self.free[rows],
            self.shift,
        )


@record
class RowBlock:
    """Products with some rows; coefficients (K, p, t), predictions (b, K, t).

    Rows stored in float32 are multiplied in float32: to convert a batch takes longer
    than its products. All else is float64.
    """

    X: Any
    mean: Array | None
    scale: Array | None
    head: Array | None
    free: Array | None
    shift: Array | None

    @staticmethod
    def _product(X: Any, D: Array) -> Array:
        single = X.dtype == np.float32
        out = X @ (D.astype(np.float32) if single else D)
        return out.astype(np.float64) if single else np.asarray(out)

    def push(self, W: Array) -> Array:
        """Predictions of the rows."""
        K, p, t = W.shape
        flat = W.reshape(p, t) if K == 1 else W.transpose(1, 0, 2).reshape(p, K * t)
        m = 0 if self.head is None else self.head.shape[1]
        tail = flat[m:]
        if self.scale is not None:
            tail = tail / self.scale[:, None]
        eta = self._product(self.X, tail)
        if self.mean is not None:
            eta = eta - self.mean @ tail
        if self.head is not None:
            eta = eta + self.head @ flat[:m]
        eta = eta.reshape(-1, K, t)
        if self.free is not None and self.shift is not None:
            moved = (self.shift @ W).transpose(1, 0, 2).reshape(-1, K * t)
            eta = eta - (self.free @ moved).reshape(-1, K, t)
        return np.asarray(eta)

    def pull(self, R: Array) -> Array:
        """The transpose of `push`."""
        b, K, t = R.shape
        flat = R.reshape(b, K * t)
        out = self._product(self.X.T, flat)
        if self.mean is not None:
            out = out - self.mean[:, None] * flat.sum(axis=0)
        if self.scale is not None:
            out = out / self.scale[:, None]
        if self.head is not None:
            out = np.concatenate([self.head.T @ flat, out])
        p = len(out)
        W = out.reshape(1, p, t) if K == 1 else out.reshape(p, K, t).transpose(1, 0, 2)
        if self.free is not None and self.shift is not None:
            inner = (self.free.T @ flat).reshape(-1, K, t).transpose(1, 0, 2)
            W = W - np.swapaxes(self.shift, -1, -2) @ inner
        return np.asarray(W)
