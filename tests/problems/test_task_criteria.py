"""Criteria of related tasks: gradients by differences, values by dense algebra."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import _task_moments
from skbilevel.problems._task_criteria import (
    KnownTasks,
    NewTasks,
    TaskEpisodes,
    TaskEvidence,
)
from skbilevel.problems._task_moments import (
    TaskMoments,
    each_fold,
    ranks_within,
    support_and_query,
)
from skbilevel.problems._task_solution import TaskPenalty, TaskSolution
from skbilevel.problems._task_strengths import TaskStrengths

RNG = np.random.default_rng(0)
N, Q, T = 120, 4, 9
TASK = RNG.integers(0, T, N)
Z = np.c_[np.ones(N), RNG.standard_normal((N, Q - 1))]
Y = (Z * RNG.standard_normal((T, Q))[TASK]).sum(axis=1) + RNG.standard_normal(N)
WEIGHT = RNG.uniform(0.5, 2.0, N)
MOMENTS = TaskMoments.of_rows(Z, Y, WEIGHT, TASK, T)


def criteria():
    ranks = ranks_within(TASK, T, np.random.default_rng(1))
    held = [
        support_and_query(MOMENTS, Z, Y, WEIGHT, TASK, mask)
        for mask in each_fold(ranks % 3)
    ]
    few, rest = support_and_query(MOMENTS, Z, Y, WEIGHT, TASK, ranks < 4)
    fold = np.arange(T) % 3
    episodes = []
    for k in range(3):
        own = np.flatnonzero(fold == k)
        train = np.flatnonzero(fold != k)
        episodes.append(TaskEpisodes(train, few.take(own), rest.take(own), own))
    return {
        "evidence": TaskEvidence(MOMENTS),
        "known noise": TaskEvidence(MOMENTS, 1.0),
        "known-tasks": KnownTasks(tuple((train, test) for test, train in held)),
        "new-tasks": NewTasks(MOMENTS, tuple(episodes)),
    }


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", list(criteria()))
@pytest.mark.parametrize("chunked", [False, True])
def test_gradient_by_differences(name, tuned, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(_task_moments, "_CHUNK_BYTES", 2 * 8 * Q**2)
    criterion = criteria()[name]
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
