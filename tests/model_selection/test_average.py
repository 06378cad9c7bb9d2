"""Scores, weights, and the publication of an average as strengths."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbilevel.model_selection._average import Averaging, publish
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.problems import SquaredLoss
from skbilevel.problems._ridge import solve_moments


def moments(n=50, p=6, t=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = X @ rng.standard_normal((p, t)) + rng.standard_normal((n, t))
    return X.T @ X, X.T @ y


def test_publish_gives_back_one_solution():
    gram, cross = moments()
    v = np.array([[0.5, 0.0, 2.0, 1e-3, 0.1, 7.0]])
    w = solve_moments(gram, cross, v)[0]
    assert_allclose(publish(w, cross - gram @ w), v[0], rtol=1e-9)


def test_ridge_at_the_published_variances_is_the_average():
    gram, cross = moments()
    rng = np.random.default_rng(1)
    v = rng.uniform(0.05, 2.0, (3, 6))
    w = np.tensordot([0.5, 0.2, 0.3], solve_moments(gram, cross, v), axes=1)
    published = publish(w, cross - gram @ w)
    assert (published > 0).all()
    assert_allclose(solve_moments(gram, cross, published[None])[0], w, rtol=1e-9)


@pytest.mark.parametrize("members", [None, np.array([0, 0, 1, 1, 2, 2])])
def test_publish_over_several_coefficients_is_least_squares(members):
    gram, cross = moments(t=3)
    v = np.array([[0.5, 0.5, 2.0, 2.0, 0.0, 0.0]])
    w = solve_moments(gram, cross, v)[0]
    published = publish(w, cross - gram @ w, members)
    assert_allclose(published, v[0], rtol=1e-9)


def test_publish_removes_what_no_strength_gives():
    w, u = np.array([[1.0], [-1.0], [0.0], [1.0]]), np.array([[2.0], [1.0], [3.0], [0]])
    assert_array_equal(publish(w, u), [0.5, 0.0, 0.0, 0.0])


def losses(gain, spread=0.1, n=200, seed=0):
    """A shared strength, and candidates that gain on it by some amounts."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.5, 1.5, n)
    rest = [base - g + spread * _standard(rng, n) for g in gain]
    return np.stack([base, *rest])


def _standard(rng, n):
    x = rng.standard_normal(n)
    return (x - x.mean()) / x.std()


def choose(loss, weight=None, cluster=None, **rules):
    return Averaging(**rules).choose(held_out(loss, weight, cluster))


def held_out(loss, weight=None, cluster=None):
    """Predictions of zeros that have these squared errors."""
    n = loss.shape[1]
    weight = np.ones(n) if weight is None else weight
    cluster = np.arange(n) if cluster is None else cluster
    eta, y = np.sqrt(loss.T)[..., None], np.zeros((n, 1))
    return HeldOut(np.arange(n), eta, y, SquaredLoss(), 2.0, weight, cluster)


def test_what_has_a_weight_is_kept():
    error = 0.1 / np.sqrt(200)
    choice = choose(losses([2 * error, 0.4 * error, -50 * error]))
    assert_allclose(choice.error[1:], error, rtol=1e-9)
    assert_allclose(choice.weight.sum(), 1.0)
    assert choice.weight[3] == 0.0


def test_a_candidate_that_is_worse_alone_can_help():
    """Its errors differ from those of the first; a gate would not see that."""
    rng = np.random.default_rng(0)
    eta = rng.standard_normal((300, 2, 1)) * np.array([1.0, 1.2])[:, None]
    parts = (np.zeros((300, 1)), SquaredLoss(), 2.0, np.ones(300), np.arange(300))
    choice = Averaging().choose(HeldOut(np.arange(300), eta, *parts))
    assert choice.loss[1] > choice.loss[0]
    assert choice.weight[1] > 0.2


def test_a_candidate_equal_to_the_first_adds_nothing():
    loss = losses([0.1])
    choice = choose(np.vstack([loss, loss[:1]]))
    assert choice.weight[2] == 0.0


def test_much_better_takes_all_and_nothing_better_gives_all_to_the_first():
    assert choose(losses([0.4, 0.1])).weight[1] > 0.99
    assert_array_equal(choose(losses([-0.1, -0.2])).weight, [1.0, 0.0, 0.0])


def test_weights_follow_the_temperature():
    loss = losses([0.10, 0.11], spread=0.01)
    warm = choose(loss, temperature=100.0, doubt=0.0).weight
    cold = choose(loss, temperature=1.0, doubt=0.0).weight
    assert warm[1] > cold[1]


def test_draw_back_is_james_stein():
    error = 0.1 / np.sqrt(200)
    loss = losses([2 * error])
    plain = choose(loss, doubt=0.0).weight
    drawn = choose(loss, doubt=0.5).weight
    gain = loss[0] - held_out(loss).combined(plain)
    t = gain.mean() / (gain.std() / np.sqrt(200))
    assert_allclose(drawn[1], (1 - (0.5 / t) ** 2) * plain[1], rtol=1e-9)
    assert_allclose(drawn.sum(), 1.0)


def test_weight_is_repetition():
    loss = losses([0.03, 0.01], n=40)
    times = np.arange(40) % 4
    index = np.repeat(np.arange(40), times)
    a, b = choose(loss, times.astype(float)), choose(loss[:, index])
    for name in ("loss", "error"):
        assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10)
    # The end of a search, which rounding moves.
    assert_allclose(a.weight, b.weight, atol=1e-7)


def test_clusters_of_single_rows_are_rows():
    loss, n = losses([0.03, 0.01]), 200
    # A label without rows must not count either.
    a, b = choose(loss), choose(loss, cluster=np.arange(n) + 1)
    padded = np.hstack([loss, loss[:, :1]])
    weight = np.r_[np.ones(n), 0.0]
    c = choose(padded, weight, np.r_[np.arange(n), 0])
    for other in (b, c):
        assert_allclose(other.error, a.error, rtol=1e-10)
        assert_allclose(other.weight, a.weight, rtol=1e-10)


def test_correlated_rows_count_as_their_cluster():
    loss = losses([0.02], n=50)
    repeated = np.repeat(loss, 4, axis=1)
    clustered = choose(repeated, cluster=np.repeat(np.arange(50), 4))
    assert_allclose(clustered.error, choose(loss).error, rtol=1e-10)
    assert (clustered.error[1:] > choose(repeated).error[1:]).all()


def test_perfect_candidates():
    zero = np.zeros((2, 20))
    assert_array_equal(choose(zero).weight, [1.0, 0.0])
    assert_allclose(choose(np.stack([np.arange(1.0, 21.0), zero[0]])).weight.sum(), 1)
