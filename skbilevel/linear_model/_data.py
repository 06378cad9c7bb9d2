"""From validated arrays to the rows that the core works on, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._free_columns import free_map
from skbilevel.model_selection._net_shares import NetShares
from skbilevel.problems import Loss, SquaredLoss
from skbilevel.problems._losses import facts_of
from skbilevel.problems._moments import AugmentedRows, some_columns

# Above this ratio of column scales a strength shared by the columns as they are
# is meaningless. Columns of words or categories differ by how rare they are: where no
# more than an eighth of all entries is not zero they are left alone longer. The type
# of X plays no part.
_SPREAD, _SPREAD_OF_RARE, _RARE = 1e2, 1e6, 0.125
# A dense column is shifted where its mean is more than so many times its spread.
_SHIFT_FROM = 1e2
_SQUARED = SquaredLoss()
# Targets closer to their mean than this share of it differ by rounding only.
TARGET_NOISE = 4.0 * np.finfo(float).eps


@record
class GLMTarget:
    """What a generalized linear model predicts, and how it is judged.

    Parameters
    ----------
    y : ndarray of shape (n, t)
        Class indicators, 0 and 1 for two classes, counts or amounts.
    loss : Loss
        The loss inside.
    outer : Loss
        The validation loss.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    strata : ndarray of shape (n,) or None
        Class codes, which folds share out evenly.
    level : float
        What ``offset`` holds beyond the user's: the published intercept gets it.
    """

    y: Array
    loss: Loss
    outer: Loss
    offset: Array | None = None
    strata: Array | None = None
    level: float = 0.0


@record
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
    loss, outer : Loss
        The losses inside and outside.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    strata : ndarray of shape (n,) or None
        Class codes, which folds share out evenly.
    level : float
        Part of ``offset`` that belongs to the intercept.
    y_scale : float
        What targets were divided by, a power of two: that loses nothing.
    net : tuple of NetShares
        Shares of the L1 norm that are tried; none of them is a ridge penalty.
    """

    rows: AugmentedRows
    counts: RowCounts
    alpha_unit: float
    loss: Loss = _SQUARED
    outer: Loss = _SQUARED
    offset: Array | None = None
    strata: Array | None = None
    level: float = 0.0
    y_scale: float = 1.0
    net: tuple[NetShares, ...] = ()

    @property
    def quadratic(self) -> bool:
        """Whether the loss is that of least squares."""
        return self.loss.constant_curvature

    def coefficients(self, coef: Array) -> tuple[Array, Array]:
        """Coefficients (t, m) of all columns and intercepts (t,) in user units.

        ``coef`` is (n_free + p, t), unpenalized columns first. What is the same for
        all classes changes no probability: where no strength decides about it, its
        mean over the classes is set to zero.
        """
        rows = self.rows
        m = rows.n_free
        if facts_of(self.loss).coupled:
            coef = coef.copy()
            coef[:m] -= coef[:m].mean(axis=1, keepdims=True)
        out = np.zeros((rows.X.shape[1], coef.shape[1]))
        own = coef[int(rows.intercept) : m]
        out[rows.free] = own if rows.free_map is None else rows.free_map @ own
        out[rows.penalized] = coef[m:]
        intercept = np.zeros(coef.shape[1])
        if rows.intercept:
            intercept = coef[0] + rows.y_shift - rows.shift @ out
        return out.T * self.y_scale, intercept * self.y_scale + self.level

    def strengths(self, v: Array) -> Array:
        """``alpha`` (m,) or (t, m) of all columns from variances (p,) or (p, t).

        1/v, infinite where a column is removed, 0 where it is not penalized.
        """
        alpha = np.zeros((*v.shape[1:], self.rows.X.shape[1]))
        with np.errstate(divide="ignore", over="ignore"):
            alpha[..., self.rows.penalized] = 1.0 / v.T / self.alpha_unit
        return alpha


