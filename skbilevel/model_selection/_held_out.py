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
        each = range(self.eta.shape[1])
        return np.stack([self._by_row(self._values(self.eta[:, c])) for c in each])

    def _values(self, eta: Array) -> Array:
        """Losses (m,) of linear predictions (m, t)."""
        with np.errstate(over="ignore", invalid="ignore"):
            value = self.unit * self.loss.value(eta, self.y).sum(axis=-1)
        return np.where(value < LARGEST_LOSS, value, LARGEST_LOSS)

    def _by_row(self, value: Array) -> Array:
        """Means (n,) over repeats of losses (m,)."""
        _, place, times = self._rows
        return np.asarray(np.bincount(place, value) / times)

    @cached_property
    def total(self) -> float:
        """Sum of the weights of the rows that were held out."""
        return float(self.weight.sum())

    @cached_property
    def mean_loss(self) -> Array:
        """Mean losses (c,)."""
        return np.asarray(self.losses @ self.weight / self.total)

    @property
    def error(self) -> Array:
        """Standard errors (c,) of the differences to the first candidate."""
        difference = self.losses - self.losses[0]
        mean = difference @ self.weight / self.total
        return clustered_error(difference - mean[:, None], self.weight, self.units)

    def gain(self, a: Array) -> tuple[float, float]:
        """Mean loss of a combination beyond that of the first, and its error."""
        along = self.combined(a) - self.losses[0]
        mean = float(along @ self.weight / self.total)
        error = clustered_error((along - mean)[None], self.weight, self.units)
        return mean, float(error[0])

    def combined(self, a: Array) -> Array:
        """Losses (n,) of the combination ``a`` of linear predictions."""
        return self._by_row(self._values(np.tensordot(a, self.eta, axes=(0, 1))))

    def objective(self, kept: Array) -> Objective:
        """Mean loss of combinations (k,) of some candidates, and two derivatives.

        A combination has weights that sum to one.
        """
        total, scaled = self.share.sum(), self.unit * self.share[:, None]
        E = self.eta if len(kept) == self.eta.shape[1] else self.eta[:, kept]

        def against(D: Array) -> Array:
            """Products (k,) of the candidates' predictions with (m, t) numbers."""
            return np.tensordot(D, E, axes=((0, 1), (0, 2))) / total

        if self.loss.constant_curvature:
            # Of the residuals, whose combinations are the residuals of combinations.
            rest = (scaled * (E[:, k] - self.y) for k in range(len(kept)))
            H = np.stack([against(r) - (r * self.y).sum() / total for r in rest])
            return lambda a: (0.5 * float(a @ H @ a), H @ a, H)

        def evaluate(a: Array) -> tuple[float, Array, Array]:
            eta = np.tensordot(a, E, axes=(0, 1))
            value = float(self._values(eta) @ self.share) / total
            with np.errstate(over="ignore", invalid="ignore"):
                grad = against(scaled * self.loss.grad(eta, self.y))
                curved = self.loss.second_derivative(eta, self.y)
                H = [against(scaled * curved(E[:, k])) for k in range(len(kept))]
            return value, _finite(grad), _finite(np.stack(H))

        return evaluate


def clustered_error(centered: Array, weight: Array, cluster: Array) -> Array:
    """Standard errors (c,) of weighted means of ``centered`` (c, n).

    With one row per cluster this is ``std / sqrt(n)`` with ``n = sum(weight)``: a
    weight counts as that many rows.
    """
    total = weight.sum()
    if (np.diff(cluster) > 0).all():  # every row is a cluster of its own
        return np.sqrt(centered**2 @ weight) / total
    sums = np.zeros((len(centered), cluster.max() + 1))
    np.add.at(sums.T, cluster, (centered * weight).T)
    return np.sqrt((sums**2).sum(axis=1)) / total


def _finite(x: Array) -> Array:
    """Derivatives of losses that overflow are as large as these."""
    return np.nan_to_num(x, posinf=LARGEST_LOSS, neginf=-LARGEST_LOSS)
