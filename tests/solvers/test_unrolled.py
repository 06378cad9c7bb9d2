"""Unrolled differentiation against finite differences of the unrolled map."""

import numpy as np
import pytest

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    DoubleLoop,
    GradientDescent,
    Newton,
    ProjectedGradient,
    counted,
    metric_of,
    minimize_bilevel,
)
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers.hypergradient import Unrolled


def unrolled(n_iter=None, step=1.0, warm=("inner",)):
    """A loop that differentiates through its steps."""
    inner = GradientDescent(n_iter=n_iter, step=step, keep=True)
    return DoubleLoop(inner, Unrolled(), ProjectedGradient(step=1.0), warm)


def evaluate(loop, problem, theta, tol=1e-3):
    """One evaluation and what it cost."""
    run = DoubleLoopRun(loop, *counted(problem), 0)
    return run.evaluate(theta, tol), run.ledger.total


def after_steps(problem, theta, metric, n_iter):
    """``f`` after steps in a metric that is held fixed."""
    w = problem.w0
    for _ in range(n_iter):
        w = w - problem.inner.at(theta, w).grad / metric
    return problem.outer.at(theta, w).value


@pytest.mark.parametrize("step", [1.0, 1.5])
def test_gradient_is_that_of_three_steps(oracle_case, step):
    """Central differences of the map at a fixed metric, from a start that is given."""
    problem, theta, eps = oracle_case.problem, oracle_case.theta, 1e-5
    metric = metric_of(problem.inner, theta, problem.w0) / step
    numeric = [
        (
            after_steps(problem, theta + eps * e, metric, 3)
            - after_steps(problem, theta - eps * e, metric, 3)
        )
        / (2 * eps)
        for e in np.eye(len(theta))
    ]
    done, _ = evaluate(unrolled(3, step), problem, theta)
    np.testing.assert_allclose(done.grad, numeric, rtol=1e-6, atol=1e-10)
    assert done.value == pytest.approx(after_steps(problem, theta, metric, 3))


def test_direct_part_and_start_enter():
    """An outer loss that looks at theta, from a start that is not zero."""
    A = np.array([[1.0, 0.3], [0.3, 0.5]])
    inner = InnerOracles(
        value=lambda t, w: 0.5 * w @ A @ w - t @ w,
        grad=lambda t, w: A @ w - t,
        hvp=lambda t, w, d: A @ d,
        cross=lambda t, w, d: -d,
        smoothness=lambda t: 2.0,
    )
    outer = OuterOracles(
        value=lambda t, w: 0.5 * w @ w + t[0] * w[1],
        grad=lambda t, w: w + np.array([0.0, t[0]]),
        grad_theta=lambda t, w: np.array([w[1], 0.0]),
    )
    theta, start = np.array([0.7, -0.4]), np.array([2.0, -1.0])
    problem = OracleProblem(inner, outer, start, theta)
    step = np.eye(2) - 0.5 * A
    w = step @ (step @ start + 0.5 * theta) + 0.5 * theta
    response = 0.5 * (np.eye(2) + step)
    exact = np.array([w[1], 0.0]) + response @ (w + np.array([0.0, theta[0]]))
    done, _ = evaluate(unrolled(2), problem, theta)
    np.testing.assert_allclose(done.grad, exact, rtol=1e-13)


def test_long_descents_give_the_exact_gradient(oracle_case):
    """The error falls with the number of steps, to nothing."""
    exact = oracle_case.grad(oracle_case.theta)
    errors = [
        np.abs(
            evaluate(unrolled(n), oracle_case.problem, oracle_case.theta)[0].grad
            - exact
        ).max()
        for n in (1, 10, 30, 300)
    ]
    assert (np.diff(errors) < 0).all()
    assert errors[-1] <= 1e-10 * np.abs(exact).max()
    done, _ = evaluate(unrolled(), oracle_case.problem, oracle_case.theta, 1e-9)
    np.testing.assert_allclose(done.grad, exact, rtol=1e-5, atol=1e-8)


def test_costs_are_those_of_the_algorithm(oracle_case):
    """T Hessian products and T cross products, and no linear system."""
    _, counts = evaluate(unrolled(7), oracle_case.problem, oracle_case.theta)
    assert (counts.n_hvp, counts.n_cross) == (7, 7)


def test_iterates_are_needed():
    """One sentence says from whom."""
    for inner in [GradientDescent(3), Newton()]:
        with pytest.raises(ValueError, match="keeps its iterates"):
            DoubleLoop(inner, Unrolled(), ProjectedGradient())


def test_it_tunes(oracle_case):
    """The whole loop gets near the optimum."""
    problem = oracle_case.problem
    best = minimize_bilevel(problem, "exact", tol=1e-7, max_iter=500)
    loop = DoubleLoop(
        GradientDescent(40, keep=True), Unrolled(), ProjectedGradient(), ("inner",)
    )
    found = minimize_bilevel(problem, loop, tol=1e-5, max_iter=80)
    start = oracle_case.value(oracle_case.theta)
    assert found.value - best.value <= 0.05 * (start - best.value)
