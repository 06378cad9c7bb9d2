"""Classes and events that a training set has not seen, or hardly.

Their probability has no maximum of the likelihood but zero, and a held-out row that
has them would cost whatever the solver's tolerance makes of that. A class or an event
that is missing counts as half of one among all rows, as under Jeffreys' prior.
"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import LogisticLoss, Loss, PoissonLoss, SoftmaxLoss, TweedieLoss

_EVENTS = 0.5


def with_unseen(loss: Loss, y: Array, weight: Array, offset: Array | None) -> Array:
    """Targets (n, t) in which no class is missing and not all counts are zero."""
    if isinstance(loss, SoftmaxLoss):
        missing = ~y[weight > 0].any(axis=0)
        if not missing.any():
            return y
        share = _EVENTS / (weight.sum() + _EVENTS * missing.sum())
        return np.where(missing, share, y * (1.0 - share * missing.sum()))
    if isinstance(loss, LogisticLoss):
        share = _EVENTS / (weight.sum() + 2.0 * _EVENTS)
        first, last = (y[weight > 0] == 0.0).all(), (y[weight > 0] == 1.0).all()
        return np.full_like(y, share if first else 1.0 - share) if first or last else y
    if isinstance(loss, (PoissonLoss, TweedieLoss)) and not y[weight > 0].any():
        shift = np.zeros_like(y) if offset is None else offset
        expected = np.exp(shift - shift.max())
        return np.asarray(_EVENTS * expected / (weight @ expected))
    return y


def n_uncommon(y: Array, weight: Array) -> int:
    """Rows whose target is not the commonest: events, or members of other classes."""
    _, place = np.unique(y, axis=0, return_inverse=True)
    count = np.bincount(place.ravel(), weight)
    return round(float(count.sum() - count.max(initial=0.0)))
