"""Accounting: closed forms, numerical integration, and another library."""

import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from skbilevel.privacy import (
    ORDERS,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    last_iterate_mu,
    noise_multiplier,
    rdp_epsilon,
    subsampled_rdp,
)


@pytest.mark.parametrize("mu", [0.03, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 4.0])
def test_delta_is_the_hockey_stick_of_two_gaussians(mu, epsilon):
    def excess(x):
        return max(norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x), 0.0)

    # Positive above this point.
    start = epsilon / mu + mu / 2.0
    expected, _ = integrate.quad(excess, start, start + 12.0, epsabs=1e-14)
    assert gdp_delta(mu, epsilon) == pytest.approx(expected, rel=1e-7, abs=1e-13)


@pytest.mark.parametrize("epsilon", np.geomspace(1e-3, 50.0, 7))
@pytest.mark.parametrize("delta", np.geomspace(1e-15, 0.1, 7))
def test_there_and_back(epsilon, delta):
    mu = gdp_mu(epsilon, delta)
    assert gdp_delta(mu, epsilon) == pytest.approx(delta, rel=1e-10)
    assert gdp_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-10)
    assert noise_multiplier(epsilon, delta, 9) == pytest.approx(3.0 / mu, rel=1e-12)


def test_ends():
    assert gdp_epsilon(0.0, 1e-6) == 0.0
    assert gdp_epsilon(math.inf, 1e-6) == math.inf
    assert gdp_epsilon(1e-9, 0.1) == 0.0  # delta alone is enough
    assert gdp_delta(math.inf, 1.0) == 1.0
    assert gdp_delta(0.0, 0.0) == gdp_delta(1.0, math.inf) == 0.0
    assert gdp_mu(math.inf, 1e-6) == math.inf
    assert noise_multiplier(math.inf, 1e-6) == 0.0
    assert gdp_delta(1e-3, 40.0) == 0.0  # too small for a double
    assert 0.0 < gdp_delta(1.0, 30.0) < 1e-190


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: gdp_delta(-1.0, 1.0), "mu"),
        (lambda: gdp_delta(math.nan, 1.0), "mu"),
        (lambda: gdp_delta(1.0, -1.0), "epsilon"),
        (lambda: gdp_epsilon(1.0, 0.0), "delta"),
        (lambda: gdp_epsilon(1.0, 1.0), "delta"),
        (lambda: gdp_mu(-0.1, 1e-6), "epsilon"),
        (lambda: noise_multiplier(1.0, 1e-6, 0), "n_releases"),
        (lambda: last_iterate_mu(-1.0, 0.5, 3), "step_mu"),
        (lambda: last_iterate_mu(1.0, 1.5, 3), "contraction"),
        (lambda: last_iterate_mu(1.0, 0.5, 0), "n_steps"),
        (lambda: subsampled_rdp(1.5, 1.0), "rate"),
        (lambda: subsampled_rdp(0.5, -1.0), "noise"),
        (lambda: subsampled_rdp(0.5, 1.0, 0), "steps"),
        (lambda: subsampled_rdp(0.5, 1.0, orders=[1.5]), "orders"),
        (lambda: subsampled_rdp(0.5, 1.0, neighbours="both"), "neighbours"),
        (lambda: rdp_epsilon(np.ones(3), 1e-6), "rdp"),
        (lambda: rdp_epsilon(np.ones(len(ORDERS)), 2.0), "delta"),
    ],
)
def test_what_is_out_of_range_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()


# --- the last iterate -----------------------------------------------------------------


def quadratic_mu(step_mu, contraction, n_steps):
    """Exact mu of the last iterate for linear losses and a ridge in one dimension.

    Both worlds pull with all their weight at every step: means and variance of
    ``w <- c w - (gradient + noise)`` follow a recursion.
    """
    shift = variance = 0.0
    for _ in range(n_steps):
        shift = contraction * shift + step_mu
        variance = contraction**2 * variance + 1.0
    return shift / math.sqrt(variance)


CASES = [(0.05, 0.95, 1000), (0.05, 0.9995, 1000), (0.2, 0.5, 1), (0.3, 0.0, 5)]


