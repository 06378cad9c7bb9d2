"""Shares of the L1 norm in an elastic net."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._penalties import ElasticNet


@dataclass(frozen=True)
class NetShares:
    """The penalty at a strength of one, beside a mean loss.

    Parameters
    ----------
    l1 : ndarray of shape (p,) or float
        Strengths of the L1 norm.
    l2 : ndarray of shape (p,) or float
        Strengths of half the squared L2 norm; zero for the lasso.
    """

    l1: Array | float
    l2: Array | float

    @classmethod
    def of(cls, ratio: Array | float, y_scale: float) -> NetShares:
        """From shares of the L1 norm, for targets that were divided by ``y_scale``."""
        return cls(ratio / y_scale, 1.0 - ratio)

    def penalty(self, weight: float, p: int) -> ElasticNet:
        """The penalty beside a sum of losses of this weight."""
        l1 = np.broadcast_to(np.asarray(weight * self.l1, dtype=float), p)
        with np.errstate(divide="ignore"):
            v = 1.0 / np.broadcast_to(np.asarray(weight * self.l2, dtype=float), p)
        return ElasticNet(v, l1)
