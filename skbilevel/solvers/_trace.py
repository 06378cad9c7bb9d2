"""The lines of a history, and the clock beside them."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import IterInfo, OnIter

_NAMES = ("value", "grad_norm", "tol", "seconds")


class Trace:
    """What an outer search writes down after each of its evaluations.

    Parameters
    ----------
    on_iter : callable or None
        Is told lines by `tell`.
    """

    def __init__(self, on_iter: OnIter | None = None) -> None:
        self._on_iter = on_iter
        self._began = perf_counter()
        self._lines: list[tuple[float, float, float, float]] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, value: float, grad_norm: float, tol: float) -> None:
        """Write a line; its seconds are those since the trace was made."""
        seconds = perf_counter() - self._began
        self._lines.append((value, grad_norm, tol, seconds))

    def tell(self, n_iter: int, theta: Array) -> bool:
        """Whether the one who is told the last line wants to stop there."""
        if self._on_iter is None:
            return False
        value, grad_norm, tol, seconds = self._lines[-1]
        info = IterInfo(n_iter, theta, value, grad_norm, tol, seconds=seconds)
        return bool(self._on_iter(info))

    @property
    def seconds(self) -> float:
        """Seconds at the last line."""
        return self._lines[-1][-1]

    def history(self) -> dict[str, Array]:
        """The lines as columns."""
        columns = np.array(self._lines, dtype=float).reshape(-1, len(_NAMES)).T
        return dict(zip(_NAMES, columns, strict=True))
