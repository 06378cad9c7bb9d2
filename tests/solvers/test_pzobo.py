"""Hessian-free hypergradients: mean, variance, scale, costs."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    Adam,
    Descent,
    DoubleLoop,
    GradientDescent,
    HypergradientRequest,
    Newton,
    counted,
    minimize_bilevel,
)
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers.hypergradient import PZOBO
from skbilevel.solvers.hypergradient._unrolled import response

D, P = 6, 4
B = np.random.default_rng(0).standard_normal((P, D))
H = np.diag([1.0, 0.5, 0.2, 0.1])


@pytest.fixture(scope="module")
def linear_map():
    """``w(theta) = H^-1 B theta``, with oracles that refuse second derivatives."""

    def refuse(*args):
        raise AssertionError("a second derivative was asked for")

    inner = InnerOracles(
        value=lambda t, w: 0.5 * w @ H @ w - w @ B @ t,
        grad=lambda t, w: H @ w - B @ t,
        hvp=refuse,
        cross=refuse,
        smoothness=lambda t: 1.0,
    )
    outer = OuterOracles(
        value=lambda t, w: w.sum() + 0.5 * t @ t,
        grad=lambda t, w: np.arange(1.0, P + 1),
        grad_theta=lambda t, w: t,
    )
    return OracleProblem(inner, outer, np.zeros(P), np.linspace(-1, 1, D))


def evaluate(problem, theta, pzobo, inner, seed=0, repeats=1):
    """The last of some evaluations, and what all of them cost."""
    loop = DoubleLoop(inner, pzobo, Adam(), ("inner",))
    run = DoubleLoopRun(loop, *counted(problem), seed)
    for _ in range(repeats):
        done = run.evaluate(theta, 1e-12)
    return done, run.ledger.total


def exact_of(problem, n_iter):
    """The derivative of the map of n steps on the linear problem."""
    share = (np.eye(P) - np.linalg.matrix_power(np.eye(P) - H, n_iter)) / np.diag(H)
    return problem.theta0 + B.T @ share @ np.arange(1.0, P + 1)


def request_of(problem, theta, inner):
    """A request whose descents start at the problem's start."""

    def descend(at):
        rng = np.random.default_rng(0)
        return inner.solve(problem.inner, at, problem.w0, threshold=1e-13, rng=rng)

    return HypergradientRequest(
        problem, theta, descend(theta), None, 0.0, None, lambda at: descend(at).w
    )


def outer_grad_of(case):
    """``f_w`` at the inner solution."""
    return case.problem.outer.at(case.theta, case.solution(case.theta)).grad


@pytest.mark.parametrize("kind", ["signs", "axes"])
def test_mean_over_all_directions_is_exact(linear_map, kind):
    """Every vector of signs, or a scaled orthogonal basis: the mean of u u^T is one."""
    directions = np.array(list(product([-1.0, 1.0], repeat=D)))
    if kind == "axes":
        directions = np.sqrt(D) * np.linalg.qr(B.T @ B + np.eye(D))[0]
    request = request_of(linear_map, linear_map.theta0, GradientDescent(300))
    outer_grad = np.arange(1.0, P + 1)
    total = response(request, outer_grad, directions, 0.5) / len(directions)
    np.testing.assert_allclose(
        total, exact_of(linear_map, 300) - linear_map.theta0, rtol=1e-10
    )


@pytest.mark.parametrize("n_directions", [1, 4])
def test_scale_and_variance(linear_map, n_directions):
    """The mean has the scale of the gradient, the error follows sqrt((d + 1) / Q)."""
    theta, J = linear_map.theta0, np.linalg.solve(H, B)
    descent = Descent(J @ theta, None)
    draws = np.array(
        [
            PZOBO(n_directions, 0.1)
            .evaluate(
                HypergradientRequest(
                    linear_map,
                    theta,
                    descent,
                    None,
                    0.0,
                    np.random.default_rng(seed),
                    lambda at: J @ at,
                )
            )
            .grad
            for seed in range(4000)
        ]
    )
    full = J.T @ np.arange(1.0, P + 1)
    size = np.linalg.norm(full)
    error = np.sqrt(((draws - theta - full) ** 2).sum(axis=1).mean()) / size
    assert error == pytest.approx(np.sqrt((D + 1) / n_directions), rel=0.05)
    scale = ((draws - theta) @ full).mean() / size**2
    assert scale == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("inner", [GradientDescent(100), Newton("direct")])
