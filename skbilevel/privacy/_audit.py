"""Audits: can an attacker tell two neighbouring data sets apart better than claimed?

A game is played many times: the mechanism runs on one of two data sets that differ in
one row, and a score guesses which. A first part of the runs makes the score (Fisher's
discriminant of what was published) and its threshold; fresh runs count how often the
guess is wrong. Both rates of error, a and b, get Clopper-Pearson limits. Whatever is
(epsilon, delta)-private has ::

    1 - delta - b <= exp(epsilon) a,     1 - delta - a <= exp(epsilon) b

and what is claimed to be mu-GDP has more ::

    a + b >= 2 Phi(-mu / 2)

so that limits of the rates give a lower limit of epsilon. Of a mu-GDP claim the sum of
wrong guesses is enough: that of 2 n runs whose rates have the mean p is as small as it
is with a probability of at most that of a binomial number (2 n, p) (W. Hoeffding,
Annals of Mathematical Statistics 27, 1956), and one limit is closer than two. A limit
above the claimed value refutes the claim; one below it proves nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from scipy.special import betaincinv, ndtri

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._accounting import check_range, gdp_epsilon

# Published numbers of ``n_runs`` runs, shape (n_runs, k), on data set 0 or 1.
Mechanism = Callable[[int, int, np.random.Generator], Array]
# Share of the mean variance by which the discriminant is regularized.
_RIDGE = 1e-9


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Parameters
    ----------
    epsilon : float
        Lower limit of epsilon at ``delta``, with the given confidence.
    mu : float
        Lower limit of the Gaussian-DP parameter; NaN where none is claimed.
    claimed : float
        Claimed epsilon.
    delta : float
        Delta at which both are meant.
    false_positive, false_negative : float
        Rates of wrong guesses in the runs that test.
    n_runs : int
        Number of testing runs on each of the two data sets.
    confidence : float
        Probability that the limits hold.
    """

    epsilon: float
    mu: float
    claimed: float
    delta: float
    false_positive: float
    false_negative: float
    n_runs: int
    confidence: float

    @property
    def refuted(self) -> bool:
        """Whether the claim is refuted: the lower limit is above it."""
        return self.epsilon > self.claimed


@record
class _Limits:
    """Lower limits of mu, or of epsilon where no mu is claimed."""

    delta: float
    gaussian: bool
    error: float

    def of(self, above: Array, below: Array, n: int) -> Array:
        """From numbers of wrong guesses of n on each data set."""
        if self.gaussian:
            mean = _clopper_pearson(above + below, 2 * n, self.error)
            return np.asarray(-2.0 * ndtri(mean))
        a, b = (
            _clopper_pearson(wrong, n, self.error / 2.0) for wrong in (above, below)
        )
        rest = np.maximum(1.0 - self.delta - np.stack([b, a]), np.finfo(float).tiny)
        return np.asarray(np.log(rest / np.stack([a, b])).max(axis=0))


def audit(
    estimator: Any,
    neighbours: Any,
    n_runs: int = 2000,
    *,
    confidence: float = 0.95,
    random_state: int | None = None,
) -> AuditResult:
    """Try to refute what a private estimator claims.

    Parameters
    ----------
    estimator : estimator
        An estimator with ``random_state`` and, once fitted, ``coef_``, ``intercept_``,
        ``epsilon_`` and ``delta_``. One with an exact ``privacy_ledger_`` claims to be
        mu-GDP, and is held to that.
    neighbours : callable or pair of (X, y)
        Two data sets ``(X, y), (X', y')`` that differ in one row, or a function without
        arguments that returns them. Rows that pull with all their weight, in opposite
        directions, against few others make the strongest attack.
    n_runs : int, default=2000
        Fits on each data set that test; as many come first, to learn the attack.
    confidence : float, default=0.95
        Probability with which the limits hold.
    random_state : int or None, default=None
        Makes an audit repeatable.

    Returns
    -------
    result : AuditResult
        The lower limit of epsilon beside the claim.

    Raises
    ------
    ValueError
        If the data sets differ in more than one row or in shape.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import DPRidge
    >>> from skbilevel.privacy import audit
    >>> X, y = np.zeros((4, 1)), np.zeros(4)
    >>> X[0], y[0] = 1.0, 1.0
    >>> other = -y
    >>> model = DPRidge(epsilon=1.0, delta=1e-6, scale=False, solver="moments")
    >>> audit(model, ((X, y), (X, other)), n_runs=200, random_state=0).refuted
    False
    """
    pair = neighbours() if callable(neighbours) else neighbours
    pair = _checked_pair(pair)
    reference = copy.deepcopy(estimator).fit(*pair[0])

    def mechanism(world: int, n_runs: int, rng: np.random.Generator) -> Array:
        X, y = pair[world]
        seeds = rng.integers(2**31 - 1, size=n_runs)
        return np.stack([_published(estimator, int(seed), X, y) for seed in seeds])

    return audit_mechanism(
        mechanism,
        n_runs,
        epsilon=float(reference.epsilon_),
        delta=float(reference.delta_),
        gaussian=_claims_gaussian(reference),
        confidence=confidence,
        random_state=random_state,
    )


