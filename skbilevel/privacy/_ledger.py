"""What may leave the data, and what left it: a budget, and a list of noisy releases."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._accounting import (
    ORDERS,
    check_range,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    last_iterate_mu,
    rdp_epsilon,
    subsampled_rdp,
)


@dataclass(frozen=True)
class Release:
    """Numbers that were computed from the rows and published with Gaussian noise.

    Parameters
    ----------
    name : str
        What it is.
    sensitivity : float or tuple of float
        Largest L2 distance between what two neighbouring data sets give; one number
        for each part where parts are released one after the other, ``count`` times all.
    multiplier : float
        Standard deviation of the noise, divided by the sensitivity; 0 is no noise.
    count : int, default=1
        How many times it was released; later ones may depend on earlier ones.
    rate : float, default=1.0
        Probability with which a row takes part in each; 1 is all rows. Below 1 the
        batch is a Poisson batch, and a row adds at most half the sensitivity.
    contraction : float or None, default=None
        Factor by which a step brings two points closer, where the last of ``count``
        full-batch steps is all that is published; None counts every step.

    Raises
    ------
    ValueError
        If a number is out of its range, or ``contraction`` comes with sampled rows.

    Examples
    --------
    >>> from skbilevel.privacy import Release
    >>> Release("gradient", sensitivity=0.02, multiplier=20.0, count=100).mu
    0.5
    """

    name: str
    sensitivity: float | tuple[float, ...]
    multiplier: float
    count: int = 1
    rate: float = 1.0
    contraction: float | None = None

    def __post_init__(self) -> None:
        check_range("multiplier", self.multiplier, self.multiplier >= 0.0, "at least 0")
        check_range("count", self.count, self.count >= 1, "at least 1")
        in_range = 0.0 < self.rate <= 1.0
        check_range("rate", self.rate, in_range, "above 0 and at most 1")
        if self.contraction is not None and self.rate < 1.0:
            raise ValueError(
                "contraction is for steps that see all rows; the bound on the last "
                "iterate does not hold for sampled rows (rate below 1)."
            )

    @property
    def n_parts(self) -> int:
        """Number of parts that are released one after the other."""
        return len(self.sensitivity) if isinstance(self.sensitivity, tuple) else 1

    @property
    def sampled(self) -> bool:
        """Whether rows take part at random."""
        return self.rate < 1.0

    @property
    def mu(self) -> float:
        """Gaussian-DP parameter; of sampled rows what it were without sampling."""
        if self.multiplier == 0.0:
            return math.inf
        if self.contraction is not None:
            # A step releases all parts.
            step = math.sqrt(self.n_parts) / self.multiplier
            return last_iterate_mu(step, self.contraction, self.count)
        return math.sqrt(self.count * self.n_parts) / self.multiplier

    def rdp(self) -> Array:
        """Renyi divergences at `ORDERS`."""
        if not self.sampled:
            return np.asarray(ORDERS) * self.mu**2 / 2.0
        steps = self.count * self.n_parts
        return subsampled_rdp(self.rate, 2.0 * self.multiplier, steps)


@dataclass(frozen=True)
class PrivacyLedger:
    """All releases of a fit; everything that it publishes is a function of them.

    Neighbouring data sets differ in one row that is replaced by another; the number
    of rows is public.

    Parameters
    ----------
    releases : tuple of Release, default=()
        In the order in which they were made.

    Examples
    --------
    >>> from skbilevel.privacy import PrivacyLedger, Release
    >>> ledger = PrivacyLedger().add(Release("scales", 0.1, multiplier=8.0))
    >>> ledger = ledger.add(Release("moments", 1.4, multiplier=4.0))
    >>> print(f"{ledger.epsilon(1e-6):.3f}")
    1.197
    >>> print(ledger.shares().round(2))
    [0.2 0.8]
    """

    releases: tuple[Release, ...] = ()

    def add(self, release: Release) -> PrivacyLedger:
        """The ledger with one release more."""
        return PrivacyLedger((*self.releases, release))

    def __add__(self, other: PrivacyLedger) -> PrivacyLedger:
        """Everything that two fits on the same rows released."""
        return PrivacyLedger(self.releases + other.releases)

    @property
    def exact(self) -> bool:
        """Whether `epsilon` is exact; with sampled rows it is a Renyi bound."""
        return not any(release.sampled for release in self.releases)

    @property
    def mu(self) -> float:
        """Gaussian-DP parameter of everything; NaN with sampled rows."""
        if not self.exact:
            return math.nan
        return math.sqrt(sum(release.mu**2 for release in self.releases))

    def epsilon(self, delta: float) -> float:
        """Epsilon of everything at a delta."""
        if self.exact:
            return gdp_epsilon(self.mu, delta)
        total = np.sum([release.rdp() for release in self.releases], axis=0)
        return rdp_epsilon(total, delta)

    def delta(self, epsilon: float) -> float:
        """Delta of everything at an epsilon; only where `exact`."""
        if not self.exact:
            raise ValueError("delta needs an exact ledger; rows were sampled here.")
        return gdp_delta(self.mu, epsilon)

    def shares(self) -> Array:
        """Share of each release in the budget; they sum to one.

        Shares of the square of mu; with sampled rows those of the Renyi divergence of
        order 2.
        """
        if self.exact:
            parts = np.array([release.mu**2 for release in self.releases])
        else:
            parts = np.array([release.rdp()[0] for release in self.releases])
        if np.isinf(parts).any():
            parts = np.isinf(parts).astype(float)
        return np.asarray(parts / parts.sum()) if len(parts) else parts


@record
class Budget:
    """An (epsilon, delta) guarantee, as squares of mu that add up to one.

    Parameters
    ----------
    epsilon, delta : float
        The guarantee; an infinite epsilon asks for no noise.
    left : float, default=1.0
        Share that is not spent yet.
    """

    epsilon: float
    delta: float
    left: float = 1.0

    @property
    def free(self) -> bool:
        """Whether there is no noise at all."""
        return math.isinf(self.epsilon)

    def multiplier(self, share: float = 1.0, count: int = 1) -> float:
        """Noise of ``count`` releases, in sensitivities, that take a share of the rest.

        Without a bound on epsilon it is zero.
        """
        return math.sqrt(count / (self.left * share)) / gdp_mu(self.epsilon, self.delta)

    def without(self, share: float) -> Budget:
        """The budget after a share of the rest was spent."""
        return replace(self, left=self.left * (1.0 - share))
