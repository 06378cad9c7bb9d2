"""Dask collections as blocks: work goes to where they lie, small results come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import accumulate, count, pairwise
from typing import Any, Self, TypeVar

import numpy as np
from scipy import sparse

from skbilevel.blocks._block import Block
from skbilevel.blocks._row_blocks import PassProgress, RowBlocks, Tell

T = TypeVar("T")
# So many results are combined by one task.
_ARITY = 8
# Chunks that follow each other are one task up to so many bytes of X: a task of Dask
# takes a millisecond, as the sums of one megabyte do. Larger ones stay where they lie.
_TOGETHER_UP_TO = 1 << 23
# Entries of a sparse row, which nobody knows before it is made.
_SPARSE_ENTRIES = 100


def is_dask(X: Any) -> bool:
    """Whether something is a Dask collection; nothing is imported to know."""
    return hasattr(X, "__dask_graph__") and hasattr(X, "npartitions")


@dataclass
class DaskBlocks(RowBlocks):
    """Blocks of Dask collections; the scheduler is the one that the user has chosen.

    Parameters
    ----------
    parts : dict of str to list
        Delayed blocks of X, y and what is beside them.
    sizes : list of int or None
        Numbers of rows, None where they are not known yet.
    row_bytes : int
        Bytes of a row of X, about.
    """

    parts: dict[str, Sequence[Any]] = field(default_factory=dict)
    sizes: list[int] | None = None
    row_bytes: int = 8

    @classmethod
    def of(
        cls, X: Any, y: Any, more: dict[str, Any], tuning_rows: int | str = "auto"
    ) -> Self:
        """From collections that are cut at the same rows."""
        names = None
        if not is_dask(X):
            raise TypeError(
                f"X is of type {type(X).__name__}, and a Dask collection was expected."
            )
        if hasattr(X, "columns"):
            names = [str(name) for name in X.columns]
        elif X.ndim != 2:
            raise ValueError(f"X must have two dimensions, but has shape {X.shape}.")
        elif X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        if y is None:
            raise ValueError("y is missing: give a collection of targets beside X.")
        sizes = _sizes(X)
        parts: dict[str, Sequence[Any]] = {"X": _delayed(X)}
        for name, value in {"y": y, **more}.items():
            if value is not None:
                parts[name] = _beside(value, name, sizes, len(parts["X"]))
        return cls(
            _no_pass,
            names,
            tuning_rows,
            parts=parts,
            sizes=sizes,
            row_bytes=_row_bytes(X),
        )

    @property
    def n_rows(self) -> int:
        """Number of all rows; they are counted where that takes work."""
        return self._starts()[-1]

    def map_reduce(
        self,
        function: Callable[[Block], T],
        combine: Callable[[T, T], T],
        tell: Tell | None = None,
    ) -> T:
        """As `RowBlocks.map_reduce`; blocks are combined where they are, in a tree."""
        from dask import compute, delayed

        starts, chunks = self._starts(), self._chunks()
        self.n_passes += 1
        # Inside a partial, Dask does not look for collections in what it holds.
        step = delayed(partial(_of_chunks, function), pure=False)
        level = [
            step(chunks[a:b], a, starts[a:b])
            for a, b in pairwise(_tasks(np.diff(starts) * self.row_bytes))
        ]
        join = delayed(partial(_combined, combine), pure=False)
        while len(level) > 1:
            level = [join(level[k : k + _ARITY]) for k in range(0, len(level), _ARITY)]
        (total,) = compute(*level)
        if total is None:
            raise ValueError("The Dask collection holds no rows.")
        if tell is not None:
            tell(PassProgress(len(starts) - 1, starts[-1]))
        value: T = total
        return value

    def first(self, function: Callable[[Block], T]) -> T:
        """As `RowBlocks.first`."""
        from dask import compute, delayed

        step = delayed(partial(_of_chunks, function), pure=False)
        for chunk in self._chunks():
            (value,) = compute(step([chunk], 0, [0]))
            if value is not None:
                found: T = value
                return found
        raise ValueError("The Dask collection holds no rows.")

    def _chunks(self) -> list[dict[str, Any]]:
        """Delayed parts of every chunk, by their names."""
        each = zip(*self.parts.values(), strict=True)
        return [dict(zip(self.parts, parts, strict=True)) for parts in each]

    def _starts(self) -> list[int]:
        """Row numbers at which the blocks begin; the last one is behind all."""
        if self.sizes is None:
            # Rows are counted once: folds depend on places, not on how rows are cut.
            from dask import compute, delayed

            n_rows = delayed(_n_rows, pure=False)
            self.sizes = list(compute(*[n_rows(each) for each in self.parts["X"]]))
        return [0, *accumulate(self.sizes)]


def _no_pass() -> Any:
    raise TypeError("Blocks of a Dask collection are not read one by one.")


def _tasks(sizes: Any) -> list[int]:
    """Places of the chunks that tasks begin with; the last one is behind all."""
    first, together = [0], 0
    for place, size in enumerate(sizes):
        if together + size > _TOGETHER_UP_TO and place > first[-1]:
            first.append(place)
            together = 0
        together += size
    return [*first, len(sizes)]


def _of_chunks(
    function: Callable[[Block], Any],
    chunks: list[dict[str, Any]],
    number: int,
    starts: list[int],
) -> Any:
    """What becomes of chunks, where the first lies; None where they have no rows."""
    blocks = [
        Block.of({name: _as_array(value) for name, value in parts.items()}, *place)
        for parts, *place in zip(chunks, count(number), starts, strict=False)
    ]
    blocks = [block for block in blocks if block.n_rows]
    return function(Block.joined(blocks)) if blocks else None


def _combined(combine: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    return reduce(combine, known) if known else None


def _n_rows(part: Any) -> int:
    return int(part.shape[0])


def _as_array(part: Any) -> Any:
    return part.to_numpy() if hasattr(part, "to_numpy") else part


def _sizes(X: Any) -> list[int] | None:
    """Rows of every block, where they are known without work."""
    if hasattr(X, "columns"):
        return None
    sizes = X.chunks[0]
    return None if any(np.isnan(n) for n in sizes) else [int(n) for n in sizes]


def _row_bytes(X: Any) -> int:
    """Bytes of a row, about."""
    if hasattr(X, "columns"):
        return 8 * len(X.columns)
    if sparse.issparse(X._meta):
        return 16 * min(_SPARSE_ENTRIES, int(X.shape[1]))
    return int(X.shape[1]) * int(X.dtype.itemsize)


def _delayed(value: Any) -> list[Any]:
    """One delayed object for every block of rows."""
    made = value.to_delayed()
    return list(np.ravel(made)) if isinstance(made, np.ndarray) else list(made)


def _beside(
    value: Any, name: str, sizes: list[int] | None, n_blocks: int
) -> Sequence[Any]:
    """Blocks of what belongs to the rows of X."""
    if not is_dask(value):
        value = np.asarray(value)
        if sizes is None:
            raise ValueError(
                f"{name} is in memory, but the blocks of X are of unknown size: give a "
                "Dask collection, or call X.compute_chunk_sizes() first."
            )
        if len(value) != sum(sizes):
            raise ValueError(f"{name} has {len(value)} rows, but X has {sum(sizes)}.")
        ends = [0, *accumulate(sizes)]
        return [value[a:b] for a, b in pairwise(ends)]
    if sizes is not None and not hasattr(value, "columns") and hasattr(value, "chunks"):
        own = _sizes(value)
        if own is not None and sum(own) != sum(sizes):
            raise ValueError(f"{name} has {sum(own)} rows, but X has {sum(sizes)}.")
        if own is not None and own != sizes:
            value = value.rechunk({0: tuple(sizes)})
    if getattr(value, "ndim", 1) == 2 and not hasattr(value, "columns"):
        value = value.rechunk({1: -1})
    made = _delayed(value)
    if len(made) != n_blocks:
        raise ValueError(
            f"{name} has {len(made)} blocks, but X has {n_blocks}, and where they are "
            "cut is not known: repartition them alike."
        )
    return made
