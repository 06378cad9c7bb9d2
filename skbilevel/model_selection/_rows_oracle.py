"""Coordinate descent's questions to rows that are known through products."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import Centered, Design, RowsDataFit, SparseDesign

_BLOCK_BYTES = 1 << 24


class RowsOracle:
    """`LeastSquaresOracle` of a data fit; ``index`` are its penalized columns."""

    def __init__(self, fit: RowsDataFit, index: Array, yy: float) -> None:
        self._fit, self._index = fit, index
        self.yy = yy
        self.weight = float(fit.weight_sum)
        self.cross = fit.cross[index]

    def rows_of(self, active: Array) -> None:
        """None: rows are never gathered."""

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some swept columns; the columns are never gathered dense."""
        fit = self._fit
        columns = self._index[active]
        gram = _weighted_gram(fit.design, columns, fit.weight)
        if fit.sweep is None:
            return gram
        # Sweeping takes out what the unpenalized columns explain of each product.
        E = fit.sweep.free
        moment = E.T @ (fit.weight[:, None] * E)
        on_free = fit.design.rmatvec(fit.sweep.maps.T)[columns]
        return np.asarray(gram - on_free @ moment @ on_free.T)

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns."""
        full = np.zeros((self._fit.n_features, w.shape[1]))
        full[self._index[active]] = w
        return -self._fit.at(full).grad[self._index]


def _weighted_gram(design: Design, columns: Array, weight: Array) -> Array:
    """``X_a^T S X_a`` of some columns."""
    if isinstance(design, Centered):
        scale = design.scale[columns]
        gram = _weighted_gram(design.base, columns, weight)
        mean = design.mean[columns]
        if mean.any():
            total = design.base.column_sums(weight)[columns]
            cross = np.outer(total, mean)
            gram = gram - cross - cross.T + weight.sum() * np.outer(mean, mean)
        return np.asarray(gram / np.outer(scale, scale))
    if isinstance(design, SparseDesign):
        block = design.X[:, columns]
        weighted = block.copy()
        weighted.data *= weight[block.indices]
        return np.asarray((block.T @ weighted).toarray())
    gram = np.zeros((len(columns), len(columns)))
    step = max(1, _BLOCK_BYTES // (8 * max(design.shape[1], 1)))
    rows = np.flatnonzero(weight)
    for start in range(0, len(rows), step):
        index = rows[start : start + step]
        block = np.asarray(design.take_rows(index)[:, columns], dtype=np.float64)
        gram += block.T @ (weight[index, None] * block)
    return gram
