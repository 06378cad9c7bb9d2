"""Penalized stacking: weights by the nested loss of the combination.

Over the simplex, minimize::

    [F(a) + k a.e] / unit  +  (T / n) KL(a | uniform)

with F the mean nested loss of the linear predictions combined by a, e the standard
errors of the candidates, T a temperature. An average by exponential weights has the
mean loss of its members, ``sum a_c F(c)``, in the place of ``F(a)``: it cannot see
that members with different errors are better together (Q-aggregation; Dai, Rigollet
and Zhang, Annals of Statistics 2012, has the family between the two).
"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._held_out import Objective

_STEPS, _HALVINGS = 60, 40
# Squared length of a step, in the metric of the curvature, that no other has to follow.
_NEAR = 1e-20
# The smallest weight is the exponential of this; a step changes no weight by more.
_FLOOR, _FURTHEST = -80.0, 4.0


def stack(
    objective: Objective, loss: Array, linear: Array, unit: float, warmth: float
) -> Array:
    """Weights (k,) of candidates, by Newton's method in their logarithms.

    With ``s = sqrt(a)`` a step ``s * z`` solves ``(s H s + T/n) z = -s g + shift s``,
    where the shift keeps the sum of the weights: no weight is divided by.

    Parameters
    ----------
    objective : callable
        Mean loss of a combination, its gradient and its second derivative.
    loss : ndarray of shape (k,)
        Mean losses of the candidates alone; the search starts at the weights that
        these give, so that a candidate whose loss overflows does no harm.
    linear : ndarray of shape (k,)
        Added to the loss, per weight: pessimism.
    unit : float
        The loss that excesses are relative to.
    warmth : float
        Weight of the divergence from equal weights.
    """
    log_prior = -np.log(len(linear))

    def value_at(log_a: Array, value: float) -> float:
        a = np.exp(log_a)
        divergence = warmth * (a @ (log_a - log_prior))
        return float((value + linear @ a) / unit + divergence)

    log_a = _normalized(-(loss - loss.min()) / unit)
    found = objective(np.exp(log_a))
    for _ in range(_STEPS):
        a, before = np.exp(log_a), value_at(log_a, found[0])
        slope = (found[1] + linear) / unit + warmth * (log_a - log_prior)
        step, decrement = _newton_step(np.sqrt(a), slope, found[2] / unit, warmth)
        length = min(1.0, _FURTHEST / max(float(abs(step).max()), _FURTHEST))
        for _ in range(_HALVINGS):
            moved = _normalized(log_a + length * step)
            trial = objective(np.exp(moved))
            small = decrement <= 1e-12 * (1.0 + abs(before))
            if small or value_at(moved, trial[0]) <= before - 1e-4 * length * decrement:
                break
            length /= 2.0
        else:
            return a
        log_a, found = moved, trial
        if decrement <= _NEAR:
            break
    return np.asarray(np.exp(log_a))


def _newton_step(
    s: Array, slope: Array, H: Array, warmth: float
) -> tuple[Array, float]:
    """Relative changes of the weights ``s^2``, and how far the objective may fall."""
    M = s[:, None] * H * s + warmth * np.eye(len(s))
    both = np.stack([s * slope, s], axis=1)
    try:
        along, keep = np.linalg.solve(M, both).T
    except np.linalg.LinAlgError:
        # Losses that are roundings have a curvature beside which the warmth is lost.
        lam, U = np.linalg.eigh(M)
        along, keep = (U / np.maximum(lam, warmth) @ (U.T @ both)).T
    z = (s @ along) / (s @ keep) * keep - along
    return z / s, float(z @ M @ z)


def _normalized(log_a: Array) -> Array:
    """Logarithms of weights that sum to one, none of them too small to divide by."""
    log_a = np.maximum(log_a - log_a.max(), _FLOOR)
    return np.asarray(log_a - np.log(np.exp(log_a).sum()))
