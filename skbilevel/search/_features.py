"""The features that transformers make of the training rows of every fold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from skbilevel._records import record
from skbilevel._sklearn_compat import _check_method_params, _num_samples, _safe_indexing
from skbilevel._sparse import canonical
from skbilevel._typing import Array
from skbilevel.linear_model._columns import column_labels
from skbilevel.search._chain import Chain, Heads, feature_names, in_one, transform
from skbilevel.search._last_step import LastStep

# Names of columns that a message shows.
_SHOWN = 5


@record
class FittedFold:
    """Transformers of one fold.

    Parameters
    ----------
    heads : list
        The transformers.
    X : array-like of shape (n, width)
        The features that they make; rows outside of the fold are zero.
    place : ndarray or None
        See `PipelineFeatures.fold`.
    columns : ndarray of shape (m,)
        Places of their columns in the X of the search, whose others are zero.
    names : ndarray of shape (m,) or None
        Names of the columns of a data frame; None if they make none.
    seconds : float
        Of their fit.
    """

    heads: Heads
    X: Any
    place: Array | None
    columns: Array
    names: Array | None
    seconds: float


@record
class PipelineFeatures:
    """Transformers, fitted again on the training rows of every fold.

    Parameters
    ----------
    chain : Chain
        The transformers.
    heads : list
        They, fitted on all rows.
    X, y : array-like
        All rows, before the transformers.
    params : dict
        Metadata for the transformers.
    width : int
        Number of columns of the full data.
    names : ndarray or None
        Their names; None where none are needed.
    step : LastStep
        It knows whether the columns of every fold have to be those of the full data.
        Where it has a callable that labels columns, those that only folds have stand
        behind the others.
    """

    chain: Chain
    heads: Heads
    X: Any
    y: Any
    params: dict[str, Any]
    width: int
    names: Array | None
    step: LastStep
    # By the rows that are held out, then by those they were fitted on.
    _fitted: dict[bytes, dict[bytes, FittedFold]] = field(
        default_factory=dict, repr=False
    )
    # Labels of columns that only folds have, by their names.
    _added: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def padded(self) -> bool:
        """Whether folds may have more columns than the full data."""
        return self.step.shared or self.step.make_labels is not None

    @property
    def added(self) -> Callable[[], list[Any]] | None:
        """Labels of these columns; None where all columns have the same."""
        return None if self.step.shared else lambda: list(self._added.values())

    @property
    def transformer(self) -> Pipeline:
        """The transformers that are fitted on all rows."""
        return in_one(self.heads)

    def of_folds(self, held_out: Iterable[Array]) -> list[FittedFold]:
        """The transformers of folds in their order; some may hold out the same rows."""
        times: Counter[bytes] = Counter()
        out = []
        for key in (rows.tobytes() for rows in held_out):
            same = list(self._fitted[key].values())
            out.append(same[times[key] % len(same)])
            times[key] += 1
        return out

    def fold(self, train: Array, valid: Array) -> tuple[Any, Array | None]:
        """X (n, m) of a fold, and which columns of the full data its columns are."""
        same = self._fitted.setdefault(valid.tobytes(), {})
        key = train.tobytes()
        # Targets with strengths of their own ask again.
        known = same[key] = same.get(key) or self._fit(train, valid)
        return known.X, known.place

    def _fit(self, train: Array, valid: Array) -> FittedFold:
        n_rows = _num_samples(self.X)
        start = time.perf_counter()
        heads, inside = self.chain.fit_transform(
            _safe_indexing(self.X, train),
            _safe_indexing(self.y, train),
            _check_method_params(self.X, self.params, train),
        )
        seconds = time.perf_counter() - start
        outside = transform(heads, _safe_indexing(self.X, valid))
        names = feature_names(heads, inside)
        parts = (_numbers(inside, len(train)), _numbers(outside, len(valid)))
        width = parts[0].shape[1]
        columns, place = np.arange(width), self._place(names, width)
        if self.step.aligned and place is not None:
            place = self._with_added(place, names, heads)
            self._check_known(place, names)
            n_columns = self.width + len(self._added)
            parts = tuple(_moved(part, place, n_columns) for part in parts)
            columns, place = place, None
        framed = names if hasattr(inside, "columns") else None
        X = scattered(parts, (train, valid), n_rows)
        return FittedFold(heads, X, place, columns, framed, seconds)

    def _place(self, names: Array | None, width: int) -> Array | None:
        """The column of the full data of every column; None where they are the same."""
        if self.step.shared:
            return None
        if names is None or self.names is None:
            if width == self.width:
                return None
            if self.step.aligned:
                raise ValueError(
                    f"The transformers make {width} columns of a training fold and "
                    f"{self.width} of the full data, and without names "
                    "(get_feature_names_out) nothing tells which is which, while "
                    f"{_WHY}. {_REMEDY}"
                )
            return np.full(width, -1)
        if np.array_equal(names, self.names):
            return None
        if len(set(self.names)) < len(self.names) or len(set(names)) < len(names):
            raise ValueError(
                "The transformers give two columns the same name, and folds differ in "
                "their columns: give them names that differ "
                "(verbose_feature_names_out=True)."
            )
        known = {name: k for k, name in enumerate(self.names)}
        return np.array([known.get(name, -1) for name in names], dtype=int)

    def _with_added(self, place: Array, names: Array | None, heads: Heads) -> Array:
        """Places behind the last column for those that have a label all the same."""
        new = np.flatnonzero(place < 0)
        make = self.step.make_labels
        if make is None or names is None or not len(new):
            return place
        labels = column_labels(make, len(names), names, in_one(heads))
        for name, label in zip(names[new], labels[new].tolist(), strict=True):
            self._added.setdefault(name, label)
        where = {name: self.width + k for k, name in enumerate(self._added)}
        place = place.copy()
        place[new] = [where[name] for name in names[new]]
        return place

    def _check_known(self, place: Array, names: Array | None) -> None:
        if (place >= 0).all() or names is None:
            return
        lost = [str(each) for each in names[place < 0]]
        shown = ", ".join(repr(each) for each in lost[:_SHOWN])
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise ValueError(
            f"A training fold has columns that the full data do not have ({shown}"
            f"{more}), because its transformers select columns by their rows, while "
            f"{_WHY}. {_REMEDY}"
        )


_WHY = (
    "one strength per column is tuned on all folds together, or options of the last "
    "step speak of single columns"
)
_REMEDY = (
    "Use hyperpenalty='auto' or feature_groups='shared' without feature_groups, "
    "feature_metadata, unpenalized or alpha_init as arrays, or transformers whose "
    "columns do not depend on the rows."
)


def _numbers(X: Any, n_rows: int) -> Any:
    """What a transformer returned, as an array or a CSR array."""
    X = canonical(check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32]))
    if X.shape[0] != n_rows:
        raise ValueError(
            f"The transformers made {X.shape[0]} rows of {n_rows}: steps that add or "
            "drop rows cannot stand in a BilevelSearchCV."
        )
    return sparse.csr_array(X) if sparse.issparse(X) else X


def _moved(X: Any, place: Array, width: int) -> Any:
    """Columns at their places, zeros elsewhere."""
    if sparse.issparse(X):
        data = (X.data, place[X.indices], X.indptr)
        out = sparse.csr_array(data, shape=(X.shape[0], width))
        out.sort_indices()
        return out
    out = np.zeros((X.shape[0], width), dtype=X.dtype)
    out[:, place] = X
    return out


def scattered(parts: Sequence[Any], rows: Sequence[Array], n_rows: int) -> Any:
    """Rows at their places among ``n_rows``, zeros elsewhere."""
    index = np.concatenate(rows)
    if not sparse.issparse(parts[0]):
        out = np.zeros((n_rows, parts[0].shape[1]), dtype=parts[0].dtype)
        for part, own in zip(parts, rows, strict=True):
            out[own] = part
        return out
    whole = sparse.vstack(parts, format="csr")
    missing = sparse.csr_array((1, whole.shape[1]), dtype=whole.dtype)
    place = np.full(n_rows, len(index))
    place[index] = np.arange(len(index))
    return sparse.csr_array(sparse.vstack([whole, missing], format="csr")[place])
