"""Training sets of the elastic net: their least squares, and paths that folds share.

The strength ``alpha`` multiplies a penalty that stands beside the mean loss, as in
scikit-learn: training sets of different weights have the same strengths. Every set of
rows has one path, which starts at the strength that removes all its columns; errors
between its points are interpolated. So the folds inside of a fold share their paths
with other folds, and no path depends on rows outside of its set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._elastic_net import GramOracle, LeastSquaresOracle
from skbilevel.model_selection._held_out_moments import HeldOutRows
from skbilevel.model_selection._net_shares import NetShares
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import TrainingSet, membership_atoms
from skbilevel.model_selection._weighted_net import net_path
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import (
    CELL_BYTES,
    AugmentedRows,
    CellMoments,
    RowMoments,
)
from skbilevel.problems._penalties import ElasticNet
from skbilevel.problems._summed_rows import SummedRows

# Neighbours on a path differ by this in log alpha, twenty points in a factor of ten.
STEP = float(np.log(10.0)) / 20
# Points of a path: three decades, or four where rows outnumber columns.
_POINTS = 61, 81
# Gram matrices of the training sets take no more than this.
_GRAM_BYTES = 1 << 28
# A path ends where active columns are this share of the rows.
_SATURATED = 0.9
# Or where the residual is this share of the target.
_EXACT = 1e-4
# Steps of the path of a second stage.
_STRIDE = 3


class NetPath:
    """A path of strengths, of which points are made when they are asked for.

    Point k has ``log alpha = log_top - step k``, and no active column for k = 0.

    Parameters
    ----------
    oracle : LeastSquaresOracle
        The rows that it is fitted on.
    unit : ElasticNet
        The penalty at a strength of one.
    stride : int
        Its steps are so many times ``STEP``.
    columns : ndarray of shape (p,) or None
        What its columns are among those of held-out rows; None: the same.
    """

    def __init__(
        self,
        oracle: LeastSquaresOracle,
        unit: ElasticNet,
        stride: int = 1,
        columns: Array | None = None,
    ) -> None:
        cross = abs(oracle.cross[:, 0])
        top = float((cross / unit.l1).max(initial=0.0))
        self.log_top, self.step = float(np.log(top)) if top > 0 else 0.0, STEP * stride
        n_points = _POINTS[oracle.weight > len(cross)] // stride if top > 0 else 0
        self._limit, self._least = _SATURATED * oracle.weight, _EXACT * oracle.yy
        self._columns, self.last = columns, n_points
        alphas = np.exp(self.log_top - self.step * np.arange(1, n_points + 1))
        self._points = net_path(oracle, unit, alphas)
        self._made = [(np.empty(0, dtype=int), np.empty(0))]

    def until(self, k: int) -> list[tuple[Array, Array]]:
        """Columns and coefficients of the points up to one, or the end, and of more."""
        while len(self._made) <= min(k, self.last):
            index, W, rest = next(self._points)
            index = index if self._columns is None else self._columns[index]
            room = self.last + 1 - len(self._made)
            for w, left in zip(W[:room], rest[:room], strict=True):
                keep = np.flatnonzero(w)
                self._made.append((index[keep], w[keep]))
                if len(keep) > self._limit or left < self._least:
                    self.last = len(self._made) - 1
                    break
        return self._made

    def near(self, log_alpha: float) -> tuple[Array, Array]:
        """Columns and coefficients at the point nearest to a strength."""
        k = max(round((self.log_top - log_alpha) / self.step), 0)
        return self.until(k)[min(k, self.last)]


class ErrorCurve:
    """Sums of squared errors of a path on other rows, linear between its points."""

    def __init__(self, path: NetPath, rows: HeldOutRows) -> None:
        self._path, self._rows = path, rows
        self._known = np.empty(0)

    def at(self, log_alpha: Array) -> Array:
        """Errors at falling strengths, infinite behind the end of the path."""
        path = self._path
        x = np.maximum((path.log_top - log_alpha) / path.step, 0.0)
        wanted = int(np.ceil(x.max(initial=0.0)))
        if wanted >= len(self._known):
            points = path.until(wanted)[len(self._known) :]
            self._known = np.append(self._known, self._errors(points))
        right = np.inf if wanted > path.last else None
        return np.interp(x, np.arange(len(self._known)), self._known, right=right)

    def _errors(self, points: Sequence[tuple[Array, Array]]) -> Array:
        if not points:
            return np.empty(0)
        active = np.unique(np.concatenate([index for index, _ in points]))
        W = np.zeros((len(active), len(points)))
        for c, (index, w) in enumerate(points):
            W[np.searchsorted(active, index), c] = w
        return self._rows.error(active, W)


@dataclass(frozen=True)
class NetSet:
    """Rows that the elastic net is fitted on.

    Parameters
    ----------
    trainer : MomentTrainer or KernelTrainer
        Their least squares.
    shares : tuple of NetShares
        Penalties at strengths of one, beside a mean loss.
    """

    trainer: MomentTrainer | KernelTrainer
    shares: tuple[NetShares, ...]
    _paths: dict[tuple[Any, ...], NetPath] = field(default_factory=dict, repr=False)
    _judges: dict[bytes, HeldOutRows] = field(default_factory=dict, repr=False)

    @cached_property
    def oracle(self) -> LeastSquaresOracle:
        """What coordinate descent asks."""
        return self.trainer.oracle()

    @property
    def weight(self) -> float:
        """Sum of the row weights."""
        return float(self.trainer.weight[0])

    def unit(self, share: int) -> ElasticNet:
        """The penalty at strengths of one, beside the sum of the losses."""
        p = self.trainer.rows.n_penalized
        return self.shares[share].penalty(self.weight, p)

    def held_out(self, valid: Array) -> HeldOutRows:
        """Errors on other rows."""
        key = valid.tobytes()
        if key not in self._judges:
            self._judges[key] = self.trainer.held_out(valid)
        return self._judges[key]

    def path(self, share: int) -> NetPath:
        """The path of one strength for all columns."""
        key = (share,)
        if key not in self._paths:
            self._paths[key] = NetPath(self.oracle, self.unit(share))
        return self._paths[key]

    def second_stage(self, share: int, log_alpha: float, power: float) -> NetPath:
        """The path of the columns that are active near a point of the first one.

        A column that has the coefficient ``w_j`` there has the strength ``alpha
        |w_j|^-power``; with an L2 part the power is zero.
        """
        index, w = self.path(share).near(log_alpha)
        factor = abs(w) ** -power
        key = (share, index.tobytes(), factor.tobytes())
        if key not in self._paths:
            gram, cross = self.oracle.sub_gram(index), self.oracle.cross[index]
            oracle = GramOracle(gram, cross, self.oracle.yy, self.weight)
            unit = self.unit(share).of(index).times(factor)
            self._paths[key] = NetPath(oracle, unit, _STRIDE, index)
        return self._paths[key]


@dataclass(frozen=True)
class NetRows:
    """Training sets of the same rows; each of them is made once.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    make : callable
        From a training set to its least squares.
    shares : tuple of NetShares
        Penalties at strengths of one.
    """

    rows: AugmentedRows
    make: Callable[[TrainingSet], MomentTrainer | KernelTrainer]
    shares: tuple[NetShares, ...]
    _made: dict[bytes, NetSet] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        rows: AugmentedRows,
        pairs: Sequence[tuple[Array, Array]],
        shares: tuple[NetShares, ...],
    ) -> NetRows:
        """Gram matrices where they are small, products with columns elsewhere.

        ``pairs`` are all sets of rows that will be asked for.
        """
        p = rows.n_penalized
        n_sets = len({a.tobytes() for a, _ in pairs})
        summed = isinstance(rows, SummedRows)
        large = p > rows.n_rows or 8 * p * p * (n_sets + len(pairs)) > _GRAM_BYTES
        if large and not summed:
            kernel_rows = KernelRows.of(rows)
            return cls(rows, lambda s: KernelTrainer(kernel_rows, s), shares)
        source: CellMoments | RowMoments = RowMoments(rows)
        atom = membership_atoms(rows.n_rows, pairs)
        if not summed and (atom.max(initial=0) + 1) * 8 * rows.width**2 <= CELL_BYTES:
            source = CellMoments.of(rows, atom)
        return cls(rows, lambda s: MomentTrainer(rows, [s], source), shares)

    def at(self, index: Array) -> NetSet:
        """The training set of some rows."""
        key = index.tobytes()
        if key not in self._made:
            self._made[key] = NetSet(
                self.make(TrainingSet(index, [], None)), self.shares
            )
        return self._made[key]
