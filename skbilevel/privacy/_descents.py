"""Noisy descents: from rows and a budget to coefficients and what was released.

All of them minimize ``sum_i loss(x_i w, y_i) + 0.5 sum_j ridge_j w_j^2 + sum_j
lasso_j |w_j|``. The penalty has no noise: it knows nothing of the rows.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._ledger import Budget, PrivacyLedger, Release
from skbilevel.privacy._releases import CoordinateRows, NoisyMoments, PrivateRows
from skbilevel.privacy._strengths import Spectrum, residual_variance
from skbilevel.problems import Loss
from skbilevel.problems._losses import facts_of

# Default numbers of steps or passes: the noise grows with their square root.
STEPS = {"preconditioned": 10, "dp-gd": 50, "dp-cd": 200, "dp-sgd": 20}
# The noise of one coordinate step, where a coefficient times the root mean square of
# its column is the unit, stays below this; fewer passes are made where it would not.
_COORDINATE_NOISE, _FEWEST_PASSES = 0.1, 5
# Share of the budget that second moments take before preconditioned steps.
MOMENTS_SHARE = 0.3
# Gradients are clipped at this share of the longest one there can be.
_CLIP = 0.5
# Coordinates are clipped at so many root mean squares of their column.
_COORDINATE_CLIP = 2.0
# Targets beside rows of norm B are weighted with this share of B: noise of the cross
# moments, which coefficients feel most, is then nearly as small as it can be.
TARGET_SHARE = 0.7
# Rows in a Poisson batch, on average.
_BATCH = 512

# Coefficients of working columns, and what was released on the way.
Descended = tuple[Array, tuple[Release, ...]]


@record
class Objective:
    """What is minimized.

    Parameters
    ----------
    loss : Loss
        Squared loss with targets in [-1, 1], or logistic loss with 0 and 1.
    penalty : ndarray of shape (q,) or None
        Strengths, zero for the constant column. None is no penalty, or one by the size
        of the noise, where a solver needs it.
    l1 : bool
        Whether they multiply absolute values instead of squares.
    clip : float
        Derivatives of the loss of a row are clipped at this multiple of a solver's own
        level.
    """

    loss: Loss
    penalty: Array | None = None
    l1: bool = False
    clip: float = 1.0

    @property
    def curvature(self) -> float:
        """Largest curvature of the loss in its predictions."""
        bound = facts_of(self.loss).curvature_bound
        assert bound is not None
        return bound

    @property
    def squared(self) -> bool:
        """Whether second moments tell all about the rows."""
        return facts_of(self.loss).constant_curvature

    def signed(self, y: Array) -> Array:
        """Targets in [-1, 1]."""
        return y if self.squared else 2.0 * y - 1.0

    def after(self, w: Array, step: Array | float, n_rows: int) -> Array:
        """Proximal point of the penalty of a mean of losses."""
        shrunk = step * self.strengths / n_rows
        if self.l1:
            return np.asarray(np.sign(w) * np.maximum(abs(w) - shrunk, 0.0))
        return w / (1.0 + shrunk)

    @property
    def strengths(self) -> Array:
        """The penalty (q,), or one zero where there is none."""
        return np.zeros(1) if self.penalty is None else self.penalty


def noisy_moments(
    rows: PrivateRows, objective: Objective, multiplier: float
) -> tuple[NoisyMoments, Release]:
    """Second moments of rows and targets in one release."""
    scale = TARGET_SHARE * rows.norm if math.isfinite(rows.norm) else 1.0
    return rows.second_moments(scale, objective.signed(rows.y), multiplier)


def preconditioned(
    rows: PrivateRows, objective: Objective, budget: Budget, n_steps: int
) -> Descended:
    """Few noisy gradients, in the metric of noisy second moments.

    The moments give the start as well, and the size of the residuals at which
    gradients are clipped.
    """
    moments, first = noisy_moments(rows, objective, budget.multiplier(MOMENTS_SHARE))
    spectrum, c, n = Spectrum.of(moments), objective.curvature, rows.n_rows
    w = spectrum.solver(None)(moments.cross)
    size = math.sqrt(residual_variance(moments, w))
    if not objective.squared:
        # tanh(eta / 2), the mean of signed classes, is about eta / 2.
        w, size = 2.0 * w, _CLIP
    ridge = objective.strengths
    solve = spectrum.solver(spectrum.level + ridge / c)
    clip = objective.clip * size * rows.norm
    multiplier = budget.multiplier(1.0 - MOMENTS_SHARE, n_steps)
    path = []
    for _ in range(n_steps):
        grad = n * rows.gradient(objective.loss, w, clip, multiplier) + ridge * w
        w = w - solve(grad) / c
        path.append(w)
    second = rows.gradient_release(clip, multiplier, n_steps)
    return np.mean(path[n_steps // 2 :], axis=0), (first, second)


def gradient_descent(
    rows: PrivateRows,
    objective: Objective,
    budget: Budget,
    n_steps: int,
    *,
    largest: float,
    last_only: bool,
) -> Descended:
    """Proximal gradient steps from zero; ``largest`` bounds the mean of squared norms.

    With ``last_only`` the last iterate is all that is published, and the noise is
    smaller: each step brings two points closer, because the ridge is convex.
    """
    smooth, contraction = objective.curvature * largest, None
    multiplier = budget.multiplier(count=n_steps)
    if last_only:
        smooth = objective.curvature * rows.norm**2
        contraction = _contraction(objective, smooth, rows.n_rows)
        one = Release("gradients", 1.0, 1.0, n_steps, contraction=contraction)
        multiplier = budget.multiplier() * one.mu
    clip = objective.clip * _CLIP * rows.norm
    w, mean = _gradient_steps(rows, objective, n_steps, 1.0 / smooth, clip, multiplier)
    release = rows.gradient_release(clip, multiplier, n_steps, contraction=contraction)
    return w if last_only else mean, (release,)


def _gradient_steps(
    rows: PrivateRows,
    objective: Objective,
    n_steps: int,
    step: float,
    clip: float,
    multiplier: float,
    rate: float | None = None,
) -> tuple[Array, Array]:
    """The last of proximal steps from zero, and the average of their second half."""
    w, total, first = np.zeros(rows.n_columns), np.zeros(rows.n_columns), n_steps // 2
    for k in range(n_steps):
        grad = rows.gradient(objective.loss, w, clip, multiplier, rate)
        w = objective.after(w - step * grad, step, rows.n_rows)
        if k >= first:
            total += w
    return w, total / (n_steps - first)


def _contraction(objective: Objective, smooth: float, n_rows: int) -> float:
    """How much closer a gradient step and the proximal point bring two points."""
    # A gradient step of length 1 / smooth of a convex loss brings no two points apart.
    return 1.0 / (1.0 + float(objective.strengths.min()) / (n_rows * smooth))


def coordinate_passes(
    n_rows: int, n_columns: int, budget: Budget, clip: float = 1.0
) -> int:
    """Default number of sweeps, from public numbers."""
    if budget.free:
        return STEPS["dp-cd"]
    one = 2.0 * clip * _COORDINATE_CLIP * budget.multiplier() / n_rows
    affordable = int((_COORDINATE_NOISE / one) ** 2 / n_columns)
    return min(max(affordable, _FEWEST_PASSES), STEPS["dp-cd"])


def coordinate_descent(
    rows: PrivateRows,
    objective: Objective,
    budget: Budget,
    n_passes: int | None,
    *,
    squares: Array,
) -> Descended:
    """Proximal coordinate descent with noise for each coordinate's own derivative.

    Parameters
    ----------
    rows : PrivateRows
        Rows with columns in [-1, 1].
    objective : Objective
        What is minimized.
    budget : Budget
        What may be spent.
    n_passes : int or None
        Sweeps over all coordinates; None is `coordinate_passes`.
    squares : ndarray of shape (q,)
        Mean squares of the columns, noisy or bounds.

    References
    ----------
    P. Mangold, A. Bellet, J. Salmon and M. Tommasi, "Differentially private coordinate
    descent for composite empirical risk minimization", ICML 2022.
    """
    q, c, n = rows.n_columns, objective.curvature, rows.n_rows
    if n_passes is None:
        n_passes = coordinate_passes(n, q, budget, objective.clip)
    most = 2.0 if objective.squared else 1.0
    clips = np.minimum(objective.clip * _COORDINATE_CLIP * np.sqrt(squares), most)
    if budget.free:
        clips = np.full(q, math.inf)
    multiplier = budget.multiplier(count=n_passes * q)
    penalty = np.broadcast_to(objective.strengths, q) / n
    w = np.zeros(q)
    moving, total, first = CoordinateRows(rows, w), np.zeros(q), n_passes * 3 // 4
    for sweep in range(n_passes):
        for j in range(q):
            step = 1.0 / (c * squares[j])
            slope = moving.partial(objective.loss, j, clips[j], multiplier)
            new = w[j] - step * slope
            shrunk = step * penalty[j]
            if objective.l1:
                new = math.copysign(max(abs(new) - shrunk, 0.0), new)
            else:
                new /= 1.0 + shrunk
            moving.move(j, new - w[j])
            w[j] = new
        if sweep >= first:
            total += w
    release = rows.coordinates_release(clips, multiplier, n_passes)
    return total / (n_passes - first), (release,)


def stochastic_descent(
    rows: PrivateRows,
    objective: Objective,
    budget: Budget,
    n_passes: int,
    *,
    largest: float,
    before: PrivacyLedger,
) -> Descended:
    """Noisy gradients of Poisson batches; the average of the last half."""
    clip, rate = objective.clip * _CLIP * rows.norm, min(1.0, _BATCH / rows.n_rows)
    n_steps = math.ceil(n_passes / rate)
    step = 1.0 / (objective.curvature * largest)
    multiplier = _sampled_multiplier(budget, before, rate, n_steps)
    _, mean = _gradient_steps(rows, objective, n_steps, step, clip, multiplier, rate)
    return mean, (rows.gradient_release(clip, multiplier, n_steps, rate),)


def _sampled_multiplier(
    budget: Budget, before: PrivacyLedger, rate: float, n_steps: int
) -> float:
    """Noise with which everything together costs epsilon, on the safe side."""
    if budget.free:
        return 0.0

    def excess(log_multiplier: float) -> float:
        release = Release("", 1.0, math.exp(log_multiplier), n_steps, rate)
        return before.add(release).epsilon(budget.delta) - budget.epsilon

    high = math.log(budget.multiplier(count=n_steps)) + 1.0
    while excess(high) > 0.0:
        high += 1.0
    low = high - 1.0
    while excess(low) < 0.0:
        low, high = low - 1.0, low
    root = brentq(excess, low, high, xtol=1e-6)
    while excess(root) > 0.0:
        root += 1e-6
    return math.exp(root)
