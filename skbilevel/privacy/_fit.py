"""From rows in units of public bounds to coefficients with a ledger."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._bounds import shrunk, working_rows
from skbilevel.privacy._descents import (
    STEPS,
    Descended,
    Objective,
    coordinate_descent,
    gradient_descent,
    noisy_moments,
    preconditioned,
    stochastic_descent,
)
from skbilevel.privacy._ledger import Budget, PrivacyLedger, Release
from skbilevel.privacy._noise import Randomness
from skbilevel.privacy._releases import PrivateRows
from skbilevel.privacy._strengths import Spectrum, lasso_of_moments, tune

# Share of the budget that moments of columns take.
_SCALE_SHARE = 0.15
# Columns are divided by this power of their standard deviation: half way between the
# units of the bounds and unit variance. Rare indicators would get long rows at 1.
_POWER = 0.5
# Rows are shortened to the root of so many mean squares of them.
_ROW_SIZE = 1.5
# Mean squares below this count as this.
_LEAST = 1e-12


@record
class PrivatePlan:
    """How a private fit is done; nothing here may depend on the rows.

    Parameters
    ----------
    loss : Loss
        Squared loss with targets in [-1, 1], or logistic loss with targets 0 and 1.
    budget : Budget
        The guarantee.
    solver : {"moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}
        The algorithm.
    n_passes : int or None
        Steps or passes; None is the solver's default.
    intercept, scale : bool
        Whether there is a constant column; whether columns get noisy scales.
    last_only : bool
        Whether noise is counted for the last iterate alone ("dp-gd").
    penalty : "auto", "tuned" or ndarray of shape (p,)
        Strengths in units of the bounds and of a sum over rows.
    l1 : bool
        Whether they multiply absolute values instead of squares.
    members : ndarray of int of shape (p,) or None
        Labels of columns that share a tuned strength.
    clip : float
        Where derivatives are clipped, as a multiple of the solver's own level.
    """

    loss: Any
    budget: Budget
    solver: str
    n_passes: int | None = None
    intercept: bool = True
    scale: bool = True
    last_only: bool = False
    penalty: Any = "auto"
    l1: bool = False
    members: Array | None = None
    clip: float = 1.0

    @property
    def steps(self) -> int:
        """Number of steps or passes."""
        return STEPS.get(self.solver, 1) if self.n_passes is None else self.n_passes


@record
class PrivateFit:
    """What leaves a fit.

    Parameters
    ----------
    coef : ndarray of shape (p,)
        Coefficients, in units of the bounds.
    intercept : float
        Intercept.
    penalty : ndarray of shape (p,)
        Strengths, in units of the bounds.
    ledger : PrivacyLedger
        All releases.
    """

    coef: Array
    intercept: float
    penalty: Array
    ledger: PrivacyLedger


@record
class _Working:
    """Working rows ``(1, (x - shift) factor)``, and what making them released."""

    rows: PrivateRows
    shift: Array
    factor: Array
    squares: Array
    budget: Budget
    releases: tuple[Release, ...]

    @property
    def largest(self) -> float:
        """Mean of squared norms of rows, as noisy moments or bounds tell."""
        return float(min(self.squares.sum(), self.rows.norm**2))


def private_fit(
    X: Any, y: Array, norm: float, plan: PrivatePlan, noise: Randomness
) -> PrivateFit:
    """Fit a linear model of which coefficients and ledger are all that is published.

    Parameters
    ----------
    X : ndarray or CSR array of shape (n, p)
        Rows with entries in [-1, 1] and norms of at most ``norm``.
    y : ndarray of shape (n,)
        Targets: in [-1, 1], or 0 and 1 for classes.
    norm : float
        Bound on the norm of a row.
    plan : PrivatePlan
        How it is done.
    noise : Randomness
        Where noise comes from.
    """
    rows = PrivateRows(X, y, norm, noise)
    work = _working(rows, plan)
    (w, releases), penalty = _descend(plan, work, _objective(plan, work))
    head = int(plan.intercept)
    coef = w[head:] * work.factor
    intercept = float(w[0] - work.shift @ coef) if head else 0.0
    ledger = PrivacyLedger((*work.releases, *releases))
    strengths = plan.penalty
    if isinstance(strengths, str):
        strengths = penalty[head:] / (work.factor if plan.l1 else work.factor**2)
    return PrivateFit(coef, intercept, strengths, ledger)


def _working(rows: PrivateRows, plan: PrivatePlan) -> _Working:
    """Rows with scales and lengths from noisy moments of columns, or from bounds."""
    budget, head = plan.budget, np.ones(int(plan.intercept))
    shift, factor = np.zeros(rows.n_columns), np.ones(rows.n_columns)
    squares, norm = np.append(head, factor), math.hypot(rows.norm, len(head))
    releases: tuple[Release, ...] = ()
    if plan.scale:
        multiplier = budget.multiplier(_SCALE_SHARE)
        budget = budget.without(_SCALE_SHARE)
        if plan.solver == "dp-cd":
            # Coordinates have steps and clips of their own: columns stay as they are.
            square, sd, release = rows.column_squares(multiplier)
            squares = np.append(head, np.clip(square, max(sd, _LEAST), 1.0))
        else:
            mean, square, sd, release = rows.column_moments(multiplier)
            if plan.intercept and not sparse.issparse(rows.X):
                shift = np.clip(mean, -1.0, 1.0)
            variance = np.maximum(np.clip(square, 0.0, 1.0) - shift**2, 0.0)
            factor = np.maximum(variance, max(sd, _LEAST)) ** (-0.5 * _POWER)
            squares = np.append(head, variance * factor**2)
            norm = _row_norm(squares, head, shift, factor)
        releases = (release,)
    norm = math.inf if budget.free else norm
    X = shrunk(working_rows(rows.X, shift, factor, plan.intercept), norm)
    made = replace(rows, X=X, norm=norm)
    return _Working(made, shift, factor, squares, budget, releases)


def _row_norm(squares: Array, head: Array, shift: Array, factor: Array) -> float:
    """Length to which rows are shortened; never more than the bounds allow."""
    most = float(head.sum() + (((1.0 + abs(shift)) * factor) ** 2).sum())
    usual = float(head.sum() + _ROW_SIZE * squares[len(head) :].sum())
    return math.sqrt(min(most, max(usual, 1e-12)))


def _objective(plan: PrivatePlan, work: _Working) -> Objective:
    """Penalties in working units; None where noise or tuning decides."""
    if isinstance(plan.penalty, str):
        return Objective(plan.loss, l1=plan.l1, clip=plan.clip)
    penalty = plan.penalty * (work.factor if plan.l1 else work.factor**2)
    # Strong convexity needs a penalty in every direction.
    constant = float(penalty.min()) if plan.last_only else 0.0
    penalty = np.append(np.full(int(plan.intercept), constant), penalty)
    return Objective(plan.loss, penalty, plan.l1, plan.clip)


def _descend(
    plan: PrivatePlan, work: _Working, objective: Objective
) -> tuple[Descended, Array]:
    """Coefficients, and the penalty (q,) that they belong to."""
    rows, budget, steps = work.rows, work.budget, plan.steps
    if plan.solver == "moments":
        return _from_moments(plan, work, objective)
    if plan.solver == "preconditioned":
        done = preconditioned(rows, objective, budget, steps)
    elif plan.solver == "dp-cd":
        done = coordinate_descent(
            rows, objective, budget, plan.n_passes, squares=work.squares
        )
    elif plan.solver == "dp-gd":
        done = gradient_descent(
            rows,
            objective,
            budget,
            steps,
            largest=work.largest,
            last_only=plan.last_only,
        )
    else:
        done = stochastic_descent(
            rows,
            objective,
            budget,
            steps,
            largest=work.largest,
            before=PrivacyLedger(work.releases),
        )
    return done, np.broadcast_to(objective.strengths, rows.n_columns)


def _from_moments(
    plan: PrivatePlan, work: _Working, objective: Objective
) -> tuple[Descended, Array]:
    """One release of second moments; all else is a function of them."""
    moments, release = noisy_moments(work.rows, objective, work.budget.multiplier())
    if plan.l1:
        w, penalty = lasso_of_moments(moments, objective.penalty, int(plan.intercept))
    elif isinstance(plan.penalty, str) and plan.penalty == "tuned":
        w, penalty = tune(moments, plan.intercept, plan.members)
    else:
        spectrum = Spectrum.of(moments)
        w = spectrum.solver(objective.penalty)(moments.cross)
        penalty = np.full(len(w), spectrum.level)
        if objective.penalty is not None:
            penalty = objective.penalty
    return (w, (release,)), penalty
