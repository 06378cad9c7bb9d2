"""The elastic net on given folds, as a criterion in strengths ``v = 1 / alpha``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector
from skbilevel.model_selection._net_criterion import NetCriterion
from skbilevel.model_selection._net_sets import NetRows
from skbilevel.model_selection._net_shares import NetShares
from skbilevel.model_selection._net_trainer import NetTrainer
from skbilevel.model_selection._resampling import Pair, TrainingSet
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import Criterion, CriterionProblem
from skbilevel.problems._bilevel import CriterionPoint
from skbilevel.problems._moments import AugmentedRows


@dataclass(frozen=True)
class InVariances:
    """A criterion of strengths as one of ``v = 1 / alpha``, zeros included."""

    criterion: NetCriterion
    n_features: int
    has_curvature: bool = True

    def at(self, v: Array) -> CriterionPoint:
        """Value, gradient and curvature at ``v``."""
        with np.errstate(divide="ignore"):
            point = self.criterion.at(1.0 / v)
        # A removed column is not active, and does not move.
        inverse = np.divide(1.0, v, out=np.zeros_like(v), where=v > 0)
        return CriterionPoint(
            point.value,
            -point.grad * inverse,
            lambda D: 2.0 * point.along(inverse[:, None] * D),
        )


@dataclass(frozen=True)
class NetSource:
    """Held-out errors of the elastic net; see `Source`.

    Parameters
    ----------
    views : RowViews
        The rows as the folds see them.
    splits : sequence of (train, valid)
        The folds.
    shares : tuple of NetShares
        Shares of the L1 norm; the best one at a shared strength is taken.
    """

    views: RowViews
    splits: Sequence[Pair]
    shares: tuple[NetShares, ...]

    @property
    def rows(self) -> AugmentedRows:
        """The rows."""
        return self.views.full

    @cached_property
    def _trainer(self) -> NetTrainer:
        everything = np.arange(self.rows.n_rows)
        pairs = [*self.splits, (everything, everything[:0])]
        net_rows = NetRows.of(self.rows, pairs, self.shares)
        return NetTrainer(net_rows, TrainingSet(everything, self.splits, None))

    @property
    def share(self) -> int:
        """The place of the shares that are taken."""
        return self._trainer.share

    @property
    def shared_v(self) -> float:
        """The best shared variance, from which a search starts."""
        return float(np.exp(self._trainer.shared("folds").log_v[0]))

    @property
    def metric(self) -> Array:
        """Ones: columns are not scaled."""
        return np.ones(self.rows.n_penalized)

    @property
    def trace(self) -> float:
        """Number of columns times the shared strength that removes all of them."""
        net = self._trainer
        cross = abs(net.dual_gradient(np.zeros((1, self.rows.n_penalized, 1))))
        top = (cross[0, :, 0] / net.unit.l1).max(initial=0.0)
        return float(top * self.rows.n_penalized)

    @property
    def null_loss(self) -> float:
        """Mean loss of the unpenalized columns alone."""
        return 0.5 * float(self._trainer.variance[0])

    def problem(self, outer: OuterVector) -> CriterionProblem:
        """The mean loss on held-out rows."""
        # Twice the total weight: a loss is half a square.
        criterion = NetCriterion.of(
            self._trainer.net_rows, self.share, self.splits, 2.0
        )
        return CriterionProblem(
            InVariances(criterion, self.rows.n_penalized),
            outer.parametrization,
            outer.bounds,
            outer.hyperpenalty,
        )

    def coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> Array:
        """Coefficients (n_free + p, 1) on the full data, free columns first."""
        return _coefficients(self._trainer, v)

    def fold_coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> list[Array]:
        """The same for every training set."""
        sets = (TrainingSet(a, (), None) for a, _ in self.splits)
        rows, share = self._trainer.net_rows, self.share
        return [_coefficients(NetTrainer(rows, s, share), v) for s in sets]

    def guide(self) -> Criterion | None:
        """None: no closed form is close to held-out errors."""
        return None

    def thinned(self, chosen: Array) -> NetSource:
        """The same: folds share the passes over the rows."""
        return self


def _coefficients(trainer: NetTrainer, v: Array) -> Array:
    return np.asarray(trainer.full_coefficients(trainer.solve(v[None, None]))[0, 0])
