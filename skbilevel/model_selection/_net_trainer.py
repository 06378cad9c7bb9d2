"""Training sets of the elastic net as the guard sees them.

Strengths are searched as ``log v = -log alpha``, so that paths, hyperpenalties, labels,
metadata and limits are those of ridge. Strengths are tuned on the folds inside of a
training set, of which ``halves`` and ``shared`` are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._family import LeastSquares
from skbilevel.model_selection._held_out_moments import HeldOutRows
from skbilevel.model_selection._net_criterion import NetCriterion
from skbilevel.model_selection._net_sets import (
    STEP,
    ErrorCurve,
    NetPath,
    NetRows,
    NetSet,
)
from skbilevel.model_selection._net_shares import NetShares
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.model_selection._weighted_net import solve_net
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._penalties import ElasticNet
from skbilevel.problems._resampled import LeastSquaresModel
from skbilevel.problems._spectrum import SharedOptimum

# A search along a path ends where half a decade of strengths was no better, or where
# the error is so many times the least one: it rises further as columns come in.
_PATIENCE, _WORSE = 10 * STEP, 1.05
# Strengths are no smaller than this share of the one that removes all columns.
_WEAKEST = 1e-6
# First stages of refits: so many points of the path of a shared strength, so far apart.
_STAGES, _STAGE = 4, 8
# Errors that differ by less are the same: coordinate descent may end where it started.
_TIE = 1e-6
# Strengths that are judged at once.
_BLOCK = 5


@dataclass(frozen=True)
class Best:
    """The best strength on a path, and the sum of squared errors there.

    ``edge`` is -1 where no column helps. The weak end of the path is no edge: it is
    where the path stops, and strengths beyond it are hardly weaker models.
    """

    error: float
    log_alpha: float
    edge: int


def best_on_path(
    paths: Sequence[NetPath], rows: Sequence[HeldOutRows], log_top: float
) -> Best:
    """The strength at which all paths together predict held-out rows best.

    ``rows`` judge one path each; ``log_top`` is a strength to count steps from.
    """
    curves, step = list(map(ErrorCurve, paths, rows)), paths[0].step
    first = int(np.ceil((max(each.log_top for each in paths) - log_top) / step))
    best, place, n_made, ended = Best(np.inf, log_top, -1), 0, 0, False
    while not ended and (step * (n_made - place) <= _PATIENCE or place == 0):
        log_alpha = log_top + step * (first - n_made - np.arange(_BLOCK))
        errors = np.sum([curve.at(log_alpha) for curve in curves], axis=0)
        least = float(errors.min())
        if least < best.error * (1.0 - _TIE):
            k = int(np.argmax(errors <= least * (1.0 + _TIE)))
            place = n_made + k
            best = Best(least, float(log_alpha[k]), -1 if place == 0 else 0)
        ended = not errors[-1] < (_WORSE * best.error if place else np.inf)
        n_made += int(np.isfinite(errors).sum())
    return best


@dataclass(frozen=True)
class NetTrainer:
    """One training set; answers what `MomentTrainer` answers.

    Parameters
    ----------
    net_rows : NetRows
        Shared by all training sets.
    set : TrainingSet
        Its rows, and the folds inside.
    given : int or None
        The place of the share of the L1 norm; None takes the best one.
    """

    net_rows: NetRows
    set: TrainingSet
    given: int | None = None

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""
        return self.net_rows.rows

    @property
    def sets(self) -> list[TrainingSet]:
        """The training set, as a list."""
        return [self.set]

    @property
    def _net(self) -> NetSet:
        return self.net_rows.at(self.set.rows)

    @property
    def weight(self) -> Array:
        """Sum of the row weights."""
        return np.array([self._net.weight])

    @property
    def variance(self) -> Array:
        """Total variance of the swept targets."""
        return np.asarray(self._net.trainer.variance)

    @cached_property
    def _pairs(self) -> list[tuple[NetSet, HeldOutRows]]:
        nets = [(self.net_rows.at(a), b) for a, b in self.set.halves]
        return [(net, net.held_out(b)) for net, b in nets]

    @cached_property
    def _best(self) -> tuple[int, Best]:
        """The best share, and the best strength on its path."""
        given = self.given
        shares = range(len(self.net_rows.shares)) if given is None else [given]
        if not self._pairs or not self.variance[0] > 0:
            return shares[0], Best(0.0, self._net.path(shares[0]).log_top, 0)
        nets, rows = zip(*self._pairs, strict=True)
        found = []
        for s in shares:
            paths, log_top = [net.path(s) for net in nets], self._net.path(s).log_top
            found.append((s, best_on_path(paths, rows, log_top)))
        return min(found, key=lambda each: each[1].error)

    @property
    def share(self) -> int:
        """The place of the shares that predict held-out rows best."""
        return self._best[0]

    @property
    def unit(self) -> ElasticNet:
        """The penalty of the set at strengths of one."""
        return self._net.unit(self.share)

    @property
    def penalty(self) -> ElasticNet:
        """The same for coefficients (p, t)."""
        unit = self.unit
        return ElasticNet(unit.v[:, None], unit.l1[:, None])

    def shared(self, criterion: str) -> SharedOptimum:
        """The best strength of the folds inside, on a path."""
        share, best = self._best
        ceiling = -self._net.path(share).log_top - np.log(_WEAKEST)
        log_v = min(-best.log_alpha, ceiling)
        return SharedOptimum.of([(log_v, best.edge, ceiling)], share)

    @cached_property
    def _criterion(self) -> NetCriterion:
        variance = float(self.variance[0])
        return NetCriterion.of(self.net_rows, self.share, self.set.halves, variance)

    def halves(self, log_v: Array) -> LeastSquaresModel:
        """Model of the error on the folds inside."""
        return self._criterion.model(log_v)

    def half(self, h: int, log_v: Array, share: float) -> LeastSquaresModel:
        """Model of the error on one of them, relative to ``share`` of all."""
        return self._criterion.only(h, share).model(log_v)

    def evidence_path(
        self, recipe: Recipe, strengths: Strengths, theta: Array, bounds: Bounds
    ) -> list[Array]:
        """None: the marginal likelihood has no closed form."""
        return []

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """Adaptive refits at the powers ``0, ratio, ...``, ``n_points`` of them."""
        v = np.stack([self._adaptive(ratio * k) for k in range(n_points)])
        return v[None], self.solve(v[None])

    def refits(self, v: Array) -> tuple[Array, Array]:
        """None beside the adaptive ones."""
        raise NotImplementedError

    def _adaptive(self, power: float) -> Array:
        """Variances (p,) of a refit of the columns of a first stage.

        The first stage is a point of the path of a shared strength. A column that it
        keeps at ``w_j`` has the strength ``alpha |w_j|^-power`` in the second, any
        other one is removed. Both stages are chosen by the folds inside: the relaxed
        lasso of Meinshausen (2007) for a power of zero, the multi-stage adaptive lasso
        of Buehlmann and Meier (2008) for one.
        """
        v = np.zeros(self.rows.n_penalized)
        if not self._pairs:
            return v
        power = power if np.isinf(self.unit.v).all() else 0.0
        nets, rows = zip(*self._pairs, strict=True)
        own, found = self._net.path(self.share), []
        for first in self._first_stages(nets):
            paths = [net.second_stage(self.share, first, power) for net in nets]
            log_top = self._net.second_stage(self.share, first, power).log_top
            found.append((best_on_path(paths, rows, log_top), first))
        best, first = min(found, key=lambda each: each[0].error)
        index, w = own.near(first)
        v[index] = np.exp(-best.log_alpha) * abs(w) ** power
        return v

    def _first_stages(self, nets: Sequence[NetSet]) -> Array:
        """The best shared strength, and stronger ones."""
        best = self._best[1].log_alpha
        stages = best + STEP * _STAGE * np.arange(_STAGES)
        top = max(net.path(self.share).log_top for net in nets)
        return stages[(stages < top) | (stages == best)]

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (1, c, p), each started at the one before."""
        out, found = np.zeros((*v.shape, 1)), None
        for k, each in enumerate(v[0]):
            with np.errstate(divide="ignore"):
                penalty = self.unit.times(1.0 / each)
            found = solve_net(self._net.oracle, penalty, found)
            out[0, k, found.index, 0] = found.w
        return out

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (1, p, 1)."""
        return self._net.trainer.dual_gradient(w)

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        return self._net.trainer.full_coefficients(w)

    def variances(self, v: Array) -> Array:
        """The same variances: columns are not scaled."""
        return v


@dataclass(frozen=True)
class NetFamily(LeastSquares):
    """Squared error of one target, with a penalty that removes columns."""

    shares: tuple[NetShares, ...] = ()

    def trainers(self, views: RowViews, plan: NestedPlan) -> Sequence[Any]:
        """One trainer for every set."""
        out: list[NetTrainer] = []
        for rows, part in views.parts(plan):
            sets = (part.full, *part.outer)
            pairs = [pair for s in sets for pair in (*s.halves, (s.rows, s.rows[:0]))]
            net_rows = NetRows.of(rows, pairs, self.shares)
            out += [NetTrainer(net_rows, s) for s in sets]
        return out
