"""Which problem is posed and who solves it: the step between door and publication."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._criterion_search import start_of
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared, PreparedData
from skbilevel.linear_model._fold_features import views_of
from skbilevel.linear_model._options import FoldModel, Tuned, TuningOptions
from skbilevel.linear_model._tuned_criterion import tune_criterion
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._conclusion import GuardResult
from skbilevel.model_selection._family import in_kernels
from skbilevel.model_selection._guard import guarded_strengths
from skbilevel.model_selection._large_plan import large_plan
from skbilevel.model_selection._large_rows import is_large
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata, check_metadata
from skbilevel.model_selection._outer_space import check_alpha_bounds
from skbilevel.model_selection._paths import Strengths
from skbilevel.model_selection._plan import (
    MIN_ROWS,
    PlanRequest,
    default_plan,
    split_plan,
)
from skbilevel.model_selection._progress import Finishing
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._regime import check_solver, oracle_solver
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews

# Multiplications of one kernel, for n < p; the evidence needs some twenty of them
# in every training set, three quarters of a fit.
_EVIDENCE_UP_TO = 2e9
# Behind transformers: multiples of the shared strength, the last one close to no model.
_STRONGER = (3.0, 10.0, 100.0, 10_000.0)


def tune(data: PreparedData, resampling: Resampling, options: TuningOptions) -> Tuned:
    """Search the strengths as the options say."""
    check_solver(options.solver)
    check_published(options)
    options = working_units(data, options)
    if isinstance(options.hyperpenalty, str):
        return _guarded(data, resampling, options)
    return tune_criterion(data, resampling, options)


def working_units(data: Prepared, options: TuningOptions) -> TuningOptions:
    """What the user says in units of ``alpha_`` and of weights, in working units."""
    init, bounds, metadata = options.alpha_init, options.alpha_bounds, options.metadata
    unit = data.alpha_unit
    if unit != 1.0 and init is not None:
        start_of(data.rows, options)
        init = np.asarray(init, dtype=np.float64) * unit
        init = float(init) if init.ndim == 0 else init
    if unit != 1.0 and bounds is not None:
        check_alpha_bounds(bounds)
        bounds = tuple(float(each) * unit for each in bounds)
    if callable(metadata) and data.counts.unit != 1.0:
        metadata = _of_given_weights(metadata, data.counts.unit)
    return replace(options, alpha_init=init, alpha_bounds=bounds, metadata=metadata)


def _of_given_weights(
    metadata: Callable[[Any, Array, Array], Any], unit: float
) -> Callable[[Any, Array, Array], Any]:
    """The same function of numbers of rows; it is asked in the user's weights."""
    return lambda X, y, weight: metadata(X, y, weight * unit)


def check_guarded(options: TuningOptions) -> None:
    """Raise where the guard is asked to solve by somebody else's rule."""
    if not (isinstance(options.solver, str) and options.solver == "auto"):
        raise ValueError(
            f"solver={options.solver!r} has no effect with hyperpenalty='auto', whose "
            "guard chooses by its own rule: leave solver='auto', or set "
            "hyperpenalty=None."
        )


def check_published(options: TuningOptions) -> None:
    """Raise where an algorithm of the literature is asked to tune something else."""
    if oracle_solver(options.solver) is None:
        return
    penalty = options.hyperpenalty
    if isinstance(penalty, str) or (isinstance(penalty, tuple) and "sparse" in penalty):
        raise ValueError(
            f"solver={options.solver!r} minimizes the validation loss over finite "
            f"strengths, which hyperpenalty={penalty!r} does not ask for: set "
            "hyperpenalty=None or ('smooth', value), or choose solver='auto'."
        )


def _guarded(
    data: PreparedData, resampling: Resampling, options: TuningOptions
) -> Tuned:
    check_guarded(options)
    plan = plan_of(data, resampling, options)
    recipe = recipe_of(data, resampling, options, plan)
    views = plan_views(data, plan, resampling)
    options = options.widened(views.full.n_penalized)
    strengths, members = strengths_of(options)
    metadata = metadata_of(data, options.metadata, data.y_scale)
    limits = limits_of(data, options)

    def squared(loss: Any) -> Any:
        """A loss in the units of y; too large a one is infinite."""
        with np.errstate(over="ignore"):
            return np.square(np.sqrt(loss / data.rows.n_targets) * data.y_scale)

    def finish(found: GuardResult) -> Tuned:
        return report_guard(data, views, plan, recipe, found, squared, limits)

    found = guarded_strengths(
        views,
        plan,
        recipe,
        Averaging(),
        strengths,
        members,
        metadata,
        limits,
        listener=finishing(options, finish),
    )
    return finish(found)


def finishing(
    options: TuningOptions, finish: Callable[[GuardResult], Tuned]
) -> Finishing | None:
    """The listener of a guard, if anybody listens."""
    listener = options.listener
    return None if listener is None else Finishing(listener, finish)


def plan_views(data: Prepared, plan: NestedPlan, resampling: Resampling) -> RowViews:
    """The rows as the outer folds see them."""
    sets = zip(plan.outer, plan.held_out, strict=True)
    return views_of(data.rows, [(s.rows, b) for s, b in sets], resampling.features)


def strengths_of(
    options: TuningOptions, n_targets: int = 1
) -> tuple[Strengths, Array | None]:
    """One strength for every feature, or for every label and who has it."""
    groups = options.groups
    if groups is None:
        return Strengths(), None
    members = options.members(n_targets)
    return Strengths(np.eye(len(groups.labels))[groups.members]), members


