"""The guard where n and p are both large: X is known through products only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._average import Choice, publish
from skbilevel.model_selection._candidate_average import GuardResult
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import MetadataMaker
from skbilevel.model_selection._large_paths import NetPaths
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_tuning import (
    DEVIATIONS,
    LargeTuning,
    Tuned,
    choose_refined,
)
from skbilevel.model_selection._paths import Candidates
from skbilevel.model_selection._progress import Progress
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems import Loss
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._spectrum import SharedOptimum


def guarded_large(
    terms: GuardTerms,
    loss: Loss,
    outer: Loss,
    offset: Array | None,
    budget: LargeBudget | None = None,
    by_target: bool = False,
    recipe: Recipe | None = None,
) -> GuardResult:
    """One shared strength, strengths that follow metadata, or an average of the two.

    Free deviations from the function of metadata take its place where they lower the
    nested loss. For least squares there are no deviations, and more candidates.

    Parameters
    ----------
    terms : GuardTerms
        Its rows hold class indicators, 0 and 1, counts, amounts, or the targets of
        least squares. Outer folds are scored until they hold out enough rows; the
        first few are the hold-outs of the full data. Metadata of the user stand beside
        the intrinsic ones.
    loss, outer : Loss
        The loss inside, and the one that strengths are tuned and scored by.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    budget : LargeBudget or None
        Limits of the work; None takes those of the recipe.
    by_target : bool
        Whether classes have strengths of their own.
    recipe : Recipe or None
        Which candidates stand beside those that are tuned.

    Returns
    -------
    GuardResult
        ``fold_coef`` has one entry for each *scored* fold, the first ones of the plan;
        the coefficients of the candidates are not kept.

    Notes
    -----
    Memory beyond X is at most three copies of its values, and as much as 30 arrays of
    (p x targets) double precision numbers hold, where up to eight folds are scored:
    coefficients of every candidate in these and adjoints of the hold-outs in single
    precision, the vectors of one solve, and what is returned. With ``by_target``
    variances and metadata of the classes are as many arrays again. Metadata, or
    points of paths while they are made, and published strengths are as many as 110
    arrays (p,).
    """
    views, plan, recipe = terms.views, terms.plan, recipe or Recipe(elastic_net=0)
    budget = budget or LargeBudget.of(loss, recipe)
    has_paths = loss.constant_curvature and terms.members is None

    def tuning_of(rows: AugmentedRows) -> LargeTuning:
        problem = LargeProblem.of(rows, loss, outer, offset)
        columns = MetadataMaker(problem, terms.members, terms.metadata, by_target)
        more = None
        if has_paths and recipe.elastic_net:
            more = NetPaths(rows, recipe.elastic_net, recipe.ratio)
        return LargeTuning(problem, columns, budget, terms.limits, paths=more)

    tuning = tuning_of(views.full)
    scored = np.cumsum([len(index) for index in plan.held_out])
    k = 1 + int(np.searchsorted(scored[:-1], budget.scored_rows))
    folds = [tuning] * len(plan.outer)
    if not views.same:
        used = [views.fold(j) for j in range(max(k, min(budget.holdouts, len(folds))))]
        folds = [replace(tuning_of(each.rows), view=each) for each in used]
    return LargeGuard(terms, tuning, folds, k, perf_counter()).run()


@record
class LargeGuard:
    """Scores candidates on outer folds and publishes their average.

    Parameters
    ----------
    terms : GuardTerms
        What the guard is told.
    tuning : LargeTuning
        Makes candidates of the full data.
    folds : sequence of LargeTuning
        Makes those of the outer folds.
    k : int
        Number of outer folds that are scored.
    began : float
        When, by `time.perf_counter`.
    """

    terms: GuardTerms
    tuning: LargeTuning
    folds: Sequence[LargeTuning]
    k: int
    began: float

    def run(self) -> GuardResult:
        """Tune and score the folds, choose, tune and solve the full data.

        Where the listener ends this early, the folds that are done decide, and the
        strengths of the first one are moved to the full data.
        """
        progress, plan = Progress(self.terms.listener), self.terms.plan
        progress.begin(self.k + 2)
        folds: list[Tuned] = []

        def shared(alone: Tuned) -> bool:
            known = partial(self._alone, alone)
            return progress.tell("shared", known, "one strength, by the first fold")

        for tuning, s in zip(self.folds[: self.k], plan.outer, strict=False):
            tuned = tuning.fold(s, None if folds else shared)
            if progress.stopped:
                return self._alone(tuned)
            folds.append(self._solved(tuning, s, tuning.with_paths(tuned, s.rows)))
            known = partial(self._conclude, tuple(folds), None)
            text = f"candidates of {len(folds)} of {self.k} folds"
            if progress.tell("training set", known, text):
                return known()
        # Metadata are gone before the paths, which need as much memory, are made.
        full = self.tuning.full(plan, folds[0], self.folds)
        full = self.tuning.with_paths(full, plan.full.rows)
        known = partial(self._conclude, tuple(folds), full)
        progress.tell("training set", known, "candidates of the full data")
        return known()

    def _alone(self, tuned: Tuned) -> GuardResult:
        """The shared strength of the first fold, which no held-out row has judged."""
        full, choice = self._moved(tuned), Choice.first(1)
        seconds = perf_counter() - self.began
        return self._result(full, tuned, choice, np.ones(1), np.nan, [], seconds)

    def _moved(self, first: Tuned) -> Tuned:
        """Strengths of the first fold for the full data."""
        return self.tuning.moved(self.terms.plan, first, self.folds[0].view)

    def _solved(self, tuning: LargeTuning, s: TrainingSet, tuned: Tuned) -> Tuned:
        """Candidates of one training set with their coefficients."""
        W = tuning.solve(s.rows, tuned.variances(0), None)
        # From one start: a candidate that goes on from another has more steps.
        rest = {
            c: tuning.solve(s.rows, tuned.variances(c), W)
            for c in range(1, len(tuned.v))
            if c not in tuned.W
        }
        return replace(tuned, W={0: W, **rest, **tuned.W})

    def _conclude(self, folds: Sequence[Tuned], full: Tuned | None) -> GuardResult:
        """Choose by some folds; publish the average."""
        plan = self.terms.plan
        known = [map(f.working, range(len(f.v))) for f in folds]
        choice = self._choice(folds[0], self._predicted(known))
        seconds = perf_counter() - self.began
        full = self._moved(folds[0]) if full is None else full
        a = choice.weight
        published = [
            self._published(each, s.rows, tuned, a)
            for each, s, tuned in zip(self.folds, plan.outer, folds, strict=False)
        ]
        held = self._predicted([[W] for _, W in published])
        loss = float(held.losses[0] @ held.weight / held.weight.sum())
        best = choice.best
        if loss > choice.loss[best]:
            # The ratio is a compromise where a strength covers several classes.
            a, loss = np.eye(len(a))[best], float(choice.loss[best])
            published = [(f.variances(best), f.working(best)) for f in folds]
        return self._result(full, folds[0], choice, a, loss, published, seconds)

    def _choice(self, tuned: Tuned, held: HeldOut) -> Choice:
        """Weights of the candidates by what they predict for held-out rows."""
        refined = (DEVIATIONS,) == tuple(name for name, _ in tuned.names[2:])
        averaging = self.terms.averaging
        return choose_refined(averaging, held) if refined else averaging.choose(held)

    def _predicted(self, working: Sequence[Iterable[Array]]) -> HeldOut:
        """What the candidates of the scored folds predict for held-out rows."""
        held_out = self.terms.plan.held_out[: len(working)]
        eta, y = [], []
        for Ws, each, index in zip(working, self.folds, held_out, strict=False):
            fit = each.problem.score(index)
            eta.append(np.stack([fit.predict(W)[index] for W in Ws], axis=1))
            y.append(fit.target[index])
        rows, outer = self.tuning.problem.rows, self.tuning.problem.outer
        parts = (np.concatenate(held_out), np.concatenate(eta), np.concatenate(y))
        # The loss of least squares has a half that scores do not have.
        factor = 2.0 if outer.constant_curvature else 1.0
        return HeldOut(*parts, outer, factor, rows.weight, self.terms.plan.cluster)

    def _published(
        self, tuning: LargeTuning, index: Array, tuned: Tuned, a: Array
    ) -> tuple[Array, Array]:
        """Variances (p,) of an average of candidates, and working coefficients."""
        layout, terms = tuning.problem.layout, self.terms
        taken = [int(c) for c in np.flatnonzero(a)]
        W, start = {c: tuned.working(c) for c in taken if c in tuned.W}, None
        for c in taken:
            if c not in W:
                W[c] = tuning.solve(index, tuned.variances(c), start)
            start = W[c]
        if len(taken) == 1:
            v = tuned.variances(taken[0])
        else:
            start = sum(a[c] * W[c] for c in taken)
            w = sum(a[c] * layout.coefficients(W[c], tuned.variances(c)) for c in taken)
            grad = tuning.problem.fit(index).at(start).grad
            u = layout.spread(-np.asarray(grad, dtype=np.float64), 1)
            ceiling = np.exp(tuning.problem.ceiling(index))
            own = tuning.columns.by_target
            v = publish(w[layout.n_free :], u, terms.members, own)
            v = np.minimum(v, ceiling)
        clipped = np.clip(v, terms.limits.low, terms.limits.high)
        if len(taken) == 1 and np.array_equal(clipped, v):
            return v, W[taken[0]]
        return clipped, tuning.solve(index, clipped, start)

    def _result(
        self,
        full: Tuned,
        first: Tuned,
        choice: Choice,
        a: Array,
        loss: float,
        published: list[tuple[Array, Array]],
        seconds: float,
    ) -> GuardResult:
        tuning, layout = self.tuning, self.tuning.problem.layout
        index = self.terms.plan.full.rows
        v, W = self._published(tuning, index, full, a)
        W = tuning.solve(index, v, W, exact=True)
        fold_coef = [
            each.problem.layout.coefficients(W_k, v_k)
            for each, (v_k, W_k) in zip(self.folds, published, strict=False)
        ]
        shared = SharedOptimum.of(
            [(full.center, first.shared.edge, tuning.problem.ceiling(index))]
        )
        p, t = layout.n_penalized, W.shape[1]
        coef = layout.coefficients(W, v)
        families, values = zip(*full.names, strict=True)
        candidates = Candidates(
            families,
            np.array(values),
            np.stack([full.variances(c) for c in range(len(full.v))])[None],
            np.empty((1, 0, p, t)),
            shared,
        )
        return GuardResult(v, coef, fold_coef, choice, candidates, loss, seconds)
