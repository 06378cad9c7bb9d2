"""Which rows train and which validate: nested folds and the resamples inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array

Pair = tuple[Array, Array]

# Two bits each, beside a number of rows.
_SPLITS_OF_A_CODE = 15


@record
class TrainingSet:
    """Rows of one training set with its inner resamples.

    Parameters
    ----------
    rows : ndarray of int
        All rows of the set.
    halves : sequence of (train, valid)
        Disjoint parts of ``rows`` on which strengths are tuned.
    shared : sequence of (train, valid) or None
        Resamples for the shared strength; None uses leave-one-out or GCV.
    """

    rows: Array
    halves: Sequence[Pair]
    shared: Sequence[Pair] | None

    @property
    def hold_out(self) -> Pair:
        """The first of the inner folds or halves; every fourth row without any.

        A plan has none where its units cannot be divided.
        """
        for pairs in (self.shared, self.halves):
            if pairs:
                return pairs[0]
        valid = np.arange(len(self.rows)) % 4 == 3
        return self.rows[~valid], self.rows[valid]

    def in_positions(self, n_rows: int) -> TrainingSet:
        """The same set, rows numbered by their places in ``rows``."""
        place = np.full(n_rows, -1)
        place[self.rows] = np.arange(len(self.rows))
        halves = [(place[a], place[b]) for a, b in self.halves]
        shared = self.shared and [(place[a], place[b]) for a, b in self.shared]
        return TrainingSet(np.arange(len(self.rows)), halves, shared)


@record
class NestedPlan:
    """The full training set, and per repeat the outer folds with theirs.

    Parameters
    ----------
    full : TrainingSet
        All rows.
    outer : sequence of TrainingSet
        Training sets of the outer folds.
    held_out : sequence of ndarray
        Their validation rows.
    cell : ndarray or None
        Cells of rows of which every set is a union, for one pass over the rows.
    cluster : ndarray
        Label of the unit of resampling of every row (the row itself, or its group).
    """

    full: TrainingSet
    outer: Sequence[TrainingSet]
    held_out: Sequence[Array]
    cell: Array | None
    cluster: Array

    def tuned_on_folds(self) -> NestedPlan:
        """The same, with the folds that choose a shared strength in place of halves."""

        def own(s: TrainingSet) -> TrainingSet:
            return replace(s, halves=s.shared or ())

        outer = [own(s) for s in self.outer]
        return replace(self, full=own(self.full), outer=outer)


def random_sides(
    n_units: int,
    n_splits: int,
    rng: np.random.Generator,
    strata: Array | None = None,
) -> Array:
    """Sides (n_splits, n_units) of random halvings, as even as possible."""
    sides = [fold_labels(n_units, 2, rng, strata) for _ in range(n_splits)]
    return np.stack(sides).astype(bool)


def halvings(rows: Array, sides: Array) -> list[Pair]:
    """Halvings of ``rows``, both ways; none where a side is empty."""
    pairs: list[Pair] = []
    for side in sides:
        a, b = rows[side[rows]], rows[~side[rows]]
        if len(a) and len(b):
            pairs += [(a, b), (b, a)]
    return pairs


def forward_pairs(rows: Array, n_splits: int) -> list[Pair]:
    """Past trains, future validates: cuts at even places from 1/3 to 5/6."""
    order = np.sort(rows)
    cuts = np.unique((len(order) * np.linspace(1 / 3, 5 / 6, n_splits)).astype(int))
    return [(order[:c], order[c:]) for c in cuts if 0 < c < len(order)]


def leave_one_unit_out(rows: Array, unit: Array) -> list[Pair]:
    """One pair for every unit present in ``rows``."""
    own = unit[rows]
    labels = np.unique(own)
    if len(labels) < 2:
        return []
    return [(rows[own != u], rows[own == u]) for u in labels]


def membership_atoms(n_rows: int, splits: Sequence[Pair]) -> Array:
    """Rows with the same place in every split share an atom."""
    code = np.zeros(n_rows, dtype=np.int64)
    for k, (train, valid) in enumerate(splits):
        if k % _SPLITS_OF_A_CODE == 0:
            code = np.unique(code, return_inverse=True)[1].ravel()
        code *= 4
        code[train] += 2
        code[valid] += 1
    return np.asarray(np.unique(code, return_inverse=True)[1]).ravel()


def numbered(labels: Array) -> Array:
    """The row in which each label stands first, so that names do not matter."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[place])


def fold_labels(
    n_rows: int, n_folds: int, rng: np.random.Generator, strata: Array | None = None
) -> Array:
    """Shuffled folds of equal size, which share out every stratum evenly."""
    if strata is None:
        return rng.permutation(np.arange(n_rows) % n_folds)
    order = np.lexsort((rng.random(n_rows), numbered(strata)))
    label = np.empty(n_rows, dtype=int)
    # Dealing goes on from stratum to stratum, so that the folds stay even in all.
    label[order] = np.arange(n_rows) % n_folds
    return label
