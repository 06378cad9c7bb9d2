"""Validation losses of classifiers: differences, references, two classes as one."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from skbilevel.problems import BrierLoss, SmoothZeroOneLoss, SquaredHingeLoss

LOSSES = [BrierLoss(), SmoothZeroOneLoss(), SquaredHingeLoss()]


def _case(t, seed=0, n=60):
    rng = np.random.default_rng(seed)
    eta = 1.5 * rng.standard_normal((n, t))
    code = rng.integers(0, max(t, 2), n)
    return eta, code[:, None].astype(float) if t == 1 else np.eye(t)[code]


@pytest.mark.parametrize("t", [1, 2, 4])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_is_that_of_the_value(loss, t):
    eta, y = _case(t)
    D = np.random.default_rng(1).standard_normal(eta.shape)
    h = 1e-6

    def total(x):
        return loss.value(x, y).sum(axis=-1)

    slope = (total(eta + h * D) - total(eta - h * D)) / (2 * h)
    np.testing.assert_allclose((loss.grad(eta, y) * D).sum(axis=-1), slope, atol=1e-8)
    apply = loss.second_derivative(eta, y)
    diagonal = np.stack([apply(np.tile(e, (len(y), 1))) @ e for e in np.eye(t)], 1)
    np.testing.assert_allclose(loss.curvature(eta, y), diagonal, atol=1e-12)
    assert ((apply(D) * D).sum(axis=-1) >= -1e-12).all()


@pytest.mark.parametrize("t", [1, 4])
def test_curvature_of_the_hinge_is_exact(t):
    loss, (eta, y) = SquaredHingeLoss(), _case(t)
    D, h = np.random.default_rng(1).standard_normal(eta.shape), 1e-6
    bend = (loss.grad(eta + h * D, y) - loss.grad(eta - h * D, y)) / (2 * h)
    np.testing.assert_allclose(loss.second_derivative(eta, y)(D), bend, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_log_odds_are_the_difference_of_two_scores(loss):
    eta, y = _case(1)
    both = np.hstack([np.full_like(eta, 3.0), eta + 3.0])
    expected = loss.value(both, np.hstack([1 - y, y])).sum(axis=1)
    factor = 0.5 if isinstance(loss, BrierLoss) else 1.0
    np.testing.assert_allclose(loss.value(eta, y)[:, 0], factor * expected)


def test_values_are_those_of_the_references():
    eta, y = _case(1)
    p = 1 / (1 + np.exp(-eta[:, 0]))
    brier = BrierLoss().value(eta, y).mean()
    np.testing.assert_allclose(brier, brier_score_loss(y[:, 0], p))
    hard = np.mean((eta > 0) != (y > 0.5))
    sharp = SmoothZeroOneLoss(1e4).value(eta, y).mean()
    np.testing.assert_allclose(sharp, hard, atol=1e-3)
    margin = (2 * y - 1) * eta
    hinge = np.maximum(1 - margin, 0) ** 2
    np.testing.assert_allclose(SquaredHingeLoss().value(eta, y), hinge)


def test_nothing_overflows_at_extreme_scores():
    for loss in LOSSES:
        for eta in (np.array([[-1e4], [1e4]]), np.array([[-1e4, 0.0], [1e4, 0.0]])):
            y = np.zeros_like(eta)
            y[:, 0] = 1.0
            for each in (loss.value, loss.grad, loss.curvature):
                assert np.isfinite(each(eta, y)).all()
