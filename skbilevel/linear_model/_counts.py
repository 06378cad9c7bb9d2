"""Rows that count, and how often."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


@record
class RowCounts:
    """Rows of positive weight; a weight is a number of rows.

    Rows without a weight are left out here, once, and nothing behind the door sees
    them. Weights whose mean is below one cannot be numbers of rows: they are divided
    by their mean, and what is published is in the unit of the user.

    Parameters
    ----------
    index : ndarray of int
        Places of the rows among those of the user.
    weight : ndarray of shape (len(index),)
        How many rows each of them is.
    unit : float
        The user's weights over these.
    n_given : int
        Number of rows of the user.
    """

    index: Array
    weight: Array
    unit: float
    n_given: int

    @classmethod
    def of(cls, weight: Array, factor: Array | None = None) -> RowCounts:
        """From the user's weights, and what the weights of classes multiply them with.

        Factors below one do not make fewer rows: ``weight * factor`` is brought up to
        the sum of ``weight``, itself of mean one at least. So weighting a row and
        repeating it stay the same with such factors.
        """
        given = weight if factor is None else weight * factor
        index = np.flatnonzero(given > 0.0)
        if len(index) < 2:
            raise ValueError("At least 2 rows of positive weight are needed.")
        given, plain = given[index], weight[index]
        mean = float(weight[weight > 0.0].mean())
        least = float(plain.sum()) / min(1.0, mean)
        unit = min(1.0, float(given.sum()) / least)
        return cls(index, given if unit == 1.0 else given / unit, unit, len(weight))

    def take(self, values: Any) -> Any:
        """The rows among all rows of an array; None stays None."""
        if values is None or len(self.index) == self.n_given:
            return values
        return values[self.index]

    def places(self, rows: Array) -> Array:
        """Places here of some rows of the user, those without a weight left out."""
        place = np.full(self.n_given, -1)
        place[self.index] = np.arange(len(self.index))
        own = place[rows]
        return np.asarray(own[own >= 0])
