"""The primal regime: training sets as Gram matrices, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import GramOracle
from skbilevel.model_selection._held_out_moments import HeldOutMoments
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._refits import positive
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.model_selection._training import LeastSquaresTrainer, Likelihood
from skbilevel.problems._active_set import Moments
from skbilevel.problems._evidence import MomentEvidence
from skbilevel.problems._moments import (
    AugmentedRows,
    CellMoments,
    RowMoments,
    Swept,
    scaled,
    sweep,
    sweep_map,
    unit_metric,
)
from skbilevel.problems._resampled import MomentHalves
from skbilevel.problems._ridge import solve_moments
from skbilevel.problems._spectrum import (
    SharedOptimum,
    Spectrum,
    base_leverage,
    shared_by,
)
from skbilevel.problems._summed_rows import SummedRows
from skbilevel.solvers.outer._gauss_newton import gauss_newton_path


@dataclass(frozen=True)
class MomentTrainer(LeastSquaresTrainer):
    """Primal: Gram matrices of all sets at once."""

    rows: AugmentedRows
    sets: Sequence[TrainingSet]
    source: CellMoments | RowMoments
    likelihood: Likelihood | None = None

    @cached_property
    def _moment(self) -> Array:
        return self.source.sums([s.rows for s in self.sets])

    @cached_property
    def train(self) -> Swept:
        """Swept moments of the training sets."""
        weight = np.array([self.rows.weight[s.rows].sum() for s in self.sets])
        return scaled(self._sweep(self._moment, self._moment, weight), self.metric)

    @cached_property
    def metric(self) -> Array:
        """Factors (F, p) of the columns; variances refer to scaled columns."""
        weight = np.array([self.rows.weight[s.rows].sum() for s in self.sets])
        if not self.rows.standardize:
            return np.ones((len(self.sets), self.rows.n_penalized))
        plain = self._sweep(self._moment, self._moment, weight).gram
        square = np.diagonal(plain, axis1=-2, axis2=-1)
        return unit_metric(np.maximum(square, 0.0), weight[:, None])

    def _sweep(self, by: Array, moment: Array, weight: Array) -> Swept:
        rows = self.rows
        free = sweep_map(by, rows.n_free)
        return sweep(moment, rows.n_free, rows.n_penalized, weight, free)

    @property
    def weight(self) -> Array:
        """Sums of row weights."""
        return self.train.weight_sum

    def _variance(self) -> Array:
        return np.asarray(self.train.yy.sum(axis=-1))

    @cached_property
    def _half_objective(self) -> MomentHalves:
        H = len(self.sets[0].halves)
        sums = self.source.sums([a for s in self.sets for a, _ in s.halves])
        train = sums.reshape(len(self.sets), H, *sums.shape[1:])
        valid = self._moment[:, None] - train
        weight = self.rows.weight
        sizes = np.array(
            [
                [(weight[a].sum(), weight[b].sum()) for a, b in s.halves]
                for s in self.sets
            ]
        )
        scale = sizes[..., 1].sum(axis=1) * self.variance
        metric = self.metric[:, None]
        return MomentHalves(
            scaled(self._sweep(train, train, sizes[..., 0]), metric),
            scaled(self._sweep(train, valid, sizes[..., 1]), metric),
            np.where(scale > 0, scale, 1.0),
        )

    def evidence_path(
        self, recipe: Recipe, strengths: Strengths, theta: Array, bounds: Bounds
    ) -> list[Array]:
        """Fisher-scoring steps on the evidence and its hyperpenalty."""
        evidence = MomentEvidence(self.train)
        if self.likelihood is not None:
            unit = np.array([self.likelihood.weight])
            evidence = MomentEvidence(self.train, self.likelihood.noise, unit)

        def model(x: Array) -> Any:
            return strengths.pull_back(evidence.at(strengths.expand(x)))

        penalty = strengths.deviations(self.rows.n_penalized)
        lambdas, n_steps = recipe.evidence, recipe.evidence_steps
        return gauss_newton_path(model, theta, lambdas, penalty, n_steps, bounds)

    def shared(self, criterion: str) -> SharedOptimum:
        """Best shared ``log v`` of every set."""
        lam, Q = np.linalg.eigh(self.train.gram)
        found = [
            self._shared_of(f, lam[f], Q[f], criterion) for f in range(len(self.sets))
        ]
        return SharedOptimum.of(found)

    def _shared_of(
        self, f: int, lam: Array, Q: Array, criterion: str
    ) -> tuple[float, int, float]:
        lam, Q = positive(lam, Q)
        given = self.sets[f].shared
        spectrum = self._spectrum(f, lam, Q, criterion == "loo" and given is None)
        if given is None:
            return shared_by(spectrum, criterion, self.rows.weight[self.sets[f].rows])
        weight = np.array([self.rows.weight[b].sum() for _, b in given])
        resampled = partial(self._resampled_shared, f)
        return shared_by(spectrum, criterion, weight, resampled)

    def _spectrum(self, f: int, lam: Array, Q: Array, use_rows: bool) -> Spectrum:
        train, rows = self.train, self.rows
        rotated = (Q.T @ train.cross[f]) / np.sqrt(lam)[:, None]
        left = y = base = None
        if use_rows:
            index = self.sets[f].rows
            root = np.sqrt(rows.weight[index])[:, None]
            E, p = rows.free_block(index), rows.n_penalized
            turn = self.metric[f][:, None] * Q / np.sqrt(lam)
            on_free, y_free = train.free[f][:, :p], train.free[f][:, p:]
            whole = np.concatenate([-on_free @ turn, turn])
            left = root * rows.predict(index, whole)
            y = root * (rows.targets(index) - E @ y_free)
            free = root * E
            base = base_leverage(free)
        return Spectrum(
            lam,
            rotated,
            left,
            y,
            base,
            float(train.yy[f].sum()),
            float(train.weight_sum[f]),
            rows.n_free,
        )

    def _resampled_shared(self, f: int, grid: Array) -> Array:
        pairs = self.sets[f].shared or ()
        sums = self.source.sums([a for a, _ in pairs])
        weight = np.array([self.rows.weight[a].sum() for a, _ in pairs])
        train = scaled(self._sweep(sums, sums, weight), self.metric[f])
        rest = self._moment[f] - sums
        valid = scaled(self._sweep(sums, rest, weight), self.metric[f])
        value = np.repeat(valid.yy.sum(axis=-1)[:, None], len(grid), axis=1)
        lam, Q = np.linalg.eigh(train.gram)
        for h in range(len(weight)):
            turn = Q[h]
            shrink = np.exp(grid)[None, :] / (
                1.0 + np.maximum(lam[h], 0.0)[:, None] * np.exp(grid)[None, :]
            )
            H = turn.T @ valid.gram[h] @ turn
            for a, b in zip(
                (turn.T @ train.cross[h]).T, (turn.T @ valid.cross[h]).T, strict=True
            ):
                w = shrink * a[:, None]
                value[h] += (w * (H @ w)).sum(axis=0) - 2.0 * b @ w
        return np.maximum(value, 0.0)

    def oracle(self, f: int = 0) -> GramOracle:
        """Least squares on a set, for coordinate descent."""
        train = self.train
        yy, weight = float(train.yy[f].sum()), float(train.weight_sum[f])
        known = not isinstance(self.rows, SummedRows)
        rows = partial(self._swept_rows, f) if known else None
        n_rows = len(self.sets[f].rows)
        return GramOracle(train.gram[f], train.cross[f], yy, weight, rows, n_rows)

    def _swept_rows(self, f: int, active: Array) -> tuple[Array, Array]:
        """Some scaled columns of the rows of a set, and targets; root-weighted."""
        rows, index, p = self.rows, self.sets[f].rows, self.rows.n_penalized
        root, E = np.sqrt(rows.weight[index])[:, None], rows.free_block(index)
        on_free, y_free = self.train.free[f][:, :p], self.train.free[f][:, p:]
        block = rows.penalized_block(index, active) - E @ on_free[:, active]
        block *= root
        block *= self.metric[f][active]
        return block, root * (rows.targets(index) - E @ y_free)

    def held_out(self, valid: Array) -> HeldOutMoments:
        """Errors on rows outside of the first set, which its coefficients predict."""
        sums, free = self.source.sums([valid]), self.train.free[:1]
        weight = np.array([self.rows.weight[valid].sum()])
        n_free, p = self.rows.n_free, self.rows.n_penalized
        swept = scaled(sweep(sums, n_free, p, weight, free), self.metric[:1])
        yy = float(swept.yy[0].sum())
        return HeldOutMoments(Moments(swept.gram[0], swept.cross[0, :, 0], yy))

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (F, c, p)."""
        return np.stack(
            [
                solve_moments(gram, cross, row)
                for gram, cross, row in zip(
                    self.train.gram, self.train.cross, v, strict=True
                )
            ]
        )

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (F, p, t)."""
        return np.asarray(self.train.cross - self.train.gram @ w)

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        free = self.train.free[:, None]
        p = self.rows.n_penalized
        w = self.metric[:, None, :, None] * w
        head = free[..., p:] - free[..., :p] @ w
        return np.concatenate([head, w], axis=-2)

    def variances(self, v: Array) -> Array:
        """Variances (F, c, p) for the columns as they are."""
        return np.asarray(v * self.metric[:, None] ** 2)
