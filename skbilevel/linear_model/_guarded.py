"""The guard: candidates, their nested scores, and one published set of strengths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._fold_features import views_of
from skbilevel.linear_model._options import (
    FoldModel,
    Tuned,
    TuningOptions,
    candidate_table,
)
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._candidate_average import GuardResult
from skbilevel.model_selection._family import LossFamily, in_kernels
from skbilevel.model_selection._glm_rows import n_uncommon
from skbilevel.model_selection._guard import guarded_strengths
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._large_rows import is_large, is_large_glm, is_large_ridge
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._outer_space import check_alpha_bounds
from skbilevel.model_selection._plan import (
    MIN_ROWS,
    PlanRequest,
    cell_plan,
    default_plan,
    large_plan,
    split_plan,
)
from skbilevel.model_selection._progress import MappedListener
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._strengths import Strengths
from skbilevel.problems._losses import facts_of
from skbilevel.problems._summed_rows import SummedRows

# Multiplications of one kernel, for n < p; the evidence needs some twenty of them
# in every training set, three quarters of a fit.
_EVIDENCE_UP_TO = 2e9
# Behind transformers: multiples of the shared strength, the last one close to no model.
_STRONGER = (3.0, 10.0, 100.0, 10_000.0)
# Half-sampling beyond this hyperpenalty is worse than its start on most data.
_HALF = (10.0, 3.0, 1.0, 0.3)
# A first point at 10 was never of use.
_EVIDENCE, _EVIDENCE_STEPS = (1.0, 0.1), 4
# A class with one strength has no deviations: hyperpenalties damp its steps only.
_ONE_STRENGTH = ((0.03, 0.01, 0.003), (0.01,))
# Of the elastic net: hyperpenalties, and how many powers of adaptive refits, 0 and 1.
_NET_HALF, _NET_POWERS = (10.0, 3.0, 1.0, 0.3), 2
# With fewer rows for every column labels of several may be of no use at all.
_FEW_ROWS = 5
# With fewer rows that differ from the commonest target a nested choice is noise.
_MIN_UNCOMMON = 10


def tune_guarded(
    data: Prepared, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Candidates, their nested scores, and one published set of strengths."""
    check_guarded(options)
    plan = plan_of(data, resampling, options)
    recipe = recipe_of(data, resampling, options, plan)
    sets = zip(plan.outer, plan.held_out, strict=True)
    views = views_of(data, [(s.rows, b) for s, b in sets], resampling.features)
    options = options.widened(views.full.n_penalized)
    rows = data.rows
    strengths, members = strengths_of(options, rows.n_targets)
    bounds, start = check_alpha_bounds(options.alpha_bounds), options.start(rows)
    limits = Limits.of(bounds, start)

    def finish(found: GuardResult) -> Tuned:
        return report_guard(data, views, plan, recipe, found, limits)

    listener = None
    if options.listener is not None:
        listener = MappedListener(options.listener, finish)
    metadata = Metadata.given(options.metadata, rows, data.y_scale)
    terms = GuardTerms(
        views, plan, _averaging(data), members, metadata, limits, listener
    )
    if not _by_products(data, options):
        family = _family_of(data)
        found = guarded_strengths(terms, recipe, strengths, family, options.n_jobs)
        return finish(found)
    # Others do not wait for modules that they have no use for.
    from skbilevel.model_selection._large_guard import guarded_large

    losses, by_target = (data.loss, data.outer), _by_target(data, options)
    found = guarded_large(
        terms, *losses, data.offset, by_target=by_target, recipe=recipe
    )
    return finish(found)


def _by_products(data: Prepared, options: TuningOptions) -> bool:
    """Whether X is too large for anything but products with it."""
    if data.net:
        return False
    if data.quadratic:
        return is_large_ridge(data.rows)
    return is_large_glm(data.rows, _by_target(data, options))


def _is_large(data: Prepared) -> bool:
    """Whether folds inside of training sets are single hold-outs."""
    return (is_large_ridge if data.quadratic else is_large)(data.rows)


def _family_of(data: Prepared) -> LossFamily | None:
    """The family of a loss and a penalty; None is ridge regression."""
    if data.net:
        # Ridge does not wait for modules that it has no use for.
        from skbilevel.model_selection._net_trainer import NetFamily

        return NetFamily(data.net)
    if data.quadratic:
        return None
    from skbilevel.model_selection._glm_family import GLMFamily

    return GLMFamily(data.loss, data.outer, data.offset)


