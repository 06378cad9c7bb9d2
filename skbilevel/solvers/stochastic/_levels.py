"""One level of a problem, read batch by batch, with or without compressed rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._ledger import Ledger
from skbilevel.solvers.stochastic._sampler import BatchSampler

Derivatives = tuple[Array, ...]


@dataclass(frozen=True)
class Reading:
    """Derivatives of one batch: numbers, and the linear map that makes them.

    Parameters
    ----------
    codes : ndarray of shape (n_slots, n_codes)
        What a memory keeps.
    assemble : callable
        From codes to the mean over the batch.
    """

    codes: Array
    assemble: Callable[[Array], Derivatives]


class Level(Protocol):
    """Derivatives of the inner or the outer objective, by batches.

    They are ``(g_w, g_ww q, g_theta_w q)`` inside and ``(f_w, f_theta)`` outside.
    """

    problem: Any
    sampler: BatchSampler

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a memory of all batches."""

    def slots(self, k: int) -> Any:
        """Where a memory keeps a batch."""

    def read(self, k: int, theta: Array, w: Array, q: Array) -> Reading:
        """Derivatives of one batch, from one reading of its rows."""

    def exact(self, theta: Array, w: Array, q: Array) -> Derivatives:
        """What is the same for all rows and not part of a reading."""


class CodedLevel:
    """A level whose rows are a few numbers each; see `RowCodes`.

    Both products of a batch, with w and with q, are one call of BLAS.
    """

    def __init__(
        self, problem: Any, sampler: BatchSampler, ledger: Ledger, inner: bool
    ) -> None:
        self.problem, self.sampler, self._ledger = problem, sampler, ledger
        self._calls = {"n_grad": 1, "n_hvp": 1} if inner else {"n_grad": 1}
        # In the order of the batches, so that each of them is a slice of all but X.
        self._ordered = problem.take(np.concatenate(sampler.parts))
        stops = np.cumsum([len(part) for part in sampler.parts]).tolist()
        starts = [0, *stops[:-1]]
        self._slices = [slice(a, b) for a, b in zip(starts, stops, strict=True)]

    @property
    def shape(self) -> tuple[int, int]:
        """One line for every row."""
        return self.problem.n_rows, self._ordered.n_codes

    def slots(self, k: int) -> Any:
        """The rows of the batch, in the order of the batches."""
        return self._slices[k]

    def read(self, k: int, theta: Array, w: Array, q: Array) -> Reading:
        """Codes of the rows of a batch."""
        batch = self._ordered.take(self._slices[k])
        self._ledger.add(batch.n_rows, 1.0, **self._calls)
        return Reading(batch.codes(theta, w, q), batch.assemble)

    def exact(self, theta: Array, w: Array, q: Array) -> Derivatives:
        """Penalties."""
        return tuple(self._ordered.exact(theta, w, q))


class VectorLevel:
    """A level known through its oracles only: a memory keeps whole derivatives."""

    def __init__(
        self, problem: Any, sampler: BatchSampler, sizes: tuple[int, ...], inner: bool
    ) -> None:
        self.problem, self.sampler, self.inner = problem, sampler, inner
        self._cuts = np.cumsum(sizes)[:-1]
        self._sizes = sizes

    @property
    def shape(self) -> tuple[int, int]:
        """One line for every batch."""
        return len(self.sampler), int(sum(self._sizes))

    def slots(self, k: int) -> Any:
        """One line."""
        return slice(k, k + 1)

    def read(self, k: int, theta: Array, w: Array, q: Array) -> Reading:
        """Derivatives of a batch, side by side."""
        point = self.problem.take(self.sampler.parts[k]).at(theta, w)
        parts: Derivatives = (point.grad,)
        parts += (point.hvp(q), point.cross(q)) if self.inner else (point.grad_theta,)
        return Reading(np.concatenate(parts)[None], self._split)

    def exact(self, theta: Array, w: Array, q: Array) -> Derivatives:
        """Nothing is left out of a reading."""
        return tuple(np.zeros(size) for size in self._sizes)

    def _split(self, codes: Array) -> Derivatives:
        return tuple(np.split(codes[0], self._cuts))
