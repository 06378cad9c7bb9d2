"""Penalties of coefficients: what strengths multiply.

A penalty of strength ``alpha_j`` is ``alpha_j r_j(w_j)``. At a minimum its slope
balances the dual gradient of the data, ``alpha_j r_j'(w_j) = u_j``: this gives
strengths from coefficients, ``1 / alpha_j = r_j'(w_j) / u_j``, for any penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


@record
class Ridge:
    """``0.5 sum_j w_j^2 / v_j``.

    Parameters
    ----------
    v : float or ndarray
        Variances; broadcast against coefficients.
    """

    v: Array | float = 1.0

    def slope(self, w: Array) -> Array:
        """``w / v``."""
        return np.asarray(w / self.v)


@dataclass(frozen=True)
class ElasticNet:
    """``sum_j l1_j |w_j| + 0.5 w_j^2 / v_j``.

    Parameters
    ----------
    v : ndarray
        Variances of the quadratic part; infinite where there is none.
    l1 : ndarray
        Strengths of the other part, infinite where a column is removed. Both broadcast
        against coefficients.
    """

    v: Array
    l1: Array

    def value(self, w: Array) -> float:
        """Its sum over all coefficients."""
        kept = w != 0
        l1 = np.where(kept, self.l1, 0.0)
        return float((l1 * abs(w)).sum() + 0.5 * (w * w / self.v).sum())

    def slope(self, w: Array) -> Array:
        """``l1 sign(w) + w / v``, zero where a coefficient is."""
        with np.errstate(invalid="ignore"):
            slope = self.l1 * np.sign(w) + w / self.v
        return np.where(w != 0, slope, 0.0)

    def times(self, alpha: Array) -> ElasticNet:
        """The penalty at these strengths, this one being that at strengths of one."""
        with np.errstate(divide="ignore", invalid="ignore"):
            v = np.where(np.isinf(self.v), self.v, self.v / alpha)
        return ElasticNet(v, self.l1 * alpha)

    def of(self, columns: Array) -> ElasticNet:
        """The penalty of some columns."""
        return ElasticNet(self.v[columns], self.l1[columns])


# A separable convex function of coefficients.
Penalty = Ridge | ElasticNet
