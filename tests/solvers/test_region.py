"""Quasi-Newton steps in a ball."""

from dataclasses import dataclass

import numpy as np
import pytest

from skbilevel.solvers.outer._trust_region import BallRegion, ball_step, updated


@dataclass(frozen=True)
class _Point:
    value: float
    grad: np.ndarray
    path: tuple = ()


def _bowl(seen):
    """A quartic bowl with curvatures from 1 to 100 around 1."""
    scale = np.logspace(0, 2, 6)

    def evaluate(x, point):
        d = x - 1.0
        value = float(0.5 * scale @ d**2 + (d**4).sum())
        path = (*point.path, tuple(x)) if point is not None else (tuple(x),)
        seen.append(value)
        return _Point(value, scale * d + 4.0 * d**3, path)

    return evaluate, np.diag(scale)


def test_reaches_the_minimum_of_a_bowl():
    seen = []
    evaluate, B = _bowl(seen)
    x = np.full(6, -2.0)
    x, point = BallRegion(tol=1e-12).minimize(evaluate, x, evaluate(x, None), B, 60)
    np.testing.assert_allclose(x, 1.0, atol=1e-4)
    assert point.value == min(seen)
    assert len(seen) <= 61


def test_what_a_rejected_step_carries_is_dropped():
    seen = []
    evaluate, B = _bowl(seen)
    start = np.full(6, -2.0)
    region = BallRegion(radius=50.0, tol=1e-12)
    _, point = region.minimize(evaluate, start, evaluate(start, None), 1e-3 * B, 12)
    assert len(seen) > len(point.path)
    values = [evaluate(np.array(x), None).value for x in point.path]
    assert (np.diff(values) < 0).all()


def test_no_step_from_a_minimum():
    seen = []
    evaluate, B = _bowl(seen)
    x, _ = BallRegion().minimize(evaluate, np.ones(6), evaluate(np.ones(6), None), B, 5)
    np.testing.assert_array_equal(x, 1.0)
    assert len(seen) == 1


@pytest.mark.parametrize("radius", [0.1, 1.0, 100.0])
def test_step_is_the_minimum_in_the_ball(radius):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5))
    B, g = A @ A.T + 0.1 * np.eye(5), rng.standard_normal(5)
    step = ball_step(g, B, radius)
    assert np.linalg.norm(step) <= radius * (1 + 1e-9)
    best = g @ step + 0.5 * step @ B @ step
    for _ in range(200):
        other = step + 0.1 * radius * rng.standard_normal(5)
        other *= min(1.0, radius / np.linalg.norm(other))
        assert g @ other + 0.5 * other @ B @ other >= best - 1e-9


def test_updates_stay_positive_definite():
    rng = np.random.default_rng(1)
    B = np.eye(4)
    for _ in range(20):
        step = rng.standard_normal(4)
        B = updated(B, step, rng.standard_normal(4))
        assert np.linalg.eigvalsh(B)[0] > 0
    change = np.array([1.0, 2.0, 3.0, 4.0])
    step = np.array([1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(updated(np.eye(4), step, change) @ step, change)
