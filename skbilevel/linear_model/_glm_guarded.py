"""The guard for generalized linear models: from prepared data to tuned strengths."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.linear_model._tuning import (
    check_guarded,
    evidence_pays,
    finishing,
    is_small,
    limits_of,
    metadata_of,
    plan_of,
    plan_views,
    recipe_of,
    report_guard,
    strengths_of,
)
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._conclusion import GuardResult
from skbilevel.model_selection._glm_family import LinearPredictor
from skbilevel.model_selection._glm_unseen import n_uncommon
from skbilevel.model_selection._guard import guarded_strengths
from skbilevel.model_selection._large_glm import guarded_large_glm
from skbilevel.model_selection._large_glm_budget import GLMBudget
from skbilevel.model_selection._large_glm_rows import is_large_glm
from skbilevel.model_selection._recipe import Recipe
from skbilevel.problems import LogisticLoss, SoftmaxLoss

if TYPE_CHECKING:
    from skbilevel.linear_model._glm_data import PreparedGLM

# Half-sampling beyond this hyperpenalty is worse than its start on most data.
_HALF = (10.0, 3.0, 1.0, 0.3)
# A first point at 10 was never of use.
_EVIDENCE, _EVIDENCE_STEPS = (1.0, 0.1), 4
# A class with one strength has no deviations: hyperpenalties damp its steps only.
_ONE_STRENGTH = ((0.03, 0.01, 0.003), (0.01,))
# With fewer rows that differ from the commonest target a nested choice is noise.
_MIN_UNCOMMON = 10
_KNOWN_NOISE = (LogisticLoss, SoftmaxLoss)


def tune_glm_guarded(
    data: PreparedGLM, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Candidates, their nested scores, and one published set of strengths."""
    check_guarded(options)
    plan = plan_of(data, resampling, options, data.strata, inner_folds=True)
    dispersed = _dispersed(data.loss)
    recipe = recipe_of(data, resampling, options, plan, halves=dispersed)
    if options.groups is None:
        recipe = _fewer_points(recipe, data, options.metadata is not None)
    t = data.rows.n_targets
    by_target = options.by_target and t > 1
    if by_target:
        recipe = replace(recipe, classes=_of_one_class(recipe, options, t))
    uncommon = n_uncommon(data.rows.y, data.rows.weight)
    if is_small(data) or uncommon < _MIN_UNCOMMON:
        recipe = recipe.without_paths()
    views = plan_views(data, plan, resampling)
    options = options.widened(views.full.n_penalized)
    strengths, members = strengths_of(options, t)
    limits = limits_of(data, options)
    averaging = _averaging(dispersed or data.outer != data.loss)
    metadata = metadata_of(data, options.metadata, 1.0)

    def finish(found: GuardResult) -> Tuned:
        return report_guard(data, views, plan, recipe, found, _same, limits)

    listener = finishing(options, finish)
    if is_large_glm(data.rows, by_target):
        family = (data.loss, data.outer, data.offset)
        budget = GLMBudget(steps=GLMBudget.steps if recipe.has_paths else (0, 0))
        found = guarded_large_glm(
            views,
            *family,
            plan,
            averaging,
            members,
            metadata,
            limits,
            budget,
            by_target,
            listener,
        )
    else:
        found = guarded_strengths(
            views,
            plan,
            recipe,
            averaging,
            strengths,
            members,
            metadata,
            limits,
            LinearPredictor(data.loss, data.outer, data.offset, dispersed),
            listener,
        )
    return finish(found)


def _same(loss: Any) -> Any:
    """Losses are published as they are."""
    return loss


def _fewer_points(recipe: Recipe, data: PreparedGLM, halves: bool) -> Recipe:
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
    if options.groups is not None and len(options.groups.labels) == 1:
        half, evidence = _ONE_STRENGTH
    return replace(
        recipe,
        half=tuple(lam / n_classes for lam in half),
        evidence=tuple(lam / n_classes for lam in evidence),
    )


def _dispersed(loss: Any) -> bool:
    """Whether the variance of the targets is known up to a factor only.

    That of counts is, too: they vary more than Poisson's law says.
    """
    return not isinstance(loss, _KNOWN_NOISE)


def _averaging(relative: bool) -> Averaging:
    """Nats where rows are scored by a log likelihood, relative losses elsewhere."""
    if relative:
        return Averaging()
    return Averaging(temperature=1.0, doubt=1.0, nats=True)
