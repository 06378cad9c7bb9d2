"""Gradients at several (theta, w) at once are those one by one."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    LogisticLoss,
    SoftmaxLoss,
    as_design,
    linear_oracles,
    moments_of,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks

N, P = 40, 5


def draw(kind):
    """Tasks of every kind of data fit: single ones, stacks, sweeps, moments."""
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((N, P)), rng.uniform(0.5, 2.0, N)
    folds = [(np.arange(0, 30), np.arange(30, N)), (np.arange(10, N), np.arange(10))]
    if kind in ("squared", "moments"):
        y = rng.standard_normal((N, 2))
        tasks = [rows_task(as_design(X), y, weight, *fold) for fold in folds]
        if kind == "moments":
            tasks = [replace(task, inner=moments_of(task.inner)) for task in tasks]
    else:
        loss = LogisticLoss() if kind == "logistic" else SoftmaxLoss()
        y = np.eye(3)[rng.integers(3, size=N)]
        y = y[:, :1] if kind == "logistic" else y
        model = GLMTasks(as_design(X), y, weight, loss, loss, np.ones((N, 1)))
        tasks = [model.fold(*fold) for fold in folds]
    shared = FeatureStrengths(P, 0.1)
    return BilevelProblem(tuple(tasks), shared, shared.bounds(0.1, 100.0))


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("kind", ["squared", "moments", "logistic", "softmax"])
def test_gradients_are_those_one_by_one(kind, stacked):
    """For stacks of folds, swept intercepts, weights and several targets."""
    problem = draw(kind).stacked() if stacked else draw(kind)
    rng = np.random.default_rng(1)
    inner = linear_oracles(problem, np.ones(P)).inner
    assert "many_thetas" in inner.provides
    thetas = rng.uniform(1.0, 4.0, (4, P))
    ws = rng.standard_normal((4, inner.strengths.size))
    single = [inner.at(t, w).grad for t, w in zip(thetas, ws, strict=True)]
    np.testing.assert_allclose(inner.grad_many(thetas, ws), single, rtol=1e-11)
