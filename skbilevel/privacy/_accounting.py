"""What noise costs: exact trade-offs of Gaussian mechanisms, and Renyi bounds.

A release is *mu-GDP* (Dong, Roth and Su, 2022) if telling two neighbouring data sets
apart from it is no easier than telling ``N(0, 1)`` from ``N(mu, 1)``. A Gaussian
release of L2 sensitivity D with noise of standard deviation ``s D`` is 1/s-GDP, and
adaptive releases compose exactly: the squares of their mu add up. Then ::

    delta(eps) = Phi(mu / 2 - eps / mu) - exp(eps) Phi(-mu / 2 - eps / mu)

Neighbours differ in one row that is replaced by another; the number of rows is public.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, gammaln, log_ndtr, logsumexp, ndtr

from skbilevel._typing import Array

# Renyi orders at which sampled releases are counted. Low orders serve large epsilon,
# high ones small epsilon.
ORDERS = (*range(2, 65), *range(68, 129, 4), *range(144, 513, 16), 768, 1024)
_ROOT = math.sqrt(2.0)


def gdp_delta(mu: float, epsilon: float) -> float:
    """Compute the delta that a mu-GDP release has at an epsilon, exactly.

    Parameters
    ----------
    mu : float
        Non-negative; inf is a release without noise.
    epsilon : float
        Non-negative.

    Returns
    -------
    delta : float
        ``Phi(mu / 2 - eps / mu) - exp(eps) Phi(-mu / 2 - eps / mu)``.

    Raises
    ------
    ValueError
        If ``mu`` or ``epsilon`` is negative or not a number.

    References
    ----------
    J. Dong, A. Roth and W. J. Su, "Gaussian differential privacy", Journal of the
    Royal Statistical Society B 84, 2022, Corollary 1.

    Examples
    --------
    >>> from skbilevel.privacy import gdp_delta
    >>> print(f"{gdp_delta(1.0, 1.0):.4f}")
    0.1269
    """
    check_range("mu", mu, 0.0 <= mu, "at least 0")
    check_range("epsilon", epsilon, 0.0 <= epsilon, "at least 0")
    if mu == 0.0 or math.isinf(epsilon):
        return 0.0
    if math.isinf(mu):
        return 1.0
    x = mu / 2.0 - epsilon / mu
    if x > 0.0:
        return float(ndtr(x) - math.exp(epsilon + float(log_ndtr(x - mu))))
    # Both terms have the factor exp(-x^2 / 2); what is left does not underflow.
    rest = erfcx(-x / _ROOT) - erfcx((mu - x) / _ROOT)
    return float(0.5 * math.exp(-0.5 * x * x) * rest)


def gdp_epsilon(mu: float, delta: float) -> float:
    """Compute the smallest epsilon of a mu-GDP release at a delta, exactly.

    Parameters
    ----------
    mu : float
        Non-negative; inf is a release without noise, whose epsilon is inf.
    delta : float
        Above 0 and below 1.

    Returns
    -------
    epsilon : float
        The root of ``gdp_delta(mu, epsilon) = delta``; 0 where ``delta`` is larger than
        the delta at epsilon 0.

    Raises
    ------
    ValueError
        If ``mu`` is negative or ``delta`` is not inside (0, 1).

    Examples
    --------
    One hundred releases with noise of ten sensitivities:

    >>> from skbilevel.privacy import gdp_epsilon
    >>> print(f"{gdp_epsilon(100**0.5 / 10, 1e-6):.6f}")
    4.886554
    """
    check_range("mu", mu, 0.0 <= mu, "at least 0")
    check_range("delta", delta, 0.0 < delta < 1.0, "above 0 and below 1")
    if mu == 0.0 or gdp_delta(mu, 0.0) <= delta:
        return 0.0
    if math.isinf(mu):
        return math.inf
    # At this epsilon the first term alone is below delta.
    high = 0.5 * mu * mu + mu * math.sqrt(2.0 * math.log(1.0 / delta))

    def excess(epsilon: float) -> float:
        return _log(gdp_delta(mu, epsilon)) - math.log(delta)

    return float(brentq(excess, 0.0, high, xtol=1e-300, rtol=1e-14, maxiter=500))


def gdp_mu(epsilon: float, delta: float) -> float:
    """Compute the largest mu whose releases are (epsilon, delta)-private.

    Parameters
    ----------
    epsilon : float
        Non-negative; inf asks for no privacy, and mu is inf.
    delta : float
        Above 0 and below 1.

    Returns
    -------
    mu : float
        The root of ``gdp_delta(mu, epsilon) = delta``.

    Raises
    ------
    ValueError
        If ``epsilon`` is negative or ``delta`` is not inside (0, 1).

    Examples
    --------
    >>> from skbilevel.privacy import gdp_mu
    >>> print(f"{gdp_mu(1.0, 1e-6):.4f}")
    0.2367
    """
    check_range("epsilon", epsilon, 0.0 <= epsilon, "at least 0")
    check_range("delta", delta, 0.0 < delta < 1.0, "above 0 and below 1")
    if math.isinf(epsilon):
        return math.inf

    def excess(log_mu: float) -> float:
        return _log(gdp_delta(math.exp(log_mu), epsilon)) - math.log(delta)

    low, high = 0.0, 0.0
    while excess(low) > 0.0:
        low -= 2.0
    while excess(high) < 0.0:
        high += 2.0
    if low == high:
        return 1.0
    return math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-14, maxiter=500))


def noise_multiplier(epsilon: float, delta: float, n_releases: int = 1) -> float:
    """Compute how many sensitivities of noise a number of releases needs.

    Parameters
    ----------
    epsilon, delta : float
        The guarantee of all releases together.
    n_releases : int, default=1
        Adaptive Gaussian releases, each of which sees all rows.

    Returns
    -------
    multiplier : float
        Standard deviation of the noise of each release, divided by its L2 sensitivity.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from skbilevel.privacy import noise_multiplier
    >>> print(f"{noise_multiplier(1.0, 1e-6, n_releases=100):.1f}")
    42.2
    """
    check_range("n_releases", n_releases, n_releases >= 1, "at least 1")
    mu = gdp_mu(epsilon, delta)
    return math.inf if mu == 0.0 else math.sqrt(n_releases) / mu


def last_iterate_mu(step_mu: float, contraction: float, n_steps: int) -> float:
    """Compute mu of the last of many noisy full-batch steps, all others kept secret.

    The update has to be a gradient step of a strongly convex and smooth loss, of fixed
    length, with every row: rows and residuals are clipped, gradients are not, since a
    clipped gradient is none of a convex loss in general. Averages and histories of
    iterates are not covered. With a gradient of curvature between ``low`` and ``high``,
    the step ``eta`` contracts by ``max(|1 - eta low|, |1 - eta high|)``.

    Parameters
    ----------
    step_mu : float
        Sensitivity of a gradient, divided by the standard deviation of its noise.
    contraction : float
        Factor c in [0, 1] by which a step brings any two points closer; 1 gives the
        composition of all steps.
    n_steps : int
        Number of updates (not of epochs).

    Returns
    -------
    mu : float
        ``step_mu sqrt((1 - c^K) / (1 + c^K) (1 + c) / (1 - c))``. Quadratic losses
        attain it.

    Raises
    ------
    ValueError
        If ``contraction`` is outside of [0, 1] or ``n_steps`` below 1.

    References
    ----------
    J. Bok, W. Su and J. M. Altschuler, "Shifted interpolation for differential
    privacy", ICML 2024 (strongly convex losses, full batches).

    Examples
    --------
    >>> from skbilevel.privacy import gdp_epsilon, last_iterate_mu
    >>> mu = last_iterate_mu(step_mu=0.05, contraction=0.95, n_steps=1000)
    >>> print(f"{gdp_epsilon(mu, 1e-6):.2f} instead of", end=" ")
    1.35 instead of
    >>> print(f"{gdp_epsilon(0.05 * 1000**0.5, 1e-6):.2f}")
    8.31
    """
    check_range("step_mu", step_mu, step_mu >= 0.0, "at least 0")
    check_range("contraction", contraction, 0.0 <= contraction <= 1.0, "in [0, 1]")
    check_range("n_steps", n_steps, n_steps >= 1, "at least 1")
    if contraction == 1.0:
        return step_mu * math.sqrt(n_steps)
    log_power = n_steps * math.log(contraction) if contraction > 0.0 else -math.inf
    ratio = -math.expm1(log_power) / (1.0 + math.exp(log_power))
    ratio *= (1.0 + contraction) / (1.0 - contraction)
    return step_mu * math.sqrt(ratio)


def subsampled_rdp(
    rate: float,
    noise: float,
    steps: int = 1,
    *,
    orders: Sequence[int] | None = None,
    neighbours: str = "replace",
) -> Array:
    """Bound the Renyi divergence of noisy sums over Poisson batches.

    Every row is in the batch of a step with probability ``rate``, independently of all
    others. Batches that are shuffled or of fixed size are something else, and this
    bound does not hold for them.

    Parameters
    ----------
    rate : float
        Probability in [0, 1] with which a row takes part in a step.
    noise : float
        Standard deviation of the noise of the sum, divided by the largest norm that a
        row can add (the clipping norm, not twice of it).
    steps : int, default=1
        Number of steps.
    orders : sequence of int, default=None
        Integers above 1; `ORDERS` where None is given.
    neighbours : {"replace", "add"}, default="replace"
        Data sets that replace one row, or that have one row more or less.

    Returns
    -------
    rdp : ndarray of shape (len(orders),)
        Bound on the divergence of every order. Of "add" it is the exact value ::

            log(sum_k C(a, k) (1 - q)^(a - k) q^k exp(k (k - 1) / (2 noise^2))) / (a-1)

        and "replace" removes one row and adds another, by the weak triangle inequality
        ``R_a <= (a - 1/2) / (a - 1) r_2a + r_(2a - 1)``.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    I. Mironov, K. Talwar and L. Zhang, "Renyi differential privacy of the sampled
    Gaussian mechanism", arXiv 1908.10530, 2019 (integer orders).

    I. Mironov, "Renyi differential privacy", CSF 2017, Proposition 11 (triangle).

    Examples
    --------
    >>> from skbilevel.privacy import rdp_epsilon, subsampled_rdp
    >>> rdp = subsampled_rdp(0.01, 2.0, steps=1000)
    >>> print(f"{rdp_epsilon(rdp, 1e-5):.2f}")
    1.46
    """
    check_range("rate", rate, 0.0 <= rate <= 1.0, "in [0, 1]")
    check_range("noise", noise, noise >= 0.0, "at least 0")
    check_range("steps", steps, steps >= 1, "at least 1")
    if neighbours not in ("replace", "add"):
        raise ValueError(f"neighbours={neighbours!r}; give 'replace' or 'add'.")
    a = np.asarray(ORDERS if orders is None else orders)
    if a.dtype.kind not in "iu" or (a < 2).any():
        raise ValueError("orders must be integers above 1.")
    if rate == 0.0:
        return np.zeros(len(a))
    if noise == 0.0:
        return np.full(len(a), np.inf)
    if neighbours == "add":
        return steps * np.array([_sampled(rate, noise, k) for k in a])
    if rate == 1.0:
        return np.asarray(steps * 2.0 * a / noise**2)
    twice = np.array([_sampled(rate, noise, 2 * k) for k in a])
    odd = np.array([_sampled(rate, noise, 2 * k - 1) for k in a])
    return np.asarray(steps * ((a - 0.5) / (a - 1.0) * twice + odd))


def _sampled(rate: float, noise: float, order: int) -> float:
    """Renyi divergence of one noisy sum with or without a row."""
    if rate == 1.0:
        return order / (2.0 * noise**2)
    k = np.arange(order + 1)
    binomial = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    terms = binomial + k * math.log(rate) + (order - k) * math.log1p(-rate)
    terms = terms + k * (k - 1.0) / (2.0 * noise**2)
    # The sum is at least one; rounding must not make it less.
    return max(float(logsumexp(terms)), 0.0) / (order - 1)


def rdp_epsilon(
    rdp: Array, delta: float, *, orders: Sequence[int] | None = None
) -> float:
    """Convert Renyi divergences to the epsilon at a delta.

    Parameters
    ----------
    rdp : ndarray of shape (len(orders),)
        Bounds; those of several releases are added.
    delta : float
        Above 0 and below 1.
    orders : sequence of int, default=None
        Orders of ``rdp``; `ORDERS` where None is given.

    Returns
    -------
    epsilon : float
        Least value of ``r + log((a - 1) / a) - (log delta + log a) / (a - 1)``.

    Raises
    ------
    ValueError
        If ``delta`` is not inside (0, 1), or lengths differ.

    References
    ----------
    C. Canonne, G. Kamath and T. Steinke, "The discrete Gaussian for differential
    privacy", NeurIPS 2020, Proposition 12.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel.privacy import ORDERS, rdp_epsilon
    >>> rdp = np.array(ORDERS) * 1.0**2 / 2.0  # a release that is 1-GDP
    >>> print(f"{rdp_epsilon(rdp, 1e-6):.3f}")
    5.222
    """
    check_range("delta", delta, 0.0 < delta < 1.0, "above 0 and below 1")
    a = np.asarray(ORDERS if orders is None else orders, dtype=float)
    r = np.asarray(rdp, dtype=float)
    if a.shape != r.shape:
        raise ValueError(f"rdp has shape {r.shape}, but there are {len(a)} orders.")
    value = r + np.log1p(-1.0 / a) - (math.log(delta) + np.log(a)) / (a - 1.0)
    return float(max(value.min(), 0.0))


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def check_range(name: str, value: float, ok: bool, range_: str) -> None:
    """Raise ValueError where a number is not in its range."""
    if not ok:
        raise ValueError(f"{name}={value} must be {range_}.")