def test_error_laws(oracle_case, inner):
    """To the exact gradient as mu falls (like mu^2 in the mean) and as Q grows."""
    problem, theta = oracle_case.problem, oracle_case.theta
    exact, size = oracle_case.grad(theta), len(theta)
    request, outer_grad = request_of(problem, theta, inner), outer_grad_of(oracle_case)
    both = np.sqrt(size) * np.concatenate([np.eye(size), -np.eye(size)])
    errors = [
        np.abs(response(request, outer_grad, both, mu) / len(both) - exact).max()
        for mu in (0.08, 0.04, 0.02)
    ]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4.0, rtol=0.1)
    done, _ = evaluate(problem, theta, PZOBO(150, 1e-3), inner)
    law = np.sqrt((size + 1) / 150)
    assert np.linalg.norm(done.grad - exact) <= 2 * law * np.linalg.norm(exact)


def test_short_warm_descents_respond_too_little(linear_map):
    """By 1 - (1 - h)^T in every eigenvector; from the solution, as Unrolled does."""
    signs = np.array(list(product([-1.0, 1.0], repeat=D)))
    solution = np.linalg.solve(H, B @ linear_map.theta0)
    warm = replace(linear_map, w0=solution)
    moved = request_of(warm, warm.theta0, GradientDescent(3))
    h = np.diag(H)
    for k, unit in enumerate(np.eye(P)):
        short = response(moved, unit, signs, 0.1) / len(signs)
        np.testing.assert_allclose(
            short, (1 - (1 - h[k]) ** 3) * B[k] / h[k], rtol=1e-10
        )


def test_no_second_derivative_is_asked_for(linear_map, oracle_case):
    """The oracles of the one refuse, the ledger of the other counts none."""
    evaluate(linear_map, linear_map.theta0, PZOBO(3), GradientDescent(5), repeats=2)
    _, counts = evaluate(
        oracle_case.problem, oracle_case.theta, PZOBO(40), GradientDescent(5)
    )
    assert counts.n_hvp == counts.n_cross == counts.n_hessian == 0
    # 41 descents of five steps, one outer gradient, one for the first norm.
    assert counts.n_grad == 41 * 5 + 2


@dataclass(frozen=True)
class OneByOne(GradientDescent):
    """Gradient descent that cannot go side by side."""

    @property
    def provides(self):
        """Nothing."""
        return frozenset()


def test_descents_side_by_side_are_the_same(oracle_case):
    """More of them than are held at a time; counts, too."""
    found = [
        evaluate(oracle_case.problem, oracle_case.theta, PZOBO(40), inner, repeats=2)
        for inner in (GradientDescent(6), OneByOne(6))
    ]
    np.testing.assert_allclose(found[0][0].grad, found[1][0].grad, rtol=1e-9)
    assert found[0][1].n_grad == found[1][1].n_grad
    assert found[0][1].passes == pytest.approx(found[1][1].passes)


def test_directions_follow_the_seed(oracle_case):
    """The same for one seed, others for another."""
    grads = [
        evaluate(
            oracle_case.problem, oracle_case.theta, PZOBO(2), GradientDescent(6), seed
        )[0].grad
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(grads[0], grads[1])
    assert np.abs(grads[0] - grads[2]).max() > 0.0


def test_it_tunes(oracle_case):
    """Near the optimum with Adam, which averages the noise."""
    problem = oracle_case.problem
    best = minimize_bilevel(problem, "exact", tol=1e-7, max_iter=500)
    loop = DoubleLoop(GradientDescent(20), PZOBO(10), Adam(), ("inner",))
    found = minimize_bilevel(problem, loop, tol=0.0, max_iter=90)
    start = oracle_case.value(oracle_case.theta)
    assert found.value - best.value <= 0.05 * (start - best.value)


def test_parameters_have_ranges():
    """At least one direction, a positive smoothing."""
    for wrong in ({"n_directions": 0}, {"smoothing": 0.0}):
        with pytest.raises(ValueError, match="direction"):
            PZOBO(**wrong)


def test_directions_out_of_the_domain_tell_nothing(linear_map):
    """At the edge of the box a strength may become negative, and w no number."""
    inner = replace(
        linear_map.inner, grad=lambda t, w: H @ w - B @ np.where(t < 0, np.nan, t)
    )
    problem = replace(linear_map, inner=inner, theta0=np.zeros(D))
    pzobo = PZOBO(n_directions=400, smoothing=1e-2)
    done, _ = evaluate(problem, np.zeros(D), pzobo, GradientDescent(n_iter=40))
    assert np.isfinite(done.grad).all()
    assert (done.grad != 0.0).all()
