"""The held-out error of the elastic net, with its derivatives in ``log alpha``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._held_out_moments import HeldOutRows
from skbilevel.model_selection._net_sets import NetRows, NetSet
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._weighted_net import solve_net
from skbilevel.problems._active_set import ActiveSet
from skbilevel.problems._penalties import ElasticNet
from skbilevel.problems._resampled import LeastSquaresModel

# Up to this many strengths their Gauss-Newton matrix is formed.
_MATRIX_UP_TO = 400


@dataclass(frozen=True)
class NetPair:
    """A training set, and rows that judge it."""

    net: NetSet
    unit: ElasticNet
    held_out: HeldOutRows
    # The solution at the last strengths, from which the next one starts: a solution is
    # exact, so that it does not depend on its start.
    _last: list[ActiveSet] = field(default_factory=list, repr=False)

    def solve(self, alpha: Array) -> ActiveSet:
        """The minimizer at strengths (p,)."""
        start = self._last[0] if self._last else None
        self._last[:] = [solve_net(self.net.oracle, self.unit.times(alpha), start)]
        return self._last[0]


@dataclass(frozen=True)
class NetPoint:
    """A criterion at one place.

    Parameters
    ----------
    value : float
        Sum of squared errors over the scale of the criterion.
    grad : ndarray of shape (p,)
        Its gradient in ``log alpha``.
    parts : list of (index, matrix)
        Gauss-Newton matrices of active columns; their sum is half of a second
        derivative.
    """

    value: float
    grad: Array
    parts: list[tuple[Array, Array]]

    def normal(self) -> Array:
        """The sum of the parts as one matrix (p, p)."""
        out = np.zeros((len(self.grad), len(self.grad)))
        for index, part in self.parts:
            out[np.ix_(index, index)] += part
        return out

    def product(self, x: Array) -> Array:
        """The sum of the parts times vectors (..., p)."""
        out = np.zeros_like(x)
        for index, part in self.parts:
            out[..., index] += x[..., index] @ part
        return out

    def along(self, D: Array) -> Array:
        """``D^T N D`` for directions (p, g), N being the sum of the parts."""
        parts = (D[index].T @ part @ D[index] for index, part in self.parts)
        return np.asarray(sum(parts, np.zeros((D.shape[1], D.shape[1]))))


@dataclass(frozen=True)
class NetCriterion:
    """Squared errors on held-out rows, summed over pairs and divided by ``scale``."""

    pairs: Sequence[NetPair]
    scale: float

    @classmethod
    def of(
        cls, rows: NetRows, share: int, pairs: Sequence[Pair], variance: float
    ) -> NetCriterion:
        """Relative to a variance of the targets."""
        made, total = [], 0.0
        for train, valid in pairs:
            net = rows.at(train)
            made.append(NetPair(net, net.unit(share), net.held_out(valid)))
            total += float(rows.rows.weight[valid].sum())
        scale = total * variance
        return cls(made, scale if scale > 0 else 1.0)

    def only(self, h: int, share: float) -> NetCriterion:
        """One pair, the error relative to ``share`` of the scale."""
        return NetCriterion(self.pairs[h : h + 1], share * self.scale)

    def at(self, alpha: Array) -> NetPoint:
        """Value and derivatives at strengths (p,)."""
        value, grad = 0.0, np.zeros(len(alpha))
        parts = []
        for pair in self.pairs:
            found = pair.solve(alpha)
            error = found.held_out(pair.held_out.moments(found.index))
            value += error.value
            grad[found.index] += error.grad
            parts.append((found.index, error.normal / self.scale))
        return NetPoint(value / self.scale, grad / self.scale, parts)

    def model(self, log_v: Array) -> LeastSquaresModel:
        """Model of the Gauss-Newton steps at ``log v = -log alpha`` of shape (1, p)."""
        point = self.at(np.exp(-log_v[0]))
        value, grad = np.array([point.value]), -point.grad[None]
        if len(point.grad) <= _MATRIX_UP_TO:
            return LeastSquaresModel.of(value, grad, point.normal()[None])
        return LeastSquaresModel(value, grad, point.product, None)
