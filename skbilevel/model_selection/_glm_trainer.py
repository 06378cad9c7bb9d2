"""A training set of a generalized linear model.

Candidates come from least squares on *working responses*: around predictions ``eta``
the loss of a row is, to second order,

    0.5 d (z - x w)^2 + constant,    d = s loss'',   z = eta - loss' / loss''

so that paths under half-sampling, evidence and elastic net are those of ridge, with
row weights d and targets z, expanded around the solution at the shared strength. Every
candidate is then solved exactly, and only exact solutions are scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skbilevel._device_array import beside
from skbilevel._typing import Array
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._glm_rows import GLMRows, n_uncommon
from skbilevel.model_selection._glm_shared import SharedPath, shared_path
from skbilevel.model_selection._glm_solve import State, TrainingProblem
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.model_selection._training import Likelihood
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._losses import facts_of
from skbilevel.problems._moments import AugmentedRows, RowMoments, unit_metric
from skbilevel.problems._penalties import Penalty, Ridge
from skbilevel.problems._spectrum import SharedOptimum, choose_shared
from skbilevel.problems._sweep import regression_map

# Largest variance times the largest squared norm of a column.
_CEILING = np.log(1e8)
# Fewer rows that differ from the commonest target tell no strength from another; the
# logarithm of the regularization that they get, relative to the largest curvature.
_MIN_UNCOMMON, _STRONG = 3, 3.0
# Working responses need a curvature; rows that have less count as having this share
# of the mean.
_CURVATURE = 1e-4


@dataclass(frozen=True)
class GLMTrainer:
    """One training set; answers what `MomentTrainer` answers.

    Parameters
    ----------
    glm : GLMRows
        Shared by all training sets.
    set : TrainingSet
        Its rows; ``shared`` are the folds that choose the shared strength.
    guide : GLMTrainer or None
        That of all rows, whose folds choose the shared strength of this set, too: the
        losses of rows outside of the set have no say.
    """

    glm: GLMRows
    set: TrainingSet
    guide: GLMTrainer | None = None
    penalty: ClassVar[Penalty] = Ridge()

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""
        return self.glm.rows

    @property
    def sets(self) -> list[TrainingSet]:
        """The training set, as a list."""
        return [self.set]

    @cached_property
    def weight(self) -> Array:
        """Sum of the row weights."""
        return np.array([self.rows.weight[self.set.rows].sum()])

    @cached_property
    def metric(self) -> Array:
        """Factors (p,) of the columns; variances refer to scaled columns."""
        p = self.rows.n_penalized
        if not self.rows.standardize:
            return np.ones(p)
        s = self.rows.weight[self.set.rows]
        X, E = self.glm.X[self.set.rows], self.glm.free[self.set.rows]
        root = np.sqrt(s)[:, None]
        rest = root * X - root * E @ (regression_map(root * E) @ (root * X))
        return unit_metric((rest**2).sum(axis=0), float(s.sum()))

    @cached_property
    def problem(self) -> TrainingProblem:
        """The training rows, ready to be solved at any variances."""
        index, glm = self.set.rows, self.glm
        X = glm.X[index]
        X = X * self.metric if self.rows.standardize else X
        free = glm.free[index]
        columns = np.hstack([free, X])
        weight = self.rows.weight[index]
        offset = None if glm.offset is None else glm.offset[index]
        y = facts_of(glm.loss).with_pseudo_counts(self.rows.y[index], weight, offset)
        y, weight, offset = (beside(X, each) for each in (y, weight, offset))
        return TrainingProblem(columns, free, y, weight, offset, glm.loss)

    @property
    def variance(self) -> Array:
        """Twice the null loss: half a weighted square is a loss."""
        return np.array([2.0 * self.problem.null.loss])

    @cached_property
    def _start(self) -> tuple[SharedOptimum, State]:
        """The best shared strength, and the solution at it."""
        log_v, edge, start = self._choose_shared()
        shared = SharedOptimum.of([(log_v, edge, self._top)])
        return shared, self.problem.solve_shared(float(np.exp(log_v)), start)

    @property
    def _top(self) -> float:
        """The largest log variance; columns of zeros have none of their own."""
        square = self.problem.largest_square
        return float(_CEILING - np.log(square)) if square > 0 else 0.0

    def _choose_shared(self) -> tuple[float, int, Array | None]:
        """The logarithm of a variance, its edge, and a solution nearby."""
        index = self.set.rows
        uncommon = n_uncommon(self.rows.y[index], self.rows.weight[index])
        path = self._known_path() if uncommon >= _MIN_UNCOMMON else None
        if path is None:
            # One event teaches the folds that have it to predict all other rows well.
            below = _STRONG if uncommon < _MIN_UNCOMMON else 0.0
            scale = max(self.problem.scale(self.problem.rotated()), 1e-300)
            return min(-float(np.log(scale)) - below, self._top), 0, None
        inside = np.isin(path.row, self.set.rows)
        chosen = choose_shared(path.grid, path.loss[inside], path.weight[inside])
        # The end of the path is no optimum at infinity: see `shared_path`.
        log_v = min(chosen[0], self._top)
        return log_v, min(chosen[1], 0), path.near(log_v)

    def _known_path(self) -> SharedPath | None:
        """The path of all rows, where it speaks of most rows of this set."""
        path = None if self.guide is None else self.guide.path
        if path is None or 2 * np.isin(self.set.rows, path.row).sum() < len(
            self.set.rows
        ):
            return self.path
        return path

    @cached_property
    def path(self) -> SharedPath | None:
        """Losses of left-out rows along a path of shared strengths, one fold each."""
        pairs = self.set.in_positions(self.rows.n_rows).shared
        if not pairs:
            return None
        rotated = self.problem.rotated()
        scale = max(self.problem.scale(rotated), 1e-300)
        path = shared_path(rotated, pairs, scale, self._top)
        return replace(path, row=self.set.rows[path.row])

    def shared(self, criterion: str) -> SharedOptimum:
        """The best shared strength; the criterion is always that of the folds."""
        return self._start[0]

    @cached_property
    def _working(self) -> MomentTrainer | KernelTrainer:
        """Least squares on working responses."""
        t = self.rows.n_targets
        d = self._curvature.mean(axis=1) * (t / (t - 1.0) if t > 1 else 1.0)
        return self._least_squares(d, slice(None), self.glm.noise)

    def by_class(self) -> Iterator[MomentTrainer | KernelTrainer]:
        """Least squares on the working responses of every class by itself."""
        for c, d in enumerate(np.asarray(self._curvature).T):
            yield self._least_squares(d, slice(c, c + 1), 1.0)

    @property
    def _curvature(self) -> Array:
        return self.glm.loss.curvature(self._start[1].eta, self.problem.y)

    def _least_squares(
        self, d: Array, targets: slice, noise: float | None
    ) -> MomentTrainer | KernelTrainer:
        """Rows weighted by curvatures ``d`` (n,), some of their working responses."""
        problem, glm, rows = self.problem, self.glm, self.rows
        eta = self._start[1].eta
        mean = float(problem.weight @ d / self.weight[0])
        d = np.maximum(d, _CURVATURE * max(mean, 1e-300))
        z = eta - glm.loss.grad(eta, problem.y) / d[:, None]
        if problem.offset is not None:
            z = z - problem.offset
        # Least squares has its targets and weights here, wherever X lies.
        z, weight = np.asarray(z)[:, targets], np.asarray(problem.weight * d)
        working = glm.taken(self.set.rows, problem.X, self.metric)
        working = replace(working, y=z, weight=weight, y_shift=np.zeros(z.shape[1]))
        inside = self.set.in_positions(rows.n_rows)
        known = Likelihood(float(self.weight[0]), problem.null.loss, noise)
        if problem.in_rows(rows.n_penalized):
            kernel_rows = KernelRows.of(working)
            if kernel_rows.X is problem.X:
                kernel_rows = replace(kernel_rows, kernels=problem.kernels)
            return KernelTrainer(kernel_rows, inside, known)
        return MomentTrainer(working, [inside], RowMoments(working), known)

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss."""
        return self._working.halves(log_v)

    def half(self, h: int, log_v: Array, share: float) -> Any:
        """Model of the loss of one half, relative to ``share`` of all."""
        return self._working.half(h, log_v, share)

    def evidence_path(
        self, recipe: Recipe, strengths: Strengths, theta: Array, bounds: Bounds
    ) -> list[Array]:
        """Steps on Laplace's evidence and its hyperpenalty."""
        return self._working.evidence_path(recipe, strengths, theta, bounds)

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """The elastic-net path of the working responses as strengths."""
        v, _ = self._working.elastic_net(n_points, ratio)
        return v, self.solve(v)

    def solve(self, v: Array) -> Array:
        """Coefficients (1, c, p, t) at variances (1, c, p) or (1, c, p, t).

        Candidates are solved roughly, a single one, which is published, accurately.
        """
        found = []
        for each, state in zip(v[0], self._solutions(v[0]), strict=True):
            w = self.problem.coefficients(each, state)
            self._heads[_digest(w)] = state.head
            if v.shape[1] > 1:
                self._known[_digest(each)] = np.concatenate([state.head, w])
            found.append(w)
        return np.stack(found)[None]

    def _solutions(self, v: Array) -> Iterator[State]:
        """Solutions of the problem at variances (c, p, ...)."""
        state = self._start[1]
        if v.ndim == 2 and len(v) > 1 and self.problem.pays_together:
            yield from self.problem.solve_together(v, state)
            return
        for each in v:
            rough = len(v) > 1
            known = None if rough else self._known.get(_digest(each))
            state = self.problem.solve(each, state, rough=rough, known=known)
            yield state

    @cached_property
    def _heads(self) -> dict[bytes, Array]:
        """Free coefficients of what was solved, so that no one solves for them."""
        return {}

    @cached_property
    def _known(self) -> dict[bytes, Array]:
        """Rough coefficients of candidates, which accurate ones are started from."""
        return {}

    def _head(self, w: Array) -> Array:
        known = self._heads.get(_digest(w))
        return self.problem.head(w, self._start[1].head)[0] if known is None else known

    def dual_gradient(self, w: Array) -> Array:
        """``u = -X^T loss'`` for coefficients (1, p, t), the intercept at its best."""
        start = self._start[1].head
        return self.problem.dual_gradient(w[0], start)[None]

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        heads = np.stack([self._head(each) for each in w[0]])
        return np.concatenate([heads, self.metric[:, None] * w[0]], axis=1)[None]

    def variances(self, v: Array) -> Array:
        """Variances (1, c, p, ...) for the columns as they are."""
        square = self.metric**2
        return np.asarray(v * (square if v.ndim == 3 else square[:, None]))


def _digest(w: Array) -> bytes:
    """Stands for coefficients, which would take much memory as a key."""
    return hashlib.blake2b(w.tobytes(), digest_size=16).digest()
