"""The second derivative of a loss in its predictions, kept at one point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._glm_losses import SoftmaxLoss
from skbilevel.problems._rows_datafit import RowsDataFit


@dataclass(frozen=True)
class RowCurvature:
    """``s_i d^2 loss_i`` at fixed predictions.

    A Hessian is applied many times at one point: probabilities are made once.

    Parameters
    ----------
    weighted : ndarray of shape (n, t)
        Row weights times second derivatives (softmax: times probabilities).
    mean : ndarray of shape (n, t) or None
        Probabilities of a softmax, which couples classes; None for separate targets.
    """

    weighted: Array
    mean: Array | None

    @classmethod
    def of(cls, fit: RowsDataFit, eta: Array) -> RowCurvature:
        """At predictions ``eta``, in their precision."""
        weight = fit.weight[:, None].astype(eta.dtype, copy=False)
        if isinstance(fit.loss, SoftmaxLoss):
            mean = fit.loss.mean(eta)
            return cls(weight * mean, mean)
        curvature = fit.loss.curvature(eta, fit.target)
        return cls(weight * curvature.astype(eta.dtype, copy=False), None)

    def apply(self, D: Array) -> Array:
        """Times ``D`` of shape (n, t)."""
        if self.mean is None:
            return np.asarray(self.weighted * D)
        inner = np.einsum("ij,ij->i", self.mean, D)[:, None]
        return np.asarray(self.weighted * (D - inner))

    def take(self, rows: Array) -> RowCurvature:
        """Of some rows."""
        mean = None if self.mean is None else self.mean[rows]
        return RowCurvature(self.weighted[rows], mean)

    @property
    def diagonal(self) -> Array:
        """The part that couples no classes, shape (n, t)."""
        if self.mean is None:
            return self.weighted
        return np.asarray(self.weighted * (1.0 - self.mean))
