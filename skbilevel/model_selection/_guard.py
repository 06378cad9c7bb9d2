"""The guard: nested candidates, their choice, and one published set of strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging, Choice, publish
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._paths import (
    Candidates,
    Recipe,
    Strengths,
    make_candidates,
)
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._training import Trainer
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows, CellMoments, RowMoments

_BATCH_BYTES = 1 << 27


@dataclass(frozen=True)
class GuardResult:
    """What the guard found.

    Parameters
    ----------
    v : ndarray of shape (p,)
        Published variances.
    coef : ndarray of shape (n_free + p, t)
        Coefficients at ``v``, those of the unpenalized columns first.
    fold_coef : ndarray of shape (n_folds, n_free + p, t)
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
    fold_coef: Array
    choice: Choice
    candidates: Candidates
    loss: float


def guarded_strengths(
    rows: AugmentedRows,
    plan: NestedPlan,
    recipe: Recipe,
    averaging: Averaging,
    strengths: Strengths,
    members: Array | None = None,
) -> GuardResult:
    """Make candidates in every training set, score them, publish their average."""
    sets = [plan.full, *plan.outer]
    groups = _trainers(rows, sets, plan.cell)
    made = [
        (trainer, make_candidates(trainer, recipe, strengths)) for trainer in groups
    ]
    coefs = np.concatenate([t.full_coefficients(c.w) for t, c in made])
    losses = _nested_losses(rows, plan.held_out, coefs[1:])
    scored = np.unique(np.concatenate(plan.held_out))
    choice = averaging.choose(
        losses[:, scored], rows.weight[scored], plan.cluster[scored]
    )
    published = [_published(t, c, choice.weight, members) for t, c in made]
    v = np.concatenate([p[0] for p in published])
    solved = np.concatenate([p[1] for p in published])
    nested = _nested_losses(rows, plan.held_out, solved[1:])[0]
    loss = float(nested[scored] @ rows.weight[scored] / rows.weight[scored].sum())
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
        v, solved = full.v[:, best], coefs[:, best : best + 1]
        loss = float(choice.loss[best])
    return GuardResult(v[0], solved[0, 0], solved[1:, 0], choice, full, loss)


def _trainers(
    rows: AugmentedRows, sets: Sequence[TrainingSet], cell: Array | None
) -> Sequence[Trainer]:
    """Primal in batches that fit in memory, or dual one by one."""
    if _use_kernel(rows, sets):
        kernel_rows = KernelRows.of(rows)
        return [KernelTrainer.of(kernel_rows, s) for s in sets]
    source = RowMoments(rows) if cell is None else CellMoments.of(rows, cell)
    per_set = 64 * rows.width**2 * max(1, len(sets[0].halves))
    step = max(1, _BATCH_BYTES // per_set)
    batches: list[list[TrainingSet]] = []
    for s in sets:
        same = batches and len(batches[-1][0].halves) == len(s.halves)
        if same and len(batches[-1]) < step:
            batches[-1].append(s)
        else:
            batches.append([s])
    return [MomentTrainer(rows, batch, source) for batch in batches]


def _use_kernel(rows: AugmentedRows, sets: Sequence[TrainingSet]) -> bool:
    """Dual where columns outnumber rows, counted by weight.

    An integer weight counts as that many rows, so that weighting and repeating rows
    take the same path; tiny weights do not make a tall problem wide.
    """
    p = rows.n_penalized
    least = min(rows.weight[s.rows].sum() for s in sets)
    return bool(p > least and 2 * p > max(len(s.rows) for s in sets))


def _nested_losses(
    rows: AugmentedRows, held_out: Sequence[Array], coefs: Array
) -> Array:
    """Mean squared error (c, n) of every candidate on rows it has not seen."""
    n_candidates, t = coefs.shape[1], rows.n_targets
    total = np.zeros((n_candidates, rows.n_rows))
    times = np.zeros(rows.n_rows)
    for index, coef in zip(held_out, coefs, strict=True):
        flat = np.moveaxis(coef, 0, 1).reshape(coef.shape[1], -1)
        residual = rows.predict(index, flat).reshape(len(index), n_candidates, t)
        residual -= rows.targets(index)[:, None]
        total[:, index] += (residual**2).sum(axis=-1).T
        times[index] += 1
    return total / np.maximum(times, 1)


def _published(
    trainer: Trainer,
    candidates: Candidates,
    weight: Array,
    members: Array | None,
) -> tuple[Array, Array]:
    """The average of every training set as variances, and ridge re-solved there."""
    w = np.tensordot(weight, candidates.w, axes=(0, 1))
    u = trainer.dual_gradient(w)
    v = np.stack([publish(a, b, members) for a, b in zip(w, u, strict=True)])
    v = np.minimum(v, np.exp(candidates.shared.ceiling)[:, None])
    solved = trainer.full_coefficients(trainer.solve(v[:, None]))
    return trainer.variances(v[:, None])[:, 0], solved
