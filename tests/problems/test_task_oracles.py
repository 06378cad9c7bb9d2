"""The bilevel problems of related tasks as oracles, and what their gradients say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import (
    InnerOracles,
    LogisticLoss,
    OracleProblem,
    OuterOracles,
)
from skbilevel.problems._task_criteria import KnownTasks, LaplaceEvidence
from skbilevel.problems._task_moments import TaskMoments
from skbilevel.problems._task_newton import solve
from skbilevel.problems._task_rows import CurvedTasks
from skbilevel.problems._task_solution import TaskPenalty
from skbilevel.testing import check_problem

RNG = np.random.default_rng(0)
N, Q, T = 90, 3, 6
TASK = RNG.permutation(np.arange(N) % T)
Z = np.c_[np.ones(N), RNG.standard_normal((N, Q - 1))]
Y = (Z * RNG.standard_normal((T, Q))[TASK]).sum(axis=1) + RNG.standard_normal(N)
TRAIN = RNG.random(N) < 0.6
BETA = np.array([0.5, 1.0, 2.0])


def squared(mask):
    return TaskMoments.of_rows(Z[mask], Y[mask], np.ones(mask.sum()), TASK[mask], T)


def logistic(mask):
    rows = Z[mask], (Y[mask] > 0).astype(float), np.ones(mask.sum()), TASK[mask]
    return CurvedTasks.of_rows(*rows, T, LogisticLoss())


MAKERS = {"squared": squared, "logistic": logistic}


def split(x):
    """Centre and coefficients of ``x = (c, d_1, ..., d_T)``."""
    c, d = x[:Q], x[Q:].reshape(T, Q)
    return c, d, c + d


def joined(by_task):
    """Slopes in (c, d) of slopes in the coefficients."""
    return np.r_[by_task.sum(axis=0), by_task.ravel()]


def known_tasks(train, test):
    """Centre and deviations inside, theta the logarithms of the variances."""
    n = test.weight.sum()

    def value(theta, x):
        c, d, w = split(x)
        ridge = (d**2 / np.exp(theta)).sum() + (BETA * c**2).sum()
        return float(train.value(w).sum() + 0.5 * ridge)

    def grad(theta, x):
        c, d, w = split(x)
        return joined(train.slopes(w)) + np.r_[BETA * c, (d / np.exp(theta)).ravel()]

    def hvp(theta, x, e):
        gram = train.linearized(split(x)[2]).gram
        c, d, w = split(e)
        curved = np.einsum("ijk,ik->ij", gram, w)
        return joined(curved) + np.r_[BETA * c, (d / np.exp(theta)).ravel()]

    def cross(theta, x, e):
        return -(split(x)[1] * split(e)[1]).sum(axis=0) / np.exp(theta)

    return OracleProblem(
        InnerOracles(value, grad, hvp, cross),
        OuterOracles(
            value=lambda theta, x: float(test.value(split(x)[2]).sum() / n),
            grad=lambda theta, x: joined(test.slopes(split(x)[2]) / n),
        ),
        np.zeros(Q + T * Q),
        np.zeros(Q),
    )


def hypergradient(problem, theta, x):
    """By a dense solve of the adjoint system."""
    inner = problem.inner.at(theta, x)
    H = np.stack([inner.hvp(e) for e in np.eye(len(x))])
    q = np.linalg.solve(H, problem.outer.at(theta, x).grad)
    return -inner.cross(q)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_known_tasks_are_a_bilevel_problem(kind):
    train, test = MAKERS[kind](TRAIN), MAKERS[kind](~TRAIN)
    problem = known_tasks(train, test)
    check_problem(problem)
    theta = np.array([0.3, -0.5, -1.0])
    penalty = TaskPenalty(np.exp(theta), BETA)
    solution = solve(train, penalty)
    c, w = solution.centre.c, solution.coefficients()
    x = np.r_[c, (w - c).ravel()]
    # The inner solution is that of the oracles.
    assert_allclose(problem.inner.at(theta, x).grad, 0.0, atol=1e-7)
    found = KnownTasks(((train, test),)).at(penalty)
    assert found.value == pytest.approx(problem.outer.at(theta, x).value, rel=1e-10)
    expected = hypergradient(problem, theta, x)
    assert_allclose(found.v * penalty.v, expected, rtol=1e-7)


def evidence(data):
    """The evidence as an outer loss of (theta, x), its inner problem as above."""
    problem = known_tasks(data, data)
    n = data.weight.sum()

    def hessian(theta, x):
        at = problem.inner.at(theta, x)
        return np.stack([at.hvp(e) for e in np.eye(len(x))])

    def value(theta, x):
        logdet = np.linalg.slogdet(hessian(theta, x))[1] + T * theta.sum()
        inner = problem.inner.at(theta, x).value
        return float(inner + 0.5 * (logdet - np.log(BETA).sum())) / n

    def by_difference(function, at, h=1e-6):
        steps = np.eye(len(at)) * h
        return np.array([function(at + e) - function(at - e) for e in steps]) / (2 * h)

    outer = OuterOracles(
        value=value,
        grad=lambda theta, x: by_difference(lambda z: value(theta, z), x),
        grad_theta=lambda theta, x: by_difference(lambda t: value(t, x), theta),
    )
    return OracleProblem(problem.inner, outer, problem.w0, problem.theta0)


def test_the_evidence_by_laplace_is_a_bilevel_problem():
    data = logistic(np.ones(N, bool))
    problem = evidence(data)
    theta = np.array([0.3, -0.5, -1.0])
    penalty = TaskPenalty(np.exp(theta), BETA)
    solution = solve(data, penalty)
    c, w = solution.centre.c, solution.coefficients()
    x = np.r_[c, (w - c).ravel()]
    found = LaplaceEvidence(data).at(penalty)
    outer = problem.outer.at(theta, x)
    assert found.value == pytest.approx(outer.value, rel=1e-9)
    expected = outer.grad_theta + hypergradient(problem, theta, x)
    assert_allclose(found.v * penalty.v, expected, rtol=1e-6)
