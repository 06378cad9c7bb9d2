"""Newton's method on whitened features, against scikit-learn and first principles."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor

from skbilevel.problems import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    TweedieLoss,
)
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_problem import Curvature, Whitened

LOSSES = [
    LogisticLoss(),
    SoftmaxLoss(),
    PoissonLoss(),
    GammaLoss(),
    TweedieLoss(1.4),
]
# Columns: a factor over all classes, and conjugate gradients for 200 unknowns and more.
SIZES = [5, 210]


class PlainSoftmax(SoftmaxLoss):
    """Its second derivatives are summed row by row."""

    def summed_second_derivative(self, eta, weight):
        return None


def make(loss, n=60, p=5, seed=0, offset=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = X @ rng.standard_normal((p, 4)) * 0.6 * (5 / max(p, 5)) ** 0.5
    if isinstance(loss, SoftmaxLoss):
        y = np.eye(4)[(eta + rng.gumbel(size=eta.shape)).argmax(axis=1)]
    elif isinstance(loss, LogisticLoss):
        y = (eta[:, :1] + rng.logistic(size=(n, 1)) > 0).astype(float)
    else:
        y = rng.gamma(2.0, np.exp(eta[:, :1]) / 2.0)
        y = np.round(y) if isinstance(loss, PoissonLoss) else y
    shift = 0.3 * rng.standard_normal(y.shape) if offset else None
    Z = np.column_stack([np.ones(n), X])
    return Whitened(Z, 1, y, rng.uniform(0.5, 2.0, n), loss, shift)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("p", SIZES)
def test_the_gradient_vanishes(loss, p):
    problem = make(loss, p=p, offset=True)
    found = minimize_whitened(problem, tol=1e-14)
    assert found.converged
    assert abs(found.grad).max() < 1e-6
    np.testing.assert_allclose(found.eta, problem.eta(found.T), atol=1e-9)
    if isinstance(loss, SoftmaxLoss):  # no class takes a common shift
        np.testing.assert_allclose(found.T.sum(axis=1), 0.0, atol=1e-7)


@pytest.mark.parametrize(
    "loss", [*LOSSES, PlainSoftmax()], ids=lambda loss: type(loss).__name__
)
@pytest.mark.parametrize("p", [0, 2, *SIZES])
def test_the_curvature_is_the_derivative_of_the_gradient(loss, p):
    """Fewer columns than classes are summed in another order than more of them."""
    problem = make(loss, p=p)
    rng = np.random.default_rng(1)
    T, D = rng.standard_normal((2, p + 1, problem.n_targets)) * 0.3
    if isinstance(loss, SoftmaxLoss):
        D -= D.mean(axis=1, keepdims=True)
    h = 1e-6
    up, down = T + h * D, T - h * D
    difference = problem.grad(up, problem.eta(up)) - problem.grad(
        down, problem.eta(down)
    )
    curvature = Curvature(problem, problem.eta(T))
    np.testing.assert_allclose(curvature.apply(D), difference / (2 * h), atol=1e-5)
    np.testing.assert_allclose(curvature.solve(curvature.apply(D))[0], D, atol=1e-6)


def test_the_hessian_of_many_rows_is_a_sum_over_parts():
    problem = make(PoissonLoss(), n=1500, p=190)  # parts of 1372 rows
    T = np.full((191, 1), 0.01)
    curvature = Curvature(problem, problem.eta(T))
    np.testing.assert_allclose(curvature.solve(curvature.apply(T))[0], T, rtol=1e-9)


def test_scikit_learn_agrees():
    for loss in (LogisticLoss(), SoftmaxLoss()):
        problem = make(loss)
        codes = (
            problem.y.argmax(axis=1) if problem.n_targets > 1 else problem.y[:, 0] > 0
        )
        peer = LogisticRegression(tol=1e-10, max_iter=10_000)
        peer.fit(problem.Z[:, 1:], codes, problem.weight)
        found = minimize_whitened(problem, tol=1e-14)
        np.testing.assert_allclose(found.T[1:].T, peer.coef_, atol=1e-5)
        intercept = peer.intercept_ - peer.intercept_.mean()
        mine = found.T[0] - found.T[0].mean()
        np.testing.assert_allclose(mine, intercept, atol=1e-5)
    problem = make(PoissonLoss())
    peer = PoissonRegressor(alpha=1.0 / problem.weight.sum(), tol=1e-10, max_iter=1000)
    peer.fit(problem.Z[:, 1:], problem.y[:, 0], problem.weight)
    found = minimize_whitened(problem, tol=1e-14)
    np.testing.assert_allclose(found.T[1:, 0], peer.coef_, atol=1e-5)


def test_separable_classes_and_counts_that_are_all_zero_stay_finite():
    Z = np.column_stack([np.ones(8), 1e4 * np.r_[-np.ones(4), np.ones(4)]])
    y = np.r_[np.zeros(4), np.ones(4)][:, None]
    found = minimize_whitened(Whitened(Z, 1, y, np.ones(8), LogisticLoss()))
    assert found.converged
    assert np.isfinite(found.T).all()
    Z[:, 1] /= 1e4
    zero = Whitened(Z, 1, np.zeros((8, 1)), np.ones(8), PoissonLoss())
    found = minimize_whitened(zero)
    assert found.converged
    assert np.isfinite(found.T).all()
    assert (np.exp(found.eta) < 1e-6).all()
