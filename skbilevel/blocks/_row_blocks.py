"""`RowBlocks`: a restartable sequence of blocks of rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.blocks._block import Block

T = TypeVar("T")


@record
class PassProgress:
    """How far a pass is: blocks and rows so far."""

    n_blocks: int
    n_rows: int


Tell = Callable[[PassProgress], None]


@dataclass
class RowBlocks:
    """Rows that are read block by block, as often as a fit needs them.

    Stands in the place of X in ``fit``, with y left out: targets, weights, offsets and
    groups come in the blocks, beside the rows that they belong to. Nothing is read
    before a fit, and no more than two blocks are held at once: the one that is worked
    on, and the next one.

    Parameters
    ----------
    make : callable
        ``make()`` returns an iterator over the blocks, from the first one. A block is a
        tuple ``(X, y)``, or a dict with X, y and any of "sample_weight", "offset" and
        "groups". Every call must give the same rows in the same order; how they are
        divided into blocks plays no part in what is fitted, only in the time.
    feature_names : sequence of str or None, default=None
        Names of the columns of X.
    tuning_rows : int or "auto", default="auto"
        Rows that are held in memory to tune strengths on, where the loss is not
        quadratic. "auto" is 8 million numbers of X, at least 5,000 and at most 50,000
        rows.

    Attributes
    ----------
    n_passes : int
        How often all rows have been read.

    See Also
    --------
    RowBlocks.from_arrays : Arrays and memory maps, a few rows at a time.
    RowBlocks.from_table : Files, Arrow streams and data frames, columns by name.
    RowBlocks.from_dask : Dask collections, which ``fit`` also takes as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import BilevelRidgeCV, RowBlocks
    >>> def simulated():
    ...     for seed in range(5):
    ...         rng = np.random.default_rng(seed)
    ...         X = rng.standard_normal((1000, 3))
    ...         yield X, X[:, 0] + rng.standard_normal(1000)
    >>> model = BilevelRidgeCV().fit(RowBlocks(simulated))
    >>> print(model.coef_.round(1))
    [1. 0. 0.]
    """

    make: Callable[[], Iterable[Any]]
    feature_names: Sequence[str] | None = None
    tuning_rows: int | str = "auto"
    n_passes: int = field(default=0, init=False)
    _seen: list[tuple[int, int]] = field(default_factory=list, init=False, repr=False)
    _whole: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise TypeError(
                f"RowBlocks needs a function that returns an iterator over blocks, "
                f"got {type(self.make).__name__}: an iterator is used up after one "
                "pass. RowBlocks.from_arrays and from_table take data."
            )
        size = self.tuning_rows
        if not (size == "auto" or (isinstance(size, int) and size >= 2)):
            raise ValueError(
                f"tuning_rows={size!r} must be 'auto' or a number of rows, 2 at least."
            )

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        offset: Any = None,
        groups: Any = None,
        block_rows: int | None = None,
        tuning_rows: int | str = "auto",
    ) -> RowBlocks:
        """Arrays, memory maps, CSR matrices, or anything that is sliced by rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Anything with a ``shape`` whose slices are arrays: a memory map, a data set
            of h5py or zarr. A slice is read when its turn comes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets or labels.
        sample_weight, offset, groups : array-like of shape (n_samples,), default=None
            As in ``fit``.
        block_rows : int or None, default=None
            Rows per block; None is about 32 MB of X.
        tuning_rows : int or "auto", default="auto"
            See `RowBlocks`.

        Returns
        -------
        blocks : RowBlocks
            What ``fit`` takes.
        """
        from skbilevel.blocks._sources import array_source

        more = {"sample_weight": sample_weight, "offset": offset, "groups": groups}
        return cls(*array_source(X, y, more, block_rows), tuning_rows)

    @classmethod
    def from_table(
        cls,
        source: Any,
        *,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        sample_weight: str | None = None,
        offset: str | None = None,
        groups: str | None = None,
        block_rows: int = 65_536,
        tuning_rows: int | str = "auto",
    ) -> RowBlocks:
        """Files, Arrow streams and data frames; columns by name. Needs pyarrow.

        Parameters
        ----------
        source : path, sequence of paths, dataset, frame or callable
            Paths of Parquet files, or of a folder of them; a `pyarrow.dataset.Dataset`
            (which reads other formats, too); anything that can be asked for an Arrow
            stream again and again (``__arrow_c_stream__``: tables of pyarrow, frames of
            polars and pandas, relations of duckdb); a polars LazyFrame, which is
            collected in batches; or a function that returns any stream.
        target : str or sequence of str
            Column of the target, or columns of several.
        features : sequence of str or None, default=None
            Columns of X, in this order; None is all that have no other part.
        sample_weight, offset, groups : str or None, default=None
            Columns that are given to ``fit`` under these names.
        block_rows : int, default=65536
            Rows per block.
        tuning_rows : int or "auto", default="auto"
            See `RowBlocks`.

        Returns
        -------
        blocks : RowBlocks
            What ``fit`` takes.

        Raises
        ------
        ValueError
            If a column is missing or holds no numbers; the message names it.
        TypeError
            If the source can be read only once.
        """
        from skbilevel.blocks._tables import TableSource

        more = {"sample_weight": sample_weight, "offset": offset, "groups": groups}
        made = TableSource.of(source, target, features, more, block_rows)
        return cls(made, made.features, tuning_rows)

    @classmethod
    def from_dask(
        cls,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        offset: Any = None,
        groups: Any = None,
        tuning_rows: int | str = "auto",
    ) -> RowBlocks:
        """Dask collections; what is done with a block is done where the block lies.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame
            Features; every chunk or partition is a block. Columns that are in several
            chunks are brought together.
        y : dask collection or array-like
            Targets or labels, in the same blocks; an array in memory is cut there.
        sample_weight, offset, groups : dask collection or array-like, default=None
            As in ``fit``.
        tuning_rows : int or "auto", default="auto"
            See `RowBlocks`.

        Returns
        -------
        blocks : RowBlocks
            What ``fit`` takes.

        Raises
        ------
        ValueError
            If the rows of two collections are cut at different places that are not
            known.
        """
        from skbilevel.blocks._dask import DaskBlocks

        more = {"sample_weight": sample_weight, "offset": offset, "groups": groups}
        return DaskBlocks.of(X, y, more, tuning_rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise TypeError(
            "RowBlocks are read block by block by the estimators of skbilevel that can "
            "be fitted so (ridge and its classifier, lasso and elastic net, logistic "
            "and log-linear models); all else needs rows in memory."
        )

    @property
    def n_rows(self) -> int | None:
        """Number of all rows; None before a pass has counted them."""
        return sum(rows for rows, _ in self._seen) if self._whole else None

    def blocks(self) -> Iterator[Block]:
        """All blocks that have rows, checked, each while the next one is read.

        Raises
        ------
        ValueError
            If a block is unusable, or differs from the same one of an earlier pass.
        """
        with closing(_read_ahead(self._checked())) as blocks:
            yield from blocks

    def map_reduce(
        self,
        function: Callable[[Block], T],
        combine: Callable[[T, T], T],
        tell: Tell | None = None,
    ) -> T:
        """Combine what a function makes of every block, in one pass.

        Parameters
        ----------
        function : callable
            Of a block; what it returns is small.
        combine : callable
            Of two such values; associative.
        tell : callable or None
            Is told after every block how far the pass is.

        Returns
        -------
        value : object
            Of all rows.
        """
        total: T | None = None
        self.n_passes += 1
        for block in self.blocks():
            value = function(block)
            total = value if total is None else combine(total, value)
            if tell is not None:
                tell(PassProgress(block.number + 1, block.start + block.n_rows))
        if total is None:
            raise ValueError("The row blocks hold no rows.")
        return total

    def first(self, function: Callable[[Block], T]) -> T:
        """What a function makes of the first block that has rows."""
        for given in self.make():
            block = Block.of(given, 0, 0)
            if block.n_rows:
                return function(block)
        raise ValueError("The row blocks hold no rows.")

    def _checked(self) -> Iterator[Block]:
        start = n_blocks = 0
        width: int | None = None
        for number, given in enumerate(self.make()):
            block = Block.of(given, number, start)
            width = block.X.shape[1] if width is None else width
            self._compare(block, width)
            start, n_blocks = start + block.n_rows, number + 1
            if block.n_rows:
                yield block
        if self._whole and n_blocks < len(self._seen):
            raise ValueError(
                f"Block {n_blocks} of the rows is missing: an earlier pass had "
                f"{len(self._seen)} blocks. The source was changed, or can be read "
                "only once; give one that starts again."
            )
        self._whole = True

    def _compare(self, block: Block, width: int) -> None:
        """Raise where a block has other columns, or other rows than before."""
        number, names = block.number, self.feature_names
        if names is not None and len(names) != width:
            raise ValueError(
                f"feature_names has {len(names)} names, but X has {width} columns."
            )
        if block.X.shape[1] != width:
            raise ValueError(
                f"Block {number} of the rows has {block.X.shape[1]} columns, but the "
                f"first one has {width}."
            )
        mark = block.n_rows, _mark(block.y)
        if number < len(self._seen):
            if self._seen[number] != mark:
                raise ValueError(
                    f"Block {number} of the rows was changed between two passes: it "
                    f"has {mark[0]} rows, where it had {self._seen[number][0]}, or "
                    "other targets."
                )
        elif self._whole:
            raise ValueError(
                f"Block {number} of the rows is new: an earlier pass had "
                f"{len(self._seen)} blocks."
            )
        else:
            self._seen.append(mark)


def _mark(y: Array) -> int:
    """A checksum of targets."""
    if y.dtype.kind == "O":
        y = y.astype(str)
    return zlib.crc32(np.ascontiguousarray(y).tobytes())


def _read_ahead(blocks: Iterator[Block]) -> Generator[Block, None, None]:
    """The next block is read by a thread while one is worked on."""
    with ThreadPoolExecutor(1, "skbilevel-blocks") as pool:
        ahead = pool.submit(next, blocks, None)
        while (block := ahead.result()) is not None:
            ahead = pool.submit(next, blocks, None)
            yield block
