"""Folds and samples by a hash of a row's place, or of its group.

Whoever reads a block knows the folds of its rows, without the other blocks: nothing is
shuffled, and how rows are divided into blocks plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array

# Different uses of one place: its fold, its sides of halvings, its rank in a sample.
_FOLD, _SIDE, _RANK = 0, 1, 2
_GOLDEN, EVERY_RANK = 0x9E3779B97F4A7C15, 2**64 - 1
# More rows than are wanted, so that chance leaves enough.
_SPARE = 1.3


def mixed(keys: Array, seed: int, use: int) -> Array:
    """Hashes (n,) of 64 bits: the finalizer of splitmix64, of keys and a seed.

    Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014.
    """
    start = np.uint64((seed * 4 + use + 1) * _GOLDEN & EVERY_RANK)
    z = keys.astype(np.uint64) * np.uint64(_GOLDEN) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def keys_of(labels: Array) -> Array:
    """Keys of 64 bits of labels: whole numbers themselves, others by their text."""
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64).view(np.uint64)
    distinct, place = np.unique(labels.astype(str), return_inverse=True)
    texts = (blake2b(text.encode(), digest_size=8).digest() for text in distinct)
    return np.frombuffer(b"".join(texts), dtype=np.uint64)[place.ravel()]


@record
class Dealer:
    """Deals rows to folds and to halves inside them.

    Parameters
    ----------
    n_folds : int
        Number of folds.
    n_halvings : int
        Halvings; rows of a fold that are on the same side of all share a cell.
    seed : int
        Of the hash.
    folds : ndarray of shape (n,) or None
        Folds that the user gave, by the places of all rows.
    """

    n_folds: int
    n_halvings: int
    seed: int
    folds: Array | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.n_folds << self.n_halvings

    def keys(self, position: Array, groups: Array | None) -> Array:
        """What is hashed: the group of a row, or its place."""
        return position if groups is None else keys_of(groups)

    def cells(self, position: Array, groups: Array | None) -> Array:
        """Cells (n,) of rows; the fold is the cell over ``2^n_halvings``."""
        keys = self.keys(position, groups)
        if self.folds is None:
            fold = mixed(keys, self.seed, _FOLD) % np.uint64(self.n_folds)
        else:
            fold = self._given(position)
        side = mixed(keys, self.seed, _SIDE) % np.uint64(1 << self.n_halvings)
        return (fold.astype(np.int64) << self.n_halvings) + side.astype(np.int64)

    def _given(self, position: Array) -> Array:
        folds = self.folds
        assert folds is not None
        if len(position) and position[-1] >= len(folds):
            raise ValueError(
                f"cv has folds for {len(folds)} rows, but the blocks hold more."
            )
        return np.asarray(folds[position])

    def ranks(self, position: Array, groups: Array | None) -> Array:
        """Ranks (n,) of rows in a random order; rows of a group have the same."""
        return mixed(self.keys(position, groups), self.seed, _RANK)


def rank_limit(size: int, n_rows: int | None, grouped: bool) -> int:
    """Ranks that the lowest ``size`` of so many rows do not reach.

    A block then has to give away few of its rows. Nothing is known of groups, which are
    of any size, nor where nobody knows how many rows there are.
    """
    if n_rows is None or grouped or _SPARE * size >= n_rows:
        return EVERY_RANK
    return int(_SPARE * size / n_rows * 2.0**64)


@record
class RowSample:
    """The rows of the lowest ranks: a random part, the same whatever the blocks are.

    Parameters
    ----------
    size : int
        So many rows at most.
    rank : ndarray of shape (s,) of uint64
        Ranks of the rows.
    below : int
        All rows of a lower rank are in the sample. Rows of a group have one rank, and
        are in it together.
    parts : dict of str to ndarray
        X, y, and what else belongs to a row, of these rows.
    """

    size: int
    rank: Array
    below: int
    parts: dict[str, Any]

    @classmethod
    def of(
        cls, size: int, rank: Array, parts: dict[str, Any], below: int = EVERY_RANK
    ) -> RowSample:
        """The sample of some rows, of those of a rank below a limit."""
        return cls(size, rank, EVERY_RANK, parts)._within(below)._cut()

    @property
    def complete(self) -> bool:
        """Whether all rows are in it."""
        return self.below == EVERY_RANK

    def plus(self, other: RowSample) -> RowSample:
        """The sample of the rows of both."""
        below = min(self.below, other.below)
        a, b = self._under(below), other._under(below)
        parts = {name: _joined([a.parts[name], b.parts[name]]) for name in a.parts}
        rank = np.concatenate([a.rank, b.rank])
        return RowSample(self.size, rank, below, parts)._cut()

    def ordered(self) -> RowSample:
        """The same rows in the order of their places."""
        return self._take(np.argsort(self.parts["position"]))

    def _within(self, below: int) -> RowSample:
        if below == EVERY_RANK:
            return self
        return replace(self._under(below), below=below)

    def _under(self, below: int) -> RowSample:
        keep = self.rank < np.uint64(below)
        return self if keep.all() else self._take(np.flatnonzero(keep))

    def _cut(self) -> RowSample:
        if len(self.rank) <= self.size:
            return self
        first_out = int(np.partition(self.rank, self.size)[self.size])
        return replace(self._under(first_out), below=first_out)

    def _take(self, rows: Array) -> RowSample:
        parts = {name: value[rows] for name, value in self.parts.items()}
        return replace(self, rank=self.rank[rows], parts=parts)


def _joined(values: Sequence[Any]) -> Any:
    if sparse.issparse(values[0]):
        return sparse.csr_array(sparse.vstack(values))
    return np.concatenate(values)
