"""The real regression sets of the benchmarks, and how each one is split.

``SKBILEVEL_DATA`` names a folder with a ``load.py`` (``MANIFEST`` and ``load``).
Every set is cut to at most 2,000 rows and 5,000 columns with fixed seeds, so
that two runs, and the cached results of the peers, see the same numbers.
"""

import importlib.util
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from _halves import names_of_half
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, TimeSeriesSplit

MAX_ROWS = 2000
MAX_COLUMNS = 5000
MIN_COLUMNS = 10
N_SPLITS = 5
# Small test sets get more splits, until they hold so many rows in all.
TESTED_ROWS, MAX_SPLITS = 500, 20
TEST_SIZE = 0.3
SEED = 0

# Neighbouring rows of these sets are days, hours or months: a random split
# would let a model look between two training rows.
TIME_ORDERED = frozenset(
    {"bike_hourly", "chicago_ridership", "fred_md_lags", "stock", "wind"}
)
# The key of the array that says to whom a row belongs.
SUBJECTS = {"parkinsons_telemonitoring": "subject"}


@dataclass(frozen=True)
class Dataset:
    """One set of the battery, cut to size, with its splits."""

    name: str
    X: np.ndarray
    y: np.ndarray
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    kind: str

    def parts(self, split: int) -> tuple[np.ndarray, ...]:
        """Return X_train, y_train, X_test, y_test."""
        train, test = self.splits[split]
        return self.X[train], self.y[train], self.X[test], self.y[test]


@cache
def loader() -> ModuleType:
    """Import the ``load.py`` of the folder that SKBILEVEL_DATA names."""
    folder = os.environ.get("SKBILEVEL_DATA")
    if not folder:
        raise SystemExit("SKBILEVEL_DATA is not set: it names the folder of data sets")
    path = Path(folder) / "load.py"
    spec = importlib.util.spec_from_file_location("skbilevel_data_load", path)
    if spec is None or spec.loader is None or not path.exists():
        raise SystemExit(f"SKBILEVEL_DATA has no load.py: {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def regression_names() -> list[str]:
    """Return the names of all sets whose task is (also) regression."""
    manifest = loader().MANIFEST
    return [name for name, row in manifest.items() if "regression" in row["task"]]


def raw(name: str) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return X (one-hot encoded), y and the extra arrays, in the stored order."""
    X, y, info = loader().load(name, onehot=True)
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if name == "fred_md_lags":
        # The months of 2020 are outliers of up to 20 standard deviations.
        keep = info["month"] < "2020"
        X, y = X[keep], y[keep]
    return X.astype(float), np.asarray(y, dtype=float), info


def pick_rows(n: int, limit: int, ordered: bool, rng: np.random.Generator):
    """Return the rows to keep: the last ones of a series, else a random subset."""
    if n <= limit:
        return np.arange(n)
    return np.arange(n - limit, n) if ordered else rng.permutation(n)[:limit]


def n_random_splits(n: int) -> int:
    """Return how many random splits a set of n rows gets."""
    wanted = math.ceil(TESTED_ROWS / (TEST_SIZE * n))
    return min(MAX_SPLITS, max(N_SPLITS, wanted))


def make_splits(name: str, n: int, subjects: np.ndarray | None):
    """Return the kind of the splits and the splits."""
    rows, n_splits = np.zeros((n, 1)), n_random_splits(n)
    if name in TIME_ORDERED:
        splitter, kind = TimeSeriesSplit(N_SPLITS), "expanding window"
    elif subjects is not None:
        splitter = GroupShuffleSplit(n_splits, test_size=TEST_SIZE, random_state=SEED)
        kind = "by subject"
    else:
        splitter = ShuffleSplit(n_splits, test_size=TEST_SIZE, random_state=SEED)
        kind = "random 70/30"
    return kind, tuple(splitter.split(rows, groups=subjects))


@cache
def load_set(name: str) -> Dataset:
    """Return one set of the battery."""
    X, y, info = raw(name)
    rng = np.random.default_rng(SEED)
    rows = pick_rows(len(y), MAX_ROWS, name in TIME_ORDERED, rng)
    columns = pick_rows(X.shape[1], MAX_COLUMNS, False, rng)
    columns = np.sort(columns)
    subjects = info[SUBJECTS[name]][rows] if name in SUBJECTS else None
    kind, splits = make_splits(name, len(rows), subjects)
    return Dataset(name, X[np.ix_(rows, columns)], y[rows], splits, kind)


def load_battery(
    names: list[str] | None = None, half: str | None = None
) -> Iterator[Dataset]:
    """Yield the sets with at least ten columns, in the order of the folder."""
    for name in names_of_half(names or regression_names(), half):
        data = load_set(name)
        if names or data.X.shape[1] >= MIN_COLUMNS:
            yield data
