"""Data and results of fits that are probably not what the user meant."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.exceptions import BoundaryWarning, DataWarning
from skbilevel.model_selection._plan import MIN_ROWS
from skbilevel.problems._moments import AugmentedRows

# Labels that are numbers: more than so many are suspicious, where they are floats or
# where a label has fewer rows than this.
_MANY_LABELS, _ROWS_PER_LABEL = 50, 5
# Labels that a message shows.
_SHOWN = 5


def warn_of_few_rows(n_rows: int) -> None:
    """Too few rows for a guard that chooses among many strengths.

    ``n_rows`` is their number, by weight; one is refused elsewhere.
    """
    if 1 < n_rows < MIN_ROWS:
        warn_user(
            f"X has {n_rows} rows with a weight, and below {MIN_ROWS} all features "
            "share one strength. Give more rows, or feature_groups='shared' if that "
            "is what you want.",
            DataWarning,
        )


def warn_of_constant(y: Array) -> None:
    """Targets (n,) or (n, t) that are the same in all rows."""
    if len(y) > 1 and (y == y[:1]).all():
        warn_user(
            "y is the same in all rows, so that there is nothing to learn: the model "
            "predicts this value everywhere. Check y.",
            DataWarning,
        )


def warn_of_labels(classes: Array, codes: Array) -> None:
    """Labels that look like measurements, and classes that have one row.

    ``codes`` are places in ``classes``.
    """
    count = np.bincount(codes)
    n, k = int(count.sum()), len(classes)
    kind = classes.dtype.kind
    # scikit-learn itself warns where every second row has a label of its own.
    if kind in "iuf" and _MANY_LABELS < k <= round(n / 2):
        if kind == "f" or n < _ROWS_PER_LABEL * k:
            warn_user(
                f"y has {k} distinct numbers, and a class is made of each. If they are "
                "measurements, use BilevelRidgeCV; if they are names, give them as "
                "strings.",
                DataWarning,
            )
            return
    alone = classes[count == 1].tolist()
    if alone and k <= round(n / 2):
        shown = ", ".join(repr(each) for each in alone[:_SHOWN])
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        warn_user(
            f"y has one row only of class {shown}{more}: no model that has seen it "
            "can be tested on it. Give such classes more rows, or leave them out.",
            DataWarning,
        )


def warn_of_edge(edge: int, rows: AugmentedRows) -> None:
    """A shared strength at an end of its range: infinite (-1), or zero."""
    if edge > 0:
        wide = rows.X.shape[1] > rows.weight.sum()
        rest = "" if wide else ", which is simpler to fit"
        words = (
            "The best shared strength is zero: to regularize all features alike does "
            f"not help, and the model is close to one without it{rest}. Set "
            "alpha_bounds to keep the strengths away from zero."
        )
    else:
        features = "penalized feature" if len(rows.free) else "feature"
        words = (
            "The best shared strength is infinite: where all share it, no "
            f"{features} helps to predict held-out rows, and the model is close to one "
            "without them. Check that rows of X and y belong together; or give "
            "alpha_init, a strength to start from, or alpha_bounds."
        )
    warn_user(words, BoundaryWarning)
