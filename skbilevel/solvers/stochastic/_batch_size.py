"""How many rows a batch should have."""

from __future__ import annotations

import numpy as np

from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._batch_metric import row_bound
from skbilevel.solvers._ledger import Ledger

# Larger batches than these bytes of float64 rows hide nothing more of what a step costs
# besides its products, and leave the caches of a core.
_BATCH_BYTES = 1 << 21
_MIN_BATCH = 64
# Small data are cut into this many batches at least, or there is no noise to average.
_MIN_BATCHES = 8
# Beyond L_row / L rows the step hardly grows with the batch; so many times as much is
# what a step may waste to be worth its own cost.
_CRITICAL = 8.0
# Batches of both levels together where that number is not known.
_BLIND_BATCHES = 256


def default_batch_size(
    n_rows: int, n_columns: int, critical: float | None = None
) -> int:
    """Rows of a batch: few enough for steps to be many, enough to be worth a step.

    ``critical`` is ``L_row / L``, the largest curvature of a row over that of all: from
    so many rows on, the step is within a factor of two of that on all rows.
    """
    useful = n_rows / _BLIND_BATCHES if critical is None else _CRITICAL * critical
    size = min(_BATCH_BYTES // (8 * max(n_columns, 1)), int(useful))
    return max(1, min(max(_MIN_BATCH, size), n_rows // _MIN_BATCHES))


def critical_size(problem: OracleProblem, ledger: Ledger) -> float | None:
    """``L_row`` over the smallest M at corners of the box; None if not known.

    The penalty is part of M; where strengths are weakest, the rest is the data's.
    """
    row = row_bound(problem.inner)
    if row is None or problem.inner.smoothness is None:
        return None
    ledger.add(problem.inner.n_rows, 0.5)
    corners = [each for each in problem.box if np.isfinite(each).all()]
    at = (np.clip(problem.theta0, *problem.box), *corners)
    smallest = [np.asarray(problem.inner.smoothness(each)) for each in at]
    return float((row / np.min(smallest, axis=0)).max())