def recipe_of(
    data: Prepared,
    resampling: Resampling,
    options: TuningOptions,
    plan: NestedPlan,
    halves: bool = False,
) -> Recipe:
    """Which candidates the amount of data allows and pays for.

    ``halves`` says that strengths of groups need half-sampling beside the evidence.
    """
    recipe = Recipe(shared="gcv" if resampling.criterion == "gcv" else "loo")
    if resampling.features is not None:
        recipe = replace(recipe, stronger=_STRONGER)
    p, sets = data.rows.n_penalized, [plan.full, *plan.outer]
    if options.groups is not None:
        halves = halves or options.metadata is not None or is_large(data.rows)
        recipe = recipe.for_groups(len(options.groups.labels), p, halves)
    elif options.metadata is None and not is_large(data.rows):
        recipe = recipe.for_features(in_kernels(data.rows, sets))
    elif not evidence_pays(data):
        recipe = replace(recipe, evidence=())
    few = is_small(data)
    if few or not all(s.halves for s in sets):
        recipe = replace(recipe, half=())
    return replace(recipe, evidence=(), elastic_net=0) if few else recipe


def is_small(data: Prepared) -> bool:
    """Whether there is nothing to choose from, or too little to choose by."""
    counted = round(float(data.rows.weight.sum()))
    return counted < MIN_ROWS or not data.rows.n_penalized


def evidence_pays(data: Prepared) -> bool:
    """Whether steps on the evidence take no longer than all the rest."""
    n, p = data.rows.n_rows, data.rows.n_penalized
    return n >= p or p * n**2 <= _EVIDENCE_UP_TO


def limits_of(data: Prepared, options: TuningOptions) -> Limits:
    """The user's limits, and the strengths to start from."""
    start = start_of(data.rows, options)
    return Limits.of(check_alpha_bounds(options.alpha_bounds), start)


def metadata_of(data: Prepared, given: Any, y_scale: float) -> Metadata | None:
    """The user's metadata, checked."""
    if given is None:
        return None
    if not callable(given):
        given = check_metadata(given, data.rows.X.shape[1])
    return Metadata(given, y_scale)


def plan_of(
    data: Prepared,
    resampling: Resampling,
    options: TuningOptions,
    strata: Array | None = None,
    inner_folds: bool = False,
) -> NestedPlan:
    """Nested folds; see `PlanRequest` for the last two."""
    request = PlanRequest(
        data.rows.n_rows,
        data.rows.width,
        resampling.groups,
        np.random.default_rng(options.seed),
        strata,
        inner_folds,
    )
    if resampling.splits is None:
        plan = default_plan(request, resampling.n_folds)
    else:
        plan = split_plan(request, resampling.splits, resampling.by_membership)
    if is_large(data.rows):
        X = data.rows.X
        given, rowwise = resampling.splits is not None, resampling.by_membership
        return large_plan(plan, request, given, rowwise, int(X.size))
    if not resampling.repeat or inner_folds:
        return plan
    again = split_plan(request, resampling.repeat, resampling.by_membership)
    return replace(
        plan,
        outer=[*plan.outer, *again.outer],
        held_out=[*plan.held_out, *again.held_out],
    )


def report_guard(
    data: Prepared,
    views: RowViews,
    plan: NestedPlan,
    recipe: Recipe,
    found: GuardResult,
    unit: Callable[[Any], Any],
    limits: Limits,
) -> Tuned:
    """What the guard found, losses in the ``unit`` of the user."""
    choice = found.choice
    score = -unit(choice.loss)
    p, m = data.rows.n_penalized, data.rows.n_free
    with np.errstate(divide="ignore"):
        alpha = 1.0 / found.candidates.v[0][:, :p]
    hyperpenalty = {
        "family": np.array(found.candidates.family),
        "value": found.candidates.value,
        "score": score,
        "standard_error": unit(choice.error),
        "kept": choice.kept,
        "weight": choice.weight,
        "alpha": alpha,
    }
    history = {
        "candidate": np.arange(len(choice.loss)),
        "score": score,
        "weight": choice.weight,
        "seconds": np.full(len(score), found.seconds),
    }
    steps = len(recipe.half) + recipe.evidence_steps * len(recipe.evidence)
    # Large problems score the first folds of their plan only.
    pairs = zip(plan.held_out, found.fold_coef, strict=False)
    folds = [
        FoldModel(index, coef, views.fold(k).rows)
        for k, (index, coef) in enumerate(pairs)
    ]
    return Tuned(
        # Columns behind the last one were there for the folds.
        found.v[:p],
        found.coef[: m + p],
        -float(unit(found.loss)),
        max(1, steps + recipe.elastic_net),
        history,
        hyperpenalty,
        folds,
        _edge(found) if limits.open else 0,
    )


def _edge(found: GuardResult) -> int:
    """The end of its range that the shared strength, and all that is published, is at.

    Where other candidates help, it says little; and an optimum on a limit that the user
    set is no surprise.
    """
    v = found.candidates.v[0].reshape(len(found.choice.weight), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = abs(np.log(v) - np.log(v[0]))
    near = np.nan_to_num(apart, nan=0.0).max(axis=1, initial=0.0) < 1.0
    alone = float(found.choice.weight[near].sum()) > 0.5
    return found.candidates.shared.edge if alone else 0
