"""The guard: nested candidates, their choice, and one published set of strengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging, Choice, publish
from skbilevel.model_selection._class_paths import with_classes
from skbilevel.model_selection._family import Family, LeastSquares
from skbilevel.model_selection._large import RowsTrainer
from skbilevel.model_selection._large_rows import CompactCandidates
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._paths import (
    Candidates,
    Recipe,
    Strengths,
    make_candidates,
)
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._training import Trainer

# Predictions of held-out rows are computed block by block.
_BLOCK_BYTES = 1 << 24

Made = list[tuple[Trainer | RowsTrainer, Candidates | CompactCandidates]]


@dataclass(frozen=True)
class GuardResult:
    """What the guard found.

    Parameters
    ----------
    v : ndarray of shape (p,) or (p, t)
        Published variances.
    coef : ndarray of shape (n_free + p, t)
        Coefficients at ``v``, those of the unpenalized columns first.
    fold_coef : list of ndarray of shape (n_free + p, t)
        The published average of every outer fold, solved on its training rows.
    choice : Choice
        Scores and weights of the candidates.
    candidates : Candidates
        The candidates of the full training set.
    loss : float
        Nested loss of the published average.
    """

    v: Array
    coef: Array
    fold_coef: list[Array]
    choice: Choice
    candidates: Candidates
    loss: float


def guarded_strengths(
    views: RowViews,
    plan: NestedPlan,
    recipe: Recipe,
    averaging: Averaging,
    strengths: Strengths,
    members: Array | None = None,
    metadata: Metadata | None = None,
    limits: Limits | None = None,
    family: Family | None = None,
) -> GuardResult:
    """Make candidates in every training set, score them, publish their average."""
    limits, family, rows = limits or Limits(), family or LeastSquares(), views.full
    made: Made = [
        (trainer, _candidates(trainer, recipe, strengths, metadata, limits))
        for trainer in family.trainers(views, plan)
    ]
    held_out = plan.held_out
    losses = _nested_losses(views, family, held_out, _outer_coefficients(made))
    scored = np.unique(np.concatenate(held_out))
    choice = averaging.choose(
        losses[:, scored], rows.weight[scored], plan.cluster[scored]
    )
    rest = (members, limits, views, family, held_out, scored)
    v, solved, loss = _published_everywhere(made, choice.weight, *rest)
    trainer, first = made[0]
    full = Candidates(
        first.family,
        first.value,
        trainer.variances(first.v)[:1],
        first.w[:1],
        first.shared,
    )
    best = int(np.argmax(choice.weight))
    if loss > choice.loss[best] and (members is not None or rows.n_targets > 1):
        # The ratio is a compromise where a strength covers several coefficients.
        alone = np.eye(len(choice.weight))[best]
        v, solved, loss = _published_everywhere(made, alone, *rest)
    fold_coef = [each[0] for each in solved[1:]]
    return GuardResult(v[0], solved[0][0], fold_coef, choice, full, loss)


def _candidates(
    trainer: Any,
    recipe: Recipe,
    strengths: Strengths,
    metadata: Metadata | None,
    limits: Limits,
) -> Candidates | CompactCandidates:
    """Candidates of a trainer, those with strengths by class behind the others."""
    made = make_candidates(trainer, recipe, strengths, metadata, limits)
    if recipe.classes is None or isinstance(made, CompactCandidates):
        return made
    return with_classes(trainer, made, recipe.classes, strengths, limits)


def _published_everywhere(
    made: Made,
    weight: Array,
    members: Array | None,
    limits: Limits,
    views: RowViews,
    family: Family,
    held_out: Sequence[Array],
    scored: Array,
) -> tuple[list[Array], list[Array], float]:
    """An average as variances and coefficients of every set, and its nested loss."""
    published = [_published(t, c, weight, members, limits) for t, c in made]
    # One array for each set: their numbers of columns may differ.
    v = [each for p in published for each in p[0]]
    solved = [each for p in published for each in p[1]]
    nested = _nested_losses(views, family, held_out, solved[1:])[0]
    row_weight = views.full.weight[scored]
    return v, solved, float(nested[scored] @ row_weight / row_weight.sum())


def _outer_coefficients(made: Made) -> Iterator[Array]:
    """Coefficients (c, n_free + p, t) of every outer fold; the first set is no fold."""
    for k, (trainer, candidates) in enumerate(made):
        coefs = trainer.full_coefficients(candidates.w)
        yield from coefs[1:] if k == 0 else coefs


def _nested_losses(
    views: RowViews,
    family: Family,
    held_out: Sequence[Array],
    coefs: Iterable[Array],
) -> Array:
    """Mean loss (c, n) of every candidate on rows it has not seen."""
    total: Array | None = None
    n_rows = views.full.n_rows
    times = np.zeros(n_rows)
    for k, (index, coef) in enumerate(zip(held_out, coefs, strict=True)):
        rows = views.fold(k).rows
        step = max(256, _BLOCK_BYTES // (8 * max(rows.width, 1)))
        c, width, t = coef.shape
        total = np.zeros((c, n_rows)) if total is None else total
        flat = np.moveaxis(coef, 0, 1).reshape(width, -1)
        for start in range(0, len(index), step):
            part = index[start : start + step]
            eta = rows.predict(part, flat).reshape(len(part), c, t)
            total[:, part] += family.losses(rows, part, eta).T
        times[index] += 1
    assert total is not None
    return total / np.maximum(times, 1)


def _published(
    trainer: Trainer | RowsTrainer,
    candidates: Candidates | CompactCandidates,
    weight: Array,
    members: Array | None,
    limits: Limits,
) -> tuple[Array, Array]:
    """The average of every training set as variances, re-solved there."""
    if (weight > 0).sum() == 1:
        # One candidate is its own average; an iterative solution would blur it.
        v = candidates.v[:, int(np.argmax(weight))]
    else:
        w = candidates.average(weight)
        u = trainer.dual_gradient(w)
        by_target = candidates.v.ndim == 4
        v = np.stack(
            [publish(*each, members, by_target) for each in zip(w, u, strict=True)]
        )
        if isinstance(trainer, RowsTrainer):
            # A trainer of its own: what it keeps is dropped with it.
            trainer = replace(trainer, start=w[0])
    ceiling = np.exp(candidates.shared.ceiling)
    v = np.minimum(v, ceiling.reshape(-1, *[1] * (v.ndim - 1)))
    v = limits.clip(trainer, v[:, None])[:, 0]
    solved = trainer.full_coefficients(trainer.solve(v[:, None]))
    return trainer.variances(v[:, None])[:, 0], solved
