"""Limits of the work on a large problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from skbilevel._records import record
from skbilevel.model_selection._recipe import Recipe
from skbilevel.problems import Loss
from skbilevel.solvers.inner._newton_cg import NewtonCG


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
        Is told every evaluated `MetadataPoint`.
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
    trace: Callable[[Any], None] | None = None

    @classmethod
    def of(cls, loss: Loss, recipe: Recipe) -> LargeBudget:
        """The limits for a loss and what is to be tried.

        Least squares take few steps to a solution. Their elastic net tells single
        columns apart, which free deviations do elsewhere, and their plan says what is
        scored.
        """
        steps = cls.steps if recipe.has_paths else (0, 0)
        if not loss.constant_curvature:
            return cls(steps=steps)
        return cls(10**9, steps=steps, tol=(1e-3, 1e-6), deviation=0.0)

    def penalty(self, held_out: float) -> float:
        """``lam`` for hold-outs of so many rows."""
        return self.lam * max(1.0, self.many / max(held_out, 1.0))
