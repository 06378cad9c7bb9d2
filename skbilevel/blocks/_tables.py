"""Sources of blocks that are tables: files, Arrow streams, data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


@record
class TableSource:
    """Blocks of the named columns of a table; calling it starts a pass.

    Parameters
    ----------
    batches : callable
        From names of columns and a number of rows to an iterator over record batches.
    target : str or list of str
        Column or columns of y.
    features : list of str
        Columns of X.
    more : dict
        Names of the columns of other parts.
    block_rows : int
        Rows per block.
    """

    batches: Callable[[list[str], int], Iterator[Any]]
    target: str | list[str]
    features: list[str]
    more: dict[str, str]
    block_rows: int

    @classmethod
    def of(
        cls,
        source: Any,
        target: str | Sequence[str],
        features: Sequence[str] | None,
        more: dict[str, str | None],
        block_rows: int,
    ) -> Self:
        """Ask the source for its columns, and check them."""
        batches, schema = _batches_of(source)
        given = {name: column for name, column in more.items() if column is not None}
        targets = target if isinstance(target, str) else list(target)
        taken = {*([targets] if isinstance(targets, str) else targets), *given.values()}
        columns = list(schema.names)
        chosen = (
            [c for c in columns if c not in taken] if features is None else features
        )
        missing = sorted({*chosen, *taken} - set(columns))
        if missing:
            raise ValueError(
                f"The table has no column {missing[0]!r}; it has {columns}."
            )
        for name in chosen:
            _check_numbers(name, schema.field(name).type)
        return cls(batches, targets, list(chosen), given, block_rows)

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Blocks, from the first row on."""
        targets = [self.target] if isinstance(self.target, str) else self.target
        columns = list(dict.fromkeys([*self.features, *targets, *self.more.values()]))
        batches = self.batches(columns, self.block_rows)
        for batch in _regrouped(batches, self.block_rows):
            y = (
                _column(batch, self.target)
                if isinstance(self.target, str)
                else _matrix(batch, self.target)
            )
            parts = {name: _column(batch, c) for name, c in self.more.items()}
            yield {"X": _matrix(batch, self.features), "y": y, **parts}


def _batches_of(source: Any) -> tuple[Callable[[list[str], int], Iterator[Any]], Any]:
    """How a source is read, and its schema."""
    try:
        import pyarrow as pa
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError(
            "RowBlocks.from_table needs pyarrow: pip install 'skbilevel[arrow]'."
        ) from error
    if isinstance(source, str | PathLike | list | tuple):
        source = ds.dataset(
            [str(s) for s in source]
            if isinstance(source, list | tuple)
            else str(source)
        )
    if isinstance(source, ds.Dataset):
        dataset = source

        def from_dataset(columns: list[str], n_rows: int) -> Iterator[Any]:
            # Arrow would read many batches ahead, and hold them.
            ahead = {"batch_readahead": 1, "fragment_readahead": 1}
            batches = dataset.to_batches(columns=columns, batch_size=n_rows, **ahead)
            return iter(batches)

        return from_dataset, dataset.schema
    if isinstance(source, pa.RecordBatchReader):
        raise TypeError(
            "source is a RecordBatchReader, which can be read only once, and a fit may "
            "need several passes: give a function that makes one, or a table."
        )
    if type(source).__name__ == "LazyFrame":
        return _lazy_frame(source)
    if callable(source) and not hasattr(source, "__arrow_c_stream__"):
        make = source
    elif hasattr(source, "__arrow_c_stream__"):

        def make() -> Any:
            return source
    else:
        raise TypeError(
            f"source is of type {type(source).__name__}; give paths, a pyarrow "
            "dataset, anything with __arrow_c_stream__, or a function that returns it."
        )

    def from_stream(columns: list[str], n_rows: int) -> Iterator[Any]:
        for batch in pa.RecordBatchReader.from_stream(make()):
            yield batch.select(columns)

    return from_stream, pa.RecordBatchReader.from_stream(make()).schema


def _lazy_frame(frame: Any) -> tuple[Callable[[list[str], int], Iterator[Any]], Any]:
    """A polars LazyFrame, whose batches come from its streaming engine."""
    if not hasattr(frame, "collect_batches"):
        raise TypeError(
            "source is a LazyFrame of a polars that cannot collect it in batches: "
            "update polars, write it with sink_parquet and give the file, or collect "
            "it if it fits into memory."
        )

    def batches(columns: list[str], n_rows: int) -> Iterator[Any]:
        chosen = frame.select(columns)
        for part in chosen.collect_batches(chunk_size=n_rows, maintain_order=True):
            yield from part.to_arrow().to_batches()

    return batches, frame.head(0).collect().to_arrow().schema


def _check_numbers(name: str, kind: Any) -> None:
    """Raise where a column of X holds no numbers."""
    import pyarrow.types as types

    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return
    if types.is_decimal(kind):
        return
    raise ValueError(
        f"Column {name!r} is of type {kind}, and X holds numbers: encode categories "
        "and dates as columns of numbers first, or leave the column out of features."
    )


def _regrouped(batches: Iterator[Any], n_rows: int) -> Iterator[Any]:
    """Tables of so many rows, from batches that are as large as files have them."""
    import pyarrow as pa

    waiting: list[Any] = []
    have = 0
    for batch in batches:
        waiting.append(batch)
        have += batch.num_rows
        while have >= n_rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, n_rows)
            waiting = table.slice(n_rows).to_batches()
            have -= n_rows
    if have:
        yield pa.Table.from_batches(waiting)


def _column(table: Any, name: str) -> Array:
    """A column; missing values become NaN, which the block refuses."""
    column = table.column(name)
    if str(column.type) == "bool" and column.null_count:
        column = column.cast("float64")
    return np.asarray(column.to_numpy())


def _matrix(table: Any, names: list[str]) -> Array:
    """Columns side by side: float32 where all of them are, float64 elsewhere."""
    columns = [_column(table, name) for name in names]
    single = bool(columns) and all(c.dtype == np.float32 for c in columns)
    out = np.empty((table.num_rows, len(names)), np.float32 if single else np.float64)
    for j, column in enumerate(columns):
        out[:, j] = column
    return out
