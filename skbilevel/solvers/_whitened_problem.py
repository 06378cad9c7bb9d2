"""Newton's method for a loss of dense features with a unit penalty.

In the coordinates of the prior, ``w = sqrt(v) u``, every penalized problem is::

    min over T of  sum_i s_i loss(o_i + z_i T, y_i) + 0.5 c |T_penalized|^2,   c = 1

which is 1-strongly convex but for the unpenalized columns, whatever the strengths
are. ``Z = [E, X sqrt(v)]``, or any Z with ``Z Z^T = X diag(v) X^T`` where rows are
fewer than columns: then ``w = v X^T a`` with ``a = -s loss'`` at the solution. Where
every target has strengths of its own, it has features of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._losses import Loss
from skbilevel.problems._target_features import Features, predict, pull


@dataclass(frozen=True)
class Whitened:
    """The problem of the module docstring.

    Parameters
    ----------
    Z : ndarray of shape (n, m + r), (t, n, m + r) or Scaled
        Features, the unpenalized ones first; shared by the targets, or of each its
        own.
    n_free : int
        Number m of unpenalized columns.
    y : ndarray of shape (n, t)
        Targets.
    weight : ndarray of shape (n,)
        Row weights.
    loss : Loss
        The loss.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    penalty : float
        ``c``; other values serve paths of one shared strength, where Z stays.
    """

    Z: Features
    n_free: int
    y: Array
    weight: Array
    loss: Loss
    offset: Array | None = None
    penalty: float = 1.0

    @property
    def n_targets(self) -> int:
        """Number of targets or classes."""
        return int(self.y.shape[1])

    @property
    def width(self) -> int:
        """Number of features of a target."""
        return int(self.Z.shape[-1])

    def eta(self, T: Array) -> Array:
        """Predictions."""
        eta = predict(self.Z, T)
        return eta if self.offset is None else eta + self.offset

    def value(self, T: Array, eta: Array) -> float:
        """The objective."""
        loss = self.loss.value(eta, self.y).sum(axis=-1)
        square = self.penalty * (T[self.n_free :] ** 2).sum()
        return float(self.weight @ loss + 0.5 * square)

    def row_grad(self, eta: Array) -> Array:
        """``s_i loss'`` of every row, shape (n, t)."""
        return self.weight[:, None] * self.loss.grad(eta, self.y)

    def grad(self, T: Array, eta: Array) -> Array:
        """Gradient of the objective."""
        out = pull(self.Z, self.row_grad(eta))
        out[self.n_free :] += self.penalty * T[self.n_free :]
        return np.asarray(out)
