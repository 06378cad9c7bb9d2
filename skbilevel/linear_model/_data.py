"""From validated arrays to the rows that the core works on, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
from skbilevel.problems._moments import AugmentedRows

# Above this ratio of column scales a strength shared by the columns as they are
# is meaningless; sparse columns differ by their nature and are left alone longer.
_SPREAD_DENSE, _SPREAD_SPARSE = 1e2, 1e6
_SHIFT_FROM = 1e2


@dataclass(frozen=True)
class Prepared:
    """Rows in working units, and what undoes them.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    counts : RowCounts
        Which rows of the user they are.
    alpha_unit : float
        Published strengths are 1/v over this.
    """

    rows: AugmentedRows
    counts: RowCounts
    alpha_unit: float

    def seen_as(self, rows: AugmentedRows) -> Self:
        """The same with the columns of a fold."""
        return replace(self, rows=rows)

    def coefficients(self, coef: Array) -> tuple[Array, Array]:
        """Coefficients (t, m) of all columns and intercepts (t,).

        ``coef`` is (n_free + p, t), unpenalized columns first.
        """
        rows = self.rows
        m = rows.n_free
        out = np.zeros((rows.X.shape[1], coef.shape[1]))
        out[rows.free] = coef[int(rows.intercept) : m]
        out[rows.penalized] = coef[m:]
        intercept = np.zeros(coef.shape[1])
        if rows.intercept:
            intercept = coef[0] + rows.y_shift - rows.shift @ out
        return out.T, intercept

    def strengths(self, v: Array) -> Array:
        """``alpha`` (m,) or (t, m) of all columns from variances (p,) or (p, t).

        1/v, infinite where a column is removed, 0 where it is not penalized.
        """
        alpha = np.zeros((*v.shape[1:], self.rows.X.shape[1]))
        with np.errstate(divide="ignore", over="ignore"):
            alpha[..., self.rows.penalized] = 1.0 / v.T / self.alpha_unit
        return alpha


@dataclass(frozen=True)
class PreparedData(Prepared):
    """Rows of a regression, targets divided by ``y_scale``.

    Parameters
    ----------
    rows, counts, alpha_unit
        As in `Prepared`.
    y_scale : float
        A power of two: dividing by it loses nothing.
    """

    y_scale: float

    def coefficients(self, coef: Array) -> tuple[Array, Array]:
        """Coefficients (t, m) of all columns and intercepts (t,) in user units."""
        out, intercept = super().coefficients(coef)
        return out * self.y_scale, intercept * self.y_scale


@dataclass(frozen=True)
class Columns:
    """Columns with the shifts that keep digits, and their roles.

    Parameters
    ----------
    X : array or sparse array of shape (n, m)
        The features.
    weight : ndarray of shape (n,)
        Row weights.
    free : ndarray of shape (m,)
        Mask of unpenalized columns.
    intercept : bool
        Whether the model has one.
    shift : ndarray of shape (m,)
        Subtracted from dense columns.
    standardize : bool
        Whether a shared strength refers to columns of unit variance.
    """

    X: Any
    weight: Array
    free: Array
    intercept: bool
    shift: Array
    standardize: bool

    @classmethod
    def of(
        cls, X: Any, weight: Array, free: Array, intercept: bool, grouped: bool
    ) -> Columns:
        """Choose shifts; ``free`` is a mask of unpenalized columns."""
        if sparse.issparse(X):
            X = sparse.csr_array(X)
        everything = np.arange(len(weight))
        mean, spread = _column_statistics(X, weight, everything)
        shift = _shift(X, mean, spread, weight, np.flatnonzero(free), intercept)
        standardize = not grouped and _uneven(spread[~free], not sparse.issparse(X))
        return cls(X, weight, free, intercept, shift, standardize)

    def rows(self, y: Array, y_shift: Array) -> AugmentedRows:
        """The columns beside targets (n, t)."""
        return AugmentedRows(
            self.X,
            y,
            self.weight,
            np.flatnonzero(self.free),
            np.flatnonzero(~self.free),
            self.intercept,
            self.shift,
            y_shift,
            self.standardize,
        )


def prepare(
    X: Any, y: Array, counts: RowCounts, free: Array, intercept: bool, grouped: bool
) -> PreparedData:
    """Choose shifts and scales; ``free`` is a mask of unpenalized columns."""
    columns = Columns.of(X, counts.weight, free, intercept, grouped)
    scale, y_shift = _target_units(y, counts.weight, intercept)
    y = y / scale
    y = _settled(y, y_shift) if intercept else y
    return PreparedData(columns.rows(y, y_shift), counts, 1.0 / counts.unit, scale)


def column_shift(
    X: Any, weight: Array, train: Array, free: Array, intercept: bool
) -> Array:
    """What is subtracted from the columns, by the rows ``train`` alone.

    ``free`` holds the indices of the unpenalized columns.
    """
    own = np.zeros_like(weight)
    own[train] = weight[train]
    mean, spread = _column_statistics(X, weight, train)
    return _shift(X, mean, spread, own, free, intercept)


def _shift(
    X: Any, mean: Array, spread: Array, weight: Array, free: Array, intercept: bool
) -> Array:
    shift = np.zeros_like(mean)
    if sparse.issparse(X) or not intercept:
        return shift
    shift = np.where(abs(mean) > _SHIFT_FROM * spread, mean, 0.0)
    if len(free):
        # Beside centred columns the intercept takes no part in a minimum norm.
        shift[free] = _weighted_mean(X, free, weight)
    return shift


def _target_units(y: Array, weight: Array, intercept: bool) -> tuple[float, Array]:
    """A power of two near the spread of the targets, and their mean in that unit."""
    size = float(abs(y).max(initial=0.0))
    first = _power_of_two(size)
    y = y / first
    mean = weight @ y / weight.sum() if intercept else np.zeros(y.shape[1])
    spread = float(np.sqrt((weight @ (y - mean) ** 2).sum() / weight.sum()))
    # Targets that do not vary keep their unit: nothing is there to be scaled.
    second = _power_of_two(spread) if spread > 1e-12 else 1.0
    return first * second, mean / second


def _settled(y: Array, mean: Array) -> Array:
    """Targets that differ from their mean by rounding only are set to it."""
    noise = 4.0 * np.finfo(float).eps * abs(mean)
    constant = (abs(y - mean) <= noise).all(axis=0)
    return np.where(constant, mean, y) if constant.any() else y


def _weighted_mean(X: Array, columns: Array, weight: Array) -> Array:
    rows = np.flatnonzero(weight)
    block = np.asarray(X[np.ix_(rows, columns)], dtype=np.float64)
    return weight[rows] @ block / weight[rows].sum()


def _power_of_two(size: float) -> float:
    return float(2.0 ** np.round(np.log2(size))) if 0 < size < np.inf else 1.0


def _column_statistics(X: Any, weight: Array, rows: Array) -> tuple[Array, Array]:
    """Means and standard deviations of the columns over some rows."""
    every = len(rows) == X.shape[0]
    weight = weight if every else weight[rows]
    if sparse.issparse(X):
        block = X if every else X[rows]
        total, square = block.T @ weight, (block.multiply(block)).T @ weight
    else:
        total, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        step = max(256, (1 << 23) // (8 * max(1, X.shape[1])))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            block = np.asarray(X[part if every else rows[part]], dtype=np.float64)
            total += weight[part] @ block
            square += weight[part] @ block**2
    mean, square = total / weight.sum(), square / weight.sum()
    variance = square - mean**2
    # What is left of a constant column is rounding.
    return mean, np.sqrt(np.where(variance > 1e-13 * square, variance, 0.0))


def _uneven(spread: Array, dense: bool) -> bool:
    """Whether the columns' scales are too far apart to share a strength."""
    spread = spread[spread > 0]
    if not spread.size:
        return False
    limit = _SPREAD_DENSE if dense else _SPREAD_SPARSE
    return bool(spread.max() / spread.min() > limit)
