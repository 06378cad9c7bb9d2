"""Limits of the work on a large problem, and metadata of its training sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._large_columns import Statistics, column_statistics
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_search import MetadataPoint
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import Pair, TrainingSet
from skbilevel.problems import Loss
from skbilevel.solvers.inner._newton_cg import NewtonCG

# Variances whose product with the largest curvature of a column exceeds this are
# beyond what products of so many bytes a number can tell from infinity.
_SAFE = {4: 1e8, 8: 1e12}


@record
class LargeBudget:
    """All limits of the work.

    Parameters
    ----------
    scored_rows : int
        Outer folds are tuned from scratch and scored until they hold out so many
        rows.
    holdouts : int
        Outer folds on which the full data are tuned.
    steps : tuple of int
        Evaluations on an inner hold-out, and on the outer folds.
    lam : float
        Weight of the mean squared departure of ``log v`` from the shared one, in
        units of the loss of the null model, where `many` rows or more are held out.
    many : float
        With fewer it grows in proportion: as many nats in all.
    reach : tuple of float
        How far ``log v`` may go below and above the shared one.
    path, tuning : NewtonCG
        Solvers along the shared path and of one evaluation.
    accuracy : tuple of float
        Tolerances of inner solves and adjoints while tuning.
    tol : tuple of float
        Tolerance of candidates, and of what is published.
    deviation : float
        Largest free deviation of ``log v`` from its metadata; zero for none.
    gain : float
        Predicted gain, in units of the null loss, at which a search ends.
    trace : callable or None
        Is told every evaluated point.
    """

    scored_rows: int = 1000
    holdouts: int = 3
    steps: tuple[int, int] = (8, 5)
    lam: float = 0.007
    many: float = 3000.0
    reach: tuple[float, float] = (-6.0, 4.0)
    path: NewtonCG = field(default_factory=lambda: NewtonCG(max_newton=8))
    tuning: NewtonCG = field(
        default_factory=lambda: NewtonCG(max_newton=1, max_cg=60, max_adjoint=60)
    )
    accuracy: tuple[float, float] = (1e-2, 0.1)
    tol: tuple[float, float] = (1e-2, 1e-3)
    deviation: float = 0.5
    gain: float = 1e-4
    trace: Callable[[MetadataPoint], None] | None = None

    def penalty(self, held_out: float) -> float:
        """``lam`` for hold-outs of so many rows."""
        return self.lam * max(1.0, self.many / max(held_out, 1.0))


def budget_of(loss: Loss, recipe: Recipe) -> LargeBudget:
    """The limits for a loss and what is to be tried.

    Least squares take few steps to a solution. Their elastic net tells single columns
    apart, which free deviations do elsewhere, and their plan says what is scored.
    """
    steps = LargeBudget.steps if recipe.has_paths else (0, 0)
    if not loss.constant_curvature:
        return LargeBudget(steps=steps)
    return LargeBudget(10**9, steps=steps, tol=(1e-3, 1e-6), deviation=0.0)


@record
class MetadataMaker:
    """Makes metadata of a training set from its rows.

    Parameters
    ----------
    problem : LargeProblem
        The rows.
    members : ndarray of shape (p,), or (p t,) with ``by_target``, or None
        Labels: strengths are then a function of these alone.
    metadata : Metadata or None
        Columns of the user, beside the intrinsic ones.
    by_target : bool
        Whether classes have strengths of their own.
    """

    problem: LargeProblem
    members: Array | None
    metadata: Metadata | None
    by_target: bool = False

    def of(self, index: Array) -> Statistics:
        """What some rows say."""
        if self.members is not None:
            return self._labels(self.members)
        found = column_statistics(self.problem, index, self.by_target)
        if self.metadata is None:
            return found
        given = self.metadata.of(self.problem.rows, index)
        return replace(found, Z=np.hstack([found.Z, given]))

    def _labels(self, members: Array) -> Statistics:
        count = np.bincount(members)
        t = self.problem.rows.n_targets if self.by_target else 1
        labels = members.reshape(-1, t) if self.by_target else members
        return Statistics(np.eye(len(count)), count / len(members), labels)


def inner_pair(s: TrainingSet) -> Pair:
    """The hold-out of a training set: the first of its inner folds, or its own.

    Where the plan has none, because its units cannot be divided, every fourth row.
    """
    for pairs in (s.shared, s.halves):
        if pairs:
            return pairs[0]
    valid = np.arange(len(s.rows)) % 4 == 3
    return s.rows[~valid], s.rows[valid]


def ceiling_of(problem: LargeProblem, index: Array) -> float:
    """Largest ``log v`` that is numerically safe."""
    fit = problem.fit(index)
    squares = fit.design.column_squares(fit.weight)[problem.layout.n_free :]
    top = float(np.max(squares, initial=0.0))
    safe = _SAFE[np.dtype(problem.precision).itemsize]
    return float(np.log(safe / top)) if top > 0 else 0.0
