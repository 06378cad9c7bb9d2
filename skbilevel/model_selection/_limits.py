"""The user's limits of strengths, and the strengths a search starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


@record
class Limits:
    """Limits and start in variances ``1 / alpha`` of the columns as they are.

    Parameters
    ----------
    low, high : float
        Box of every variance; the default leaves it open.
    start : ndarray of shape (p,) or (p, t), or None
        Variances from which paths start instead of the best shared one; those of
        targets are averaged where targets share them.
    """

    low: float = 0.0
    high: float = np.inf
    start: Array | None = None

    @classmethod
    def of(
        cls, alpha_bounds: tuple[float, float] | None, alpha_init: Array | None
    ) -> Limits:
        """From Ridge units."""
        start = None if alpha_init is None else 1.0 / alpha_init
        if alpha_bounds is None:
            return cls(start=start)
        weakest, strongest = alpha_bounds
        return cls(1.0 / strongest, 1.0 / weakest, start)

    @property
    def open(self) -> bool:
        """Whether no variance is excluded."""
        return self.low == 0.0 and self.high == np.inf

    def of_target(self, target: int) -> Limits:
        """The same for strengths of one target."""
        if self.start is None or self.start.ndim == 1:
            return self
        return replace(self, start=self.start[:, target])

    def clip(self, trainer: Any, v: Array) -> Array:
        """Variances (F, c, p, ...) of the scaled columns, moved into the box."""
        if self.open:
            return v
        square = _square(trainer, v.shape[0], v.shape[2])[:, None]
        square = square if v.ndim == 3 else square[..., None]
        return np.asarray(np.clip(v, self.low / square, self.high / square))

    def narrow(
        self, trainer: Any, strengths: Any, bounds: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Bounds (F, g) of the logarithms of a trainer's strengths."""
        if self.open:
            return bounds
        p = trainer.rows.n_penalized
        shift = _logarithm(trainer, strengths, bounds[0].shape[0], p)
        with np.errstate(divide="ignore"):
            low, high = np.log(self.low) - shift, np.log(self.high) - shift
        # The user's box holds even where it leaves the usual one.
        return (
            np.minimum(np.maximum(bounds[0], low), high),
            np.maximum(np.minimum(bounds[1], high), low),
        )

    def begin(self, trainer: Any, strengths: Any, base: Array) -> Array:
        """Where paths start, (F, g): the given variances, or the shared one."""
        if self.start is None:
            return base
        shift = _logarithm(trainer, strengths, len(base), len(self.start))
        with np.errstate(divide="ignore"):
            log_v = np.maximum(np.log(self.start), -700.0)
        log_v = log_v if log_v.ndim == 1 else log_v.mean(axis=1)
        if strengths.A is not None:
            log_v = (strengths.A.T @ log_v) / strengths.A.sum(axis=0)
        return np.asarray(log_v - shift)


def _square(trainer: Any, n_sets: int, p: int) -> Array:
    """Squared scales (F, p) of the columns."""
    return np.asarray(trainer.variances(np.ones((n_sets, 1, p)))[:, 0])


def _logarithm(trainer: Any, strengths: Any, n_sets: int, p: int) -> Array | float:
    """Their logarithms; strengths of groups refer to columns as they are."""
    return 0.0 if strengths.A is not None else np.log(_square(trainer, n_sets, p))
