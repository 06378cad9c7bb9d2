"""A training set known through products with X only, and its candidates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
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
from skbilevel.model_selection._large_glm_columns import Coordinates, Statistics
from skbilevel.model_selection._large_metadata import (
    MetadataSearch,
    emphasis,
    intrinsic_metadata,
)
from skbilevel.model_selection._large_rows import CompactCandidates, LargeRows
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._refits import refits
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems import (
    BilevelProblem,
    Centered,
    Design,
    Embedded,
    GroupStrengths,
    Parametrization,
    RowsDataFit,
    SharedStrength,
    Sweep,
    Task,
)
from skbilevel.problems._moments import AugmentedRows, unit_metric
from skbilevel.problems._penalties import Penalty, Ridge
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.solvers import (
    CG,
    LBFGSB,
    SOLVERS,
    Implicit,
    Nested,
    Status,
    best_shared_strength,
)

# Variances whose product with the largest squared column norm exceeds this are
# beyond what products in double precision can tell from infinity.
_SAFE = 1e12
# Quasi-Newton steps on strengths of labels.
_GROUP_STEPS = 10
# Weight of the mean squared departure of a function of metadata from the shared log
# variance, and how far below and above it the function may go.
_LAM, _REACH = 0.001, (-6.0, 4.0)
# Points of the elastic net at most.
_POINTS = 5
# Conjugate-gradient steps of one solve at most.
_MAX_ITER = 1000
_EDGE = {Status.AT_INFINITY: -1, Status.AT_ZERO: 1}


@dataclass(frozen=True)
class Budget:
    """Limits of the work on a training set.

    Parameters
    ----------
    metadata_steps : int
        Gauss-Newton steps on a function of metadata.
    columns : int
        Largest working set of the elastic net; later points repeat the last one.
    tuning_accuracy : tuple of float
        Relative accuracy of coefficients and of their derivatives while tuning.
    accuracy : float
        Relative accuracy of the candidates' and the published coefficients.
    """

    metadata_steps: int = 2
    columns: int = 400
    tuning_accuracy: tuple[float, float] = (5e-4, 3e-2)
    accuracy: float = 1e-5


@dataclass(frozen=True)
class RowsTrainer:
    """One training set, matrix-free; answers what `MomentTrainer` answers.

    Parameters
    ----------
    large : LargeRows
        Shared by all training sets.
    set : TrainingSet
        Its rows; ``halves`` are the inner hold-outs on which strengths are tuned.
    budget : Budget
        Limits of the work.
    start : ndarray of shape (p, t) or None
        A guess at the coefficients, for `solve`.
    """

    large: LargeRows
    set: TrainingSet
    budget: Budget = field(default_factory=Budget)
    start: Array | None = None
    penalty: ClassVar[Penalty] = Ridge()

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
    def _tasks(self) -> tuple[Task, ...]:
        tasks = []
        for train, valid in self.set.halves:
            inner = self._fit(self.train.design, train)
            weight = np.zeros(self.rows.n_rows)
            weight[valid] = self.rows.weight[valid]
            outer = RowsDataFit(inner.design, inner.y, weight, inner.sweep)
            tasks.append(Task(inner, outer, outer.weight_sum))
        return tuple(tasks)

    def _embedded(self, inner: Parametrization) -> Parametrization:
        return Embedded(inner, self.rows.penalized, self.train.n_features)

    @cached_property
    def _ceiling(self) -> float:
        top = self.train.curvature_diag[self.rows.penalized].max(initial=0.0)
        return float(np.log(_SAFE / top)) if top > 0 else 0.0

    def shared(self, criterion: str) -> SharedOptimum:
        """Best shared ``log v`` on the inner hold-outs: closed forms need a factor."""
        ceiling = self._ceiling
        if not self._tasks or not self.yy > 0:
            return SharedOptimum.of([(ceiling - np.log(_SAFE), 0, ceiling)])
        p = self.train.n_features
        box = (np.array([-np.inf]), np.array([np.inf]))
        problem = BilevelProblem(self._tasks, SharedStrength(p), box)
        diagonal = self.train.curvature_diag[self.rows.penalized]
        v0 = 1.0 / max(float(diagonal.mean()), np.exp(-ceiling))
        found = best_shared_strength(
            SOLVERS["amigo"],
            problem,
            v0,
            bounds=(-300.0, max(ceiling, -299.0)),
            index=self.rows.penalized,
        )
        edge = _EDGE.get(found.status, 0)
        return SharedOptimum.of([(float(np.log(found.v)), edge, ceiling)])

    def metadata(self, shared: SharedOptimum, Z: list[Array]) -> Array:
        """Variances (p,) as a tuned function of metadata.

        ``Z`` holds the columns of the training set and of the training part of
        every inner hold-out, so that no hold-out row speaks about its own error.
        """
        center = float(shared.log_v[0])
        low, high = center + _REACH[0], center + _REACH[1]
        high = max(min(high, float(shared.ceiling[0])), low + 1e-6)
        even = emphasis(self.train, self.rows.penalized)
        coordinates = Coordinates.of(Statistics(Z[0], even))
        parts = [coordinates.apply(Statistics(each, even)).Z for each in Z]
        weight = sum(float(task.weight) for task in self._tasks)
        search = MetadataSearch(
            self._tasks,
            self.rows.penalized,
            center,
            (low, high),
            weight * float(self.variance[0]),
            self.budget.tuning_accuracy,
            _MAX_ITER,
        )
        return search.run(parts[0], parts[1:], _LAM, self.budget.metadata_steps)

    def groups(self, shared: SharedOptimum, members: Array) -> Array:
        """Variances (p,), one tuned for every label."""
        v0 = float(np.exp(shared.log_v[0]))
        own = self._embedded(GroupStrengths(members, v0))
        box = own.bounds(np.exp(-300.0), np.exp(self._ceiling))
        problem = BilevelProblem(self._tasks, own, box)
        outer = LBFGSB(accuracy=(self.budget.tuning_accuracy[0],) * 2)
        solver = Nested(CG(_MAX_ITER), Implicit(), outer)
        found = solver.solve(problem, own.init(v0), tol=1e-4, max_iter=_GROUP_STEPS)
        return np.asarray(found.v[self.rows.penalized])

    def metadata_columns(self, given: list[Array] | None) -> list[Array]:
        """Intrinsic columns of every fit, those of the user beside them."""
        fits = [self.train] + [task.inner for task in self._tasks]
        out = []
        for k, fit in enumerate(fits):
            assert isinstance(fit, RowsDataFit)
            Z = intrinsic_metadata(fit, self.rows.penalized)
            out.append(Z if given is None else np.hstack([Z, given[k]]))
        return out

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
    tell: OnFamily | None = None,
) -> CompactCandidates:
    """Few candidates, each made from products with X.

    Free deviations of single features are not tried: their number is that of the
    columns, and a function of metadata carries what can be learned at this size.
    """
    # A trainer of its own: what it keeps while tuning is dropped with it.
    trainer = replace(trainer)
    shared = trainer.shared(recipe.shared)
    p = trainer.rows.n_penalized
    family, value = ["shared"], [np.nan]
    v = [np.full(p, np.exp(shared.log_v[0]))]

    def alone() -> CompactCandidates:
        one = v[0][None]
        packed = (sparse.csr_array(one), _packed(trainer.solve(one[None])[0]))
        return CompactCandidates(("shared",), np.array([np.nan]), *packed, shared)

    if tell is not None and tell("shared", alone):
        return alone()
    if recipe.half and trainer.set.halves and trainer.yy > 0:
        if members is not None:
            v.append(trainer.groups(shared, members))
        else:
            given = None if metadata is None else _given(trainer, metadata)
            v.append(trainer.metadata(shared, trainer.metadata_columns(given)))
        family.append("groups" if members is not None else "metadata")
        value.append(0.0)
    w = trainer.solve(np.stack(v)[None])[0]
    packed_v, packed_w = [sparse.csr_array(np.stack(v))], [_packed(w)]
    if recipe.elastic_net and members is None:
        path = trainer.elastic_net(recipe.elastic_net, recipe.ratio)
        parts = [("elastic_net", *path)]
        if recipe.refits:
            parts.append(("refit", *trainer.refits(path[0])))
        for name, v_net, w_net in parts:
            family += [name] * v_net.shape[1]
            value += list(range(v_net.shape[1]))
            packed_v.append(sparse.csr_array(v_net[0]))
            packed_w.append(_packed(w_net[0]))
    return CompactCandidates(
        tuple(family),
        np.array(value),
        sparse.vstack(packed_v, format="csr"),
        sparse.vstack(packed_w, format="csr"),
        shared,
    )


def _given(trainer: RowsTrainer, metadata: Metadata) -> list[Array]:
    """The user's columns for the training set and for its inner training parts."""
    sets = [trainer.set.rows, *(train for train, _ in trainer.set.halves)]
    return [metadata.of(trainer.rows, index) for index in sets]


def _packed(w: Array) -> sparse.csr_array:
    return sparse.csr_array(w.reshape(len(w), -1))
