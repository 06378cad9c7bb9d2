"""Both levels of a problem, read batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._batch_estimators import Derivatives, Level, Reading, VectorLevel
from skbilevel.solvers._batches import Batches
from skbilevel.solvers._ledger import Ledger


class CodedLevel:
    """A level whose rows are a few numbers each: it provides ``row_codes``.

    Both products of a batch, with w and with q, are one call of BLAS.
    """

    def __init__(
        self, problem: Any, batches: Batches, ledger: Ledger, inner: bool
    ) -> None:
        self.problem, self.batches, self._ledger = problem, batches, ledger
        self._calls = {"n_grad": 1, "n_hvp": 1} if inner else {"n_grad": 1}
        # In the order of the batches, so that each of them is a slice of all but X.
        self._ordered = problem.take(np.concatenate(batches.parts))
        stops = np.cumsum([len(part) for part in batches.parts]).tolist()
        starts = [0, *stops[:-1]]
        self._slices = [slice(a, b) for a, b in zip(starts, stops, strict=True)]

    @property
    def n_slots(self) -> int:
        """One line for every row."""
        return int(self.problem.n_rows)

    def slots(self, k: int) -> Any:
        """The rows of the batch, in the order of the batches."""
        return self._slices[k]

    def read(self, k: int, *at: Array) -> Reading:
        """Codes of the rows of a batch."""
        batch = self._ordered.take(self._slices[k])
        self._ledger.add(batch.n_rows, 1.0, **self._calls)
        return Reading(batch.codes(*at), batch.assemble)

    def exact(self, *at: Array) -> Derivatives:
        """Penalties."""
        return tuple(self._ordered.exact(*at))


def inner_level(problem: Any, batches: Batches, ledger: Ledger, coded: bool) -> Level:
    """``(g_w, g_ww q, g_theta_w q)`` by batches."""
    if coded:
        return CodedLevel(problem, batches, ledger, True)
    return VectorLevel(
        problem, batches, lambda point, q: (point.grad, point.hvp(q), point.cross(q))
    )


def outer_level(problem: Any, batches: Batches, ledger: Ledger, coded: bool) -> Level:
    """``(f_w, f_theta)`` by batches."""
    if coded:
        return CodedLevel(problem, batches, ledger, False)
    return VectorLevel(
        problem, batches, lambda point, q: (point.grad, point.grad_theta)
    )
