"""The search for strengths on hold-outs: one for all columns, or of metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import Shape
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_views import View
from skbilevel.problems import RowsDataFit, Task, zeros
from skbilevel.problems._rows_datafit import RowCurvature
from skbilevel.problems._target_features import by_columns
from skbilevel.solvers import InnerSolution
from skbilevel.solvers.inner._curved_system import CurvedSystem
from skbilevel.solvers.inner._newton_cg import NewtonCG

# Added to the diagonal of the curvature, relative to its mean.
_DAMPING = 1e-4


@record
class HoldOut:
    """A training part and its validation rows, with metadata of the training part.

    Parameters
    ----------
    problem : LargeProblem
        Shared by all.
    task : Task
        Both sets of rows as data fits.
    rows : ndarray of int
        Validation rows.
    shape : Shape
        How metadata from the training part shape its strengths.
    base : ndarray of shape (p,) or (p, t), or float
        Logarithm of what a shared strength means for each column, or of where it
        starts.
    view : View or None
        Where columns are among those of the full data; None if they are the same.
    """

    problem: LargeProblem
    task: Task
    rows: Array
    shape: Shape
    base: Array | float = 0.0
    view: View | None = None

    @property
    def train(self) -> RowsDataFit:
        """The training part."""
        assert isinstance(self.task.inner, RowsDataFit)
        return self.task.inner

    @classmethod
    def of(
        cls,
        problem: LargeProblem,
        pair: Pair,
        shape: Shape,
        start: Array | None = None,
        view: View | None = None,
    ) -> HoldOut:
        """From rows; ``start`` is the base that the user gave."""
        train, valid = pair
        outer = problem.score(valid)
        task = Task(problem.fit(train), outer, float(outer.weight_sum))
        base = problem.base(train) if start is None else start
        return cls(problem, task, valid, shape, base, view)


@record
class MetadataPoint:
    """Hold-out losses at one ``beta``, with the solutions the next point starts from.

    Parameters
    ----------
    value : float
        Mean loss, and the hyperpenalty.
    grad : ndarray of shape (q,)
        Gradient in ``beta``.
    loss : float
        Mean loss alone.
    states : tuple
        Coefficients and adjoint of every hold-out.
    solutions : tuple of InnerSolution
        With the linear systems; empty unless they were asked for.
    """

    value: float
    grad: Array
    loss: float
    states: tuple[Any, ...]
    solutions: tuple[InnerSolution, ...]


@record
class MetadataSearch:
    """``log v = clip(center + clip(shape(beta)))``, tuned on hold-outs.

    Parameters
    ----------
    holdouts : sequence of HoldOut
        Where losses are taken.
    center : float
        Shared ``log v``.
    lam : float
        Weight of ``|beta|^2`` without the constant: of the mean squared departure
        from a shared strength.
    budget : LargeBudget
        Limits of the work.
    box : tuple of float
        Where ``log v`` may be at all: the user's limits.
    """

    holdouts: Sequence[HoldOut]
    center: float
    lam: float
    budget: LargeBudget
    box: tuple[float, float] = (-np.inf, np.inf)

    def v(self, each: HoldOut, beta: Array) -> Array:
        """Variances (p,) or (p, t)."""
        return self.variances(each.shape, each.base, beta)

    def variances(self, shape: Shape, base: Array | float, beta: Array) -> Array:
        """Variances (p,) or (p, t) of columns of a given shape."""
        log_v = self._log_v(np.clip(shape.shift(beta), *self.budget.reach), base)
        return np.exp(np.clip(log_v, *self.box))

    def _log_v(self, shift: Array, base: Array | float) -> Array:
        if np.ndim(base) == 1 and shift.ndim == 2:
            base = np.asarray(base)[:, None]
        return np.asarray(self.center + base + shift)

    @cached_property
    def _weight(self) -> float:
        return float(sum(float(each.task.weight) for each in self.holdouts))

    def at(
        self, beta: Array, states: Sequence[Any] | None, keep: bool = False
    ) -> MetadataPoint:
        """Evaluate; hold-outs without a state are solved from zero."""
        states = states if states is not None else [(None, None)] * len(self.holdouts)
        loss, grad = 0.0, np.zeros(len(beta))
        kept, solutions = [], []
        for each, state in zip(self.holdouts, states, strict=True):
            inner, adjoint, value = self._solve(each, beta, state)
            state = (inner.state, adjoint)
            in_v = self._in_variances(each, beta, state)
            grad += each.shape.pull(in_v * self._inside(each, beta)) / self._weight
            loss += value / self._weight
            kept.append(state)
            if keep:
                solutions.append(inner)
        slope = np.r_[0.0, beta[1:]]
        value = loss + self.lam * float(slope @ slope)
        grad += 2.0 * self.lam * slope
        point = MetadataPoint(value, grad, loss, tuple(kept), tuple(solutions))
        if self.budget.trace is not None:
            self.budget.trace(point)
        return point

    def next(self, beta: Array, point: MetadataPoint) -> MetadataPoint:
        """Evaluate, going on from an earlier point."""
        return self.at(beta, point.states)

    def _solve(
        self, each: HoldOut, beta: Array, state: Any
    ) -> tuple[InnerSolution, Array, float]:
        """Inner solution, adjoint and total loss of a hold-out."""
        v = each.problem.layout.variances(self.v(each, beta))
        W, q = state
        # The first adjoint is accurate: later ones have no time to mend it.
        solver = self.budget.tuning if q is not None else NewtonCG()
        inner = solver.solve(each.task.inner, v, W, tol=self.budget.accuracy[0])
        outer = each.task.outer.at(inner.W)
        adjoint = inner.system.solve(outer.grad, q, tol=self.budget.accuracy[1])
        return inner, adjoint.x, float(outer.value)

    def _in_variances(self, each: HoldOut, beta: Array, state: Any) -> Array:
        """Gradient of the total loss of a hold-out in its variances."""
        (W, q), layout = state, each.problem.layout
        v = layout.variances(self.v(each, beta))
        # At a solution this is the product of the pulls; short of it, and where v is
        # large, it is far less sensitive to what is missing.
        if v.ndim == 1:
            product = np.einsum("ij,ij->i", W, q).astype(np.float64)
        else:
            product = np.multiply(W, q, dtype=np.float64)
        square = np.where(np.isfinite(v) & (v > 0), v, np.inf) ** 2
        return layout.spread(product / square, 2)

    def slope(self, beta: Array, point: MetadataPoint, n_columns: int) -> Array:
        """Gradient of the mean loss at a point in free additions to ``log v``.

        The additions are those of the ``n_columns`` of the full data; hold-outs that
        lack a column say nothing about it.
        """
        parts = []
        for each, state in zip(self.holdouts, point.states, strict=True):
            own = self._in_variances(each, beta, state) * self.v(each, beta)
            parts.append(own if each.view is None else each.view.pull(own, n_columns))
        return np.asarray(sum(parts) / self._weight)

    def _inside(self, each: HoldOut, beta: Array) -> Array:
        """``dv / d shape``: zero where it is clipped."""
        shift = each.shape.shift(beta)
        inside = (shift > self.budget.reach[0]) & (shift < self.budget.reach[1])
        log_v = self._log_v(shift, each.base)
        inside &= (log_v > self.box[0]) & (log_v < self.box[1])
        return inside * self.v(each, beta)

    def curvature(self, beta: Array, point: MetadataPoint, steps: int) -> Array:
        """Gauss-Newton matrix (q, q), from few steps on every derivative.

        ``d W / d beta_k`` solves the system of the inner problem. Its curvature is
        only the first model of the search, so a few steps are enough.
        """
        q = len(beta)
        total = np.zeros((q, q))
        for each, solution in zip(self.holdouts, point.solutions, strict=True):
            total += self._normal(each, solution, beta, steps) / self._weight
        total[np.arange(1, q), np.arange(1, q)] += 2.0 * self.lam
        total[np.arange(q), np.arange(q)] += _DAMPING * np.trace(total) / q
        return total

    def _normal(
        self, each: HoldOut, solution: InnerSolution, beta: Array, steps: int
    ) -> Array:
        layout, fit, W = each.problem.layout, each.task.outer, solution.W
        assert isinstance(fit, RowsDataFit)
        assert isinstance(solution.system, CurvedSystem)
        system = replace(solution.system, max_iter=steps)
        v = self.v(each, beta)
        working = layout.variances(v)
        square = np.where(np.isfinite(working) & (working > 0), working, np.inf) ** 2
        moving = self._inside(each, beta)
        moved = []
        for direction in each.shape.directions():
            dv = layout.variances(moving * direction)
            dv[: layout.n_free] = 0.0
            pull = by_columns(dv / square) * W
            found = system.solve(pull.astype(W.dtype), None, tol=0.1)
            moved.append(fit.push(found.x)[each.rows])
        curvature = RowCurvature.of(fit, fit.push(W)).take(each.rows)
        images = [curvature.apply(each) for each in moved]
        return np.array([[float(np.vdot(a, b)) for b in images] for a in moved])


# The path starts where the penalty is this many times the curvature.
_STRONG = 100.0
# Strengths per point, and the most points.
_FACTOR, _POINTS = 5.0, 14
# The path ends where a point gains less than this share of the null loss: weaker
# strengths cost more and more, and metadata may weaken them where it pays.
_GAIN = 2e-3


@record
class SharedPoint:
    """The best point of the path.

    Parameters
    ----------
    log_v : float
        Between the points of the path, where a parabola has its minimum.
    edge : int
        -1 where the path was best at its strongest point, 1 at its weakest, else 0.
    loss, null : float
        Mean hold-out loss at the best point, and without penalized columns.
    states : tuple
        Coefficients of every hold-out at the best point.
    """

    log_v: float
    edge: int
    loss: float
    null: float
    states: tuple[Any, ...]


def curvature_level(fit: RowsDataFit, n_free: int) -> float:
    """Typical curvature of a coefficient at the null model; 0 where there is none.

    A mean that columns enter by their own curvature: rare columns, of which there
    are many, say little about the strength at which fits begin to differ.
    """
    eta = fit.at(zeros(fit)).eta
    diagonal = fit.design.column_squares(RowCurvature.of(fit, eta).diagonal)
    size = diagonal[n_free:].mean(axis=1, dtype=np.float64)
    total = float(size.sum())
    return float((size**2).sum()) / total if total > 0 else 0.0


def shared_path(
    holdouts: Sequence[HoldOut],
    budget: LargeBudget,
    box: tuple[float, float],
) -> SharedPoint:
    """Walk to weaker strengths until the hold-out loss hardly drops.

    ``box`` limits ``log v``. Every point starts at the one before, which is what makes
    weak strengths cheap.
    """
    layout, solver, tol = holdouts[0].problem.layout, budget.path, budget.tol[0]
    ones = np.ones(layout.n_penalized)
    total = sum(float(each.task.weight) for each in holdouts)
    fits = [each.train for each in holdouts]
    level = max(curvature_level(fit, layout.n_free) for fit in fits)
    grid = -np.log(_STRONG * max(level, 1e-300)) + np.log(_FACTOR) * np.arange(_POINTS)
    grid = np.unique(np.clip(grid, *box))
    none = layout.variances(0.0 * ones)
    states: list[Any] = [solver.solve(fit, none, None, tol=tol).state for fit in fits]
    null = _losses(holdouts, states) / total
    losses: list[float] = []
    best: tuple[Any, ...] = ()
    for log_v in grid:
        v = layout.variances(np.exp(log_v) * ones)
        for k, fit in enumerate(fits):
            states[k] = solver.solve(fit, v, states[k], tol=tol).state
        losses.append(_losses(holdouts, states) / total)
        if losses[-1] <= min(losses):
            best = tuple(states)
        if len(losses) > 1 and losses[-1] > losses[-2] - _GAIN * null:
            break
    k = int(np.argmin(losses))
    edge = -1 if k == 0 else 1 if k == len(grid) - 1 else 0
    log_v = float(grid[k])
    if 0 < k < len(losses) - 1:
        log_v += np.log(_FACTOR) * _vertex(losses[k - 1 : k + 2])
        log_v = float(np.clip(log_v, *box))
    return SharedPoint(log_v, edge, losses[k], null, best)


def _losses(holdouts: Sequence[HoldOut], states: Sequence[Any]) -> float:
    return float(
        sum(
            float(each.task.outer.at(W).value)
            for each, W in zip(holdouts, states, strict=True)
        )
    )


def _vertex(values: Sequence[float]) -> float:
    """Minimum of the parabola through three points at -1, 0 and 1."""
    left, middle, right = values
    bend = left - 2.0 * middle + right
    return 0.5 * (left - right) / bend if bend > 0 else 0.0
