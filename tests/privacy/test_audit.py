"""Audits of mechanisms: a true claim stands, planted bugs are caught."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from skbilevel.privacy import audit, audit_mechanism, gdp_mu, noise_multiplier

EPSILON, DELTA, STEPS = 1.0, 1e-6, 20
# Gradients are clipped to norm 1, so that a sum of them moves by 2 at most.
HONEST = noise_multiplier(EPSILON, DELTA, STEPS) * 2.0


def descent(noise, *, reuse=False):
    """Noisy descent on one row whose gradient is at its clip; all steps published."""

    def mechanism(world, n_runs, rng):
        draws = noise * rng.standard_normal((n_runs, STEPS))
        if reuse:
            # Odd steps subtract the noise that even ones have added.
            draws[:, 1::2] = -draws[:, ::2]
        return np.cumsum((-1.0) ** world + draws, axis=1)

    return mechanism


def found(mechanism, n_runs=2000, **options):
    claim = {"epsilon": EPSILON, "delta": DELTA, "gaussian": True, "random_state": 0}
    claim |= options
    return audit_mechanism(mechanism, n_runs, **claim)


def test_a_true_claim_stands():
    few, many = (found(descent(HONEST), n_runs) for n_runs in (2000, 50_000))
    assert not few.refuted
    assert not many.refuted
    assert 0.85 * EPSILON <= many.epsilon <= EPSILON
    assert 0.0 < few.epsilon < many.epsilon


@pytest.mark.parametrize(
    "mechanism",
    [
        descent(HONEST / 2.0),
        descent(2.0 * noise_multiplier(EPSILON, DELTA)),
        descent(HONEST, reuse=True),
    ],
    ids=["sensitivity C for 2C", "steps not composed", "noise reused"],
)
def test_a_planted_bug_is_caught(mechanism):
    assert found(mechanism).refuted


def test_a_claim_of_epsilon_alone_is_not_held_to_normal_noise():
    # Both are exactly 1-private, and tell far rows apart better than normal noise.
    def response(world, n_runs, rng):
        kept = rng.random(n_runs) < np.e / (1.0 + np.e)
        return np.where(kept, world, 1 - world)[:, None] + 0.0

    def laplace(world, n_runs, rng):
        return world + rng.laplace(size=(n_runs, 1))

    for mechanism in (response, laplace):
        result = found(mechanism, gaussian=False)
        assert not result.refuted
        assert 0.5 < result.epsilon < 1.0
        assert np.isnan(result.mu)
        assert found(mechanism, gaussian=False, epsilon=0.5).refuted
    assert found(response).refuted  # it is no mu-GDP mechanism of that epsilon


def test_limits_of_epsilon_hold_as_often_as_they_say():
    def response(world, n_runs, rng):
        kept = rng.random(n_runs) < np.e / (1.0 + np.e)
        return np.where(kept, world, 1 - world)[:, None] + 0.0

    results = [found(response, 100, gaussian=False, random_state=s) for s in range(200)]
    wrong = sum(result.refuted for result in results)
    assert binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 0.01


def test_no_difference_is_no_finding():
    # The limit may exceed 0 in one of twenty audits.
    def nothing(world, n_runs, rng):
        return rng.standard_normal((n_runs, 3))

    results = [found(nothing, 200, random_state=seed) for seed in range(200)]
    wrong = sum(result.mu > 0.0 for result in results)
    assert binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 0.01
    assert all(result.epsilon >= 0.0 for result in results)


def test_limits_hold_as_often_as_they_say():
    # A Gaussian release that is exactly as private as claimed.
    def tight(world, n_runs, rng):
        return world + rng.standard_normal((n_runs, 1))

    results = [found(tight, 100, random_state=seed) for seed in range(200)]
    wrong = sum(result.mu > 1.0 for result in results)
    assert binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 0.01
    assert np.median([result.mu for result in results]) > 0.4


def test_a_release_without_noise_is_refuted():
    def open_book(world, n_runs, rng):
        return np.full((n_runs, 2), float(world))

    result = found(open_book, epsilon=10.0)
    assert result.refuted
    assert result.false_positive == result.false_negative == 0.0


def test_an_audit_can_be_repeated():
    assert found(descent(HONEST), 500) == found(descent(HONEST), 500)
    assert found(descent(HONEST), 500) != found(descent(HONEST), 500, random_state=1)


class Published:
    """An estimator that publishes a mean with noise for a claimed epsilon."""

    def __init__(self, factor, random_state=None):
        self.factor, self.random_state = factor, random_state

    def set_params(self, random_state):
        self.random_state = random_state
        return self

    def fit(self, X, y):
        noise = self.factor * noise_multiplier(EPSILON, DELTA) * 2.0 / len(y)
        rng = np.random.default_rng(self.random_state)
        self.coef_ = np.clip(y, -1.0, 1.0).mean() + noise * rng.standard_normal(1)
        self.intercept_, self.epsilon_, self.delta_ = 0.0, EPSILON, DELTA
        self.privacy_ledger_ = SimpleNamespace(exact=True)
        return self


X = np.zeros((3, 1))
PAIR = ((X, np.array([1.0, 0.0, 0.0])), (X, np.array([-1.0, 0.0, 0.0])))


def test_estimators_are_audited_by_what_they_publish():
    honest = audit(Published(1.0), PAIR, 1000, random_state=0)
    assert not honest.refuted
    assert honest.claimed == EPSILON
    assert honest.mu < gdp_mu(EPSILON, DELTA)
    broken = audit(Published(0.25), lambda: PAIR, 1000, random_state=0)
    assert broken.refuted
    assert broken == replace(broken)


def test_bad_requests_are_named():
    far = (X, np.array([-1.0, 5.0, 0.0]))
    with pytest.raises(ValueError, match="2 rows"):
        audit(Published(1.0), (PAIR[0], far))
    with pytest.raises(ValueError, match="same shape"):
        audit(Published(1.0), (PAIR[0], (X[:2], np.zeros(2))))
    with pytest.raises(ValueError, match="n_runs"):
        found(descent(HONEST), 3)
    with pytest.raises(ValueError, match="confidence"):
        found(descent(HONEST), confidence=1.0)
