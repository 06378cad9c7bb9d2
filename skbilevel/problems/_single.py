"""A sparse design whose values and products are single precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._design import SparseDesign


@dataclass(frozen=True)
class SingleDesign(SparseDesign):
    """A `SparseDesign` in float32; the places of its values are shared.

    Tuning strengths is bound by the speed of memory, and needs few digits.
    """

    squares: sparse.csc_array

    @classmethod
    def of(cls, X: Any) -> SingleDesign:
        """From a design or a sparse matrix; values are copied, places are not."""
        X = X.X if isinstance(X, SparseDesign) else sparse.csc_array(X)
        data = X.data.astype(np.float32)
        single = sparse.csc_array((data, X.indices, X.indptr), shape=X.shape)
        squares = sparse.csc_array((data**2, X.indices, X.indptr), shape=X.shape)
        return cls(single, np.dtype(np.float32), squares)

    def matvec(self, W: Array) -> Array:
        """``X W`` in float32."""
        return super().matvec(W.astype(np.float32, copy=False))

    def rmatvec(self, R: Array) -> Array:
        """``X^T R`` in float32."""
        return super().rmatvec(R.astype(np.float32, copy=False))

    def column_squares(self, s: Array) -> Array:
        """``sum_i s_i x_ij^2`` in float32."""
        return np.asarray(self.squares.T @ s.astype(np.float32, copy=False))
