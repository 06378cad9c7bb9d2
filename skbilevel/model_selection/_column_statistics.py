"""What a training set's own columns say about their strengths."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems import Centered, Design, RowsDataFit, SparseDesign


def intrinsic_metadata(fit: RowsDataFit, index: Array) -> Array:
    """Columns (len(index), q) from the rows of one training set only.

    The logarithm of the scale of every column, of the number of rows in
    which it is not zero (with its square; sparse designs only), and of its squared
    correlation with the targets in units of what noise would give.
    """
    square = fit.curvature_diag[index]
    columns = [0.5 * _log(square)]
    count = occurrences(fit, index)
    if count is not None:
        frequency = np.log1p(count)
        columns += [frequency, (frequency - frequency.mean()) ** 2]
    columns.append(np.log1p(_score(fit, index, square)))
    return np.stack(columns, axis=1)


def occurrences(fit: RowsDataFit, index: Array) -> Array | None:
    """Weight of the rows in which a column is not zero; None for dense designs."""
    X = _stored(fit.design)
    if X is None:
        return None
    present = (X.data != 0).astype(np.float64)
    holds = sparse.csc_array((present, X.indices, X.indptr), shape=X.shape)
    return np.asarray((holds.T @ fit.weight)[index])


def emphasis(fit: RowsDataFit, index: Array) -> Array:
    """Weights of the columns when metadata are made orthonormal; they sum to one.

    Half of the weight is spread evenly and half by the root of how often a column
    occurs: otherwise a step that is small on average moves the commonest far.
    """
    even = np.full(len(index), 1.0 / max(len(index), 1))
    count = occurrences(fit, index)
    if count is None or not count.any():
        return even
    root = np.sqrt(count)
    return np.asarray(0.5 * even + 0.5 * root / root.sum())


def _stored(design: Design) -> sparse.csc_array | None:
    base = design.base if isinstance(design, Centered) else design
    return base.X if isinstance(base, SparseDesign) else None


def _log(x: Array) -> Array:
    """Logarithm; what is zero counts as the smallest positive value."""
    positive = x[x > 0]
    floor = positive.min() if positive.size else 1.0
    return np.log(np.maximum(x, floor))


def _score(fit: RowsDataFit, index: Array, square: Array) -> Array:
    """``n r^2``: about one for a column that has nothing to do with the targets."""
    yy = (fit.weight[:, None] * fit.target**2).sum(axis=0)
    cross = (fit.cross[index] ** 2 / np.where(yy > 0, yy, 1.0)).mean(axis=1)
    ratio = np.divide(cross, square, out=np.zeros_like(cross), where=square > 0)
    return np.asarray(float(fit.weight_sum) * np.minimum(ratio, 1.0))
