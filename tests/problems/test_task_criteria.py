"""Criteria of related tasks: gradients by differences, values by dense algebra."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import LogisticLoss
from skbilevel.problems._task_criteria import (
    KnownTasks,
    LaplaceEvidence,
    NewTasks,
    TaskEpisodes,
    TaskEvidence,
)
from skbilevel.problems._task_moments import (
    TaskMoments,
    each_fold,
    ranks_within,
)
from skbilevel.problems._task_newton import settle, solve
from skbilevel.problems._task_rows import CurvedTasks
from skbilevel.problems._task_solution import TaskPenalty, TaskSolution, adapted
from skbilevel.problems._task_strengths import TaskStrengths

RNG = np.random.default_rng(0)
N, Q, T = 400, 4, 40
TASK = RNG.integers(0, T, N)
Z = np.c_[np.ones(N), RNG.standard_normal((N, Q - 1))]
Y = (Z * RNG.standard_normal((T, Q))[TASK]).sum(axis=1) + RNG.standard_normal(N)
WEIGHT = RNG.uniform(0.5, 2.0, N)
LABEL = (Y > 0).astype(float)
MOMENTS = TaskMoments.of_rows(Z, Y, WEIGHT, TASK, T)


def quadratic_criteria(Z=Z):
    def part(mask):
        return TaskMoments.of_rows(Z[mask], Y[mask], WEIGHT[mask], TASK[mask], T)

    moments = part(np.ones(N, bool))
    ranks = ranks_within(TASK, T, np.random.default_rng(1))
    held = [(part(~mask), part(mask)) for mask in each_fold(ranks % 3)]
    few, rest = part(ranks < 4), part(ranks >= 4)
    fold = np.arange(T) % 3
    episodes = []
    for k in range(3):
        own = np.flatnonzero(fold == k)
        train = np.flatnonzero(fold != k)
        episodes.append(TaskEpisodes(train, few.take(own), rest.take(own)))
    return {
        "evidence": TaskEvidence(moments),
        "known noise": TaskEvidence(moments, 1.0),
        "known-tasks": KnownTasks(tuple(held)),
        "new-tasks": NewTasks(moments, tuple(episodes)),
    }


def curved(mask, task=TASK):
    rows = (Z[mask], LABEL[mask], WEIGHT[mask], task[mask])
    return CurvedTasks.of_rows(*rows, T, LogisticLoss())


def curved_criteria():
    ranks = ranks_within(TASK, T, np.random.default_rng(1))
    held = [(curved(~mask), curved(mask)) for mask in each_fold(ranks % 3)]
    few, rest = curved(ranks < 4), curved(ranks >= 4)
    every, fold = np.arange(T), np.arange(T) % 3
    episodes = [
        TaskEpisodes(every[fold != k], few.take(fold == k), rest.take(fold == k))
        for k in range(3)
    ]
    whole = curved(np.ones(N, bool))
    return {
        "laplace": LaplaceEvidence(whole),
        "curved known-tasks": KnownTasks(tuple(held)),
        "curved new-tasks": NewTasks(whole, tuple(episodes)),
    }


CRITERIA = quadratic_criteria() | curved_criteria()


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", list(CRITERIA))
def test_gradient_by_differences(name, tuned):
    criterion = CRITERIA[name]
    beta = np.array([0.0, 1.0, 1.0, 2.0]) * tuned
    unit = np.array([1.0, 0.5, 0.2, 2.0])
    shape = TaskStrengths(np.array([0, 1, -1, 1]), unit, beta, tuned)
    theta = np.random.default_rng(2).standard_normal(shape.size)

    def value(at):
        return criterion.at(shape.penalty(at)).value

    penalty = shape.penalty(theta)
    found = shape.pulled(criterion.at(penalty), penalty)
    h = 1e-4
    expected = [
        (
            8 * (value(theta + e) - value(theta - e))
            - value(theta + 2 * e)
            + value(theta - 2 * e)
        )
        / (12 * h)
        for e in np.eye(shape.size) * h
    ]
    assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_large_stacks_in_chunks():
    """Columns of zeros change nothing, but make stacks too large for one chunk."""
    none = np.zeros((N, 330 - Q))
    large = quadratic_criteria(np.hstack([Z, none]))
    assert len(large["evidence"].moments.chunks()) > 1
    v, beta = np.array([1.0, 0.5, 0.0, 0.2]), np.array([0.0, 1.0, 1.0, 2.0])
    padded = TaskPenalty(np.append(v, none[0]), np.append(beta, none[0] + 1.0))
    for name, criterion in large.items():
        found = criterion.at(padded)
        expected = CRITERIA[name].at(TaskPenalty(v, beta))
        assert found.value == pytest.approx(expected.value, rel=1e-10)
        assert_allclose(found.v[:Q], expected.v, rtol=1e-8, atol=1e-12)
        assert_allclose(found.beta[:Q], expected.beta, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("v", [[0.0] * 4, [1.0, 0.0, 0.5, 0.1], [0.3] * 4])
def test_solution_and_evidence_by_dense_algebra(v):
    v = np.array(v)
    root = np.sqrt(WEIGHT)
    X, y = Z * root[:, None], Y * root
    C = np.eye(N) + (X * v) @ X.T * (TASK[:, None] == TASK)
    inverse = np.linalg.inv(C)
    K = X.T @ inverse @ X
    c = np.linalg.solve(K, X.T @ inverse @ y)
    r = y - X @ c
    n = WEIGHT.sum()
    R = r @ inverse @ r
    logdets = np.linalg.slogdet(C)[1] + np.linalg.slogdet(K)[1]
    value = ((n - Q) * np.log((R + 1e-6 * y @ y) / (n - Q)) + logdets) / (2 * n)
    penalty = TaskPenalty(v, np.zeros(Q))
    assert TaskEvidence(MOMENTS).at(penalty).value == pytest.approx(value, rel=1e-10)
    solution = TaskSolution.of(MOMENTS, penalty)
    assert_allclose(solution.centre.c, c, rtol=1e-10)
    deviations = np.stack(
        [v * (((TASK == i)[:, None] * X).T @ inverse @ r) for i in range(T)]
    )
    assert_allclose(solution.coefficients(), c + deviations, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("v", [[0.0] * 4, [1.0, 0.0, 0.5, 0.1], [30.0] * 4])
def test_newton_finds_the_minimum_and_the_evidence_is_a_determinant(v):
    penalty = TaskPenalty(np.array(v), np.array([0.0, 1.0, 1.0, 1.0]))
    data = curved(np.ones(N, bool))
    solution = solve(data, penalty)
    c, w = solution.centre.c, solution.coefficients()
    slopes, own = data.slopes(w), penalty.active
    assert_allclose(slopes.sum(axis=0), -penalty.beta * c, atol=1e-7)
    shrunk = (w - c)[:, own] / penalty.v[own]
    assert_allclose(slopes[:, own], -shrunk, atol=1e-7)
    # The Hessian in (c, d_1, ..., d_T), in units of the deviations' own variances.
    blocks = np.zeros((Q + T * len(own),) * 2)
    blocks[:Q, :Q] = np.diag(penalty.beta)
    root = np.sqrt(penalty.v[own])
    for i in range(T):
        E = np.zeros((Q, len(blocks)))
        E[:, :Q] = np.eye(Q)
        E[own, Q + i * len(own) + np.arange(len(own))] = root
        blocks += E.T @ solution.moments.gram[i] @ E
    blocks[Q:, Q:] += np.eye(T * len(own))
    logdet = np.linalg.slogdet(blocks)[1]
    least = data.value(w).sum() + 0.5 * (penalty.beta * c**2).sum()
    least += 0.5 * (shrunk**2 * penalty.v[own]).sum()
    value = LaplaceEvidence(data).at(penalty).value
    assert value * WEIGHT.sum() == pytest.approx(least + 0.5 * logdet, rel=1e-10)
    near = solve(data, TaskPenalty(np.ones(Q), penalty.beta))
    assert_allclose(solve(data, penalty, near).coefficients(), w, atol=1e-7)


def test_a_task_alone_settles_where_it_is_in_the_joint_solution():
    penalty = TaskPenalty(np.array([1.0, 0.0, 0.5, 0.1]), np.zeros(Q))
    data = curved(np.ones(N, bool))
    solution = solve(data, penalty)
    c, w = solution.centre.c, solution.coefficients()
    one = data.take(np.array([4]))
    found = adapted(settle(one, penalty, c), penalty, c)
    assert_allclose(found[0], w[4], atol=1e-7)
    # Known moments stand for rows: those at the solution do not move it.
    none = curved(np.zeros(N, bool), np.zeros(N, int)).take(np.array([4]))
    twice = settle(none.plus(settle(one, penalty, c)), penalty, c)
    assert_allclose(adapted(twice, penalty, c)[0], w[4], atol=1e-7)
