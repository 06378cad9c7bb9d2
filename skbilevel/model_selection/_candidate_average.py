"""From candidates of training sets to one published set of strengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._average import Choice, publish
from skbilevel.model_selection._family import LossFamily
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._held_out_sums import SummedHeldOut
from skbilevel.model_selection._paths import Candidates
from skbilevel.model_selection._training import Trainer
from skbilevel.problems._summed_rows import SummedRows

# Solutions that are looked at before strengths are published.
_ROUNDS = 2
# Differences of a loss that solves and roundings explain.
_ROUNDING = 1e-3

Made = Sequence[tuple[Trainer, Candidates]]


@record
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
    seconds : float
        From the start until the candidates were scored.
    """

    v: Array
    coef: Array
    fold_coef: list[Array]
    choice: Choice
    candidates: Candidates
    loss: float
    seconds: float


@record
class CandidateAverage:
    """From candidates of training sets to one published set of strengths.

    Parameters
    ----------
    terms : GuardTerms
        What the guard is told.
    family : LossFamily
        Losses of predictions.
    began : float
        When, by `time.perf_counter`.
    """

    terms: GuardTerms
    family: LossFamily
    began: float

    @staticmethod
    def n_sets(made: Iterable[tuple[Any, Any]]) -> int:
        """Number of training sets, the full data first."""
        return sum(len(trainer.sets) for trainer, _ in made)

    def conclude(self, made: Made) -> GuardResult:
        """Choose by the folds whose candidates are made, and publish the average."""
        terms = self.terms
        held_out = terms.plan.held_out[: self.n_sets(made) - 1]
        choice = self._choice(made, held_out)
        seconds = perf_counter() - self.began
        v, solved, loss = self._everywhere(made, choice.weight, held_out)
        trainer, first = made[0]
        full = replace(first, v=trainer.variances(first.v)[:1], w=first.w[:1])
        best = choice.best
        compromise = terms.members is not None or terms.views.full.n_targets > 1
        # Losses are convex, so the loss of averaged coefficients does not exceed the
        # weighted mean loss. If it does, `publish` has divided rounding errors. What
        # lost signs have made worse than the shared strength is not published, either.
        mean = float(choice.weight @ choice.loss)
        limit = min(mean, float(choice.loss[0])) * (1.0 + _ROUNDING)
        if loss > limit or (loss > choice.loss[best] and compromise):
            # The ratio is a compromise where a strength covers several coefficients.
            alone = np.eye(len(choice.weight))[best]
            v, solved, loss = self._everywhere(made, alone, held_out)
        coef, folds = solved[0][0], [each[0] for each in solved[1:]]
        return GuardResult(v[0], coef, folds, choice, full, loss, seconds)

    def _choice(self, made: Made, held_out: Sequence[Array]) -> Choice:
        """Weights of the candidates; the shared strength alone before any fold."""
        if not held_out:
            return Choice.first(len(made[0][1].family))
        held = self._predicted(held_out, _outer_coefficients(made))
        return self.terms.averaging.choose(held)

    def _predicted(
        self, held_out: Sequence[Array], coefs: Iterable[Array]
    ) -> HeldOut | SummedHeldOut:
        """Predictions of held-out rows by coefficients (c, n_free + p, t) of folds."""
        views, full = self.terms.views, self.terms.views.full
        if isinstance(full, SummedRows):
            return SummedHeldOut.of(full, held_out, coefs)
        index, start = np.concatenate(held_out), 0
        eta = y = np.empty(0)
        for k, (part, coef) in enumerate(zip(held_out, coefs, strict=True)):
            rows = views.fold(k).rows
            c, width, t = coef.shape
            flat = np.moveaxis(coef, 0, 1).reshape(width, -1)
            linear = rows.predict(part, flat).reshape(len(part), c, t)
            linear, target = self.family.compared(rows, part, linear)
            if not start:
                eta, y = np.empty((len(index), c, t)), np.empty((len(index), t))
            stop = start + len(part)
            eta[start:stop], y[start:stop] = linear, target
            start = stop
        scored, cluster = self.family.scored_by, self.terms.plan.cluster
        return HeldOut(index, eta, y, *scored, full.weight, cluster)

    def _everywhere(
        self, made: Made, weight: Array, held_out: Sequence[Array]
    ) -> tuple[list[Array], list[Array], float]:
        """An average as variances and coefficients of every set; its nested loss."""
        trainer, first = made[0]
        finished = [(trainer, self.family.finished(trainer, first, weight)), *made[1:]]
        published = [_published(t, c, weight, self.terms) for t, c in finished]
        # One array for each set: their numbers of columns may differ.
        v = [each for p in published for each in p[0]]
        solved = [each for p in published for each in p[1]]
        if not held_out:
            return v, solved, np.nan
        held = self._predicted(held_out, solved[1:])
        return v, solved, float(held.mean_loss[0])


def _outer_coefficients(made: Made) -> Iterator[Array]:
    """Coefficients (c, n_free + p, t) of every outer fold; the first set is no fold."""
    for k, (trainer, candidates) in enumerate(made):
        coefs = trainer.full_coefficients(candidates.w)
        yield from coefs[1:] if k == 0 else coefs


def _published(
    trainer: Trainer, candidates: Candidates, weight: Array, terms: GuardTerms
) -> tuple[Array, Array]:
    """The average of every training set as variances, re-solved there."""
    if (weight > 0).sum() == 1:
        # One candidate is its own average; an iterative solution would blur it.
        v = candidates.v[:, int(np.argmax(weight))]
    else:
        w = candidates.average(weight)
        v = _strengths_of(trainer, w, candidates.v.ndim == 4, terms.members)
    ceiling = np.exp(candidates.shared.ceiling)
    v = np.minimum(v, ceiling.reshape(-1, *[1] * (v.ndim - 1)))
    v = terms.limits.clip(trainer, v[:, None])[:, 0]
    solved = trainer.full_coefficients(trainer.solve(v[:, None]))
    return trainer.variances(v[:, None])[:, 0], solved


def _strengths_of(
    trainer: Trainer, w: Array, by_target: bool, members: Array | None
) -> Array:
    """Variances at which the solutions are as close to ``w`` (F, p, t) as can be.

    Where no sign of ``w`` and of its dual gradient disagrees, the solutions are ``w``.
    Elsewhere a coefficient is lost and all others move, and with them the dual
    gradient: it is taken again at the solution that was found.
    """

    slope = trainer.penalty.slope(w)

    def at(u: Array) -> Array:
        pairs = zip(slope, u, strict=True)
        return np.stack([publish(*each, members, by_target) for each in pairs])

    v = at(trainer.dual_gradient(w))
    single = members is None and (w.shape[2] == 1 or by_target)
    if single:
        for _ in range(_ROUNDS):
            if not ((v.reshape(w.shape) == 0) & (w != 0)).any():
                break
            v = at(trainer.dual_gradient(trainer.solve(v[:, None])[:, 0]))
    return v
