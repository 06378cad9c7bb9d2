"""Rows as selections need them: centred and scaled, dense or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.fractional._supports import Moments, ridge
from skbilevel.problems import GramColumns

# Variances below this share of the mean square are rounding.
_CONSTANT = 1e-13
# Curvature that keeps a coefficient at zero.
_STIFF = 1e100


@record
class ScaledRows:
    """Moments of columns of length one, and the way back to the user's units.

    Parameters
    ----------
    moments : Moments
        Of the scaled columns.
    shift, scale : ndarray of shape (p,)
        Means, zero without an intercept, and lengths; constant columns have an
        infinite one, so that they are nobody's choice.
    y_shift : float
        Mean of the target, or zero.
    """

    moments: Moments
    shift: Array
    scale: Array
    y_shift: float

    @classmethod
    def of(cls, X: Any, y: Array, weight: Array, intercept: bool) -> ScaledRows:
        """From rows of positive weight."""
        total, thin = float(weight.sum()), sparse.issparse(X)
        shift, y_shift = np.zeros(X.shape[1]), 0.0
        if intercept:
            shift = np.asarray(weight @ X, dtype=float).ravel() / total
            y_shift = float(weight @ y) / total
        # What can be centred is, as differences of large numbers lose digits.
        rows = X if thin else np.asarray(X, dtype=float) - shift
        inner = shift if thin else np.zeros_like(shift)
        squares = GramColumns(rows, weight, inner).diagonal
        large = squares > _CONSTANT * (squares + total * shift**2)
        scale = np.sqrt(np.where(large, squares, np.inf))
        gram = GramColumns(rows, weight, inner, scale)
        # Along a column of zeros the ratio would fall for ever.
        gram.diagonal[~large] = _STIFF
        target = y - y_shift
        square = float(weight @ target**2)
        freedom = max(total - float(intercept), 1.0)
        moments = Moments(gram, gram.pull(target), square, freedom)
        return cls(moments, shift, scale, y_shift)

    def predict(self, support: Array, X: Any) -> Array:
        """What `ridge` on a support says of other rows."""
        coef = ridge(self.moments, support) / self.scale[support]
        part = X[:, support]
        out = np.asarray(part @ coef, dtype=float)
        return out + (self.y_shift - float(self.shift[support] @ coef))
