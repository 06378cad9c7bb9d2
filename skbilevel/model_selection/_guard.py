"""The guard: nested candidates, their choice, and one published set of strengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._candidate_average import CandidateAverage, GuardResult
from skbilevel.model_selection._class_paths import with_classes
from skbilevel.model_selection._family import LeastSquares, LossFamily
from skbilevel.model_selection._large_rows import CompactCandidates
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._paths import (
    Candidates,
    OnFamily,
    Strengths,
    make_candidates,
)
from skbilevel.model_selection._progress import Listener, Progress
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews


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
) -> GuardResult:
    """Make candidates in every training set, score them, publish their average.

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
    for trainer in trainers:
        make = partial(_candidates, trainer, recipe, strengths, metadata, limits)
        if made:
            made.append((trainer, make()))
        else:
            # Of the full data, and what can be published soonest.
            made.append((trainer, make(_telling(progress, guard, trainer))))
        known, n_sets = partial(guard.conclude, tuple(made)), guard.n_sets(made)
        text = f"candidates of {n_sets} of {1 + len(plan.outer)} training sets"
        if progress.tell("training set", known, text):
            break
    return guard.conclude(made)


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
) -> Candidates | CompactCandidates:
    """Candidates of a trainer, those with strengths by class behind the others."""
    own, enough = recipe.classes, False

    def shaped(made: Any, own: Recipe | None) -> Any:
        if own is None or isinstance(made, CompactCandidates):
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
