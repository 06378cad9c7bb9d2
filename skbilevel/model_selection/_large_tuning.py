"""Candidates of a large problem: shared, metadata, deviations, and given paths.

One outer fold is tuned from scratch on an inner hold-out of its training rows; what
it is worth is measured on rows it has not seen. The full data go on from there: their
hold-outs are the outer folds, whose first models exist already.

Free deviations are one number per column beside what metadata say of its strength:
``log v = center + Z beta + delta`` with the hyperpenalty ``lam sum_j e_j delta_j^2``,
``e`` the emphasis of the columns. As many deviations as columns fit any hold-out, so
``lam`` is large: what is left is a single step along the hypergradient, which the last
point of the search for ``beta`` has computed already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging, Choice
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import (
    Coordinates,
    MetadataMaker,
    Statistics,
)
from skbilevel.model_selection._large_paths import NetPaths
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_search import (
    HoldOut,
    MetadataPoint,
    MetadataSearch,
    SharedPoint,
    shared_path,
)
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._row_views import View
from skbilevel.problems import transfer
from skbilevel.problems._target_features import by_columns
from skbilevel.solvers.inner._newton_cg import NewtonCG
from skbilevel.solvers.outer._trust_region import BallRegion


@dataclass(frozen=True)
class Deviations:
    """Deviations of one training set.

    Parameters
    ----------
    delta : ndarray of shape (p,) or (p, t)
        Added to ``log v``.
    lam : float
        Weight of their mean square, in the units of the slope.
    """

    delta: Array
    lam: float

    @classmethod
    def of(cls, slope: Array, emphasis: Array, largest: float) -> Deviations:
        """Minimum of ``slope . delta + lam sum_j emphasis_j delta_j^2``.

        ``lam`` is the one with which no deviation exceeds ``largest``: a rule without
        units. Columns that do not occur have no emphasis, and none.
        """
        if slope.ndim == 2:
            emphasis = np.repeat(emphasis[:, None] / slope.shape[1], slope.shape[1], 1)
        pull = np.divide(slope, emphasis, out=np.zeros_like(slope), where=emphasis > 0)
        lam = float(np.max(np.abs(pull), initial=0.0)) / (2.0 * largest)
        if not 0.0 < lam < np.inf:
            return cls(np.zeros_like(slope), np.inf)
        return cls(-pull / (2.0 * lam), lam)

    def in_units(self, null: float) -> float:
        """``lam`` in units of the loss of the null model; infinite without a slope."""
        return self.lam / null if null > 0 else np.inf


def choose_refined(averaging: Averaging, held: HeldOut) -> Choice:
    """Weigh three candidates; the third refines the second and never joins it.

    The third replaces the second if it has the larger weight in a comparison of the
    two, that is, if it gains more than ``pessimism`` standard errors.
    """
    whole = averaging.choose(held)
    pair = averaging.choose(held.only([1, 2])).weight
    taken = 2 if pair[1] > pair[0] else 1
    among = averaging.choose(held.only([0, taken]))
    a = np.zeros(3)
    a[[0, taken]] = among.weight
    return Choice(whole.loss, whole.error, a)


DEVIATIONS = "deviations"
TUNED = ("shared", "metadata", "groups", DEVIATIONS)

# Logarithm of a start that removes a column, below the others.
_FAR = 700.0
# Conjugate-gradient steps on each derivative in the first model of a search.
_CURVATURE_STEPS = 5


@dataclass(frozen=True)
class Tuned:
    """Strengths of one training set, by candidate.

    Parameters
    ----------
    names : list of tuple
        Family of every candidate, and its hyperpenalty or place on a path.
    v : list of array of shape (p,) or (p, t)
        Variances in units of the training set; sparse where they come from a path.
    W : dict
        Working coefficients of the candidates that are known, in the same form.
    shared : SharedPoint
        Where the shared path ended.
    center : float
        Shared ``log v`` in units of the training set.
    coordinates : Coordinates
        Of ``beta``.
    beta : ndarray of shape (q,)
        The function of metadata.
    curvature : ndarray of shape (q, q)
        First model of the hold-out loss.
    start : ndarray of shape (p,) or (p, t), or None
        Where the user let metadata start, beyond ``center``.
    """

    names: list[tuple[str, float]]
    v: list[Array | sparse.coo_array]
    W: dict[int, Array | sparse.coo_array]
    shared: SharedPoint
    center: float
    coordinates: Coordinates
    beta: Array
    curvature: Array
    start: Array | None = None

    def variances(self, c: int) -> Array:
        """Variances of candidate c."""
        return _dense(self.v[c])

    def working(self, c: int) -> Array:
        """Working coefficients of candidate c, which are known."""
        return _dense(self.W[c])


def _dense(values: Any) -> Array:
    return np.asarray(values.toarray() if sparse.issparse(values) else values)


@dataclass(frozen=True)
class LargeTuning:
    """Makes candidates of training sets.

    Parameters
    ----------
    problem : LargeProblem
        The rows.
    columns : MetadataMaker
        Metadata of a training set.
    budget : LargeBudget
        Limits of the work.
    limits : Limits
        The user's box of the variances, and where metadata start.
    view : View or None
        Where the columns of a fold are among those of the full data; None if they are
        the same.
    paths : NetPaths or None
        More candidates.
    """

    problem: LargeProblem
    columns: MetadataMaker
    budget: LargeBudget
    limits: Limits = field(default_factory=Limits)
    view: View | None = None
    paths: NetPaths | None = None

    def _weight(self, index: Array) -> float:
        return float(self.problem.rows.weight[index].sum())

    def _search(
        self, holdouts: Sequence[HoldOut], center: float, null: float
    ) -> MetadataSearch:
        budget = self.budget
        held_out = sum(float(each.task.weight) for each in holdouts)
        lam = budget.penalty(held_out) * null
        return MetadataSearch(holdouts, center, lam, budget, self._box(np.inf))

    def _box(self, ceiling: float) -> tuple[float, float]:
        """Where ``log v`` may be: the user's word counts more than the ceiling."""
        with np.errstate(divide="ignore"):
            low, high = np.log(self.limits.low), np.log(self.limits.high)
        return float(low), float(max(min(high, ceiling), low))

    def _start(self, found: Statistics, center: float) -> Array | None:
        """The user's start beyond ``center``; labels start at their mean."""
        if self.limits.start is None:
            return None
        with np.errstate(divide="ignore"):
            start = np.maximum(np.log(self.limits.start), -_FAR) - center
        labels = found.labels
        if labels is None:
            return np.asarray(start)
        start = np.broadcast_to(by_columns(start), (len(start), labels[0].size))
        total = np.bincount(labels.ravel(), start.ravel(), minlength=len(found.Z))
        return np.asarray((total / np.bincount(labels.ravel()))[labels])

    def fold(
        self, s: TrainingSet, tell: Callable[[Tuned], bool] | None = None
    ) -> Tuned:
        """From scratch, on one inner hold-out: shared path, metadata, deviations.

        ``tell`` hears of the shared strength, and may say that it is enough.
        """
        problem, budget, pair = self.problem, self.budget, s.hold_out
        found = self.columns.of(s.rows)
        coordinates = Coordinates.of(found)
        shape = coordinates.apply(self.columns.of(pair[0]))
        holdout = HoldOut.of(problem, pair, shape)
        shared = shared_path([holdout], budget, self._box(problem.ceiling(s.rows)))
        # Strengths are those of a mean loss: more rows need less of a penalty each.
        ratio = self._weight(pair[0]) / self._weight(s.rows)
        center = shared.log_v + float(np.log(ratio))
        beta, none = np.zeros(shape.size), np.empty((0, 0))
        tuned = Tuned([], [], {}, shared, center, coordinates, beta, none)
        if tell is not None:
            v = self._variances(s.rows, tuned, found, None)[:1]
            alone = replace(tuned, names=[("shared", np.nan)], v=v)
            if tell(alone):
                return alone
        start = self._start(found, shared.log_v)
        if start is not None:
            holdout = replace(holdout, base=start)
        search = self._search([holdout], shared.log_v, shared.null)
        states = [(W, None) for W in shared.states]
        point = search.at(beta, states, keep=True)
        B = search.curvature(beta, point, _CURVATURE_STEPS)
        # Linear systems are long: they are kept for this one point only.
        point = replace(point, solutions=())
        tuned = replace(tuned, curvature=B, start=start)
        return self._walked(search, tuned, point, found, s.rows, budget.steps[0])

    def _walked(
        self,
        search: MetadataSearch,
        tuned: Tuned,
        point: MetadataPoint,
        found: Statistics,
        index: Array,
        n_steps: int,
    ) -> Tuned:
        """The end of a search for some rows, of which ``found`` are the statistics."""
        null = tuned.shared.null
        region = BallRegion(tol=self.budget.gain * null)
        beta, point = region.minimize(
            search.next, tuned.beta, point, tuned.curvature, n_steps
        )
        free = self._deviations(search, beta, point, found)
        tuned = replace(tuned, names=self._names(free, null), W={}, beta=beta)
        return replace(tuned, v=self._variances(index, tuned, found, free))

    def _names(self, free: Deviations | None, null: float) -> list[tuple[str, float]]:
        second = "metadata" if self.columns.members is None else "groups"
        names = [("shared", np.nan), (second, self.budget.lam)]
        return names if free is None else [*names, (DEVIATIONS, free.in_units(null))]

    def with_paths(self, tuned: Tuned, index: Array) -> Tuned:
        """The points of the paths of the same rows behind what was tuned."""
        points = [] if self.paths is None else self.paths.of(self.problem, index)
        names, v, W = list(tuned.names), list(tuned.v), dict(tuned.W)
        high = np.exp(self._box(self.problem.ceiling(index))[1])
        for name, value, own, working in points:
            clipped = np.clip(own, self.limits.low, high)
            if np.array_equal(clipped, own):
                W[len(v)] = sparse.coo_array(working)
            names.append((name, value))
            v.append(sparse.coo_array(clipped))
        return replace(tuned, names=names, v=v, W=W)

    def _deviations(
        self,
        search: MetadataSearch,
        beta: Array,
        point: MetadataPoint,
        found: Statistics,
    ) -> Deviations | None:
        """At no further evaluation; None where only labels tell columns apart."""
        largest = self.budget.deviation
        if self.columns.members is not None or not self.budget.steps[0] or not largest:
            return None
        slope = search.slope(beta, point, len(found.emphasis))
        return Deviations.of(slope, found.emphasis, largest)

    def _variances(
        self, index: Array, tuned: Tuned, found: Statistics, free: Deviations | None
    ) -> list[Array]:
        """One array (p,) or (p, t) for each candidate."""
        base, search = self.problem.base(index), self._search([], tuned.center, 0.0)
        shape = tuned.coordinates.apply(found)
        v = [search.variances(shape, base, np.zeros(len(tuned.beta)))]
        start = base if tuned.start is None else tuned.start
        v.append(search.variances(shape, start, tuned.beta))
        if free is not None:
            v.append(v[1] * np.exp(free.delta))
        low, high = np.exp(self._box(self.problem.ceiling(index)))
        return [np.clip(each, low, high) for each in v]

    def solve(
        self, index: Array, v: Array, start: Array | None, *, exact: bool = False
    ) -> Array:
        """Working coefficients of some rows."""
        fit = self.problem.fit(index, exact)
        tol = self.budget.tol[int(exact)]
        working = self.problem.layout.variances(v)
        return np.asarray(NewtonCG().solve(fit, working, start, tol=tol).W)

    def _shift(self, plan: NestedPlan, n_folds: int) -> float:
        """What ``log v`` of the first folds is to be moved by for the full data."""
        weight = np.mean([self._weight(s.rows) for s in plan.outer[:n_folds]])
        factor = transfer(1.0, float(weight), self._weight(plan.full.rows))
        return float(np.log(factor))

    def moved(self, plan: NestedPlan, first: Tuned, view: View | None) -> Tuned:
        """Strengths of the first fold in units of the full data, not tuned on them.

        ``view`` is that of the fold; columns that it lacks get no strength by a path.
        """
        index, shift = plan.full.rows, self._shift(plan, 1)
        made = replace(first, center=first.center + shift, W={})
        v = self._variances(index, made, self.columns.of(index), None)
        # Free deviations belong to the fold: without them, metadata take their place.
        tuned = sum(name in TUNED for name, _ in first.names)
        v = [*v, v[-1]][:tuned]
        for c in range(tuned, len(first.v)):
            own = first.variances(c) * np.exp(shift)
            v.append(own if view is None else view.pull(own, len(v[0])))
        return replace(made, v=v)

    def full(
        self, plan: NestedPlan, first: Tuned, folds: Sequence[LargeTuning]
    ) -> Tuned:
        """On the outer folds, going on from the first one's strengths."""
        take, index = min(self.budget.holdouts, len(plan.outer)), plan.full.rows
        holdouts = []
        pairs = zip(folds, plan.outer[:take], plan.held_out[:take], strict=False)
        for fold, s, valid in pairs:
            shape = first.coordinates.apply(fold.columns.of(s.rows))
            own = fold.problem, (s.rows, valid), shape, first.start, fold.view
            holdouts.append(HoldOut.of(*own))
        search = self._search(holdouts, first.center, first.shared.null)
        states: list[Any] = [(first.working(1), None)] + [(None, None)] * (take - 1)
        point = search.at(first.beta, states)
        found, n_steps = self.columns.of(index), self.budget.steps[1]
        tuned = replace(first, center=first.center + self._shift(plan, take))
        return self._walked(search, tuned, point, found, index, n_steps)
