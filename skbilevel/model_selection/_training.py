"""Training sets as the guard sees them: the same questions in every regime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    ROUGH_DESCENT,
    LeastSquaresOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._refits import RowShares, refits
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._penalties import Penalty, Ridge
from skbilevel.problems._spectrum import SharedOptimum, base_leverage


@record
class Likelihood:
    """What least squares on working responses stands for.

    Parameters
    ----------
    weight : float
        Sum of the row weights, without the curvatures that working weights contain.
    null : float
        Mean loss of the unpenalized columns alone, the unit of half-sampling losses.
    noise : float or None
        Variance of the working responses, None where the dispersion is not known.
    """

    weight: float
    null: float
    noise: float | None

    def counted(self, weight: Array) -> Array:
        """Sums of working weights as numbers of rows, in any unit of the targets."""
        return weight if self.noise is not None else np.array([self.weight])


class LeastSquaresTrainer:
    """What Gram matrices and kernels have in common.

    ``likelihood`` is that of working responses, for one set.
    """

    likelihood: Likelihood | None
    penalty: ClassVar[Penalty] = Ridge()
    if TYPE_CHECKING:

        @property
        def rows(self) -> AugmentedRows: ...

        @property
        def sets(self) -> Sequence[TrainingSet]: ...

        @property
        def weight(self) -> Array: ...

        @property
        def _half_objective(self) -> Any: ...

        def _variance(self) -> Array: ...

        def oracle(self, f: int = 0) -> LeastSquaresOracle: ...

    @property
    def variance(self) -> Array:
        """Total variance of the swept targets, or what stands in its place."""
        if self.likelihood is not None:
            # Half a weighted square is a loss: twice the null loss is its variance.
            return 2.0 * self.likelihood.null * self.likelihood.weight / self.weight
        return np.asarray(self._variance() / self.weight)

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss."""
        return self._half_objective.at(log_v)

    def half(self, h: int, log_v: Array, share: float) -> Any:
        """Model of the loss of one half, relative to ``share`` of all."""
        return self._half_objective.only(h, share).at(log_v)

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """The elastic-net path of every set as strengths."""
        rows, known, out = self.rows, self.likelihood, []
        descent = None if known is None else ROUGH_DESCENT
        counted = self.weight if known is None else known.counted(self.weight)
        for f, weight in enumerate(counted):
            grid = relative_grid(float(weight), rows.n_penalized, n_points)
            path = self.oracle(f), grid, ratio, descent, rows.column_size
            out.append(elastic_net_strengths(*path))
        return np.stack([v for v, _ in out]), np.stack([w for _, w in out])

    def refits(self, v: Array) -> tuple[Array, Array]:
        """One strength on every support of ``v`` (F, c, p); see `refits`."""
        rows, out = self.rows, []
        for f, training in enumerate(self.sets):
            shares = None
            if training.shared is None:
                weight = rows.weight[training.rows]
                free = np.sqrt(weight)[:, None] * rows.free_block(training.rows)
                shares = RowShares(weight, base_leverage(free))
            out.append(refits(self.oracle(f), v[f], rows.n_free, shares))
        return np.stack([v for v, _ in out]), np.stack([w for _, w in out])


class Trainer(Protocol):
    """F training sets of the same problem."""

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""

    @property
    def sets(self) -> Sequence[TrainingSet]:
        """The training sets."""

    @property
    def penalty(self) -> Penalty:
        """The penalty at strengths of one."""

    def shared(self, criterion: str) -> SharedOptimum:
        """The best shared strengths."""

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss at ``log_v`` (F, p)."""

    def half(self, h: int, log_v: Array, share: float) -> Any:
        """Model of the loss of one half, relative to ``share`` of all."""

    def evidence_path(
        self, recipe: Recipe, strengths: Strengths, theta: Array, bounds: Bounds
    ) -> list[Array]:
        """Steps on the evidence plus ``(lam / g) |R theta|^2``, on from lam to lam."""

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (F, p, t)."""

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """Variances (F, c, p) and coefficients (F, c, p, t)."""

    def refits(self, v: Array) -> tuple[Array, Array]:
        """One strength on every support of ``v`` (F, c, p), and coefficients."""

    def solve(self, v: Array) -> Array:
        """Coefficients (F, c, p, t) at variances (F, c, p)."""

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients (F, c, n_free + p, t) with those of the free columns first."""

    def variances(self, v: Array) -> Array:
        """Variances (F, c, p) for the columns as they are."""
