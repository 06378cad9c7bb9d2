"""Minimizers of the elastic net on their active columns, and their derivatives."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from skbilevel.problems import ActiveSet, ElasticNet, Moments

RNG = np.random.default_rng(0)
N, P = 40, 12
X, VALID = RNG.standard_normal((N, P)), RNG.standard_normal((25, P))
EFFECTS = np.r_[2.0, -1.5, 1.0, np.zeros(P - 3)]
Y = X @ EFFECTS + 0.5 * RNG.standard_normal(N)
Y_VALID = VALID @ EFFECTS + 0.5 * RNG.standard_normal(len(VALID))
# Strengths that keep some columns and remove others.
ALPHA = np.exp(RNG.uniform(0.5, 2.5, P))
SHARES = {"lasso": np.ones(P), "net": np.linspace(0.2, 0.9, P)}
each_share = pytest.mark.parametrize("share", SHARES.values(), ids=SHARES)


def penalty_of(alpha, share):
    with np.errstate(divide="ignore"):
        return ElasticNet(1.0 / (alpha * (1.0 - share)), alpha * share)


def by_scikit_learn(alpha, share):
    """A lasso with rows for the quadratic part, in columns scaled by strengths."""
    penalty = penalty_of(alpha, share)
    rows = np.vstack([X, np.diag(1.0 / np.sqrt(penalty.v))]) / penalty.l1
    y = np.r_[Y, np.zeros(P)]
    model = Lasso(
        alpha=1.0 / len(y), fit_intercept=False, tol=1e-14, max_iter=10**6
    ).fit(rows, y)
    return model.coef_ / penalty.l1


def exact(alpha, share):
    w = by_scikit_learn(alpha, share)
    index = np.flatnonzero(w)
    moments = Moments(X[:, index].T @ X[:, index], X[:, index].T @ Y, float(Y @ Y))
    penalty = penalty_of(alpha, share).of(index)
    return ActiveSet.with_signs(index, np.sign(w[index]), moments, penalty)


def held_out(found):
    block = VALID[:, found.index]
    moments = Moments(block.T @ block, block.T @ Y_VALID, float(Y_VALID @ Y_VALID))
    return found.held_out(moments)


@each_share
def test_it_is_the_minimizer(share):
    found, penalty = exact(ALPHA, share), penalty_of(ALPHA, share)
    assert 2 < len(found.index) < P
    w = np.zeros(P)
    w[found.index] = found.w
    np.testing.assert_allclose(w, by_scikit_learn(ALPHA, share), atol=1e-7)
    u = X.T @ (Y - X @ w)
    slope = penalty.slope(w)
    np.testing.assert_allclose(u[found.index], slope[found.index], rtol=1e-8)
    removed = np.setdiff1d(np.arange(P), found.index)
    assert (abs(u[removed]) < penalty.l1[removed]).all()
    assert (slope[removed] == 0).all()
    # No point nearby is better.
    objective = lambda w: 0.5 * np.sum((Y - X @ w) ** 2) + penalty.value(w)  # noqa: E731
    for _ in range(50):
        assert objective(w + 1e-3 * RNG.standard_normal(P)) > objective(w)


@each_share
def test_derivatives_are_those_of_differences(share):
    found = exact(ALPHA, share)
    error, step = held_out(found), 1e-5
    predicted = VALID[:, found.index] @ found.w
    assert error.value == pytest.approx(np.sum((Y_VALID - predicted) ** 2))
    grad, moved = np.empty(len(found.index)), np.empty((len(VALID), len(found.index)))
    for k, j in enumerate(found.index):
        ends = []
        for sign in (1.0, -1.0):
            there = exact(ALPHA * np.exp(sign * step * (np.arange(P) == j)), share)
            assert (there.index == found.index).all()
            ends.append((held_out(there).value, VALID[:, there.index] @ there.w))
        grad[k] = (ends[0][0] - ends[1][0]) / (2.0 * step)
        moved[:, k] = (ends[0][1] - ends[1][1]) / (2.0 * step)
    scale = abs(grad).max()
    np.testing.assert_allclose(error.grad, grad, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(
        error.normal, moved.T @ moved, rtol=1e-6, atol=1e-6 * abs(error.normal).max()
    )


def test_copies_of_a_column_share_their_coefficient():
    block = np.column_stack([X[:, 0], X[:, 0], X[:, 1]])
    moments = Moments(block.T @ block, block.T @ Y, float(Y @ Y))
    penalty = ElasticNet(np.full(3, np.inf), np.full(3, 2.0))
    found = ActiveSet.with_signs(
        np.arange(3), np.array([1.0, 1.0, -1.0]), moments, penalty
    )
    assert found.w[0] == pytest.approx(found.w[1], rel=1e-5)
    error = found.held_out(moments)
    assert np.isfinite(error.grad).all()
    assert abs(error.normal).max() < 1e3


def test_no_column():
    empty = np.empty(0)
    moments = Moments(np.empty((0, 0)), empty, 2.0)
    found = ActiveSet.with_signs(
        np.empty(0, dtype=int), empty, moments, ElasticNet(empty, empty)
    )
    assert found.held_out(moments).value == 2.0


def test_strengths_are_multiples_of_one_penalty():
    unit = ElasticNet(np.array([np.inf, 2.0]), np.array([1.0, 3.0]))
    made = unit.times(np.array([np.inf, 4.0]))
    assert made.l1.tolist() == [np.inf, 12.0]
    assert made.v.tolist() == [np.inf, 0.5]
