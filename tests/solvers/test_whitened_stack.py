"""Quasi-Newton steps on stacks of folds, against Newton's method fold by fold."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import LogisticLoss, PoissonLoss, SoftmaxLoss
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_problem import Curvature, Whitened
from skbilevel.solvers._whitened_stack import (
    WhitenedStack,
    minimize_alone,
    minimize_stack,
)

LOSSES = {"softmax": SoftmaxLoss(), "logistic": LogisticLoss(), "log": PoissonLoss()}


def make(kind, offset=True, n=80, p=7):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) * np.geomspace(0.3, 3.0, p)
    eta = X @ rng.standard_normal((p, 3)) * 0.3
    y = np.eye(3)[(eta + rng.gumbel(size=eta.shape)).argmax(axis=1)]
    y = y if kind == "softmax" else y[:, :1]
    shift = 0.3 * rng.standard_normal(y.shape) if offset else None
    Z = np.column_stack([np.ones(n), X])
    return Whitened(Z, 1, y, rng.uniform(0.5, 2.0, n), LOSSES[kind], shift, 0.7)


def stacked(problem, n_folds=4):
    """Folds as a stack; targets differ in the first, as where a class is unseen."""
    fold = np.arange(len(problem.y)) % n_folds
    weight = np.stack([problem.weight * (fold != k) for k in range(n_folds)])
    y = np.stack([problem.y.T] * n_folds)
    y[0] = 0.9 * y[0] + 0.1 / 3.0
    return WhitenedStack(problem.Z, 1, y, weight, problem.loss, problem.offset)


def single(problem, stack, k):
    """One fold of a stack as a problem whose left-out rows are not there."""
    rows = stack.weight[k] > 0
    offset = None if problem.offset is None else problem.offset[rows]
    y = np.ascontiguousarray(stack.y[k].T)
    return replace(
        problem,
        Z=problem.Z[rows],
        y=y[rows],
        weight=stack.weight[k][rows],
        offset=offset,
    )


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_folds_of_a_stack_are_solved_as_if_alone(kind, diagonal, offset):
    problem = make(kind, offset)
    stack = stacked(problem)
    start = np.zeros(stack.shape)
    found = minimize_stack(stack, 0.7, start, tol=1e-13, diagonal=diagonal)
    assert found.converged
    np.testing.assert_allclose(found.eta, stack.eta(found.T), atol=1e-10)
    for k, T in enumerate(found.T):
        alone = single(problem, stack, k)
        best = minimize_whitened(alone, tol=1e-14)
        np.testing.assert_allclose(alone.eta(T.T), best.eta, atol=1e-5)
        assert abs(alone.grad(T.T, alone.eta(T.T))).max() < 1e-4
        rows = stack.weight[k] == 0  # predictions of left-out rows come along
        left_out = predictions(problem, T.T)[rows]
        np.testing.assert_allclose(found.eta[k].T[rows], left_out, atol=1e-9)


def predictions(problem, T):
    shift = 0.0 if problem.offset is None else problem.offset
    return problem.Z @ T + shift


def test_values_and_gradients_are_those_of_single_problems():
    problem = make("softmax")
    stack = stacked(problem)
    T = np.random.default_rng(1).standard_normal(stack.shape)
    value, grad = (f(T, stack.eta(T), 0.7) for f in (stack.value, stack.grad))
    for k in range(len(T)):
        alone = single(problem, stack, k)
        eta = alone.eta(T[k].T)
        np.testing.assert_allclose(value[k], alone.value(T[k].T, eta))
        np.testing.assert_allclose(grad[k].T, alone.grad(T[k].T, eta), atol=1e-10)


def test_z_is_read_twice_a_step_for_all_folds():
    """Once for the step, once for the gradient, whatever the line search does."""
    reads = []

    class Counted(WhitenedStack):
        def along(self, T):
            reads.append(1)
            return super().along(T)

        def grad(self, T, eta, penalty):
            reads.append(1)
            return super().grad(T, eta, penalty)

    stack = Counted(**vars(stacked(make("softmax"))))
    found = minimize_stack(stack, 0.7, np.zeros(stack.shape), tol=1e-10)
    assert len(reads) == 2 * found.n_iter + 2
    assert found.n_iter < 40


@pytest.mark.parametrize("kind", LOSSES)
def test_alone_it_finds_what_newton_finds(kind):
    problem = make(kind)
    best = minimize_whitened(problem, tol=1e-14)
    rng = np.random.default_rng(2)
    for start in (np.zeros(best.T.shape), 100.0 * rng.standard_normal(best.T.shape)):
        found = minimize_alone(problem, start, 1e-13)
        assert found.converged
        assert np.abs(found.grad).max() < 1e-4
        np.testing.assert_allclose(found.eta, best.eta, atol=1e-5)


def test_newton_is_asked_where_steps_are_many():
    """After 100 of them, which are not enough for columns of such units."""
    problem = make("softmax")
    scaled = replace(problem, Z=problem.Z * np.r_[1.0, np.geomspace(1e-3, 1e3, 7)])
    start = np.zeros((problem.Z.shape[1], 3))
    few, many = (minimize_alone(each, start, 1e-13) for each in (problem, scaled))
    y, weight = problem.y.T[None], problem.weight[None]
    stack = WhitenedStack(scaled.Z, 1, y, weight, scaled.loss, scaled.offset)
    rule = {"tol": 1e-13, "diagonal": False, "max_iter": 100}
    assert not minimize_stack(stack, scaled.penalty, start.T[None], **rule).converged
    assert few.converged
    assert many.converged
    assert np.abs(many.grad).max() < 1e-5
    assert many.n_iter < 20 < few.n_iter  # steps of Newton's method are few


@pytest.mark.parametrize("kind", ["logistic", "log"])
@pytest.mark.parametrize("offset", [True, False])
def test_scales_and_a_gram_matrix_make_problems_and_factors_of_one_z(kind, offset):
    problem = make(kind, offset)
    scale = np.random.default_rng(3).uniform(0.1, 3.0, (5, problem.width))
    scale[:, 0], scale[2, 3] = 1.0, 0.0
    y = np.broadcast_to(problem.y.T, (5, *problem.y.T.shape))
    weight = np.broadcast_to(problem.weight, (5, len(problem.y)))
    stack = WhitenedStack(problem.Z, 1, y, weight, problem.loss, problem.offset, scale)
    start = np.zeros(stack.shape)
    gram = stack.gram(stack.eta(start))
    found = minimize_stack(stack, 0.7, start, tol=1e-12, gram=gram)
    assert found.converged
    slow = minimize_stack(stack, 0.7, start, tol=1e-12, diagonal=False)
    assert found.n_iter < slow.n_iter
    for own, T in zip(scale, found.T, strict=True):
        best = minimize_whitened(replace(problem, Z=problem.Z * own), tol=1e-14)
        np.testing.assert_allclose(T.T, best.T, atol=1e-5)


def test_a_gram_matrix_makes_the_hessian_of_every_scale():
    problem = make("logistic")
    own = np.r_[1.0, np.geomspace(0.2, 2.0, problem.width - 1)]
    y, weight = problem.y.T[None], problem.weight[None]
    stack = WhitenedStack(
        problem.Z, 1, y, weight, problem.loss, problem.offset, own[None]
    )
    T = 0.1 * np.ones(stack.shape)
    scaled = replace(problem, Z=problem.Z * own)
    eta = scaled.eta(T[0].T)
    (L,) = stack.factors(stack.gram(stack.eta(T)), 0.7)
    curvature = Curvature(scaled, eta)
    wanted = curvature.apply(np.eye(problem.width)[:, 2:3])[:, 0]
    np.testing.assert_allclose((np.tril(L) @ np.tril(L).T)[:, 2], wanted, rtol=1e-6)
