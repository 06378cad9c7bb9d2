"""Tasks side by side in one stack."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    RowsDataFit,
    Task,
    as_design,
    linear_oracles,
    stack_tasks,
)


def folds(n_free, n=30, p=4):
    rng = np.random.default_rng(0)
    design = as_design(np.c_[np.ones(n), rng.standard_normal((n, p - 1))])
    y, tasks = rng.standard_normal((n, 1)) + 3.0, []
    for k in range(3):
        train = (np.arange(n) % 3 != k).astype(float)
        inner = RowsDataFit(design, y, train)
        outer = RowsDataFit(design, y, 1.0 - train)
        tasks.append(Task(inner, outer, outer.weight_sum, 1.5, n_free=n_free))
    return tuple(tasks)


@pytest.mark.parametrize("n_free", [0, 1, 2])
def test_a_stack_keeps_the_unpenalized_columns(n_free):
    tasks, par = folds(n_free), FeatureStrengths(4 - n_free)
    theta = par.init(np.linspace(0.1, 2.0, par.size))
    problem = BilevelProblem(tasks, par, par.bounds(1e-3, 1e3))
    (stack,) = stack_tasks(tasks)
    assert stack.variances(par, theta).shape == (3, 4)
    apart, together = (
        linear_oracles(each, theta).inner.at(theta, np.linspace(-1.0, 1.0, 12))
        for each in (problem, problem.stacked())
    )
    assert_allclose(together.value, apart.value, rtol=1e-12)
    assert_allclose(together.grad, apart.grad, rtol=1e-10, atol=1e-12)


def test_tasks_with_other_unpenalized_columns_are_not_stacked():
    first, *rest = folds(1)
    mixed = (first, *(replace(task, n_free=2) for task in rest))
    assert stack_tasks(mixed) == mixed
