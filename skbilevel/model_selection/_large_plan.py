"""The nested plan within a budget, for problems where every solve is a long one."""

from __future__ import annotations

import numpy as np

from skbilevel.model_selection._plan import PlanRequest
from skbilevel.model_selection._resampling import (
    NestedPlan,
    TrainingSet,
    membership_atoms,
)

# Share of a training set on which its strengths are tuned.
_HOLDOUT = 0.25
# Where no splits are given, outer folds are scored until they hold out so many rows.
_SCORED_ROWS = 5000
# With more stored values of X than this the first outer fold alone is scored.
_ONE_FOLD_FROM = 100_000_000


def large_plan(
    plan: NestedPlan,
    request: PlanRequest,
    given: bool,
    by_membership: bool,
    n_values: int,
) -> NestedPlan:
    """The outer folds of ``plan``, each with one inner hold-out instead of halvings.

    Every training set holds out a share of its units (rows, groups, or sets of rows
    that given splits keep together), or the end of its time.

    Parameters
    ----------
    plan : NestedPlan
        What would be done without a budget.
    request : PlanRequest
        Rows, groups and the generator that draws the hold-outs.
    given : bool
        Whether the user gave splits: all of them are scored.
    by_membership : bool
        Whether splits were given row by row.
    n_values : int
        Number of values that X stores.
    """
    unit = plan.cluster
    if by_membership and request.groups is None:
        pairs = [(s.rows, b) for s, b in zip(plan.outer, plan.held_out, strict=True)]
        unit = membership_atoms(request.n_rows, pairs)

    def make(s: TrainingSet) -> TrainingSet:
        if s.shared and s.halves and all(a.max() < b.min() for a, b in s.halves):
            return TrainingSet(s.rows, list(s.halves[-1:]), None)
        own = unit[s.rows]
        if len(np.unique(own)) < 2:
            own = s.rows
        labels = np.unique(own)
        if len(labels) < 2:
            return TrainingSet(s.rows, (), None)
        size = max(1, round(_HOLDOUT * len(labels)))
        valid = np.isin(own, request.rng.permutation(labels)[:size])
        return TrainingSet(s.rows, [(s.rows[~valid], s.rows[valid])], None)

    k = len(plan.outer)
    if not given:
        scored = np.cumsum([len(held_out) for held_out in plan.held_out])
        k = min(k, 1 + int(np.searchsorted(scored, _SCORED_ROWS)))
    if n_values > _ONE_FOLD_FROM:
        k = 1
    return NestedPlan(
        make(plan.full),
        [make(s) for s in plan.outer[:k]],
        plan.held_out[:k],
        None,
        plan.cluster,
    )
