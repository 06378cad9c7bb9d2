"""The guard: nested candidates, their choice, and one published set of strengths.

Classes may have strengths of their own. To second order, and without the curvature
between classes, the loss of class c is least squares on its own working responses
(`GLMTrainer.by_class`): the paths of one class are those of a single target. Point k of
all classes together is candidate k, which is then solved exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._threads import each_in_threads
from skbilevel._typing import Array
from skbilevel.model_selection._candidate_average import CandidateAverage, GuardResult
from skbilevel.model_selection._family import LeastSquares, LossFamily
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._paths import (
    Candidates,
    OnFamily,
    half_path,
    make_candidates,
    path_box,
)
from skbilevel.model_selection._progress import Progress
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._strengths import Strengths


def guarded_strengths(
    terms: GuardTerms,
    recipe: Recipe,
    strengths: Strengths,
    family: LossFamily | None = None,
    n_jobs: int | None = None,
) -> GuardResult:
    """Make candidates in every training set, score them, publish their average.

    Behind the full data, whose training set guides the others, they are worked on by
    ``n_jobs`` threads: what they make is theirs, and X is shared.

    A listener that ends the search early gets what is known by then: the shared
    strength before a fold is done, the choice by the folds that are done later.
    """
    family = family or LeastSquares()
    guard = CandidateAverage(terms, family, perf_counter())
    progress, n_sets = Progress(terms.listener), 1 + len(terms.plan.outer)
    trainers, made = family.trainers(terms.views, terms.plan), list[Any]()
    progress.begin(recipe.n_families + len(trainers))
    make = partial(_candidates, terms=terms, recipe=recipe, strengths=strengths)
    # What can be published soonest, and what the others are guided by.
    first = make(trainers[0], tell=_telling(progress, guard, trainers[0]))
    rest = each_in_threads(make, [(each,) for each in trainers[1:]], n_jobs)
    for trainer, candidates in zip(trainers, chain([first], rest), strict=True):
        made.append((trainer, candidates))
        known = partial(guard.conclude, tuple(made))
        text = f"candidates of {guard.n_sets(made)} of {n_sets} training sets"
        if progress.tell("training set", known, text):
            break
    return guard.conclude(made)


def _telling(progress: Progress, guard: CandidateAverage, trainer: Any) -> OnFamily:
    """Tell families of the first training sets as results."""

    shared: list[Callable[[], Candidates]] = []

    def tell(name: str, candidates: Callable[[], Candidates]) -> bool:
        if len(trainer.sets) == 1:
            # Without folds there are no scores: the shared strength is the result.
            shared.append(candidates)
            candidates = shared[0]
        text = f"candidates of the full data: {name}"

        def known() -> GuardResult:
            return guard.conclude([(trainer, candidates())])

        return progress.tell(name, known, text)

    return tell


def _candidates(
    trainer: Any,
    terms: GuardTerms,
    recipe: Recipe,
    strengths: Strengths,
    tell: OnFamily | None = None,
) -> Candidates:
    """Candidates of a trainer, those with strengths by class behind the others.

    ``tell`` hears of every family but the last one, and may say that it is enough.
    """
    metadata, limits = terms.metadata, terms.limits

    def shaped(made: Callable[[], Candidates], own: Recipe) -> Candidates:
        return with_classes(trainer, made(), own, strengths, limits)

    stages = make_candidates(trainer, recipe, strengths, metadata, limits)
    for name, made in stages:
        known, own = made, recipe.classes
        if own is not None:
            own = own.without_paths() if name else own
            known = partial(shaped, made, own)
        if tell is not None and name and tell(name, known):
            break
    return known()


def with_classes(
    trainer: Any,
    shared: Candidates,
    recipe: Recipe,
    strengths: Strengths,
    limits: Limits,
) -> Candidates:
    """Append candidates of one strength for every class and feature, or label.

    Parameters
    ----------
    trainer : GLMTrainer
        One training set.
    shared : Candidates
        Those whose strengths the classes share.
    recipe : Recipe
        Points of the paths of one class.
    strengths : Strengths
        Features, or labels of them.
    limits : Limits
        The user's box and start.
    """
    both = np.repeat(shared.v[..., None], trainer.rows.n_targets, axis=-1)
    if not (recipe.half or recipe.evidence or recipe.elastic_net):
        return replace(shared, v=both)
    paths = [
        _of_class(own, trainer, shared, recipe, strengths, limits.of_target(c))
        for c, own in enumerate(trainer.by_class())
    ]
    v = limits.clip(trainer, np.stack(paths, axis=-1)[None])
    family = ["class_half"] * len(recipe.half)
    family += ["class_evidence"] * len(recipe.evidence)
    family += ["class_elastic_net"] * recipe.elastic_net
    value = np.r_[recipe.half, recipe.evidence, : recipe.elastic_net]
    return replace(shared, v=both).behind(family, value, v, trainer.solve(v))


def _of_class(
    own: Any,
    trainer: Any,
    shared: Candidates,
    recipe: Recipe,
    strengths: Strengths,
    limits: Limits,
) -> Array:
    """Variances (c, p) of one class along its paths."""
    base, bounds = path_box(trainer, shared.shared, strengths, limits)
    base = np.clip(limits.begin(trainer, strengths, base), *bounds)
    path = half_path(own, recipe.half, strengths, base, bounds)
    path += own.evidence_path(recipe, strengths, base, bounds)
    made = [np.exp(strengths.expand(theta)) for theta in path]
    if recipe.elastic_net:
        made.append(own.elastic_net(recipe.elastic_net, recipe.ratio)[0][0])
    return np.concatenate(made)
