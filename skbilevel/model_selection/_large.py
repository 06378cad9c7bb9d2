"""A training set known through products with X only, and its candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    Descent,
    RowsOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.model_selection._large_glm_budget import GLMBudget, MetadataMaker
from skbilevel.model_selection._large_glm_rows import LargeGLM
from skbilevel.model_selection._large_glm_tuning import LargeGLMTuning, Tuned
from skbilevel.model_selection._large_rows import CompactCandidates, LargeRows
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._refits import refits
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems import Centered, Design, RowsDataFit, SquaredLoss, Sweep
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.problems._penalties import Penalty, Ridge
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.solvers import CG

# Variances whose product with the largest squared column norm exceeds this are
# beyond what products in double precision can tell from infinity.
_SAFE = 1e12
# Points of the elastic net at most.
_POINTS = 5
# Conjugate-gradient steps of one solve at most.
_MAX_ITER = 1000
# Free deviations are not tried: the elastic net tells single columns apart.
_TUNING = GLMBudget(deviation=0.0)


@dataclass(frozen=True)
class Budget:
    """Limits of the work on a training set.

    Parameters
    ----------
    columns : int
        Largest working set of the elastic net; later points repeat the last one.
    accuracy : float
        Relative accuracy of the candidates' and the published coefficients.
    """

    columns: int = 400
    accuracy: float = 1e-5


@dataclass(frozen=True)
class RowsTrainer:
    """One training set, matrix-free; answers what `MomentTrainer` answers.

    Parameters
    ----------
    large : LargeRows
        Shared by all training sets.
    problem : LargeGLM
        The same rows, as strengths are tuned on them.
    set : TrainingSet
        Its rows; ``halves`` are the inner hold-outs on which strengths are tuned.
    budget : Budget
        Limits of the work.
    start : ndarray of shape (p, t) or None
        A guess at the coefficients, for `solve`.
    """

    large: LargeRows
    problem: LargeGLM
    set: TrainingSet
    budget: Budget = field(default_factory=Budget)
    start: Array | None = None
    penalty: ClassVar[Penalty] = Ridge()

    @classmethod
    def each(
        cls, rows: AugmentedRows, sets: Sequence[TrainingSet]
    ) -> list[RowsTrainer]:
        """One for every training set of the same rows."""
        large, squared = LargeRows.of(rows), SquaredLoss()
        problem = LargeGLM.of(replace(rows, y=large.y), squared, squared, None)
        return [cls(large, problem, s) for s in sets]

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""
        return self.large.rows

    @property
    def sets(self) -> list[TrainingSet]:
        """The training set, as a list."""
        return [self.set]

    @cached_property
    def weight(self) -> Array:
        """Sum of the row weights."""
        return np.array([self.train.weight_sum])

    @property
    def variance(self) -> Array:
        """Total variance of the swept targets."""
        return np.array([self.yy]) / self.weight

    @cached_property
    def yy(self) -> float:
        """Weighted sum of squared swept targets."""
        fit = self.train
        return float((fit.weight[:, None] * fit.target**2).sum())

    def _fit(self, design: Design, index: Array) -> RowsDataFit:
        weight = np.zeros(self.rows.n_rows)
        weight[index] = self.rows.weight[index]
        sweep = Sweep.of(self.large.free, weight) if self.rows.n_free else None
        return RowsDataFit(design, self.large.y, weight, sweep)

    @cached_property
    def _metric(self) -> Array:
        """Factors of all columns; ones unless a shared strength needs them."""
        out = np.ones(self.large.design.shape[1])
        if self.rows.standardize:
            plain = self._fit(self.large.design, self.set.rows)
            out = unit_metric(plain.curvature_diag, float(plain.weight_sum))
        return out

    @cached_property
    def train(self) -> RowsDataFit:
        """The training rows as a data fit; columns are scaled by the metric."""
        design = self.large.design
        if self.rows.standardize:
            design = Centered(design, np.zeros(len(self._metric)), 1.0 / self._metric)
        return self._fit(design, self.set.rows)

    @cached_property
    def ceiling(self) -> float:
        """Largest safe ``log v`` of the scaled columns."""
        top = self.train.curvature_diag[self.rows.penalized].max(initial=0.0)
        return float(np.log(_SAFE / top)) if top > 0 else 0.0

    def tune(
        self,
        members: Array | None,
        metadata: Metadata | None,
        limits: Limits,
        tell: Callable[[Tuned], bool],
    ) -> Tuned:
        """Strengths on a hold-out: one for all, then those of metadata or labels."""
        columns = MetadataMaker(self.problem, members, metadata)
        tuning = LargeGLMTuning(self.problem, columns, _TUNING, limits)
        return tuning.fold(self.set, tell)

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """The elastic-net path by working sets, as strengths."""
        n_points = min(n_points, _POINTS)
        oracle = RowsOracle(self.train, self.rows.penalized, self.yy)
        grid = relative_grid(float(self.weight[0]), self.rows.n_penalized, n_points)
        descent, size = Descent(limit=self.budget.columns), self.rows.column_size
        v, w = elastic_net_strengths(oracle, grid, ratio, descent, size)
        return v[None], w[None]

    def refits(self, v: Array) -> tuple[Array, Array]:
        """One strength on every support of ``v`` (1, c, p); see `refits`."""
        oracle = RowsOracle(self.train, self.rows.penalized, self.yy)
        v, w = refits(oracle, v[0], self.rows.n_free, None)
        return v[None], w[None]

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (1, c, p), each started at the one before."""
        penalized = self.rows.penalized
        full_v = np.zeros(self.train.n_features)
        state = None if self.start is None else self._lift(self.start)
        out = np.empty((1, v.shape[1], len(penalized), self.rows.n_targets))
        solver = CG(_MAX_ITER)
        for k, each in enumerate(v[0]):
            full_v[penalized] = each
            found = solver.solve(self.train, full_v, state, tol=self.budget.accuracy)
            state = found.W
            out[0, k] = state[penalized]
        return out

    def _lift(self, w: Array) -> Array:
        """Coefficients of all columns; zero where there is no penalty."""
        out = np.zeros((self.train.n_features, *w.shape[1:]))
        out[self.rows.penalized] = w
        return out

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (1, p, t)."""
        return -self.train.at(self._lift(w[0])).grad[self.rows.penalized][None]

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        _, c, p, t = w.shape
        m, metric = self.rows.n_free, self._metric[self.rows.penalized][:, None]
        out = np.empty((1, c, m + p, t))
        for k in range(c):
            out[0, k, :m] = self.train.free_coef(self._lift(w[0, k]))
            np.multiply(metric, w[0, k], out=out[0, k, m:])
        return out

    def variances(self, v: Array) -> Array:
        """Variances (1, c, p) for the columns as they are."""
        return np.asarray(v * self._metric[self.rows.penalized] ** 2)


if TYPE_CHECKING:
    from skbilevel.model_selection._paths import OnFamily
    from skbilevel.model_selection._recipe import Recipe


def large_candidates(
    trainer: RowsTrainer,
    recipe: Recipe,
    members: Array | None,
    metadata: Metadata | None,
    limits: Limits,
    tell: OnFamily | None = None,
) -> CompactCandidates:
    """Few candidates, each made from products with X.

    One strength, a function of metadata or of labels in the place of deviations of
    single features, whose number is that of the columns, and the elastic net.
    """
    # A trainer of its own: what it keeps while tuning is dropped with it.
    trainer = replace(trainer)
    stopped = False

    def enough(tuned: Tuned) -> bool:
        """Whether one strength for all columns will do."""
        nonlocal stopped
        known = partial(_candidates, trainer, tuned, {})
        stopped = tell is not None and tell("shared", known)
        return stopped or not recipe.half

    tuned = trainer.tune(members, metadata, limits, enough)
    paths: dict[str, tuple[Array, Array]] = {}
    if recipe.elastic_net and members is None and not stopped:
        path = trainer.elastic_net(recipe.elastic_net, recipe.ratio)
        paths["elastic_net"] = path
        if recipe.refits:
            paths["refit"] = trainer.refits(path[0])
    return _candidates(
        trainer, tuned, paths, "metadata" if members is None else "groups"
    )


def _candidates(
    trainer: RowsTrainer,
    tuned: Tuned,
    paths: dict[str, tuple[Array, Array]],
    second: str = "",
) -> CompactCandidates:
    """Tuned strengths, solved, with the paths (1, c, p) and their coefficients."""
    square = trainer.variances(np.ones((1, 1, trainer.rows.n_penalized)))[0]
    v = np.stack(tuned.v) / square
    family, value = ["shared", second][: len(v)], [np.nan, 0.0][: len(v)]
    made = [(v, trainer.solve(v[None])[0])]
    for name, (v_path, w_path) in paths.items():
        family += [name] * v_path.shape[1]
        value += list(range(v_path.shape[1]))
        made.append((v_path[0], w_path[0]))
    packed_v, packed_w = (_packed(each) for each in zip(*made, strict=True))
    shared = SharedOptimum.of([(tuned.center, tuned.shared.edge, trainer.ceiling)])
    return CompactCandidates(tuple(family), np.array(value), packed_v, packed_w, shared)


def _packed(parts: Sequence[Array]) -> sparse.csr_array:
    """Arrays (c, ...) below each other, as one row a candidate."""
    rows = [sparse.csr_array(each.reshape(len(each), -1)) for each in parts]
    return sparse.vstack(rows, format="csr")
