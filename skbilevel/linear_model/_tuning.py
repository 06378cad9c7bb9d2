"""Which problem is posed and who solves it: the step between door and publication."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._data import PreparedData
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._guard import GuardResult, guarded_strengths
from skbilevel.model_selection._paths import Recipe, Strengths
from skbilevel.model_selection._plan import (
    MIN_ROWS,
    PlanRequest,
    default_plan,
    split_plan,
)
from skbilevel.model_selection._resampling import NestedPlan

if TYPE_CHECKING:
    from skbilevel.linear_model._base import Resampling


@dataclass(frozen=True)
class TuningOptions:
    """The estimator's parameters that the search depends on."""

    hyperpenalty: Any
    solver: Any
    alpha_init: Any
    alpha_bounds: Any
    tol: float
    max_iter: int
    metadata: Any
    groups: Groups | None
    seed: int
    verbose: int


@dataclass(frozen=True)
class Tuned:
    """Strengths, coefficients at them, and what is reported of the search.

    Parameters
    ----------
    v : ndarray of shape (p,)
        Variances of the penalized columns.
    coef : ndarray of shape (n_free + p, t)
        Coefficients, those of unpenalized columns first.
    score : float
        Negative mean squared error that the search saw last, in working units.
    n_iter : int
        Outer steps.
    history, hyperpenalty : dict of ndarray
        Published as they are.
    folds : list of (rows, coef)
        Held-out rows and the coefficients fitted without them.
    edge : {-1, 0, 1}
        Where the shared strength ended.
    """

    v: Array
    coef: Array
    score: float
    n_iter: int
    history: dict[str, Array]
    hyperpenalty: dict[str, Array]
    folds: list[tuple[Array, Array]]
    edge: int


def tune(data: PreparedData, resampling: Resampling, options: TuningOptions) -> Tuned:
    """Search the strengths as the options say."""
    return _guarded(data, resampling, options)


def _guarded(
    data: PreparedData, resampling: Resampling, options: TuningOptions
) -> Tuned:
    plan = _plan(data, resampling, options)
    recipe = Recipe(shared="gcv" if resampling.criterion == "gcv" else "loo")
    groups = options.groups
    strengths, members = Strengths(), None
    if groups is not None:
        members = groups.members
        strengths = Strengths(np.eye(len(groups.labels))[members])
        recipe = replace(recipe, elastic_net=0)
        if len(groups.labels) < 2:
            recipe = replace(recipe, half=(), evidence=())
    few = len(data.positive) < MIN_ROWS
    if few or not all(s.halves for s in (plan.full, *plan.outer)):
        recipe = replace(recipe, half=())
    if few:
        recipe = replace(recipe, evidence=(), elastic_net=0)
    found = guarded_strengths(data.rows, plan, recipe, Averaging(), strengths, members)
    return _report(data, plan, recipe, found)


def _plan(
    data: PreparedData, resampling: Resampling, options: TuningOptions
) -> NestedPlan:
    request = PlanRequest(
        data.positive,
        data.rows.n_rows,
        data.rows.width,
        resampling.groups,
        np.random.default_rng(options.seed),
    )
    if resampling.splits is None:
        return default_plan(request, resampling.n_folds)
    plan = split_plan(request, resampling.splits, resampling.by_membership)
    if not resampling.repeat:
        return plan
    again = split_plan(request, resampling.repeat, resampling.by_membership)
    return replace(
        plan,
        outer=[*plan.outer, *again.outer],
        held_out=[*plan.held_out, *again.held_out],
    )


def _report(
    data: PreparedData, plan: NestedPlan, recipe: Recipe, found: GuardResult
) -> Tuned:
    unit = data.y_scale**2 / data.rows.n_targets
    choice = found.choice
    with np.errstate(divide="ignore"):
        alpha = 1.0 / found.candidates.v[0]
    hyperpenalty = {
        "family": np.array(found.candidates.family),
        "value": found.candidates.value,
        "score": -choice.loss * unit,
        "standard_error": choice.error * unit,
        "kept": choice.kept,
        "weight": choice.weight,
        "alpha": alpha,
    }
    history = {
        "candidate": np.arange(len(choice.loss)),
        "score": -choice.loss * unit,
        "weight": choice.weight,
    }
    steps = len(recipe.half) + recipe.evidence_steps * len(recipe.evidence)
    return Tuned(
        found.v,
        found.coef,
        -found.loss * unit,
        max(1, steps + recipe.elastic_net),
        history,
        hyperpenalty,
        list(zip(plan.held_out, found.fold_coef, strict=True)),
        found.candidates.shared.edge,
    )
