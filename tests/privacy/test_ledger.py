"""The ledger: what releases cost alone and together."""

import math

import numpy as np
import pytest

from skbilevel.privacy import (
    ORDERS,
    PrivacyLedger,
    Release,
    gdp_epsilon,
    last_iterate_mu,
    noise_multiplier,
    rdp_epsilon,
    subsampled_rdp,
)


def test_noise_for_a_target_meets_it():
    s = noise_multiplier(1.5, 1e-7, n_releases=60)
    ledger = PrivacyLedger((Release("coordinates", (0.1, 0.3, 0.2), s, count=20),))
    assert ledger.exact
    assert ledger.epsilon(1e-7) == pytest.approx(1.5, rel=1e-10)
    assert ledger.delta(1.5) == pytest.approx(1e-7, rel=1e-8)


def test_shares_are_those_of_squared_mu():
    ledger = PrivacyLedger().add(Release("a", 1.0, 4.0)).add(Release("b", 1.0, 2.0, 3))
    assert ledger.mu**2 == pytest.approx(1 / 16 + 3 / 4)
    assert np.allclose(ledger.shares(), [1 / 13, 12 / 13])
    assert (ledger + ledger).mu == pytest.approx(math.sqrt(2) * ledger.mu)
    assert len(PrivacyLedger().shares()) == 0
    assert PrivacyLedger().epsilon(1e-6) == 0.0


def test_a_release_without_noise_costs_everything():
    ledger = PrivacyLedger((Release("a", 1.0, 4.0), Release("b", 1.0, 0.0)))
    assert ledger.epsilon(1e-6) == math.inf
    assert ledger.shares().tolist() == [0.0, 1.0]


def test_sampled_rows_are_counted_by_renyi_bounds():
    # Noise over the sensitivity 2C is half of the noise over C.
    ledger = PrivacyLedger((Release("batches", 1.0, 1.5, count=200, rate=0.05),))
    expected = rdp_epsilon(subsampled_rdp(0.05, 3.0, 200), 1e-6)
    assert ledger.epsilon(1e-6) == pytest.approx(expected)
    assert not ledger.exact
    assert math.isnan(ledger.mu)
    with pytest.raises(ValueError, match="sampled"):
        ledger.delta(1.0)
    both = ledger.add(Release("scales", 1.0, 8.0))
    rdp = subsampled_rdp(0.05, 3.0, 200) + np.asarray(ORDERS) / 128
    assert both.epsilon(1e-6) == pytest.approx(rdp_epsilon(rdp, 1e-6))
    assert both.shares().sum() == pytest.approx(1.0)
    # Sampling can only help.
    assert both.epsilon(1e-6) < gdp_epsilon(math.hypot(200**0.5 / 1.5, 1 / 8), 1e-6)


def test_only_the_last_step_counts_where_it_alone_is_published():
    release = Release("gradients", 0.1, 20.0, count=500, contraction=0.9)
    assert release.mu == pytest.approx(last_iterate_mu(1 / 20, 0.9, 500))
    with pytest.raises(ValueError, match="contraction"):
        Release("gradients", 0.1, 20.0, count=500, rate=0.1, contraction=0.9)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"multiplier": -1.0}, "multiplier"),
        ({"multiplier": math.nan}, "multiplier"),
        ({"multiplier": 1.0, "count": 0}, "count"),
        ({"multiplier": 1.0, "rate": 0.0}, "rate"),
    ],
)
def test_bad_releases_are_named(wrong, name):
    with pytest.raises(ValueError, match=name):
        Release("a", 1.0, **wrong)
