"""Deviances of counts and amounts: losses, possible targets, the share explained."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import GammaLoss, Loss, PoissonLoss, TweedieLoss


def half_deviance(power: float) -> Loss:
    """The loss for a variance that is this power of the mean."""
    if power == 1.0:
        return PoissonLoss()
    return GammaLoss() if power == 2.0 else TweedieLoss(power)


def check_targets(y: Array, power: float) -> None:
    """Raise where a target is impossible."""
    smallest = float(y.min())
    if smallest < 0.0:
        raise ValueError(
            f"y holds negative values, the smallest is {smallest:g}; the loss is for "
            "counts and amounts, which cannot be negative."
        )
    if power >= 2.0 and smallest == 0.0:
        raise ValueError(
            f"y holds {np.count_nonzero(y == 0.0)} zeros, and the Gamma deviance is "
            "for positive amounts only; BilevelTweedieCV takes zeros."
        )


def best_level(power: float, y: Array, weight: Array, offset: Array | None) -> float:
    """Where the derivative along a common shift is zero; a ratio of two sums.

    It is minus infinity where all targets are zero.
    """
    offset = np.zeros(len(y)) if offset is None else offset
    largest = offset.max()
    above = weight @ (y * np.exp((1.0 - power) * (offset - largest)))
    below = weight @ np.exp((2.0 - power) * (offset - largest))
    with np.errstate(divide="ignore"):
        return float(np.log(above / below) - largest)


def explained_deviance(
    power: float, y: Array, eta: Array, weight: Array, offset: Array | None
) -> float:
    """Share of the deviance that is explained."""
    seen = weight > 0
    y, eta, weight = y[seen], eta[seen], weight[seen]
    offset = None if offset is None else offset[seen]
    loss, level = half_deviance(power), best_level(power, y, weight, offset)
    null = np.full(len(y), level) if offset is None else level + offset
    explained = weight @ loss.value(eta, y) / weight.sum()
    total = 0.0
    if np.isfinite(level):
        total = weight @ loss.value(null, y) / weight.sum()
    # As R2 of a constant target: there is nothing to explain but rounding, whose unit
    # is that of the deviance.
    mean = float(weight @ y / weight.sum())
    unit = mean ** (2.0 - power) if mean > 0 else 1.0
    if total <= 1e-13 * unit:
        return float(explained <= 1e-10 * unit)
    return float(1.0 - explained / total)
