"""The classification and count sets of the benchmarks, and how each one is split.

Classification: every set of the folder whose task is binary or multiclass, with
at least ten columns after one-hot encoding. Cut to 2,000 random rows; classes
with fewer than 15 members among them are dropped. Of a sparse matrix the 5,000
columns with most nonzeros in these rows are kept, of a dense one 5,000 random
columns; then it is stored densely. Five stratified 70/30 splits, and more of sets
with few test rows.

Counts: every set whose task is a count, cut to 5,000 rows (random ones; the
last ones where rows are ordered in time). The target is the number per unit of
exposure, the weight is the exposure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from _data import (
    MAX_COLUMNS,
    MAX_ROWS,
    MIN_COLUMNS,
    SEED,
    TEST_SIZE,
    TIME_ORDERED,
    Dataset,
    loader,
    make_splits,
    n_random_splits,
    pick_rows,
)
from _halves import names_of_half
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

MIN_MEMBERS = 15
MAX_COUNT_ROWS = 5000
# A test row further out than this says nothing about a method; all see the cut.
MAX_DEVIATIONS = 20.0
# Columns that hold the time a row was exposed; sets without one weigh all alike.
EXPOSURES = {
    "au_datacar": "exposure",
    "be_mtpl97": "expo",
    "sw_motorcycle": "Exposure",
}


@dataclass(frozen=True)
class WeightedSet(Dataset):
    """One set with the weights of its rows; ones for classification."""

    weights: np.ndarray

    def scaled(self, split: int) -> tuple[np.ndarray, ...]:
        """Return X, y and weights of the training rows, then of the test rows.

        Columns have mean zero and variance one on the training rows; test
        values are cut at twenty standard deviations.
        """
        train, test = self.splits[split]
        scaler = StandardScaler().fit(self.X[train])
        X_test = scaler.transform(self.X[test])
        X_test = np.clip(X_test, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return (
            scaler.transform(self.X[train]),
            self.y[train],
            self.weights[train],
            X_test,
            self.y[test],
            self.weights[test],
        )

    @property
    def n_classes(self) -> int:
        """Return how many values a class label takes."""
        return len(np.unique(self.y))


def names_of(*tasks: str) -> list[str]:
    """Return the names of all sets whose task starts with one of these words."""
    manifest = loader().MANIFEST
    return [name for name, row in manifest.items() if row["task"].startswith(tasks)]


def pick_columns(X: Any, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Return the columns to keep, in their order."""
    if X.shape[1] <= limit or not sp.issparse(X):
        return np.sort(pick_rows(X.shape[1], limit, False, rng))
    frequency = X.getnnz(axis=0)
    return np.sort(np.argsort(-frequency, kind="stable")[:limit])


def dense(X: Any) -> np.ndarray:
    """Return an array of floats."""
    return np.asarray(X.toarray() if sp.issparse(X) else X, dtype=float)


@cache
def load_classification(
    name: str, max_columns: int | None = MAX_COLUMNS
) -> WeightedSet:
    """Return one classification set; None keeps all columns."""
    X, y, _ = loader().load(name, onehot=True)
    rng = np.random.default_rng(SEED)
    rows = np.sort(pick_rows(len(y), MAX_ROWS, False, rng))
    _, labels, members = np.unique(y[rows], return_inverse=True, return_counts=True)
    keep = members[labels] >= MIN_MEMBERS
    rows, labels = rows[keep], np.unique(labels[keep], return_inverse=True)[1]
    X = X[rows]
    X = dense(X[:, pick_columns(X, max_columns or X.shape[1], rng)])
    splits: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    if len(np.unique(labels)) > 1:
        n_splits = n_random_splits(len(labels))
        shuffle = StratifiedShuffleSplit(
            n_splits, test_size=TEST_SIZE, random_state=SEED
        )
        splits = tuple(shuffle.split(X, labels))
    kind = "stratified 70/30"
    return WeightedSet(name, X, labels, splits, kind, np.ones(len(labels)))


@cache
def load_counts(name: str) -> WeightedSet:
    """Return one set of counts as rates with their exposure."""
    X, y, info = loader().load(name, onehot=True)
    y = np.asarray(y, dtype=float)
    exposure = np.ones(len(y))
    if name in EXPOSURES:
        exposure = np.asarray(info[EXPOSURES[name]], dtype=float)
    ordered = name in TIME_ORDERED
    rng = np.random.default_rng(SEED)
    rows = np.sort(pick_rows(len(y), MAX_COUNT_ROWS, ordered, rng))
    kind, splits = make_splits(name, len(rows), None)
    weights = exposure[rows]
    return WeightedSet(name, dense(X[rows]), y[rows] / weights, splits, kind, weights)


def classification_battery(
    names: list[str] | None = None, half: str | None = None
) -> Iterator[WeightedSet]:
    """Yield the sets that have two classes and ten columns left."""
    for name in names_of_half(names or names_of("binary", "multiclass"), half):
        data = load_classification(name)
        if data.splits and data.X.shape[1] >= MIN_COLUMNS:
            yield data


def counts_battery(
    names: list[str] | None = None, half: str | None = None
) -> Iterator[WeightedSet]:
    """Yield the sets of counts."""
    for name in names_of_half(names or names_of("count"), half):
        yield load_counts(name)