def _by_target(data: Prepared, options: TuningOptions) -> bool:
    """Whether there are several targets that have strengths of their own."""
    return options.n_own(data.rows.n_targets) > 1


def _in_user_units(data: Prepared, loss: Any) -> Any:
    """Squared errors in the units of y, too large ones infinite; others as they are."""
    if not data.quadratic:
        return loss
    with np.errstate(over="ignore"):
        return np.square(np.sqrt(loss / data.rows.n_targets) * data.y_scale)


def _averaging(data: Prepared) -> Averaging:
    """Nats where rows are scored by a log likelihood, relative losses elsewhere."""
    if is_dispersed(data) or data.outer != data.loss:
        return Averaging()
    return Averaging(temperature=1.0, doubt=1.0, nats=True)


def is_dispersed(data: Prepared) -> bool:
    """Whether the variance of the targets is known up to a factor only."""
    return facts_of(data.loss).noise(data.rows.n_targets) is None


def check_guarded(options: TuningOptions) -> None:
    """Raise where the guard is asked to solve by somebody else's rule."""
    if not (isinstance(options.solver, str) and options.solver == "auto"):
        raise ValueError(
            f"solver={options.solver!r} has no effect with hyperpenalty='auto', whose "
            "guard chooses by its own rule: leave solver='auto', or set "
            "hyperpenalty=None."
        )


def strengths_of(
    options: TuningOptions, n_targets: int
) -> tuple[Strengths, Array | None]:
    """One strength for every feature, or for every label and who has it."""
    groups = options.groups
    if groups is None:
        return Strengths(), None
    members = options.members(n_targets)
    return Strengths(np.eye(len(groups.labels))[groups.members]), members


def recipe_of(
    data: Prepared, resampling: Resampling, options: TuningOptions, plan: NestedPlan
) -> Recipe:
    """Which candidates the amount of data allows and pays for."""
    if data.net:
        return _recipe_of_net(data, options)
    recipe = _recipe_by_size(data, resampling, options, plan)
    if data.quadratic:
        return recipe
    if options.groups is None:
        recipe = _fewer_points(recipe, data, options.metadata is not None)
    t = data.rows.n_targets
    if _by_target(data, options):
        recipe = replace(recipe, classes=_of_one_class(recipe, options, t))
    uncommon = n_uncommon(data.rows.y, data.rows.weight)
    few = is_small(data) or uncommon < _MIN_UNCOMMON
    return recipe.without_paths() if few else recipe


def _recipe_of_net(data: Prepared, options: TuningOptions) -> Recipe:
    """Deviations from the shared strength, and adaptive refits of its columns."""
    if is_small(data):
        return Recipe().without_paths()
    recipe = Recipe(
        half=_NET_HALF,
        tuned="folds",
        evidence=(),
        elastic_net=_NET_POWERS,
        path="adaptive",
        ratio=1.0,
        refits=False,
    )
    if options.groups is None:
        return recipe
    recipe = recipe.for_groups(
        len(options.groups.labels), data.rows.n_penalized, halves=True
    )
    return replace(recipe, evidence=())


def _recipe_by_size(
    data: Prepared, resampling: Resampling, options: TuningOptions, plan: NestedPlan
) -> Recipe:
    """The recipe of ridge."""
    recipe = Recipe(shared="gcv" if resampling.criterion == "gcv" else "loo")
    if resampling.features is not None:
        recipe = replace(recipe, stronger=_STRONGER)
    p, sets = data.rows.n_penalized, [plan.full, *plan.outer]
    if options.groups is not None:
        # Dispersed losses need half-sampling beside the evidence.
        halves = (not data.quadratic and is_dispersed(data)) or _is_large(data)
        halves = halves or options.metadata is not None
        recipe = recipe.for_groups(len(options.groups.labels), p, halves)
        few = float(data.rows.weight.sum()) < _FEW_ROWS * p
        recipe = replace(recipe, single=few and options.metadata is None)
    elif options.metadata is None and not _is_large(data):
        recipe = recipe.for_features(in_kernels(data.rows, sets))
    elif not evidence_pays(data):
        recipe = replace(recipe, evidence=())
    few = is_small(data)
    if few or not all(s.halves for s in sets):
        recipe = replace(recipe, half=())
    return replace(recipe, evidence=(), elastic_net=0) if few else recipe


