"""What candidates predict for rows that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import Loss

# One far row may have a loss that overflows: such candidates are all alike.
LARGEST_LOSS = 1e100

# Value, gradient and second derivative of the mean loss of a combination.
Objective = Callable[[Array], tuple[float, Array, Array]]


@dataclass(frozen=True)
class HeldOut:
    """Predictions of c candidates for m held-out rows; repeats hold a row out again.

    Parameters
    ----------
    row : ndarray of shape (m,)
        Which row is predicted.
    eta : ndarray of shape (m, c, t)
        Its linear predictions.
    y : ndarray of shape (m, t)
        What they are compared with.
    loss : Loss
        Loss of a linear prediction and a target.
    unit : float
        Factor of all losses.
    row_weight : ndarray of shape (n,)
        Weights of all rows.
    cluster : ndarray of shape (n,)
        Unit of resampling of all rows.
    """

    row: Array
    eta: Array
    y: Array
    loss: Loss
    unit: float
    row_weight: Array
    cluster: Array

    def only(self, candidates: Sequence[int]) -> HeldOut:
        """What some of the candidates predict."""
        return replace(self, eta=self.eta[:, candidates])

    @cached_property
    def _rows(self) -> tuple[Array, Array, Array]:
        """Rows that were held out, the place of every prediction, and how often."""
        rows, place, times = np.unique(
            self.row, return_inverse=True, return_counts=True
        )
        return rows, place, times

    @property
    def weight(self) -> Array:
        """Weights of the rows that were held out."""
        return np.asarray(self.row_weight[self._rows[0]])

    @property
    def units(self) -> Array:
        """Units of resampling of these rows."""
        return np.asarray(self.cluster[self._rows[0]])

    @cached_property
    def share(self) -> Array:
        """Weights (m,): that of the row, divided by how often it is held out."""
        _, place, times = self._rows
        return np.asarray(self.weight[place] / times[place])

    @cached_property
    def losses(self) -> Array:
        """Loss (c, n) of every candidate on every row, its mean over repeats."""
        return self._by_row(self._values(self.eta, self.y[:, None]))

    def _values(self, eta: Array, y: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            value = self.unit * self.loss.value(eta, y).sum(axis=-1)
        return np.where(value < LARGEST_LOSS, value, LARGEST_LOSS)

    def _by_row(self, value: Array) -> Array:
        """Means (c, n) over repeats of losses (m, c)."""
        rows, place, times = self._rows
        out = np.zeros((len(rows), value.shape[1]))
        np.add.at(out, place, value)
        return np.asarray((out / times[:, None]).T)

    def combined(self, a: Array) -> Array:
        """Losses (n,) of the combination ``a`` of linear predictions."""
        eta = np.tensordot(a, self.eta, axes=(0, 1))
        return self._by_row(self._values(eta, self.y)[:, None])[0]

    def objective(self, kept: Array) -> Objective:
        """Mean loss of combinations (k,) of some candidates, and two derivatives.

        A combination has weights that sum to one.
        """
        total = self.share.sum()
        E = self.eta[:, kept]
        if self.loss.constant_curvature:
            residual = np.moveaxis(E - self.y[:, None], 1, 2).reshape(-1, len(kept))
            weight = np.repeat(self.share, self.y.shape[1])
            H = self.unit * (residual.T @ (weight[:, None] * residual)) / total
            return lambda a: (0.5 * float(a @ H @ a), H @ a, H)

        def evaluate(a: Array) -> tuple[float, Array, Array]:
            eta = np.tensordot(a, E, axes=(0, 1))
            value = float(self._values(eta, self.y) @ self.share) / total
            scaled = (self.unit / total * self.share)[:, None]
            with np.errstate(over="ignore", invalid="ignore"):
                slope = scaled * self.loss.grad(eta, self.y)
                grad = np.tensordot(slope, E, axes=((0, 1), (0, 2)))
                curved = self.loss.second_derivative(eta, self.y)
                columns = [scaled * curved(E[:, k]) for k in range(len(kept))]
                H = np.tensordot(np.stack(columns), E, axes=((1, 2), (0, 2)))
            return value, _finite(grad), _finite(H)

        return evaluate


def _finite(x: Array) -> Array:
    """Derivatives of losses that overflow are as large as these."""
    return np.nan_to_num(x, posinf=LARGEST_LOSS, neginf=-LARGEST_LOSS)
