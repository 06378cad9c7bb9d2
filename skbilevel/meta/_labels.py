"""Labels of tasks: given beside X or as a column of it, of any hashable type."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import numpy as np

from skbilevel._typing import Array

# Labels that a message shows.
_SHOWN = 5


def find(known: dict[Hashable, int], labels: list[Hashable]) -> Array:
    """Places of the labels, -1 for those that are not known."""
    found = (known.get(each, -1) for each in labels)
    return np.fromiter(found, dtype=np.intp, count=len(labels))


def as_array(labels: Collection[Any]) -> Array:
    """A flat array of labels: numbers or strings where all are, objects otherwise."""
    kinds = {type(each) for each in labels}
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        made = np.array(list(labels))
        if made.ndim == 1 and made.dtype.kind in "ifUb":
            return made
    out = np.empty(len(labels), dtype=object)
    for k, each in enumerate(labels):
        out[k] = each
    return out


def read_labels(tasks: Any, n_rows: int) -> list[Hashable]:
    """One hashable label per row, from whatever holds them."""
    if isinstance(tasks, str | bytes) or np.ndim(tasks) == 0:
        return checked([tasks] * n_rows, n_rows)
    if isinstance(tasks, list | tuple):
        return checked(list(tasks), n_rows)
    values = tasks.to_numpy() if hasattr(tasks, "to_numpy") else np.asarray(tasks)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"tasks has shape {values.shape}: give one label per row. To make a task "
            "of each combination of several columns, join them into one label."
        )
    if values.dtype.kind in "mM":
        return checked(list(values), n_rows)
    return checked(values.tolist(), n_rows)


def checked(labels: list[Any], n_rows: int) -> list[Hashable]:
    """The labels, if there is a usable one for every row."""
    if len(labels) != n_rows:
        raise ValueError(
            f"tasks has {len(labels)} labels, but X has {n_rows} rows: give one label "
            "per row."
        )
    labels = [_plain(each) for each in labels]
    try:
        missing = any(_is_missing(each) for each in set(labels))
    except TypeError as error:
        raise TypeError(
            "tasks holds labels that cannot be hashed, lists for instance: give "
            "numbers, strings or tuples."
        ) from error
    if missing:
        raise ValueError(
            "tasks holds missing labels (NaN or None): leave these rows out, or give "
            "them a label of their own."
        )
    return labels


def shown(labels: list[Any]) -> str:
    """A few labels for a message."""
    every = list(dict.fromkeys(labels))
    text = ", ".join(repr(each) for each in every[:_SHOWN])
    more = len(every) - _SHOWN
    return f"{text} and {more} more" if more > 0 else text


def take_column(X: Any, task: str | int) -> tuple[Any, Any]:
    """Labels in a column of X, and X without this column."""
    if hasattr(X, "columns"):
        columns = list(X.columns)
        name = columns[_position(task, len(columns))] if _is_int(task) else task
        if name not in columns:
            raise ValueError(
                f"task={task!r} is not a column of X; its columns are {shown(columns)}."
            )
        rest = [each for each in columns if each != name]
        return X[name], X[rest]
    if not _is_int(task):
        raise ValueError(
            f"task={task!r} is the name of a column, but X has no column names: give "
            "its index, or the labels as fit(X, y, tasks=...)."
        )
    if not hasattr(X, "ndim"):
        X = np.asarray(X, dtype=object)
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions; with a task column it needs 2.")
    place = _position(task, X.shape[1])
    rest = [j for j in range(X.shape[1]) if j != place]
    column = X[:, [place]]
    column = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
    return column[:, 0], X[:, rest]


def _position(task: Any, n_columns: int) -> int:
    if not -n_columns <= task < n_columns:
        raise ValueError(f"task={task} is not a column of X, which has {n_columns}.")
    return int(task) % n_columns


def _is_int(task: Any) -> bool:
    return isinstance(task, int | np.integer)


def _plain(label: Any) -> Any:
    """Python's own number or string in place of NumPy's, which is the same label."""
    if isinstance(label, np.generic) and label.dtype.kind not in "mM":
        return label.item()
    return label


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas.NA is not a truth value
        return True