def _fewer_points(recipe: Recipe, data: Prepared, halves: bool) -> Recipe:
    """What ridge would try for one strength per feature, less what is of no use."""
    pays = recipe.elastic_net and evidence_pays(data)
    return replace(
        recipe,
        half=_HALF if recipe.half and halves else (),
        # Where classes separate, leave-one-out of working responses asks a support for
        # no regularization at all.
        refits=False,
        evidence=_EVIDENCE if pays else (),
        evidence_steps=_EVIDENCE_STEPS,
    )


def _of_one_class(recipe: Recipe, options: TuningOptions, n_classes: int) -> Recipe:
    """Paths of the strengths of one class, whose loss is a share of the whole."""
    half, evidence = recipe.half, recipe.evidence
    if options.one_strength:
        half, evidence = _ONE_STRENGTH
    return replace(
        recipe,
        half=tuple(lam / n_classes for lam in half),
        evidence=tuple(lam / n_classes for lam in evidence),
    )


def is_small(data: Prepared) -> bool:
    """Whether there is nothing to choose from, or too little to choose by."""
    counted = round(float(data.rows.weight.sum()))
    return counted < MIN_ROWS or not data.rows.n_penalized


def evidence_pays(data: Prepared) -> bool:
    """Whether steps on the evidence take no longer than all the rest."""
    n, p = data.rows.n_rows, data.rows.n_penalized
    return n >= p or p * n**2 <= _EVIDENCE_UP_TO


def plan_of(
    data: Prepared,
    resampling: Resampling,
    options: TuningOptions,
) -> NestedPlan:
    """Nested folds."""
    if isinstance(data.rows, SummedRows):
        plan = cell_plan(data.rows, _tunes_on_halves(data, options))
        return plan.tuned_on_folds() if data.net else plan
    request = PlanRequest(
        data.rows.n_rows,
        data.rows.width,
        resampling.groups,
        np.random.default_rng(options.seed),
        data.strata,
        bool(data.net) or not data.quadratic,
        _tunes_on_halves(data, options),
    )
    if resampling.splits is None:
        plan = default_plan(request, resampling.n_folds)
    else:
        plan = split_plan(request, resampling.splits, resampling.by_membership)
    if data.net:
        return plan.tuned_on_folds()
    if _is_large(data):
        X = data.rows.X
        given, rowwise = resampling.splits is not None, resampling.by_membership
        return large_plan(plan, request, given, rowwise, int(X.size))
    if not resampling.repeat or not data.quadratic:
        return plan
    again = split_plan(request, resampling.repeat, resampling.by_membership)
    return replace(
        plan,
        outer=[*plan.outer, *again.outer],
        held_out=[*plan.held_out, *again.held_out],
    )


def _tunes_on_halves(data: Prepared, options: TuningOptions) -> bool:
    """Whether anything but the elastic net, the evidence and one strength is tuned."""
    if data.net:
        return False
    if options.metadata is not None or _is_large(data):
        return True
    if data.quadratic:
        return False
    by_target = _by_target(data, options)
    of_groups = options.groups is not None and (is_dispersed(data) or by_target)
    return of_groups or is_large_glm(data.rows, by_target)


def report_guard(
    data: Prepared,
    views: RowViews,
    plan: NestedPlan,
    recipe: Recipe,
    found: GuardResult,
    limits: Limits,
) -> Tuned:
    """What the guard found, losses in the units of the user."""
    choice = found.choice
    score = -_in_user_units(data, choice.loss)
    p, m = data.rows.n_penalized, data.rows.n_free
    with np.errstate(divide="ignore"):
        alpha = 1.0 / found.candidates.v[0][:, :p]
    made, error = found.candidates, _in_user_units(data, choice.error)
    table = candidate_table(made.family, made.value, score, error, choice.weight, alpha)
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
        -float(_in_user_units(data, found.loss)),
        max(1, steps + recipe.elastic_net),
        history,
        table,
        folds,
        _edge(found) if limits.open else 0,
        share=found.candidates.shared.share,
        moment=views.moment if views.same else None,
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
