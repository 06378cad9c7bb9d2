"""Losses against differences of their values, and against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import (
    log_loss,
    mean_gamma_deviance,
    mean_poisson_deviance,
    mean_tweedie_deviance,
)

from skbilevel.problems import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    SquaredLoss,
    TweedieLoss,
)


def _case(loss, rng, n=40):
    t = 3 if isinstance(loss, SoftmaxLoss) else 1
    eta = 2.0 * rng.standard_normal((n, t))
    if isinstance(loss, LogisticLoss):
        return eta, rng.integers(0, 2, (n, 1)).astype(float)
    if isinstance(loss, SoftmaxLoss):
        return eta, np.eye(3)[rng.integers(0, 3, n)]
    if isinstance(loss, SquaredLoss):
        return eta, rng.standard_normal((n, 1))
    y = rng.gamma(1.0, size=(n, 1))
    return eta, y if isinstance(loss, GammaLoss) else y * rng.integers(0, 2, (n, 1))


LOSSES = [
    SquaredLoss(),
    LogisticLoss(),
    SoftmaxLoss(),
    PoissonLoss(),
    GammaLoss(),
    TweedieLoss(1.3),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_derivatives_are_those_of_the_value(loss):
    eta, y = _case(loss, np.random.default_rng(0))
    D = np.random.default_rng(1).standard_normal(eta.shape)
    h = 1e-6

    def total(x):
        return loss.value(x, y).sum(axis=-1)

    slope = (total(eta + h * D) - total(eta - h * D)) / (2 * h)
    np.testing.assert_allclose((loss.grad(eta, y) * D).sum(axis=-1), slope, atol=1e-6)
    bend = (loss.grad(eta + h * D, y) - loss.grad(eta - h * D, y)) / (2 * h)
    np.testing.assert_allclose(loss.second_derivative(eta, y)(D), bend, atol=1e-6)
    U = np.random.default_rng(2).standard_normal(eta.shape)
    above = loss.second_derivative(eta + h * D, y)(U)
    below = loss.second_derivative(eta - h * D, y)(U)
    third = loss.third_derivative(eta, y)(D, U)
    np.testing.assert_allclose(third, (above - below) / (2 * h), atol=1e-6)
    one = np.zeros_like(D)
    one[:, -1] = 1.0
    diagonal = loss.second_derivative(eta, y)(one)[:, -1]
    np.testing.assert_allclose(loss.curvature(eta, y)[:, -1], diagonal, rtol=1e-12)
    weight = np.random.default_rng(3).standard_normal((len(eta), 2))
    known = loss.summed_second_derivative(eta, weight)
    if known is not None:
        apply = loss.second_derivative(eta, y)
        for found, s in zip(known, weight.T, strict=True):
            units = (np.outer(s, unit) for unit in np.eye(eta.shape[1]))
            summed = np.stack([apply(each).sum(axis=0) for each in units])
            np.testing.assert_allclose(found, summed, atol=1e-12)


def test_values_are_those_of_the_metrics():
    rng = np.random.default_rng(2)
    weight = rng.random(40)

    def mean(loss, eta, y):
        return weight @ loss.value(eta, y).sum(axis=-1) / weight.sum()

    for loss, metric in [
        (PoissonLoss(), mean_poisson_deviance),
        (GammaLoss(), mean_gamma_deviance),
        (TweedieLoss(1.3), lambda *a, **k: mean_tweedie_deviance(*a, power=1.3, **k)),
    ]:
        eta, y = _case(loss, rng)
        expected = metric(y[:, 0], loss.mean(eta)[:, 0], sample_weight=weight)
        np.testing.assert_allclose(2 * mean(loss, eta, y), expected)
    eta, y = _case(SoftmaxLoss(), rng)
    expected = log_loss(y.argmax(1), SoftmaxLoss().mean(eta), sample_weight=weight)
    np.testing.assert_allclose(mean(SoftmaxLoss(), eta, y), expected)
    eta, y = _case(LogisticLoss(), rng)
    two = np.hstack([np.zeros_like(eta), eta])
    np.testing.assert_allclose(
        mean(LogisticLoss(), eta, y),
        mean(SoftmaxLoss(), two, np.hstack([1 - y, y])),
    )


def test_no_overflow_at_extreme_predictions():
    eta = np.array([[-1e4], [1e4]])
    for loss in (LogisticLoss(), PoissonLoss(), GammaLoss(), TweedieLoss(1.5)):
        for y in (np.zeros((2, 1)), np.ones((2, 1))):
            if isinstance(loss, GammaLoss) and not y.any():
                continue
            assert np.isfinite(loss.value(eta, y)).all()
            assert np.isfinite(loss.grad(eta, y)).all()
            assert np.isfinite(loss.curvature(eta, y)).all()
