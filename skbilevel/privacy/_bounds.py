"""What is done to rows by public numbers alone: bounds, units, norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array


@record
class Box:
    """Bounds, chosen without a look at the rows, and the units they give.

    Numbers are clipped to them and brought to [-1, 1].

    Parameters
    ----------
    low, high : ndarray of shape (p,) or ()
        Bounds.
    moved : bool or ndarray of bool of shape (p,)
        Where the middle becomes zero; elsewhere zero stays zero.
    """

    low: Array
    high: Array
    moved: bool | Array

    @property
    def centre(self) -> Array:
        """What becomes zero."""
        return np.where(self.moved, (self.low + self.high) / 2.0, 0.0)

    @property
    def half(self) -> Array:
        """What becomes one."""
        larger = np.maximum(self.high - self.centre, self.centre - self.low)
        return np.asarray(larger)

    @property
    def has_zero(self) -> Array:
        """Whether zero is inside of the bounds."""
        return np.asarray((self.low <= 0.0) & (self.high >= 0.0))

    def clip(self, X: Any) -> Any:
        """Numbers inside of the bounds."""
        if not sparse.issparse(X):
            return np.clip(X, self.low, self.high)
        X = sparse.csr_array(X, copy=True)
        # Several entries of one place count as their sum, which is what has a bound.
        X.sum_duplicates()
        X.data = np.clip(X.data, self.low[X.indices], self.high[X.indices])
        return X

    def units(self, X: Any) -> Any:
        """Clipped numbers in units of the bounds."""
        X = self.clip(X)
        if not sparse.issparse(X):
            return (X - self.centre) / self.half
        X.data = X.data / self.half[X.indices]
        return X


def shrunk(X: Any, norm: float) -> Any:
    """Rows shortened to a norm, where they are longer."""
    if np.isinf(norm):
        return X
    size = row_norms(X)
    factor = np.minimum(1.0, norm / np.maximum(size, 1e-300))
    if sparse.issparse(X):
        return sparse.csr_array(sparse.diags_array(factor) @ X)
    return X * factor[:, None]


def row_norms(X: Any) -> Array:
    """Euclidean norms of rows."""
    if sparse.issparse(X):
        squares = np.asarray(X.multiply(X).sum(axis=1)).reshape(-1)
    else:
        squares = np.einsum("ij,ij->i", X, X)
    return np.asarray(np.sqrt(squares))


def working_rows(X: Any, shift: Array, factor: Array, intercept: bool) -> Any:
    """Rows ``(1, (x - shift) factor)``; sparse ones are not shifted."""
    if sparse.issparse(X):
        out = sparse.csr_array(X @ sparse.diags_array(factor))
        if intercept:
            one = sparse.csr_array(np.ones((X.shape[0], 1)))
            out = sparse.csr_array(sparse.hstack([one, out], format="csr"))
        return out
    out = (X - shift) * factor
    return np.hstack([np.ones((len(out), 1)), out]) if intercept else out
