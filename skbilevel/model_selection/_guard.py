"""The guard: nested candidates, their choice, and one published set of strengths.

Classes may have strengths of their own. To second order, and without the curvature
between classes, the loss of class c is least squares on its own working responses
(`GLMTrainer.by_class`): the paths of one class are those of a single target. Point k of
all classes together is candidate k, which is then solved exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._threads import each_in_threads
from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._candidate_average import CandidateAverage, GuardResult
from skbilevel.model_selection._family import LeastSquares, LossFamily
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._paths import (
    Candidates,
    OnFamily,
    half_path,
    make_candidates,
    path_box,
)
from skbilevel.model_selection._progress import Listener, Progress
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._strengths import Strengths


def guarded_strengths(
    views: RowViews,
    plan: NestedPlan,
    recipe: Recipe,
    averaging: Averaging,
    strengths: Strengths,
    members: Array | None = None,
    metadata: Metadata | None = None,
    limits: Limits | None = None,
    family: LossFamily | None = None,
    listener: Listener | None = None,
    n_jobs: int | None = None,
) -> GuardResult:
    """Make candidates in every training set, score them, publish their average.

    Behind the full data, whose training set guides the others, they are worked on by
    ``n_jobs`` threads: what they make is theirs, and X is shared.

    A ``listener`` that ends the search early gets what is known by then: the shared
    strength before a fold is done, the choice by the folds that are done later.
    """
    limits, family = limits or Limits(), family or LeastSquares()
    guard = CandidateAverage(
        views, plan, averaging, members, limits, family, perf_counter()
    )
    progress = Progress(listener)
    trainers, made = family.trainers(views, plan), list[Any]()
    progress.begin(recipe.n_families + len(trainers))
    make = partial(
        _candidates,
        recipe=recipe,
        strengths=strengths,
        metadata=metadata,
        limits=limits,
    )
    tell = _telling(progress, guard, trainers[0])
    found = _all_candidates(trainers, make, tell, n_jobs)
    for trainer, candidates in zip(trainers, found, strict=True):
        made.append((trainer, candidates))
        known, n_sets = partial(guard.conclude, tuple(made)), guard.n_sets(made)
        text = f"candidates of {n_sets} of {1 + len(plan.outer)} training sets"
        if progress.tell("training set", known, text):
            break
    return guard.conclude(made)


def _all_candidates(
    trainers: Sequence[Any],
    make: Callable[..., Any],
    tell: OnFamily,
    n_jobs: int | None,
) -> Iterator[Any]:
    """Candidates of every trainer: of the full data, and then of the others."""
    # What can be published soonest, and what the others are guided by.
    yield make(trainers[0], tell=tell)
    yield from each_in_threads(make, [(each,) for each in trainers[1:]], n_jobs)


def _telling(progress: Progress, guard: CandidateAverage, trainer: Any) -> OnFamily:
    """Tell families of the first training sets as results."""

    shared: list[Callable[[], Any]] = []

    def tell(name: str, candidates: Callable[[], Any]) -> bool:
        text = f"candidates of the full data: {name}"
        if len(trainer.sets) == 1:
            # Without folds there are no scores: the shared strength is the result.
            shared.append(candidates)
            candidates = shared[0]
        known = partial(_conclude_one, guard, trainer, candidates)
        return progress.tell(name, known, text)

    return tell


def _conclude_one(
    guard: CandidateAverage, trainer: Any, candidates: Callable[[], Any]
) -> GuardResult:
    return guard.conclude([(trainer, candidates())])


def _candidates(
    trainer: Any,
    recipe: Recipe,
    strengths: Strengths,
    metadata: Metadata | None,
    limits: Limits,
    tell: OnFamily | None = None,
) -> Candidates:
    """Candidates of a trainer, those with strengths by class behind the others."""
    own, enough = recipe.classes, False

    def shaped(made: Any, own: Recipe | None) -> Any:
        if own is None:
            return made
        return with_classes(trainer, made, own, strengths, limits)

    def told(name: str, known: Callable[[], Any]) -> bool:
        nonlocal enough
        none = None if own is None else own.without_paths()
        assert tell is not None
        enough = tell(name, lambda: shaped(known(), none))
        return enough

    listener = None if tell is None else told
    made = make_candidates(trainer, recipe, strengths, metadata, limits, listener)
    if enough and own is not None:
        own = own.without_paths()
    return shaped(made, own)


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
    value = [*recipe.half, *recipe.evidence, *range(recipe.elastic_net)]
    return replace(
        shared,
        family=(*shared.family, *family),
        value=np.concatenate([shared.value, value]),
        v=np.concatenate([both, v], axis=1),
        w=np.concatenate([shared.w, trainer.solve(v)], axis=1),
    )


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
