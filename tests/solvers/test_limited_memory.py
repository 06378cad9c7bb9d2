"""The limited-memory inverse: secants, order, scale, corrected pairs."""

import numpy as np
import pytest
from scipy.optimize import minimize

from skbilevel.solvers._limited_memory import InverseHessian


def draw(p=12, n=6, seed=0):
    """A Hessian, a metric above it, and pairs of steps and changes."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((p, 2 * p))
    H = A @ A.T / p + np.diag(np.geomspace(0.1, 10.0, p))
    metric = np.abs(H).sum(axis=1)
    steps = rng.standard_normal((n, p))
    return H, metric, [(s, H @ s) for s in steps]


def filled(metric, pairs, **options):
    """An inverse after some pushes."""
    inverse = InverseHessian(metric, **options)
    for s, y in pairs:
        inverse = inverse.push(s, y)
    return inverse


def matrix(inverse):
    """All its columns."""
    return np.stack([inverse.apply(e) for e in np.eye(len(inverse.metric))], axis=1)


@pytest.mark.parametrize("scaled", [True, False])
def test_recursion_is_the_formula(scaled):
    """Brute force: dense updates from the oldest pair to the newest."""
    _, metric, pairs = draw()
    inverse = filled(metric, pairs, scaled=scaled)
    s, y = pairs[-1]
    B = np.diag((s @ y / (y @ (y / metric)) if scaled else 1.0) / metric)
    for s, y in pairs:
        V = np.eye(len(s)) - np.outer(y, s) / (s @ y)
        B = V.T @ B @ V + np.outer(s, s) / (s @ y)
    np.testing.assert_allclose(matrix(inverse), B, rtol=1e-10, atol=1e-12)
    assert np.linalg.eigvalsh(B)[0] > 0


@pytest.mark.parametrize("memory", [1, 3, 30])
def test_every_pair_is_exact_while_it_is_the_newest(memory):
    """Whatever was there before, and when the memory is full."""
    _, metric, pairs = draw(n=10)
    inverse = InverseHessian(metric, memory=memory)
    for k, (s, y) in enumerate(pairs):
        inverse = inverse.push(s, y)
        np.testing.assert_allclose(inverse.apply(y), s, rtol=1e-10, atol=1e-12)
        assert len(inverse.pairs) == min(k + 1, memory)


def test_conjugate_steps_give_the_inverse():
    """As many conjugate pairs as unknowns leave nothing of the first model."""
    H, metric, _ = draw()
    vectors = np.linalg.eigh(H)[1].T
    inverse = filled(metric, [(v, H @ v) for v in vectors], memory=len(H))
    np.testing.assert_allclose(matrix(inverse), np.linalg.inv(H), atol=1e-10)
    short = filled(metric, [(v, H @ v) for v in vectors], memory=len(H) - 1)
    assert np.abs(matrix(short) - np.linalg.inv(H)).max() > 1e-3


def test_order_is_what_the_inverse_of_scipy_lacks():
    """Its pairs start in the middle of a ring, and its first model is the identity."""
    H, metric, _ = draw(p=20, seed=1)
    path, memory = [np.ones(20)], 5
    found = minimize(
        lambda x: (0.5 * x @ H @ x, H @ x),
        path[0],
        jac=True,
        method="L-BFGS-B",
        callback=lambda x: path.append(x.copy()),
        options={"maxcor": memory, "maxiter": 13},
    )
    steps = np.diff(path, axis=0)
    ours = filled(metric, [(s, H @ s) for s in steps], memory=memory)
    s = steps[-1]

    def error(apply):
        return np.linalg.norm(apply(H @ s) - s) / np.linalg.norm(s)

    assert error(ours.apply) < 1e-10
    assert error(ours.apply) <= error(found.hess_inv.matvec)
    rolled = filled(metric, [(p.s, p.y) for p in (*ours.pairs[2:], *ours.pairs[:2])])
    assert error(rolled.apply) > 1e-3


def test_first_model_follows_the_curvature():
    """A Hessian of c times the metric is inverted by one pair, whatever c is."""
    metric = np.geomspace(1e-3, 1e3, 6)
    s, v = np.random.default_rng(0).standard_normal((2, 6))
    inverse = InverseHessian(metric).push(s, 0.01 * metric * s)
    np.testing.assert_allclose(inverse.apply(v), v / (0.01 * metric))


def test_pairs_without_positive_curvature_are_left_out():
    """Negative, zero, and tiny by rounding; strong and weak components are fine."""
    metric = np.array([1.0, 1e14])
    empty = InverseHessian(metric)
    s = np.array([1.0, 0.0])
    assert not empty.push(s, -s).pairs
    assert not empty.push(s, 0.0 * s).pairs
    assert not empty.push(s, np.array([1e-12, 1e7])).pairs
    weak = np.array([1.0, 1e-14])
    assert len(empty.push(weak, metric * weak).pairs) == 1
    assert not InverseHessian(metric, memory=0).push(s, s).pairs


def test_shifted_pairs_are_those_of_the_shifted_hessian():
    """Exactly; a shift that takes all curvature away takes the pair, too."""
    H, metric, pairs = draw()
    difference = np.linspace(-0.05, 3.0, len(H))
    moved = filled(metric, pairs).shifted(difference)
    for pair, (s, _) in zip(moved.pairs, pairs, strict=True):
        np.testing.assert_allclose(pair.y, (H + np.diag(difference)) @ s, rtol=1e-12)
    assert not filled(metric, pairs).shifted(-100.0 * np.ones(len(H))).pairs
