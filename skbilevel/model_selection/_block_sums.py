"""One pass over blocks of rows: all that least squares and its guard know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.blocks import Block
from skbilevel.model_selection._row_hashes import EVERY_RANK, Dealer, RowSample
from skbilevel.problems._moments import AugmentedRows

# More labels than this are not classes.
_MOST_CLASSES = 1000


@record
class BlockSums:
    """Sums over rows of ``(1, x - c, y - d)``; those of disjoint rows are added.

    Parameters
    ----------
    moment : ndarray of shape (n_cells, 1 + m + t, 1 + m + t)
        Weighted second moments by cell.
    filled : ndarray of shape (m,)
        Weights of the rows in which a column is not zero.
    low, high : ndarray of shape (t,)
        Least and largest targets.
    n_rows : int
        Rows of positive weight.
    plain : tuple of (float, float, float)
        Sum of the weights without factors of classes over rows of positive weight,
        the same over all rows, and the number of rows that have a weight.
    classes : ndarray of shape (t,) or None
        Labels whose indicators the targets are.
    samples : tuple of RowSample
        Random parts of the rows: of whole groups in front, where there are groups, and
        of rows.
    """

    moment: Array
    filled: Array
    low: Array
    high: Array
    n_rows: int
    plain: Array
    classes: Array | None
    samples: tuple[RowSample, ...]

    def plus(self, other: BlockSums) -> BlockSums:
        """Sums over the rows of both."""
        a, b = self, other
        if a.classes is not None and b.classes is not None:
            classes = np.union1d(a.classes, b.classes)
            check_classes(classes)
            a, b = a._with_classes(classes), b._with_classes(classes)
        return BlockSums(
            a.moment + b.moment,
            a.filled + b.filled,
            np.minimum(a.low, b.low),
            np.maximum(a.high, b.high),
            a.n_rows + b.n_rows,
            a.plain + b.plain,
            a.classes,
            tuple(x.plus(y) for x, y in zip(a.samples, b.samples, strict=True)),
        )

    def _with_classes(self, classes: Array) -> BlockSums:
        """The same with columns of zeros for labels that no row here has."""
        own = self.classes
        if own is None or len(own) == len(classes):
            return self
        m = self.moment.shape[-1] - len(own)
        place = np.r_[np.arange(m), m + np.searchsorted(classes, own)]
        moment = np.zeros((len(self.moment), m + len(classes), m + len(classes)))
        moment[:, place[:, None], place] = self.moment
        low, high = np.zeros(len(classes)), np.ones(len(classes))
        return replace(self, moment=moment, low=low, high=high, classes=classes)


def check_classes(classes: Array) -> None:
    """Raise where there are too many."""
    if len(classes) > _MOST_CLASSES:
        raise ValueError(
            f"y has more than {_MOST_CLASSES} distinct labels; if they are "
            "measurements, use BilevelRidgeCV."
        )


@record
class SumsOfBlock:
    """Makes `BlockSums` of a block; can be sent to another process.

    Parameters
    ----------
    dealer : Dealer
        Cells of the rows.
    origin : ndarray of shape (m,)
        ``c``; products of columns far from it would lose digits.
    y_origin : ndarray of shape (t,)
        ``d``.
    sample : int
        Rows of the sample.
    kind : {"numbers", "labels", "indicators"}
        What y holds. Of labels the indicators are the targets.
    factor : callable or None
        From labels (n,) or indicators (n, t) to factors of the weights.
    below : int
        Rows of larger ranks are not in the sample of rows, see `rank_limit`.
    """

    dealer: Dealer
    origin: Array
    y_origin: Array
    sample: int
    kind: str = "numbers"
    factor: Callable[[Array], Array] | None = None
    below: int = EVERY_RANK

    def __call__(self, block: Block) -> BlockSums:
        """Sums of one block."""
        given = block.weight
        weight = given if self.factor is None else given * self.factor(block.y)
        counted = np.flatnonzero(weight > 0)
        plain = np.array([given[counted].sum(), given.sum(), (given > 0).sum()])
        part = block.take(counted)
        position, weight = block.position[counted], weight[counted]
        Y, classes = self._targets(part["y"])
        cell = self.dealer.cells(position, part["groups"])
        kept = {
            "X": part["X"],
            "y": part["y"],
            "weight": weight,
            "cell": cell,
            "position": position,
            "unit": self.dealer.keys(position, part["groups"]),
        }
        t = Y.shape[1]
        return BlockSums(
            self._moments(part["X"], Y, weight, cell, block.number),
            _filled(part["X"], weight),
            Y.min(axis=0, initial=np.inf) if classes is None else np.zeros(t),
            Y.max(axis=0, initial=-np.inf) if classes is None else np.ones(t),
            len(counted),
            plain,
            classes,
            self._samples(position, part["groups"], kept),
        )

    def _samples(
        self, position: Array, groups: Array | None, kept: dict[str, Any]
    ) -> tuple[RowSample, ...]:
        rank = self.dealer.ranks(position, None)
        rows = RowSample.of(self.sample, rank, kept, self.below)
        if groups is None:
            return (rows,)
        rank = self.dealer.ranks(position, groups)
        return (RowSample.of(self.sample, rank, kept), rows)

    def _targets(self, y: Array) -> tuple[Array, Array | None]:
        """Targets (n, t), and the labels that they indicate."""
        if self.kind == "indicators" and not np.isin(y, (0, 1)).all():
            raise ValueError(
                "y has several columns and holds other values than 0 and 1, and only "
                "an indicator matrix may have several columns."
            )
        if self.kind != "labels":
            return y.reshape(len(y), -1).astype(np.float64), None
        classes, code = np.unique(y, return_inverse=True)
        check_classes(classes)
        return (code[:, None] == np.arange(len(classes))).astype(np.float64), classes

    def _moments(
        self, X: Any, Y: Array, weight: Array, cell: Array, number: int
    ) -> Array:
        m = X.shape[1]
        numbers = self.kind == "numbers"
        y_shift = self.y_origin if numbers else np.zeros(Y.shape[1])
        everything = np.arange(m)
        rows = AugmentedRows(
            X, Y, weight, everything[:0], everything, True, self.origin, y_shift
        )
        order = np.argsort(cell, kind="stable")
        ends = np.searchsorted(cell[order], np.arange(self.dealer.n_cells + 1))
        out = np.zeros((self.dealer.n_cells, rows.width, rows.width))
        with np.errstate(over="ignore", invalid="ignore"):
            for k, (a, b) in enumerate(pairwise(ends)):
                if b > a:
                    out[k] = rows.moment(order[a:b])
        if not np.isfinite(out).all():
            raise ValueError(
                f"Block {number} of the rows holds numbers whose squares overflow; "
                "bring the columns to a common scale."
            )
        return out


def _filled(X: Any, weight: Array) -> Array:
    """Weights of the rows in which a column is not zero."""
    if sparse.issparse(X):
        nonzero = sparse.csr_array((X.data != 0, X.indices, X.indptr), shape=X.shape)
        return np.asarray(nonzero.T @ weight)
    if (weight == weight[:1]).all():
        return float(weight[:1].sum()) * np.count_nonzero(X, axis=0)
    return np.asarray(weight @ (X != 0))
