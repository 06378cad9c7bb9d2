"""Penalized stacking against brute force."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize

from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._stacking import stack
from skbilevel.problems import LogisticLoss, PoissonLoss, SoftmaxLoss, SquaredLoss

CASES = {
    "squared": (SquaredLoss(), 2.0, 1),
    "targets": (SquaredLoss(), 2.0, 3),
    "binary": (LogisticLoss(), 1.0, 1),
    "classes": (SoftmaxLoss(), 1.0, 3),
    "counts": (PoissonLoss(), 1.0, 1),
}


def make(kind, n=40, c=4, seed=0):
    """Every row is held out twice, by models whose errors differ."""
    loss, unit, t = CASES[kind]
    rng = np.random.default_rng(seed)
    row = np.r_[np.arange(n), rng.permutation(n)]
    signal = rng.standard_normal((n, t))
    eta = signal[row][:, None] + 0.5 * rng.standard_normal((2 * n, c, t))
    y = signal + 0.5 * rng.standard_normal((n, t))
    if kind == "binary":
        y = (y > 0).astype(float)
    elif kind == "classes":
        y = np.eye(t)[y.argmax(axis=1)]
    elif kind == "counts":
        y = rng.poisson(np.exp(signal)).astype(float)
    weight = rng.uniform(0.5, 2.0, n)
    return HeldOut(row, eta, y[row], loss, unit, weight, np.arange(n))


@pytest.mark.parametrize("kind", CASES)
def test_the_loss_of_a_combination_and_its_gradient(kind):
    held = make(kind)
    kept = np.array([0, 1, 3])
    objective = held.objective(kept)
    a = np.array([0.2, 0.5, 0.3])
    whole = np.zeros(4)
    whole[kept] = a
    losses, weight = held.losses, held.weight
    # One candidate alone, and a combination.
    assert_allclose(objective(np.eye(3)[1])[0], losses[1] @ weight / weight.sum())
    value, grad, curvature = objective(a)
    assert_allclose(value, held.combined(whole) @ weight / weight.sum())
    steps = 1e-5 * (np.eye(3) - 1 / 3)  # weights keep their sum
    numeric = [(objective(a + s)[0] - objective(a - s)[0]) / 2e-5 for s in steps]
    assert_allclose(grad - grad.mean(), numeric, atol=1e-8)
    numeric = [(objective(a + s)[1] - objective(a - s)[1]) / 2e-5 for s in steps]
    assert_allclose(steps @ curvature / 1e-5, numeric, atol=1e-7)


@pytest.mark.parametrize("warmth", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize("kind", CASES)
def test_weights_minimize_the_objective_over_the_simplex(kind, warmth):
    held = make(kind)
    objective = held.objective(np.arange(4))
    linear, unit = np.array([0.0, 0.03, 0.01, 0.02]), 0.8

    def whole(z):
        a = np.exp(z - z.max())
        a /= a.sum()
        entropy = a @ np.log(4 * np.maximum(a, 1e-300))
        return (objective(a)[0] + linear @ a) / unit + warmth * entropy

    losses = held.losses @ held.weight / held.weight.sum()
    found = stack(objective, losses, linear, unit, warmth)
    assert_allclose(found.sum(), 1.0)
    best = optimize.minimize(whole, np.zeros(4), method="Nelder-Mead", tol=1e-12)
    assert whole(np.log(found)) <= best.fun + 1e-12
    # At the minimum no exchange of weights gains anything.
    slope = (objective(found)[1] + linear) / unit + warmth * np.log(found)
    assert_allclose(found * (slope - found @ slope), 0.0, atol=1e-12)


def test_members_with_different_errors_are_better_together():
    """Equal losses: an average by the losses of its members cannot see this."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((500, 2, 1))
    eta = np.concatenate([noise, noise[:, :1] + 1e-3], axis=1)
    held = HeldOut(
        np.arange(500),
        eta,
        np.zeros((500, 1)),
        SquaredLoss(),
        2.0,
        np.ones(500),
        np.arange(500),
    )
    objective, losses = held.objective(np.arange(3)), held.losses.mean(axis=1)
    a = stack(objective, losses, np.zeros(3), 1.0, 1e-3)
    assert abs(a[1] - 0.5) < 0.05


def test_what_overflows_gets_no_weight():
    held = make("counts")
    eta = held.eta.copy()
    eta[3, 2] = 1e4
    held = HeldOut(held.row, eta, held.y, held.loss, 1.0, held.row_weight, held.cluster)
    objective, losses = held.objective(np.arange(4)), held.losses.mean(axis=1)
    a = stack(objective, losses, np.zeros(4), 1.0, 1e-2)
    assert np.isfinite(a).all()
    assert a[2] < 1e-2