@record
class Statistics:
    """Of every column over some rows, by weight.

    Parameters
    ----------
    mean, spread : ndarray of shape (m,)
        Means and standard deviations.
    filled : ndarray of shape (m,)
        Shares of the rows in which the column is not zero.
    """

    mean: Array
    spread: Array
    filled: Array

    @classmethod
    def of(cls, X: Any, rows: Array, weight: Array) -> Statistics:
        """Of the rows ``rows``; a dense X is read block by block."""
        n, weight = len(rows), weight[rows]
        first: Any = 0.0
        if sparse.issparse(X):
            block = X if n == X.shape[0] else X[rows]
            parts = [block, block.multiply(block), block != 0]
            sums = [np.asarray(each.T @ weight) for each in parts]
        else:
            sums = [np.zeros(X.shape[1]) for _ in range(3)]
            # Around a row, columns far from zero keep their digits.
            first = np.asarray(X[rows[0]], dtype=np.float64)
            step = max(256, (1 << 23) // (8 * max(1, X.shape[1])))
            for start in range(0, n, step):
                index = slice(start, start + step)
                block = X[index] if n == X.shape[0] else X[rows[index]]
                sums[2] += weight[index] @ (block != 0)
                block = block - first
                sums[0] += weight[index] @ block
                sums[1] += weight[index] @ block**2
        return cls.of_sums(first, *(each / weight.sum() for each in sums))

    @classmethod
    def of_sums(cls, first: Any, mean: Array, square: Array, filled: Array) -> Self:
        """From means of the columns less ``first``, of their squares, and shares."""
        variance = square - mean**2
        # What is left of a constant column is rounding.
        variance = np.where(variance > 1e-13 * square, variance, 0.0)
        return cls(first + mean, np.sqrt(variance), filled)


@record
class Units:
    """Shifts of the columns, and working coordinates of the unpenalized ones.

    Parameters
    ----------
    shift : ndarray of shape (m,)
        Subtracted from the columns.
    free_map : ndarray of shape (number of unpenalized columns, r) or None
        See `free_map`; None where there are no such columns.
    """

    shift: Array
    free_map: Array | None

    @classmethod
    def of(
        cls,
        X: Any,
        statistics: Statistics,
        weight: Array,
        rows: Array,
        free: Array,
        intercept: bool,
    ) -> Units:
        """By some rows alone; ``free`` are the unpenalized columns."""
        mean, spread = statistics.mean, statistics.spread
        shift = np.zeros_like(mean)
        if intercept and not sparse.issparse(X):
            shift = np.where(abs(mean) > _SHIFT_FROM * spread, mean, 0.0)
        if not len(free):
            return cls(shift, None)
        block, own = some_columns(X, rows, free), weight[rows]
        if intercept:
            # Beside centred columns the intercept takes no part in a minimum norm.
            shift[free] = own @ block / own.sum()
        return cls(shift, free_map(block, own, shift[free], X.dtype))

    def with_columns(self, n: int) -> Array | None:
        """The map with n columns; those of zeros explain nothing."""
        made = self.free_map
        if made is None:
            return None
        return np.pad(made[:, :n], ((0, 0), (0, max(0, n - made.shape[1]))))


def _with_columns(
    X: Any,
    weight: Array,
    free: Array,
    intercept: bool,
    grouped: bool,
    y: Array,
    y_shift: Array,
) -> AugmentedRows:
    """Choose shifts; ``free`` is a mask of unpenalized columns."""
    if sparse.issparse(X):
        X = sparse.csr_array(X)
    everything = np.arange(len(weight))
    statistics = Statistics.of(X, everything, weight)
    columns = np.flatnonzero(free)
    units = Units.of(X, statistics, weight, everything, columns, intercept)
    check_free(units, len(weight), intercept)
    standardize, size = shared_units(statistics, free, grouped)
    return AugmentedRows(
        X,
        y,
        weight,
        columns,
        np.flatnonzero(~free),
        intercept,
        units.shift,
        y_shift,
        standardize,
        units.free_map,
        size,
    )


def prepare(
    X: Any, y: Array, counts: RowCounts, free: Array, intercept: bool, grouped: bool
) -> Prepared:
    """Choose shifts and scales; ``free`` is a mask of unpenalized columns."""
    scale, y_shift = _target_units(y, counts.weight, intercept)
    y = y / scale
    y = _settled(y, y_shift) if intercept else y
    columns = (free, intercept, grouped)
    rows = _with_columns(X, counts.weight, *columns, y, y_shift)
    return Prepared(rows, counts, 1.0 / counts.unit, y_scale=scale)


def with_net(data: Prepared, ratios: Sequence[Array | float]) -> Prepared:
    """The same with an elastic net of one of these shares of the L1 norm.

    Strengths stand beside the mean loss, so that they do not depend on how many rows
    there are.
    """
    own = [r if np.ndim(r) == 0 else np.asarray(r)[data.rows.penalized] for r in ratios]
    net = tuple(NetShares.of(each, data.y_scale) for each in own)
    return replace(data, net=net, alpha_unit=1.0)


def prepare_glm(
    X: Any,
    target: GLMTarget,
    counts: RowCounts,
    mean_loss: bool,
    free: Array,
    intercept: bool,
    grouped: bool,
) -> Prepared:
    """Choose shifts; ``free`` is a mask of unpenalized columns."""
    columns, none = (free, intercept, grouped), np.zeros(target.y.shape[1])
    return Prepared(
        _with_columns(X, counts.weight, *columns, target.y, none),
        counts,
        float(counts.weight.sum()) if mean_loss else 1.0 / counts.unit,
        target.loss,
        target.outer,
        target.offset,
        target.strata,
        target.level,
    )


def seen_by_fold(rows: AugmentedRows, X: Any, train: Array) -> AugmentedRows:
    """The rows with other columns, whose units are those of the training rows."""
    if sparse.issparse(X):
        X = sparse.csr_array(X)
    statistics = Statistics.of(X, train, rows.weight)
    units = Units.of(X, statistics, rows.weight, train, rows.free, rows.intercept)
    return replace(
        rows,
        X=X,
        penalized=np.setdiff1d(np.arange(X.shape[1]), rows.free),
        shift=units.shift,
        free_map=units.with_columns(rows.n_free - int(rows.intercept)),
    )


def shared_units(
    statistics: Statistics, free: Array, grouped: bool
) -> tuple[bool, float]:
    """Whether a shared strength refers to columns of unit variance, and their size."""
    spread = statistics.spread[~free]
    standardize = not grouped and _uneven(spread, statistics.filled[~free])
    return standardize, 1.0 if standardize else _column_size(spread)


def check_free(units: Units, n: int, intercept: bool) -> None:
    """Raise where unpenalized columns explain any target."""
    if units.free_map is None:
        return
    rank = units.free_map.shape[1] + int(intercept)
    if rank >= n:
        beside = " and the intercept" if intercept else ""
        raise ValueError(
            f"The unpenalized columns{beside} have rank {rank} on {n} rows, and fit "
            "any target exactly: name fewer columns in unpenalized."
        )


def _target_units(y: Array, weight: Array, intercept: bool) -> tuple[float, Array]:
    """A power of two near the spread of the targets, and their mean in that unit."""
    first = power_of_two(float(abs(y).max(initial=0.0)))
    y = y / first
    mean = weight @ y / weight.sum() if intercept else np.zeros(y.shape[1])
    spread = float(np.sqrt((weight @ (y - mean) ** 2).sum() / weight.sum()))
    second = unit_of_spread(spread)
    return first * second, mean / second


def unit_of_spread(spread: float) -> float:
    """A power of two near it; targets that do not vary keep their unit."""
    return power_of_two(spread) if spread > 1e-12 else 1.0


def _settled(y: Array, mean: Array) -> Array:
    """Targets that differ from their mean by rounding only are set to it."""
    constant = (abs(y - mean) <= TARGET_NOISE * abs(mean)).all(axis=0)
    return np.where(constant, mean, y) if constant.any() else y


def power_of_two(size: float) -> float:
    """The nearest one, in the logarithm; one where there is none."""
    return float(2.0 ** np.round(np.log2(size))) if 0 < size < np.inf else 1.0


def _column_size(spread: Array) -> float:
    """Root mean square of the spreads of columns that vary."""
    spread = spread[spread > 0]
    if not spread.size:
        return 1.0
    top = float(spread.max())
    return top * float(np.sqrt(np.mean((spread / top) ** 2)))


def _uneven(spread: Array, filled: Array) -> bool:
    """Whether the columns' scales are too far apart to share a strength."""
    rare = filled.sum() <= _RARE * len(filled)
    spread = spread[spread > 0]
    if not spread.size:
        return False
    limit = _SPREAD_OF_RARE if rare else _SPREAD
    return bool(spread.max() / spread.min() > limit)
