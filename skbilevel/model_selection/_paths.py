"""Candidates for the strengths of a training set, from safe to bold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata, MetadataStage
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.model_selection._training import Trainer
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.solvers.outer._gauss_newton import gauss_newton_path

# Largest departure of a log strength from the best shared one.
_REACH = 25.0
# Hyperpenalty that leaves little deviation from a level, as a multiple of the largest
# other one, and steps there: it damps them, too.
_ONE_LEVEL, _LEVEL_STEPS = 10.0, 3
# The ceiling of log variances lies this far above one over the largest eigenvalue.
_CEILING = 28.0

# Family, hyperpenalty, and strengths (F, g) of a candidate.
Point = tuple[str, float, Array]
# Hears a family and a maker of the candidates so far; True ends the search.
OnFamily = Callable[[str, Callable[[], "Candidates"]], bool]


@record
class Candidates:
    """Candidates of F training sets; candidate c means the same in each of them.

    Parameters
    ----------
    family : tuple of str
        Family of every candidate; the first is "shared".
    value : ndarray of shape (c,)
        Its hyperpenalty, or its place on the elastic-net path.
    v : ndarray of shape (F, c, p) or (F, c, p, t)
        Variances; the latter where targets have their own.
    w : ndarray of shape (F, c, p, t)
        Coefficients.
    shared : SharedOptimum
        The shared strengths that the paths start from.
    """

    family: tuple[str, ...]
    value: Array
    v: Array
    w: Array
    shared: SharedOptimum

    def behind(
        self, family: Sequence[str], value: Array, v: Array, w: Array
    ) -> Candidates:
        """The same, and others behind them."""
        return Candidates(
            (*self.family, *family),
            np.concatenate([self.value, value]),
            np.concatenate([self.v, v], axis=1),
            np.concatenate([self.w, w], axis=1),
            self.shared,
        )

    def average(self, weight: Array) -> Array:
        """Weighted sum (F, p, t) of the coefficients."""
        return np.asarray(np.tensordot(weight, self.w, axes=(0, 1)))


def make_candidates(
    trainer: Trainer,
    recipe: Recipe,
    strengths: Strengths,
    metadata: Metadata | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[str, Callable[[], Candidates]]]:
    """Paths from the best shared strength outwards, in every training set.

    One family after the other, each with what solves all that is known by then. The
    last one has no name: with it all candidates are known.
    """
    limits = limits or Limits()
    shared = trainer.shared(recipe.shared)
    made: list[Point] = []
    for points in _families(trainer, recipe, strengths, metadata, limits, shared):
        made += points
        if points:
            yield points[0][0], partial(_solved, trainer, (*made,), strengths, shared)
    solved = partial(_solved, trainer, made, strengths, shared)
    if recipe.elastic_net and strengths.A is None:
        yield "", lambda: _with_elastic_net(trainer, recipe, limits, solved())
    else:
        yield "", solved


def _families(
    trainer: Trainer,
    recipe: Recipe,
    strengths: Strengths,
    metadata: Metadata | None,
    limits: Limits,
    shared: SharedOptimum,
) -> Iterator[list[Point]]:
    """The points of one family after the other, the shared strength first."""
    base, bounds = path_box(trainer, shared, strengths, limits)
    ceiling = np.broadcast_to(shared.ceiling[:, None], base.shape)
    stronger = [
        ("stronger", k, np.clip(base - np.log(k), *bounds)) for k in recipe.stronger
    ]
    yield [("shared", np.nan, base), *stronger]
    base = np.clip(limits.begin(trainer, strengths, base), *bounds)
    if metadata is not None and recipe.half:
        # From an infinite shared strength no step finds the way back.
        start = np.clip(np.maximum(base, ceiling - _CEILING), *bounds)
        yield _metadata_paths(trainer, recipe, strengths, metadata, start, bounds)
        # Where metadata mislead, the nested choice can do without them.
        recipe = replace(recipe, half=recipe.half[:3], evidence=recipe.evidence[:1])
    path = half_path(trainer, recipe.half, strengths, base, bounds)
    yield [(recipe.tuned, *each) for each in zip(recipe.half, path, strict=True)]
    path = trainer.evidence_path(recipe, strengths, base, bounds)
    made = [("evidence", *each) for each in zip(recipe.evidence, path, strict=True)]
    if path and recipe.single:
        made += _single_columns(trainer, recipe, strengths, base, bounds)
    yield made


def _solved(
    trainer: Trainer,
    made: Sequence[Point],
    strengths: Strengths,
    shared: SharedOptimum,
) -> Candidates:
    """Points with their coefficients."""
    family, value = [each[0] for each in made], [each[1] for each in made]
    log_v = [strengths.expand(each[2]) for each in made]
    v = np.exp(np.stack(log_v, axis=1))
    return Candidates(tuple(family), np.array(value), v, trainer.solve(v), shared)


def _with_elastic_net(
    trainer: Trainer, recipe: Recipe, limits: Limits, made: Candidates
) -> Candidates:
    """The points of the elastic-net path, and their refits, behind the others."""
    n_points = recipe.elastic_net
    path = trainer.elastic_net(n_points, recipe.ratio)
    parts = [(recipe.path, *path)]
    if recipe.refits:
        parts.append(("refit", *trainer.refits(path[0])))
    for family, v, w in parts:
        if not limits.open:
            v = limits.clip(trainer, v)
            w = trainer.solve(v)
        made = made.behind([family] * n_points, np.arange(n_points), v, w)
    return made


def _single_columns(
    trainer: Trainer,
    recipe: Recipe,
    strengths: Strengths,
    base: Array,
    bounds: Bounds,
) -> list[Point]:
    """About one strength for labels of one column; all others are as good as removed.

    Where rows are few, what single columns say may be all that can be learned: lines
    without their bends.
    """
    several = strengths.several
    if several.all() or not several.any():
        return []
    levels = np.column_stack([~several, several]).astype(float)
    two = replace(strengths, metadata=np.stack([levels] * len(base)))
    low = bounds[0], np.where(several, bounds[0], bounds[1])
    lam = (_ONE_LEVEL * recipe.evidence[0],)
    recipe = replace(recipe, evidence=lam, evidence_steps=_LEVEL_STEPS)
    path = trainer.evidence_path(recipe, two, np.clip(base, *low), low)
    return [("single", np.nan, path[0])]


def path_box(
    trainer: Trainer, shared: SharedOptimum, strengths: Strengths, limits: Limits
) -> tuple[Array, Bounds]:
    """The shared strength as (F, g), and how far paths may go from it."""
    g = strengths.size(trainer.rows.n_penalized)
    base = np.repeat(shared.log_v[:, None], g, axis=1)
    ceiling = np.broadcast_to(shared.ceiling[:, None], base.shape)
    bounds = (base - _REACH, np.minimum(base + _REACH, ceiling))
    bounds = limits.narrow(trainer, strengths, bounds)
    return np.clip(base, *bounds), bounds


def _metadata_paths(
    trainer: Trainer,
    recipe: Recipe,
    strengths: Strengths,
    metadata: Metadata,
    theta: Array,
    bounds: Bounds,
) -> list[Point]:
    """A function of metadata, then deviations of single strengths from it."""
    stage = MetadataStage.of(trainer, metadata, strengths.A)
    path = stage.path(trainer, recipe.metadata, strengths, theta, bounds)
    made: list[Point] = []
    made += [("metadata", *k) for k in zip(recipe.metadata, path, strict=True)]
    around, start = replace(strengths, metadata=stage.full), path[-1]
    path = half_path(trainer, recipe.half, around, start, bounds)
    half = zip(recipe.half, path, strict=True)
    made += [(f"metadata_{recipe.tuned}", *each) for each in half]
    path = trainer.evidence_path(recipe, around, start, bounds)
    last = zip(recipe.evidence, path, strict=True)
    return made + [("metadata_evidence", *each) for each in last]


def half_path(
    trainer: Trainer,
    lambdas: tuple[float, ...],
    strengths: Strengths,
    theta: Array,
    bounds: Bounds,
) -> list[Array]:
    """The smooth path under the half-sampling loss.

    One Gauss-Newton step per hyperpenalty, warm-started along the path.
    """
    penalty = strengths.deviations(trainer.rows.n_penalized)

    def model(x: Array) -> Any:
        return strengths.pull_back(trainer.halves(strengths.expand(x)))

    return gauss_newton_path(model, theta, lambdas, penalty, 1, bounds)