@pytest.mark.parametrize(("step_mu", "contraction", "n_steps"), CASES)
def test_no_claim_is_below_the_exact_quadratic(step_mu, contraction, n_steps):
    exact = gdp_epsilon(quadratic_mu(step_mu, contraction, n_steps), 1e-6)
    claimed = gdp_epsilon(last_iterate_mu(step_mu, contraction, n_steps), 1e-6)
    assert claimed >= exact * (1.0 - 1e-9)
    assert claimed == pytest.approx(exact, rel=1e-9)  # quadratics attain it
    composed = gdp_epsilon(step_mu * math.sqrt(n_steps), 1e-6)
    assert claimed <= composed * (1.0 + 1e-12)


def test_counting_epochs_for_updates_would_claim_too_little():
    # 100 updates in an epoch: what a known implementation does.
    exact = gdp_epsilon(quadratic_mu(0.1, 0.999, 3000), 1e-6)
    assert gdp_epsilon(last_iterate_mu(0.1, 0.999, 30), 1e-6) < 0.3 * exact


def test_no_contraction_is_composition():
    assert last_iterate_mu(0.1, 1.0, 25) == pytest.approx(0.5)
    assert last_iterate_mu(0.1, 1.0 - 1e-12, 25) == pytest.approx(0.5)


# --- sampled rows ---------------------------------------------------------------------


def divergence(p, q, order):
    """Renyi divergence of two densities on the line, by integration."""

    def integrand(x):
        return math.exp(order * math.log(p(x)) - (order - 1.0) * math.log(q(x)))

    value, _ = integrate.quad(integrand, -18.0, 18.0, limit=500, epsabs=1e-13)
    return math.log(value) / (order - 1.0)


def mixture(rate, noise, centre):
    def density(x):
        there = norm.pdf(x, centre, noise)
        return (1.0 - rate) * norm.pdf(x, 0.0, noise) + rate * there

    return density


@pytest.mark.parametrize(("rate", "noise"), [(0.1, 1.0), (0.5, 2.0), (0.02, 0.7)])
@pytest.mark.parametrize("order", [2, 3, 6])
def test_sampled_rows_by_integration(rate, noise, order):
    plain, one = mixture(rate, noise, 0.0), mixture(rate, noise, 1.0)
    added = subsampled_rdp(rate, noise, orders=[order], neighbours="add")[0]
    assert added == pytest.approx(divergence(one, plain, order), rel=1e-6)
    assert divergence(plain, one, order) <= added
    # A row that is replaced by its opposite.
    replaced = subsampled_rdp(rate, noise, orders=[order])[0]
    assert divergence(one, mixture(rate, noise, -1.0), order) <= replaced


def test_all_rows_are_a_gaussian_release():
    orders = np.asarray(ORDERS)
    assert np.allclose(subsampled_rdp(1.0, 4.0), orders * (2 / 4.0) ** 2 / 2)
    added = subsampled_rdp(1.0, 4.0, 3, neighbours="add")
    assert np.allclose(added, 3 * orders / 4.0**2 / 2)
    # The triangle bound is near it where rows take part almost always.
    almost = subsampled_rdp(1.0 - 1e-9, 4.0)[ORDERS.index(20)]
    assert almost == pytest.approx(20 * (2 / 4.0) ** 2 / 2, rel=0.05)
    assert almost >= 20 * (2 / 4.0) ** 2 / 2


def test_ends_of_sampling():
    assert not subsampled_rdp(0.0, 1.0).any()
    assert np.isinf(subsampled_rdp(0.5, 0.0)).all()
    assert subsampled_rdp(1e-9, 50.0)[0] >= 0.0


# --- another library ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_releases", "noise"), [(100, 10.0), (1, 0.7), (7, 3.0), (1000, 40.0)]
)
def test_composition_agrees_with_dp_accounting(n_releases, noise):
    dp = pytest.importorskip("dp_accounting")
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=1e-4)
    accountant.compose(dp.GaussianDpEvent(noise), n_releases)
    mu = math.sqrt(n_releases) / noise
    expected = accountant.get_epsilon(1e-6)
    assert gdp_epsilon(mu, 1e-6) == pytest.approx(expected, abs=2e-4, rel=1e-4)


@pytest.mark.parametrize(("rate", "noise"), [(0.01, 1.0), (0.2, 3.0)])
def test_sampled_rows_agree_with_dp_accounting(rate, noise):
    dp = pytest.importorskip("dp_accounting")
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(ORDERS)
    accountant.compose(dp.PoissonSampledDpEvent(rate, dp.GaussianDpEvent(noise)), 500)
    own = subsampled_rdp(rate, noise, 500, neighbours="add")
    expected = accountant.get_epsilon(1e-6)
    assert rdp_epsilon(own, 1e-6) == pytest.approx(expected, rel=1e-6)
