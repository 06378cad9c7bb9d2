"""Rows of a generalized linear model, as its training sets share them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems import Loss
from skbilevel.problems._moments import AugmentedRows


@dataclass(frozen=True)
class GLMRows:
    """Rows with a loss.

    Parameters
    ----------
    rows : AugmentedRows
        The rows; ``y`` holds class indicators, 0 and 1, counts or amounts.
    loss : Loss
        The loss inside.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    dispersed : bool
        Whether the variance of the targets is known up to a factor only.
    """

    rows: AugmentedRows
    loss: Loss
    offset: Array | None
    dispersed: bool

    @cached_property
    def X(self) -> Array:
        """Penalized columns (n, p), dense, shifted; a view where nothing changes."""
        rows = self.rows
        X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
        X = X.toarray() if sparse.issparse(X) else X
        X = np.asarray(X, dtype=np.float64)
        shift = rows.shift[rows.penalized]
        return X - shift if shift.any() else X

    @cached_property
    def free(self) -> Array:
        """Unpenalized columns (n, m), the constant one first."""
        return self.rows.free_block(np.arange(self.rows.n_rows))

    @property
    def noise(self) -> float | None:
        """Variance of working responses; None where it is not known.

        The classes of a row share one degree of freedom less than their number.
        """
        t = self.rows.n_targets
        return None if self.dispersed else 1.0 if t == 1 else (t - 1.0) / t

    def offset_of(self, index: Array) -> Array | None:
        """Offsets of some rows."""
        return None if self.offset is None else self.offset[index]
