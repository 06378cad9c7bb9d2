"""Private fits: the optimum without noise, the budget, and planted bugs."""

import math
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import minimize

from skbilevel.privacy import audit_mechanism
from skbilevel.privacy._bounds import shrunk
from skbilevel.privacy._descents import Objective, gradient_descent
from skbilevel.privacy._fit import PrivatePlan, private_fit
from skbilevel.privacy._ledger import Budget
from skbilevel.privacy._noise import randomness
from skbilevel.privacy._releases import NoisyMoments, PrivateRows
from skbilevel.privacy._strengths import tune
from skbilevel.problems import LogisticLoss, SquaredLoss

RNG = np.random.default_rng(0)
N, P = 300, 4
X = RNG.uniform(-1, 1, (N, P)) * [1.0, 0.5, 1.0, 0.2] + [0.0, 0.3, 0.0, 0.0]
ETA = X @ [0.4, -0.5, 0.0, 0.6] + 0.1
Y = np.clip(ETA + 0.1 * RNG.standard_normal(N), -1, 1)
LABELS = (4 * ETA + RNG.logistic(size=N) > 0).astype(float)
DELTA = 1e-6
SQUARED = ("moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd")
LOGISTIC = SQUARED[1:]
RIDGE = np.array([1.0, 2.0, 0.5, 3.0])


def fit(solver, epsilon, loss=None, seed=0, **options):
    loss = SquaredLoss() if loss is None else loss
    y = Y if loss.constant_curvature else LABELS
    plan = PrivatePlan(loss, Budget(epsilon, DELTA), solver, **options)
    return private_fit(X, y, math.sqrt(P), plan, randomness(seed))


def optimum(loss, y, ridge, lasso=None):
    """Minimizer of the plain objective, the intercept first."""
    Z = np.hstack([np.ones((N, 1)), X])

    def value(w):
        return loss.value(Z @ w, y).sum() + 0.5 * ridge @ w[1:] ** 2

    def grad(w):
        return Z.T @ loss.grad(Z @ w, y) + np.append(0.0, ridge * w[1:])

    return minimize(value, np.zeros(P + 1), jac=grad, method="BFGS", tol=1e-10).x


PASSES = {"moments": None, "preconditioned": 400, "dp-cd": 4000, "dp-gd": 20_000}


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("solver", PASSES)
def test_without_noise_it_is_ridge_regression(solver, scale):
    options = {"penalty": RIDGE, "scale": scale, "n_passes": PASSES[solver]}
    found = fit(solver, math.inf, **options)
    w = optimum(SquaredLoss(), Y, RIDGE)
    assert found.coef == pytest.approx(w[1:], abs=1e-6)
    assert found.intercept == pytest.approx(w[0], abs=1e-6)
    assert found.ledger.epsilon(DELTA) == math.inf


@pytest.mark.parametrize("solver", ["preconditioned", "dp-cd", "dp-gd"])
def test_without_noise_it_is_logistic_regression(solver):
    options = {"penalty": RIDGE, "n_passes": PASSES[solver]}
    found = fit(solver, math.inf, LogisticLoss(), **options)
    w = optimum(LogisticLoss(), LABELS, RIDGE)
    assert found.coef == pytest.approx(w[1:], abs=1e-5)
    assert found.intercept == pytest.approx(w[0], abs=1e-5)


@pytest.mark.parametrize("solver", ["moments", "dp-cd", "dp-gd"])
def test_without_noise_it_is_the_lasso(solver):
    penalty = np.full(P, 10.0)
    options = {"penalty": penalty, "l1": True, "n_passes": PASSES[solver]}
    found = fit(solver, math.inf, **options)
    residual = Y - X @ found.coef - found.intercept
    slope = X.T @ residual
    active = found.coef != 0
    assert 0 < active.sum() < P
    assert slope[active] == pytest.approx(10 * np.sign(found.coef[active]), abs=1e-4)
    assert (abs(slope[~active]) <= 10.0 + 1e-4).all()
    assert residual.sum() == pytest.approx(0.0, abs=1e-4)


def test_without_noise_poisson_batches_average_to_the_optimum():
    found = fit("dp-sgd", math.inf, penalty=RIDGE, n_passes=4000)  # all rows at a time
    w = optimum(SquaredLoss(), Y, RIDGE)
    assert found.coef == pytest.approx(w[1:], abs=1e-3)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("epsilon", [0.3, 5.0])
@pytest.mark.parametrize("solver", SQUARED)
def test_the_ledger_costs_what_was_asked_for(solver, epsilon, scale):
    ledger = fit(solver, epsilon, scale=scale, n_passes=3).ledger
    assert ledger.epsilon(DELTA) <= epsilon * (1 + 1e-9)
    assert ledger.epsilon(DELTA) == pytest.approx(epsilon, rel=1e-4)
    assert ledger.shares().sum() == pytest.approx(1.0)
    names = [release.name for release in ledger.releases]
    assert (names[0] in ("moments of columns", "squares of columns")) == scale


@pytest.mark.parametrize("solver", SQUARED)
def test_all_is_a_function_of_releases_that_are_in_the_ledger(solver, monkeypatch):
    """Whatever else the rows are: with the same noisy numbers the fit is the same."""
    released, again, noisy = [], [], PrivateRows.noisy

    def told(*args):
        if again:
            return again.pop(0)
        released.append(noisy(*args))
        return released[-1]

    # The door that all numbers leave by: no argument could take its place.
    monkeypatch.setattr(PrivateRows, "noisy", told)
    first = fit(solver, 1.0, n_passes=4)
    written = sum(each.count * each.n_parts for each in first.ledger.releases)
    again.extend(released)
    rows = shrunk(RNG.uniform(-1, 1, (N, P)), 1.0)
    plan = PrivatePlan(SquaredLoss(), Budget(1.0, DELTA), solver, n_passes=4)
    second = private_fit(rows, -Y, math.sqrt(P), plan, randomness(5))
    assert not again
    assert len(released) == written
    assert np.array_equal(first.coef, second.coef)
    assert first.intercept == second.intercept
    assert np.array_equal(first.penalty, second.penalty)
    assert first.ledger == second.ledger