def audit_mechanism(
    mechanism: Mechanism,
    n_runs: int = 2000,
    *,
    epsilon: float,
    delta: float,
    gaussian: bool = False,
    confidence: float = 0.95,
    random_state: int | None = None,
) -> AuditResult:
    """Try to refute what is claimed of any mechanism.

    Parameters
    ----------
    mechanism : callable
        ``mechanism(world, n_runs, rng)`` returns what ``n_runs`` independent runs on
        data set 0 or 1 publish, shape (n_runs, k).
    n_runs : int, default=2000
        Runs on each data set that test; as many come first, to learn the attack.
    epsilon, delta : float
        The claim.
    gaussian : bool, default=False
        Whether the claim is that of a mu-GDP mechanism, as noise of normal numbers has.
        Its limits are much closer; a mechanism that claims epsilon alone may break them
        and keep its claim.
    confidence : float, default=0.95
        Probability with which the limits hold.
    random_state : int or None, default=None
        Makes an audit repeatable.

    Returns
    -------
    result : AuditResult
        The lower limit of epsilon beside the claim.

    Raises
    ------
    ValueError
        If ``n_runs`` is below 10, or ``confidence`` is not inside (0, 1).

    References
    ----------
    P. Kairouz, S. Oh and P. Viswanath, "The composition theorem for differential
    privacy", ICML 2015 (rates of error under a claim of epsilon and delta).

    M. Nasr and others, "Tight auditing of differentially private machine learning",
    USENIX Security 2023 (limits of error rates through Gaussian trade-offs).

    Examples
    --------
    Noise of half the size that was claimed:

    >>> from skbilevel.privacy import audit_mechanism, noise_multiplier
    >>> half = 0.5 * noise_multiplier(1.0, 1e-6)
    >>> def mechanism(world, n_runs, rng):
    ...     return world + half * rng.standard_normal((n_runs, 1))
    >>> audit_mechanism(
    ...     mechanism, epsilon=1.0, delta=1e-6, gaussian=True, random_state=0
    ... ).refuted
    True
    """
    check_range("n_runs", n_runs, n_runs >= 10, "at least 10")
    in_range = 0.0 < confidence < 1.0
    check_range("confidence", confidence, in_range, "above 0 and below 1")
    rng = np.random.default_rng(random_state)
    limits = _Limits(delta, gaussian, 1.0 - confidence)
    direction, threshold = _attack(
        mechanism(0, n_runs, rng), mechanism(1, n_runs, rng), limits
    )
    scores = [mechanism(world, n_runs, rng) @ direction for world in (0, 1)]
    wrong = int((scores[0] > threshold).sum()), int((scores[1] <= threshold).sum())
    limit = max(float(limits.of(np.array(wrong[0]), np.array(wrong[1]), n_runs)), 0.0)
    return AuditResult(
        epsilon=gdp_epsilon(limit, delta) if gaussian else limit,
        mu=limit if gaussian else float("nan"),
        claimed=epsilon,
        delta=delta,
        false_positive=wrong[0] / n_runs,
        false_negative=wrong[1] / n_runs,
        n_runs=n_runs,
        confidence=confidence,
    )


def _attack(first: Array, second: Array, limits: _Limits) -> tuple[Array, float]:
    """Fisher's direction and the threshold of the largest limit."""
    centred = np.vstack([first - first.mean(axis=0), second - second.mean(axis=0)])
    within = centred.T @ centred / len(centred)
    size = np.sqrt(np.diagonal(within))
    size = np.where(size > 0.0, size, 1.0)
    unit = within / size / size[:, None] + _RIDGE * np.eye(len(size))
    difference = (second.mean(axis=0) - first.mean(axis=0)) / size
    direction = linalg.solve(unit, difference, assume_a="pos") / size
    scores = [each @ direction for each in (first, second)]
    candidates = np.quantile(np.concatenate(scores), np.linspace(0.005, 0.995, 199))
    above = np.array([(scores[0] > t).sum() for t in candidates])
    below = np.array([(scores[1] <= t).sum() for t in candidates])
    found = limits.of(above, below, len(first))
    return direction, float(candidates[int(np.argmax(found))])


def _clopper_pearson(count: Array, n: int, error: float) -> Array:
    """Upper limit of a probability, exceeded by it with probability ``error``."""
    inside = betaincinv(count + 1.0, np.maximum(n - count, 1e-300), 1.0 - error)
    return np.where(count == n, 1.0, inside)


def _claims_gaussian(model: Any) -> bool:
    ledger = getattr(model, "privacy_ledger_", None)
    return ledger is not None and bool(ledger.exact)


def _published(estimator: Any, seed: int, X: Array, y: Array) -> Array:
    model = copy.deepcopy(estimator).set_params(random_state=seed).fit(X, y)
    return np.append(np.ravel(model.coef_), np.ravel(model.intercept_))


def _checked_pair(pair: Any) -> list[tuple[Array, Array]]:
    (X, y), (other_X, other_y) = (tuple(map(np.asarray, each)) for each in pair)
    if X.shape != other_X.shape or y.shape != other_y.shape:
        raise ValueError("neighbours must be data sets of the same shape.")
    differ = (X != other_X).reshape(len(X), -1).any(axis=1) | (y != other_y)
    if differ.sum() > 1:
        raise ValueError(
            f"neighbours differ in {int(differ.sum())} rows; the guarantee is about "
            "one row."
        )
    return [(X, y), (other_X, other_y)]
