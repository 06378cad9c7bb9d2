"""The choice: scores, weights, and an average that is published as strengths."""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._held_out_sums import SummedHeldOut
from skbilevel.model_selection._stacking import stack


@record
class Choice:
    """Weights of the candidates and the scores they come from.

    Parameters
    ----------
    loss : ndarray of shape (c,)
        Mean nested loss.
    error : ndarray of shape (c,)
        Standard error of its difference to the first candidate.
    weight : ndarray of shape (c,)
        Weights in the average.
    """

    loss: Array
    error: Array
    weight: Array

    @property
    def best(self) -> int:
        """The candidate of the largest weight, unless the first is better alone."""
        best = int(np.argmax(self.weight))
        # A member of a combination can be worse alone than the shared strength.
        return 0 if self.loss[best] > self.loss[0] else best

    @classmethod
    def first(cls, n_candidates: int) -> Choice:
        """The first candidate, before any of them has a score."""
        unknown = np.full(n_candidates, np.nan)
        chosen = np.arange(n_candidates) == 0
        return cls(unknown, unknown, chosen.astype(float))


# Members with a smaller share of the largest weight are not worth their solutions.
_LEAST = 1e-3


@record
class Averaging:
    """Rules of the choice.

    Parameters
    ----------
    pessimism : float
        Standard errors that are added to a candidate's loss.
    temperature : float
        Weight of the divergence from equal weights, times the number of rows; see
        `stack`.
    doubt : float
        The average is drawn back to the shared strength by the factor
        ``1 - (doubt / t)^2``, ``t`` the gain of the average in standard errors
        (positive-part James-Stein shrinkage).
    nats : bool
        Whether losses are negative log likelihoods: excesses are then absolute, since
        relative ones are arbitrarily sharp where the loss tends to zero.
    """

    pessimism: float = 1.0
    temperature: float = 8.0
    doubt: float = 0.5
    nats: bool = False

    def choose(self, held: HeldOut | SummedHeldOut) -> Choice:
        """Weigh candidates by what they predict for rows they have not seen.

        The standard error is that of a weighted mean over clusters of rows (the
        rows themselves unless groups are given), in units of ``sum(weight)``.
        """
        total, loss, error = held.total, held.mean_loss, held.error
        score = loss + self.pessimism * error
        # A candidate that never differs from the first adds nothing to it.
        usable = error > 0
        usable[0] = True
        among = np.flatnonzero(usable)
        best, a = float(score[among].min()), np.zeros(len(loss))
        if self.nats or best > 0:
            unit = 1.0 if self.nats else best
            linear, warmth = self.pessimism * error[among], self.temperature / total
            objective = held.objective(among)
            a[among] = stack(objective, loss[among], linear, unit, warmth)
        else:
            a[among] = score[among] == best
        a[a < _LEAST * a.max()] = 0.0
        a /= a.sum()
        return Choice(loss, error, self._draw_back(a, *held.gain(a)))

    def _draw_back(self, a: Array, mean: float, error: float) -> Array:
        """Move weight to the first candidate where the combination gains little."""
        trust = max(0.0, 1.0 - (self.doubt * error / mean) ** 2) if mean < 0 else 0.0
        out = trust * a
        out[0] += 1.0 - trust
        return np.asarray(out)


def publish(
    slope: Array, u: Array, members: Array | None = None, by_target: bool = False
) -> Array:
    """Variances at which a fit has given coefficients ``w``, as far as one can.

    Stationarity is ``slope = v u`` with ``u = X^T (y - X w)`` and the slope of the
    penalty of strength one, which is ``w`` itself for ridge; where a variance covers
    several coefficients (targets, groups) it is the least-squares ratio over those
    that are not zero.

    Parameters
    ----------
    slope, u : ndarray of shape (p, t)
        Slopes at the coefficients, and the dual gradient there.
    members : ndarray of shape (p,) or None
        Label of the strength of every feature, None for one each.
    by_target : bool
        Whether every target has strengths of its own: ``members`` has p t labels then,
        the targets of a feature one after the other, and variances are (p, t).
    """
    if by_target:
        flat = publish(slope.reshape(-1, 1), u.reshape(-1, 1), members)
        return flat.reshape(slope.shape)
    top, bottom = (slope * u).sum(axis=1), (u * u * (slope != 0)).sum(axis=1)
    if members is not None:
        top = np.bincount(members, top)[members]
        bottom = np.bincount(members, bottom)[members]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        v = np.where((top > 0) & (bottom > 0), top / bottom, 0.0)
    return np.asarray(v)