def test_last_iterate_needs_less_noise_and_says_so():
    options = {"penalty": np.full(P, 30.0), "n_passes": 200}
    usual = fit("dp-gd", 1.0, **options).ledger
    last = fit("dp-gd", 1.0, last_only=True, **options).ledger
    assert last.releases[-1].multiplier < 0.6 * usual.releases[-1].multiplier
    assert last.epsilon(DELTA) == pytest.approx(1.0)
    release = last.releases[-1]
    assert 0.9 < release.contraction < 1.0
    assert release.count == 200
    # Taken as a history of all iterates it would cost far more.
    assert replace(release, contraction=None).mu > 1.7 * release.mu


# --- strengths ------------------------------------------------------------------------


def noisy_moments(noise, n=2000, p=6, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, p))
    w = np.array([0.8, -0.5, 0.0, 0.0, 0.0, 0.0])
    y = Z @ w + 0.5 * rng.standard_normal(n)
    error = rng.standard_normal((p, p))
    gram = Z.T @ Z + noise * (error + error.T) / 2
    cross = Z.T @ y + noise * rng.standard_normal(p) / np.sqrt(2)
    return NoisyMoments(gram, cross, y @ y, noise, noise / np.sqrt(2), n), w


def test_tuned_strengths_find_what_matters_through_the_noise():
    moments, w = noisy_moments(40.0)
    found, penalty = tune(moments, False, None)
    assert penalty[:2].max() < 0.01 * penalty[2:].min()
    assert found == pytest.approx(w, abs=0.05)


def test_tuned_strengths_know_the_noise():
    # More noise, stronger shrinkage of what carries nothing.
    errors = []
    for noise in (1.0, 100.0, 400.0):
        moments, w = noisy_moments(noise)
        found, penalty = tune(moments, False, np.zeros(6, dtype=int))
        assert len(np.unique(penalty)) == 1
        errors.append(np.linalg.norm(found - w))
    plain = np.linalg.solve(moments.gram, moments.cross)
    assert errors[0] < errors[1] < errors[2]
    assert errors[2] < np.linalg.norm(plain - w)


def test_tuned_strengths_without_noise_are_those_of_the_evidence():
    from skbilevel.problems import QuadraticDataFit
    from skbilevel.problems._evidence import MomentEvidence

    moments, _ = noisy_moments(0.0)
    _, penalty = tune(moments, False, np.zeros(6, dtype=int))
    swept = QuadraticDataFit(
        moments.gram[None],
        moments.cross[None, :, None],
        np.array([[moments.yy]]),
        np.array([2000.0]),
    )
    # The slope of the evidence in a shared variance vanishes there.
    sigma2 = 0.25
    at = MomentEvidence(swept, noise=sigma2).at(np.log(1 / penalty)[None])
    sizes = abs(at.grad[0])
    assert abs(at.grad[0].sum()) < 0.05 * sizes.sum()


# --- planted bugs ---------------------------------------------------------------------


class Pull(SquaredLoss):
    """A loss whose gradient is at its clip everywhere: the worst case."""

    constant_curvature: ClassVar[bool] = True

    def grad(self, eta, y):
        return -4.0 * y * np.ones_like(eta)


STEPS = 6


class Published(PrivateRows):
    """Rows whose noisy gradients all are published."""

    def gradient(self, *args):
        value = super().gradient(*args)
        seen.append(value[0])
        return value


BUDGET, seen = Budget(1.0, DELTA), []


def transcript(
    world, n_runs, rng, make_noise=randomness, kind=Published, budget=BUDGET
):
    """All noisy gradients of descents on one row of norm 1."""
    published = np.empty((n_runs, STEPS))
    y = np.array([1.0 - 2.0 * world])
    for k, seed in enumerate(rng.integers(2**31 - 1, size=n_runs)):
        seen.clear()
        rows = kind(np.ones((1, 1)), y, 1.0, make_noise(int(seed)))
        options = {"largest": 1.0, "last_only": False}
        gradient_descent(rows, Objective(Pull()), budget, STEPS, **options)
        published[k] = seen
    return published


def audited(**bug):
    return audit_mechanism(
        partial(transcript, **bug),
        1000,
        epsilon=1.0,
        delta=DELTA,
        gaussian=True,
        random_state=0,
    )


def test_the_package_passes_its_audit():
    result = audited()
    assert not result.refuted
    assert result.epsilon > 0.2  # the game is not idle


def test_an_audit_catches_half_the_sensitivity():
    class Half(Published):
        def noisy(self, value, sensitivity, multiplier):
            return super().noisy(value, sensitivity / 2.0, multiplier)

    assert audited(kind=Half).refuted


def test_an_audit_catches_steps_that_are_not_composed():
    class Forgetful(Budget):
        def multiplier(self, share=1.0, count=1):
            return super().multiplier(share)

    assert audited(budget=Forgetful(1.0, DELTA)).refuted


def test_an_audit_catches_noise_that_is_used_again():
    class Again:
        """The negative of the last draw, every second time."""

        def __init__(self, seed):
            self.fresh, self.last = randomness(seed), None

        def normal(self, shape):
            if self.last is None:
                self.last = self.fresh.normal(shape)
                return self.last
            again, self.last = -self.last, None
            return again

    assert audited(make_noise=Again).refuted
