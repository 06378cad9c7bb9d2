"""X that is not in memory: rows that fit is given, and methods that stay lazy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial, wraps
from inspect import signature
from typing import Any, TypeVar

import numpy as np

from skbilevel._typing import Array
from skbilevel.blocks import RowBlocks
from skbilevel.blocks._dask import is_dask

Method = TypeVar("Method", bound=Callable[..., Any])


def rows_in_blocks(X: Any, y: Any, more: dict[str, Any]) -> RowBlocks | None:
    """Row blocks of what ``fit`` was given; None where X is in memory."""
    if is_dask(X):
        return RowBlocks.from_dask(X, y, **more)
    if not isinstance(X, RowBlocks):
        _refuse_lazy(X)
        return None
    given = [name for name, value in {"y": y, **more}.items() if value is not None]
    if given:
        raise ValueError(
            f"X is a RowBlocks, whose blocks hold all that belongs to their rows, and "
            f"{given[0]} was given beside it: put {given[0]} into the blocks."
        )
    return X


def _refuse_lazy(X: Any) -> None:
    """Raise for frames that have to be collected, which numpy cannot do."""
    if type(X).__name__ == "LazyFrame" and hasattr(X, "collect"):
        raise TypeError(
            "X is a LazyFrame: give RowBlocks.from_table(frame, target=...) with the "
            "target among its columns, or X.collect() if it fits into memory."
        )


def lazily(method: Method) -> Method:
    """Predictions of a Dask collection are one, those of row blocks an array."""

    @wraps(method)
    def mapped(self: Any, X: Any, *given: Any, **more: Any) -> Any:
        if isinstance(X, RowBlocks):
            return _of_blocks(method, self, X, given, more)
        if not is_dask(X):
            return method(self, X, *given, **more)
        _refuse_std(more)
        each = (*given, *more.values())
        if hasattr(X, "columns"):
            return _of_frame(method, self, X, each)
        return _of_array(method, self, X, each)

    # Python's complaint about an argument names the method: not by a private class.
    method.__qualname__ = method.__name__
    return mapped  # type: ignore[return-value]


def _refuse_std(more: dict[str, Any]) -> None:
    if more.pop("return_std", False):
        raise TypeError(
            "X comes in blocks, of which predictions alone are made: leave "
            "return_std=False, or ask for standard deviations of rows in memory."
        )


def _of_blocks(
    method: Any,
    model: Any,
    blocks: RowBlocks,
    given: tuple[Any, ...],
    more: dict[str, Any],
) -> Array:
    """Predictions of all rows, in one pass; offsets are those in the blocks."""
    _refuse_std(more)
    plain, own = without_names(model), signature(method).parameters
    parts = []
    for block in blocks.blocks():
        known = "offset" in own and block.offset is not None
        beside = {"offset": block.offset} if known else {}
        parts.append(method(plain, block.X, *given, **more, **beside))
    return np.concatenate(parts)


def loaded(*values: Any) -> tuple[Any, ...]:
    """The same, Dask collections among them as arrays, in one computation."""
    if not any(map(is_dask, values)):
        return values
    import dask

    return tuple(
        value.to_numpy() if hasattr(value, "to_numpy") else value
        for value in dask.compute(*values)
    )


def _of_array(method: Any, model: Any, X: Any, more: tuple[Any, ...]) -> Any:
    """An array of the same rows, in the same chunks."""
    import dask.array as da

    # One row of zeros shows what comes out, and makes the usual complaints once.
    example = method(model, np.zeros((1, X.shape[1]), X.dtype), *_alike(more))
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    inputs: list[Any] = [X, "ij"]
    for value in more:
        inputs += [value, "i" if is_dask(value) else None]
    wide = example.ndim > 1
    return da.blockwise(
        partial(_block, method, without_names(model)),
        "ik" if wide else "i",
        *inputs,
        new_axes={"k": example.shape[1]} if wide else None,
        dtype=example.dtype,
        meta=np.empty((0,) * example.ndim, example.dtype),
        concatenate=True,
        align_arrays=False,
    )


def _of_frame(method: Any, model: Any, X: Any, more: tuple[Any, ...]) -> Any:
    """A series or a frame with the index of X; columns are numbered."""
    import pandas as pd

    # To ask for the first rows would compute them.
    zeros = pd.DataFrame(0.0, index=range(1), columns=X.columns)
    example = _in_frame(method, model, zeros, *_alike(more))
    call = partial(_in_frame, method, model)
    return X.map_partitions(call, *more, meta=example.iloc[:0])


def _alike(more: tuple[Any, ...]) -> tuple[Any, ...]:
    """What goes with a single row."""
    return tuple(None if value is None else np.zeros(1) for value in more)


def _block(method: Any, model: Any, X: Any, *more: Any) -> Array:
    return np.asarray(method(model, X, *more))


def _in_frame(method: Any, model: Any, part: Any, *more: Any) -> Any:
    """Predictions of a frame as a series or a frame with its index."""
    import pandas as pd

    made = method(model, part, *more) if len(part) else None
    if made is None:  # scikit-learn takes no empty frame
        one = part.reindex(range(1)).fillna(0.0)
        made = method(model, one, *_alike(more))[:0]
    kind = pd.Series if made.ndim == 1 else pd.DataFrame
    return kind(made, index=part.index)


def without_names(model: Any) -> Any:
    """A copy that predicts from arrays, as X is inside fit, without a warning."""
    copied = copy.copy(model)
    vars(copied).pop("feature_names_in_", None)
    return copied
