"""HOAG: its steps, its tolerances, and where it ends."""

import numpy as np
import pytest

from skbilevel.solvers import (
    LBFGSB,
    DoubleLoop,
    ImplicitGradient,
    Nested,
    Newton,
    Status,
    minimize_bilevel,
)
from skbilevel.solvers.hypergradient import Implicit
from skbilevel.solvers.inner import CG
from skbilevel.solvers.outer import HOAG

BOX = (np.full(3, -2.0), np.full(3, 2.0))
TARGET = np.array([0.5, -1.0, 3.0])
CURVATURE = np.array([1.0, 4.0, 2.0])


class Quadratic:
    """``1 + 0.5 (theta - target) . C (theta - target)``, plus errors; notes calls."""

    def __init__(self, error=None, curvature=CURVATURE):
        self.error, self.curvature = error, curvature
        self.calls = []

    def __call__(self, theta, tol):
        self.calls.append((theta.copy(), tol))
        gap = theta - TARGET
        value = 1.0 + 0.5 * float(gap @ (self.curvature * gap))
        if self.error is not None:
            value += self.error(len(self.calls), tol)
        return value, self.curvature * gap

    @property
    def thetas(self):
        """All places."""
        return np.array([theta for theta, _ in self.calls])


def test_it_ends_where_lbfgsb_does():
    """At the minimum on a box, one coordinate at its bound."""
    found = HOAG().minimize(Quadratic(), np.zeros(3), BOX, tol=1e-8, max_iter=300)
    other = LBFGSB().minimize(Quadratic(), np.zeros(3), BOX, tol=1e-8, max_iter=300)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.theta, [0.5, -1.0, 2.0], atol=1e-6)
    assert found.value == pytest.approx(other.value, rel=1e-9)


def test_values_never_rise():
    """With exact values; every evaluation stays in the box."""
    objective = Quadratic(curvature=np.array([1.0, 300.0, 0.01]))
    found = HOAG(slack=0.0, tolerance=1e-12).minimize(
        objective, np.zeros(3), BOX, tol=1e-6, max_iter=200
    )
    # The slack is (C + 1) eps delta, with eps at the floor.
    assert (np.diff(found.history["value"]) <= 1e-11).all()
    assert found.history["value"][-1] < found.history["value"][0] - 1.0
    assert (objective.thetas >= -2.0).all()
    assert (objective.thetas <= 2.0).all()


def test_a_step_is_taken_once_and_cut_at_the_box():
    """The first one has the length sqrt(d); the next starts from its end."""
    objective = Quadratic()
    wide = (np.full(3, -50.0), np.full(3, 50.0))
    HOAG(grow=1.0).minimize(objective, np.zeros(3), wide, tol=0.0, max_iter=2)
    zero, first, second = objective.thetas[:3]
    grad = CURVATURE * (zero - TARGET)
    L = np.linalg.norm(grad) / np.sqrt(3)
    np.testing.assert_allclose(first, zero - grad / L)
    np.testing.assert_allclose(second, first - CURVATURE * (first - TARGET) / L)
    narrow = (np.full(3, -0.1), np.full(3, 0.1))
    HOAG().minimize(objective, np.zeros(3), narrow, tol=0.0, max_iter=1)
    assert np.abs(objective.thetas[-1]).max() == 0.1


def test_a_rejected_step_goes_back():
    """L doubles, theta stays, the tolerance is halved; accepted ones decrease it."""
    objective = Quadratic(curvature=np.array([1.0, 300.0, 1.0]))
    wide = (np.full(3, -50.0), np.full(3, 50.0))
    found = HOAG(slack=0.0).minimize(
        objective, np.array([0.5, -0.9, 0.5]), wide, tol=1e-6, max_iter=30
    )
    zero, first, second = objective.thetas[:3]
    np.testing.assert_allclose(second - zero, 0.5 * (first - zero))
    assert found.history["value"][1] == found.history["value"][0]
    tols = found.history["tol"]
    np.testing.assert_allclose(tols[:3], [1e-3, 1e-3, 5e-4])
    kept = np.flatnonzero(np.diff(found.history["value"]) < 0)
    ratio = tols[kept + 2] / tols[kept + 1] if kept[-1] + 2 < len(tols) else None
    assert ratio is None or np.allclose(ratio, 0.9)


