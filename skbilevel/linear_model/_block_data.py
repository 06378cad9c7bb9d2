"""From sums over blocks of rows to prepared rows, and to the folds of their cells."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.blocks import Block, RowBlocks
from skbilevel.linear_model._classes import check_several
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import (
    TARGET_NOISE,
    Prepared,
    Statistics,
    Units,
    check_free,
    power_of_two,
    shared_units,
    unit_of_spread,
)
from skbilevel.linear_model._free_columns import free_map_of_gram
from skbilevel.model_selection._block_sums import BlockSums
from skbilevel.model_selection._held_out_sums import LEAST_UNITS
from skbilevel.model_selection._row_hashes import Dealer, RowSample
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._summed_rows import SummedRows, UnreadRows


@record
class Look:
    """What the first block says of all of them.

    Parameters
    ----------
    n_features, n_targets : int
        Columns of X and of y.
    dtype : dtype
        Precision of X.
    is_sparse : bool
        Whether blocks of X are.
    flat : bool
        Whether y has one dimension.
    mean, y_mean : ndarray of shape (m,) and (t,)
        Means over the block; zero where X is sparse or y holds labels.
    grouped : bool
        Whether there are groups.
    kind : str
        Kind of the type of y, as numpy has it.
    offset : bool
        Whether there are offsets.
    """

    n_features: int
    n_targets: int
    dtype: Any
    is_sparse: bool
    flat: bool
    mean: Array
    y_mean: Array
    grouped: bool
    kind: str
    offset: bool

    @property
    def columns(self) -> UnreadRows:
        """What stands for X where only its columns are asked for."""
        return UnreadRows((0, self.n_features))

    @classmethod
    def of(cls, block: Block) -> Look:
        """Of a block."""
        X, y = block.X, block.y
        m, t = X.shape[1], 1 if y.ndim == 1 else y.shape[1]
        mean, y_mean = np.zeros(m), np.zeros(t)
        if not sparse.issparse(X):
            mean = X.mean(axis=0, dtype=np.float64)
        if y.dtype.kind in "iuf":
            y_mean = y.reshape(len(y), -1).mean(axis=0, dtype=np.float64)
        return cls(
            m,
            t,
            X.dtype,
            sparse.issparse(X),
            y.ndim == 1,
            mean,
            y_mean,
            block.groups is not None,
            y.dtype.kind,
            block.offset is not None,
        )

    @classmethod
    def at(cls, blocks: RowBlocks, model: Any) -> Look:
        """Of the first block that has rows; raise where ``fit`` takes no offset."""
        look = blocks.first(cls.of)
        if look.offset and "offset" not in signature(model.fit).parameters:
            raise ValueError(
                f"The blocks hold an offset, and {type(model).__name__} takes none: "
                "leave it out of them."
            )
        return look


@record
class TargetCode:
    """What targets are, and how they were summed.

    Parameters
    ----------
    columns : ndarray of int
        Which of the targets are fitted.
    origin : ndarray of shape (t,)
        Was subtracted from numbers before they were summed.
    indicators : bool
        Whether targets are 0 and 1, for which -1 and 1 are fitted.
    classes : ndarray or None
        Labels whose indicators they are.
    """

    columns: Array
    origin: Array
    indicators: bool = False
    classes: Array | None = None

    def read(self, y: Array) -> Array:
        """Targets (n, t) of numbers or labels."""
        if self.classes is not None:
            y = np.asarray(y[:, None] == self.classes, dtype=np.float64)
        return self.value(y.reshape(len(y), -1)[:, self.columns])

    def value(self, y: Array) -> Array:
        """Numbers as they are fitted."""
        return 2.0 * y - 1.0 if self.indicators else y.astype(np.float64)

    @property
    def line(self) -> tuple[float, Array]:
        """Factor and constant that make values of what was summed."""
        if self.indicators:
            return 2.0, np.full(len(self.columns), -1.0)
        return 1.0, self.origin[self.columns]


def indicator_code(classes: Array | None, n_targets: int) -> TargetCode:
    """Targets of a classifier: one column for two classes, one for each otherwise."""
    if classes is None:
        return TargetCode(np.arange(n_targets), np.zeros(n_targets), True)
    check_several(classes)
    columns = np.array([1]) if len(classes) == 2 else np.arange(len(classes))
    return TargetCode(columns, np.zeros(len(classes)), True, classes)


@record
class BlockData:
    """Sums over all rows, and what they were taken of.

    Parameters
    ----------
    sums : BlockSums
        The sums.
    dealer : Dealer
        Folds and halves of the cells.
    look : Look
        What is known of all blocks.
    origin : ndarray of shape (m,)
        What was subtracted from the columns.
    intercept : bool
        Whether the model has one.
    """

    sums: BlockSums
    dealer: Dealer
    look: Look
    origin: Array
    intercept: bool

    @property
    def unit(self) -> float:
        """The user's weights over numbers of rows; see `RowCounts`."""
        counted, plain, n = self.sums.plain
        total = float(self.sums.moment[:, 0, 0].sum())
        return min(1.0, total / (counted / min(1.0, plain / n)))

    def statistics(self) -> Statistics:
        """Of the columns."""
        total = self.sums.moment.sum(axis=0)
        m, weight = self.look.n_features, total[0, 0]
        mean, square = total[0, 1 : m + 1], np.diagonal(total)[1 : m + 1]
        filled = self.sums.filled / weight
        return Statistics.of_sums(self.origin, mean / weight, square / weight, filled)

    def prepared(self, code: TargetCode, free: Array, grouped: bool) -> Prepared:
        """Working rows of some targets; ``free`` masks the unpenalized columns."""
        statistics = self.statistics()
        units = self._units(statistics, np.flatnonzero(free))
        standardize, size = shared_units(statistics, free, grouped)
        scale, y_shift, row = self._targets(code)
        keep = np.flatnonzero(self.sums.moment[:, 0, 0] > 0)
        fold, bits = keep >> self.dealer.n_halvings, np.arange(self.dealer.n_halvings)
        if len(np.unique(fold)) < 2:
            raise ValueError(
                "All rows are in one fold: groups holds one label only, or there are "
                "very few rows; at least two folds are needed."
            )
        columns: dict[str, Any] = {
            "free": np.flatnonzero(free),
            "penalized": np.flatnonzero(~free),
            "intercept": self.intercept,
            "shift": units.shift,
            "y_shift": y_shift,
            "standardize": standardize,
            "free_map": units.free_map,
            "column_size": size,
        }
        sample, whole = self._sample()
        parts, unit = sample.parts, self.unit
        weight = self.sums.moment[keep, 0, 0] / unit
        rows = SummedRows(
            UnreadRows((len(keep), self.look.n_features)),
            np.full((len(keep), len(code.columns)), np.nan),
            weight,
            **columns,
            moments=self._moments(keep, units, free, row, code, 1.0 / unit),
            sample=AugmentedRows(
                parts["X"],
                code.read(parts["y"]) / scale,
                parts["weight"] / unit,
                **columns,
            ),
            sample_cell=np.searchsorted(keep, parts["cell"]),
            sample_unit=np.unique(parts["unit"], return_inverse=True)[1].ravel(),
            whole_units=whole,
            n_counted=self.sums.n_rows,
            fold=fold,
            sides=((keep >> bits[:, None]) & 1).astype(bool),
        )
        counts = RowCounts(np.arange(len(keep)), weight, unit, len(keep))
        return Prepared(rows, counts, 1.0 / unit, y_scale=scale)

    def _sample(self) -> tuple[RowSample, bool]:
        """The rows that errors come from, and whether groups are whole in it."""
        first, rows = self.sums.samples[0], self.sums.samples[-1]
        several = len(np.unique(first.parts["unit"])) >= LEAST_UNITS
        whole = first is rows or first.complete or several
        return (first if whole else rows).ordered(), whole

    def _units(self, statistics: Statistics, free: Array) -> Units:
        shift = self.origin.copy()
        if not len(free):
            return Units(shift, None)
        total = self.sums.moment.sum(axis=0)
        places = 1 + free
        gram = total[np.ix_(places, places)] / total[0, 0]
        if self.intercept:
            shift[free] = statistics.mean[free]
            far = shift[free] - self.origin[free]
            gram = gram - far[:, None] * far
        units = Units(shift, free_map_of_gram(gram))
        check_free(units, self.sums.n_rows, self.intercept)
        return units

    def _targets(self, code: TargetCode) -> tuple[float, Array, tuple[Array, Array]]:
        """Scale and shift of the targets; their factors of what was summed, and of one.

        The rules are those of rows: a power of two near the spread, and targets that
        differ by rounding only are set to their mean.
        """
        total, (a, b) = self.sums.moment.sum(axis=0), code.line
        places = 1 + self.look.n_features + code.columns
        first = total[0, places] / total[0, 0]
        second = np.diagonal(total)[places] / total[0, 0]
        mean = (a * first + b) if self.intercept else np.zeros(len(first))
        # Around the mean, or around zero, where what was summed lies with numbers.
        square = a * a * (second - first**2) + (a * first + b - mean) ** 2
        ends = np.stack([self.sums.low, self.sums.high])[:, code.columns]
        low, high = code.value(ends)
        size = power_of_two(float(max(abs(low).max(), abs(high).max())))
        scale = size * unit_of_spread(np.sqrt(max(0.0, float(square.sum()))) / size)
        varies = np.ones(len(mean))
        if self.intercept:
            varies[high - low <= 2.0 * TARGET_NOISE * abs(mean)] = 0.0
        return scale, mean / scale, (varies * a / scale, varies * (b - mean) / scale)

    def _moments(
        self,
        keep: Array,
        units: Units,
        free: Array,
        row: tuple[Array, Array],
        code: TargetCode,
        factor: float,
    ) -> Array:
        """Moments of working rows: a linear map of unpenalized columns and targets."""
        m, own = self.look.n_features, np.flatnonzero(free)
        small = np.r_[0, 1 + own, 1 + m + code.columns]
        made = units.free_map
        r = 0 if made is None else made.shape[1]
        head, t = int(self.intercept), len(code.columns)
        A = np.zeros((head + r + t, len(small)))
        A[0, 0] = 1.0  # written over where there is no intercept
        if made is not None:
            moved = units.shift[own] - self.origin[own]
            A[head : head + r, 1 : 1 + len(own)] = made.T
            A[head : head + r, 0] = -made.T @ moved
        A[head + r :, 0] = row[1]
        A[head + r :, 1 + len(own) :] = np.diag(row[0])
        inside = 1 + np.flatnonzero(~free)
        stop = head + r + len(inside)
        out = np.empty((len(keep), stop + t, stop + t))
        ends = np.r_[: head + r, stop : stop + t]
        for place, k in enumerate(keep):
            moment, to = self.sums.moment[k], out[place]
            to[head + r : stop, head + r : stop] = moment[np.ix_(inside, inside)]
            cross = A @ moment[np.ix_(small, inside)]
            to[ends, head + r : stop] = cross
            to[head + r : stop, ends] = cross.T
            to[np.ix_(ends, ends)] = A @ moment[np.ix_(small, small)] @ A.T
            to *= factor
        return out

    def resampling(self, criterion: str) -> Resampling:
        """The rows of a fold are known by cells: `SummedRows` have their own plan."""
        return Resampling(criterion, self.dealer.n_folds, None, [], False, None)
