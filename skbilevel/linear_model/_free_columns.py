"""Working coordinates of unpenalized columns: any units, any dependence.

The model depends on the space that these columns span, not on the columns: inside, they
are replaced by orthogonal ones of mean square one. Strengths, steps and decisions about
ranks then do not depend on units, and columns that others explain are no unknowns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._typing import Array

# Columns closer to the span of the others than this share of their size depend on
# them; single precision has fewer digits.
_RANK = {"float64": 1e-12, "float32": 1e-6}
# Centred columns smaller than this share of their mean are constant but for rounding.
_CONSTANT = 32.0 * np.finfo(float).eps


def free_map(block: Array, weight: Array, shift: Array, dtype: Any) -> Array:
    """Matrix (m, r) that makes working columns of unpenalized ones.

    ``(block - shift) @ free_map`` has orthogonal columns of weighted mean square one.
    Coefficients in these, times the matrix, are those of the columns: among all that
    give the same predictions, the ones of least size once columns have a mean square
    of one. No row beyond ``block`` is known here.

    Parameters
    ----------
    block : ndarray of shape (n, m)
        Unpenalized columns in rows of positive weight.
    weight : ndarray of shape (n,)
        Their weights.
    shift : ndarray of shape (m,)
        Subtracted from the columns.
    dtype : dtype
        Precision of the data, which limits what counts as a column of its own.
    """
    centred = block - shift
    size = abs(centred).max(axis=0, initial=0.0)
    varies = size > _CONSTANT * abs(shift)
    unit = np.where(varies, size, 1.0)
    Z = np.sqrt(weight / weight.sum())[:, None] * np.where(varies, centred / unit, 0.0)
    norm = np.linalg.norm(Z, axis=0)
    norm = np.where(norm > 0.0, norm, 1.0)
    return _map_of(_triangle(Z / norm), unit * norm, _RANK[str(dtype)])


def free_map_of_gram(gram: Array) -> Array:
    """As `free_map`, from the mean products (m, m) of the shifted columns alone.

    Products have half the digits of columns: columns that depend on others up to 1e-6
    of their size count as dependent.
    """
    norm = np.sqrt(np.maximum(np.diagonal(gram), 0.0))
    norm = np.where(norm > 0.0, norm, 1.0)
    spectrum, V = np.linalg.eigh(gram / norm / norm[:, None])
    root = np.sqrt(np.maximum(spectrum, 0.0))[:, None] * V.T
    return _map_of(_triangle(root), norm, _RANK["float32"])


def _map_of(R: Array, norm: Array, least: float) -> Array:
    """The map from the triangle of columns of length one, which were ``norm`` long."""
    _, spectrum, V = np.linalg.svd(R, full_matrices=False)
    rank = int((spectrum > least * spectrum.max(initial=0.0)).sum())
    keep = np.arange(len(norm))
    if rank < len(norm):
        pivots = linalg.qr(R, mode="r", pivoting=True)[1]
        keep = np.sort(pivots[:rank])
    # In the order of the columns: rounding cannot turn the working ones.
    made = linalg.inv(_triangle(R[:, keep]))
    if rank < len(norm):
        made = V[:rank].T @ (V[:rank][:, keep] @ made)
    return np.asarray(made / norm[:, None])


def _triangle(Z: Array) -> Array:
    """The upper triangular R of ``Z = Q R``, with a positive diagonal."""
    R = np.asarray(linalg.qr(Z, mode="r")[0][: Z.shape[1]])
    return R * np.where(np.diagonal(R) < 0.0, -1.0, 1.0)[:, None]