def test_floor_of_the_tolerance():
    """It is reached, never crossed."""
    objective = Quadratic()
    HOAG(decrease=0.1, floor=1e-5).minimize(
        objective, np.zeros(3), BOX, tol=0.0, max_iter=20
    )
    assert min(tol for _, tol in objective.calls) == pytest.approx(1e-5)


def test_a_value_in_doubt_is_computed_again():
    """A first value that is too low by error rejects all until it is repaired."""
    objective = Quadratic(lambda call, tol: -11.0 * (call == 1))
    found = HOAG().minimize(objective, np.zeros(3), BOX, tol=1e-6, max_iter=200)
    assert found.status is Status.CONVERGED
    assert any(np.array_equal(theta, np.zeros(3)) for theta in objective.thetas[1:])
    np.testing.assert_allclose(found.theta, [0.5, -1.0, 2.0], atol=1e-5)


def test_loose_gradients_do_not_end_the_search():
    """The last evaluation is at tol, even if the start is the minimum."""
    objective = Quadratic()
    start = np.array([0.5, -1.0, 2.0])
    found = HOAG().minimize(objective, start, BOX, tol=1e-4)
    assert found.status is Status.CONVERGED
    assert objective.calls[-1][1] == pytest.approx(1e-4)
    found = HOAG().minimize(objective, start, BOX, tol=0.0)
    assert found.status is Status.CONVERGED
    assert objective.calls[-1][1] == pytest.approx(1e-12)


def test_a_gradient_that_is_wrong_ends_it():
    """No step along it gains; the sentence says so."""

    def wrong(theta, tol):
        value, grad = Quadratic()(theta, tol)
        return value, -grad

    found = HOAG(slack=0.0).minimize(wrong, np.zeros(3), BOX, tol=1e-6, max_iter=500)
    assert found.status is Status.LINE_SEARCH
    np.testing.assert_array_equal(found.theta, 0.0)


def test_a_callback_stops_it():
    """Returning True."""
    seen = []
    found = HOAG().minimize(
        Quadratic(),
        np.zeros(3),
        BOX,
        tol=0.0,
        on_iter=lambda info: seen.append(info.value) or len(seen) == 2,
    )
    assert found.status is Status.STOPPED
    assert found.n_iter == 2
    np.testing.assert_array_equal(found.history["value"][1:], seen)


def test_both_doors(oracle_case):
    """With the double loop on oracles, and with solvers that work on variances."""
    best = minimize_bilevel(oracle_case.problem, "exact", tol=1e-7, max_iter=500)
    start = oracle_case.value(oracle_case.theta)
    loop = DoubleLoop(Newton(), ImplicitGradient(), HOAG())
    found = minimize_bilevel(oracle_case.problem, loop, tol=1e-5, max_iter=150)
    assert found.value - best.value <= 0.01 * (start - best.value)


def test_nested(make_oracles):
    """The same minimum through the tasks themselves."""
    case = make_oracles("ridge")
    best = minimize_bilevel(case.problem, "exact", tol=1e-7, max_iter=500)
    tasks = case.problem.inner.strengths.problem
    found = Nested(CG(), Implicit(), HOAG()).solve(
        tasks, case.theta, tol=1e-5, max_iter=150
    )
    start = case.value(case.theta)
    assert found.value - best.value <= 0.01 * (start - best.value)


def test_tolerances_follow_the_weakest_strength():
    """By its ratio to the first, never above one, never below the floor."""
    objective, plain = Quadratic(), Quadratic()
    HOAG(weakest=lambda theta: np.exp(-theta.max())).minimize(
        objective, np.zeros(3), BOX, tol=0.0, max_iter=5
    )
    HOAG().minimize(plain, np.zeros(3), BOX, tol=0.0, max_iter=5)
    np.testing.assert_array_equal(objective.thetas, plain.thetas)
    for (theta, tol), (_, eps) in zip(objective.calls, plain.calls, strict=True):
        assert tol == pytest.approx(eps * min(1.0, np.exp(-theta.max())))
    deep = Quadratic()
    HOAG(weakest=lambda theta: 1.0 - 0.5 * theta.any(), floor=1e-3).minimize(
        deep, np.zeros(3), BOX, tol=0.0, max_iter=3
    )
    assert {tol for _, tol in deep.calls} == {1e-3}
