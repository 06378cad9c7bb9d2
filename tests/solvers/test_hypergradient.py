"""Hypergradients agree with central differences in every regime."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    BilevelProblem,
    Embedded,
    FeatureStrengths,
    GroupStrengths,
    MetadataStrengths,
    SharedStrength,
    SmoothPenalty,
    SparsePenalty,
    Task,
    as_design,
    metadata_transform,
    moments_of,
    rows_task,
)
from skbilevel.solvers import (
    CG,
    LBFGSB,
    Cholesky,
    Dual,
    Implicit,
    Nested,
    StaleCholesky,
)


def make_data(n, p, t=1, seed=0, sparse_X=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.exp(rng.standard_normal(p))
    if sparse_X:
        X = X * (rng.random((n, p)) < 0.3)
    y = X[:, :3] @ rng.standard_normal((3, t)) + rng.standard_normal((n, t)) + 4.0
    weight = rng.uniform(0.2, 3.0, n)
    weight[::11] = 0.0
    X = sparse.csr_array(X) if sparse_X else X + 2.0
    return X, y, weight


def make_tasks(X, y, weight, n_folds=3, free=None, moments=False, own=None):
    design, n = as_design(X), len(y)
    fold = np.arange(n) % n_folds
    tasks = []
    for k in range(n_folds):
        train, valid = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        par = None if own is None else own[k]
        task = rows_task(design, y, weight, train, valid, free, par)
        if moments:
            task = Task(
                moments_of(task.inner),
                moments_of(task.outer),
                task.weight,
                task.v_scale,
                task.parametrization,
            )
        tasks.append(task)
    return tuple(tasks)


def make_problem(tasks, par, penalty=None, v_min=0.0, v_max=1e6):
    return BilevelProblem(tasks, par, par.bounds(v_min, v_max), penalty)


def central(fun, theta, h=1e-5):
    out = np.empty(len(theta))
    for j in range(len(theta)):
        e = np.zeros(len(theta))
        e[j] = h * max(1.0, abs(theta[j]))
        # Fourth order: the differences are then better than what is tested.
        near = fun(theta + e) - fun(theta - e)
        far = fun(theta + 2 * e) - fun(theta - 2 * e)
        out[j] = (8 * near - far) / (12 * e[j])
    return out


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


REGIMES = {
    "cholesky": (Cholesky(), True),
    "stale": (StaleCholesky(), True),
    "cg-moments": (CG(), True),
    "dual": (Dual(), False),
    "cg": (CG(), False),
}


def parametrizations(p, rng):
    Z = rng.standard_normal((p, 2))
    Z = Z @ metadata_transform(Z)
    return {
        "feature": (FeatureStrengths(p, 0.1), rng.uniform(0.3, 2.5, p)),
        "group": (
            GroupStrengths(np.arange(p) % 3, np.array([0.1, 0.2, 0.3])),
            np.array([0.5, 1.3, 2.0]),
        ),
        "shared": (SharedStrength(p), np.array([-1.0])),
        "metadata": (MetadataStrengths(Z, -1.0, -9.0, 5.0), np.array([0.5, -0.3])),
        "deviations": (
            MetadataStrengths(Z, -1.0, deviations=True),
            0.3 * rng.standard_normal(2 + p),
        ),
    }


@pytest.mark.parametrize("sparse_X", [False, True])
@pytest.mark.parametrize(
    "kind", ["feature", "group", "shared", "metadata", "deviations"]
)
@pytest.mark.parametrize("regime", REGIMES)
def test_central_differences(regime, kind, sparse_X):
    inner, moments = REGIMES[regime]
    n, p = (30, 12) if moments else (16, 24)
    X, y, weight = make_data(n, p, t=2, sparse_X=sparse_X)
    tasks = make_tasks(X, y, weight, free=np.ones((n, 1)), moments=moments)
    par, theta = parametrizations(p, np.random.default_rng(1))[kind]
    problem = make_problem(tasks, par).stacked()
    assert len(problem.tasks) == 1
    solver = Nested(inner, Implicit(), LBFGSB())
    state = ()
    if regime == "stale":
        # A state from other strengths, so that the factor really is stale.
        state = solver.evaluate(problem, theta * 1.1, tol=1e-14).states

    def value(theta):
        return solver.evaluate(problem, theta, tol=1e-14).value

    grad = solver.evaluate(problem, theta, state, tol=1e-14).grad
    assert relative(grad, central(value, theta)) < 1e-6


@pytest.mark.parametrize("regime", REGIMES)
def test_removed_feature(regime):
    # One-sided differences at v = 0, where log strengths have no gradient.
    inner, moments = REGIMES[regime]
    n, p = (30, 12) if moments else (24, 40)
    X, y, weight = make_data(n, p)
    tasks = make_tasks(X, y, weight, free=np.ones((n, 1)), moments=moments)
    problem = make_problem(tasks, FeatureStrengths(p, 0.1))
    theta = np.random.default_rng(1).uniform(0.3, 2.5, p)
    removed = np.array([1, 4, 7])
    theta[removed] = 0.0
    solver = Nested(inner, Implicit(), LBFGSB())
    for each in (problem, problem.stacked()):
        done = solver.evaluate(each, theta, tol=1e-14)
        for j in removed:

            def value(h, j=j, each=each):
                moved = theta.copy()
                moved[j] = h
                return solver.evaluate(each, moved, tol=1e-14).value

            h = 1e-5
            slope = (-3 * value(0.0) + 4 * value(h) - value(2 * h)) / (2 * h)
            np.testing.assert_allclose(
                done.grad[j], slope, atol=2e-6 * np.abs(done.grad).max()
            )
        for task in each.tasks:
            v = task.variances(each.parametrization, theta)
            W = inner.solve(task.inner, v, tol=1e-14).W
            assert (W[..., removed, :] == 0.0).all()
            assert (np.delete(W, removed, axis=-2) != 0.0).all()


def test_exact_regimes_agree():
    n, p = 25, 30
    X, y, weight = make_data(n, p, t=2)
    E = np.column_stack([np.ones(n), X[:, 0]])
    par = Embedded(FeatureStrengths(p - 1, 0.1), np.arange(1, p), p)
    theta = np.random.default_rng(2).uniform(0.0, 2.5, p - 1)
    theta[:3] = 0.0
    values, grads, coefs = [], [], []
    for inner, moments in REGIMES.values():
        tasks = make_tasks(X, y, weight, free=E, moments=moments)
        problem = make_problem(tasks, par).stacked()
        solver = Nested(inner, Implicit(), LBFGSB())
        done = solver.evaluate(problem, theta, tol=1e-14)
        v = problem.tasks[0].variances(par, theta)
        coefs.append(inner.solve(problem.tasks[0].inner, v, tol=1e-14).W)
        values.append(done.value)
        grads.append(done.grad)
    np.testing.assert_allclose(values, values[0], rtol=1e-10)
    for grad, coef in zip(grads, coefs, strict=True):
        assert relative(grad, grads[0]) < 1e-8
        assert relative(coef, coefs[0]) < 1e-8


@pytest.mark.parametrize("penalty", [SmoothPenalty(0.3), SparsePenalty(0.2, 0.5)])
def test_hyperpenalty(penalty):
    X, y, weight = make_data(30, 8)
    tasks = make_tasks(X, y, weight, moments=True)
    problem = make_problem(tasks, FeatureStrengths(8, 0.1), penalty, v_min=1e-8)
    solver = Nested(Cholesky(), Implicit(), LBFGSB())
    theta = np.random.default_rng(0).uniform(0.2, 2.0, 8)

    def value(theta):
        return solver.evaluate(problem, theta).value

    grad = solver.evaluate(problem, theta).grad
    assert relative(grad, central(value, theta)) < 1e-6


def test_smooth_penalty_asks_for_positive_bounds():
    X, y, weight = make_data(30, 8)
    tasks = make_tasks(X, y, weight, moments=True)
    with pytest.raises(ValueError, match="v_min"):
        make_problem(tasks, FeatureStrengths(8), SmoothPenalty(1.0))


def test_stack_is_the_list():
    X, y, weight = make_data(30, 8)
    rng = np.random.default_rng(3)
    own = [MetadataStrengths(rng.standard_normal((8, 2)), -1.0) for _ in range(3)]
    for moments, inner in [(True, Cholesky()), (False, Dual()), (False, CG())]:
        tasks = make_tasks(X, y, weight, moments=moments, own=own)
        problem = make_problem(tasks, own[0])
        solver = Nested(inner, Implicit(), LBFGSB())
        theta = np.array([0.3, -0.2])
        one = solver.evaluate(problem, theta, tol=1e-13)
        other = solver.evaluate(problem.stacked(), theta, tol=1e-13)
        assert len(problem.stacked().tasks) == 1
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12)
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-8)
        # Another task's metadata matter: the folds have strengths of their own.
        shared = make_problem(make_tasks(X, y, weight, moments=moments), own[0])
        assert abs(solver.evaluate(shared, theta).value / one.value - 1) > 1e-6


def test_implicit_with_another_linear_solver():
    X, y, weight = make_data(30, 8)
    problem = make_problem(make_tasks(X, y, weight), FeatureStrengths(8, 0.1))
    theta = np.full(8, 0.7)
    exact = Nested(Dual(), Implicit(), LBFGSB()).evaluate(problem, theta)
    mixed = Nested(CG(), Implicit(Dual()), LBFGSB())
    np.testing.assert_allclose(
        mixed.evaluate(problem, theta, tol=1e-13).grad, exact.grad, rtol=1e-8
    )


def test_value_error_is_of_second_order():
    X, y, weight = make_data(60, 40)
    problem = make_problem(make_tasks(X, y, weight), FeatureStrengths(40, 0.1))
    theta = np.full(40, 1.2)
    solver = Nested(CG(), Implicit(), LBFGSB())
    exact = solver.evaluate(problem, theta, tol=1e-13)
    loose = solver.evaluate(problem, theta, tol=1e-3)
    assert 1e-4 < relative(loose.grad, exact.grad) < 2e-2
    assert abs(loose.value / exact.value - 1) < 2e-5
    assert loose.counts.n_hvp < 0.8 * exact.counts.n_hvp
