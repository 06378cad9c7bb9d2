"""Rows of a generalized linear model, as its training sets share them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._device_array import in_double
from skbilevel._typing import Array
from skbilevel.problems import Loss
from skbilevel.problems._losses import facts_of
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
    """

    rows: AugmentedRows
    loss: Loss
    offset: Array | None

    @cached_property
    def X(self) -> Array:
        """Penalized columns (n, p), dense, shifted; a view where nothing changes."""
        rows = self.rows
        X = rows.X if rows.trivial_columns else rows.X[:, rows.penalized]
        X = X.toarray() if sparse.issparse(X) else X
        X = in_double(X)
        shift = rows.shift[rows.penalized]
        return X - shift if shift.any() else X

    @cached_property
    def free(self) -> Array:
        """Unpenalized columns (n, m), the constant one first."""
        return self.rows.free_block(np.arange(self.rows.n_rows))

    @property
    def noise(self) -> float | None:
        """Variance of working responses; None where it is not known."""
        return facts_of(self.loss).noise(self.rows.n_targets)

    def taken(self, index: Array, X: Array, metric: Array) -> AugmentedRows:
        """Some rows, as they are trained on; their targets have no shift.

        ``X`` are their penalized columns, dense, shifted and multiplied by ``metric``.
        They serve where nothing else is needed of a row: what reads columns of a
        training set then reads neither other rows nor a copy.
        """
        rows = self.rows
        shift, none = rows.shift, np.zeros(rows.n_targets)
        if rows.trivial_columns and not sparse.issparse(rows.X):
            shift = np.zeros(len(rows.shift))
        else:
            factor = np.ones(len(rows.shift))
            factor[rows.penalized] = metric
            taken: Any = rows.X[index]
            if rows.standardize:
                is_sparse = sparse.issparse(taken)
                taken = (
                    taken.multiply(factor[None]).tocsr()
                    if is_sparse
                    else taken * factor
                )
            X, shift = taken, shift * factor
        y, weight = rows.y[index], rows.weight[index]
        return replace(
            rows, X=X, y=y, weight=weight, shift=shift, y_shift=none, standardize=False
        )


def n_uncommon(y: Array, weight: Array) -> int:
    """Rows whose target is not the commonest: events, or members of other classes."""
    _, place = np.unique(y, axis=0, return_inverse=True)
    count = np.bincount(place.ravel(), weight)
    return round(float(count.sum() - count.max(initial=0.0)))
