"""The double loop, shared strengths, statuses, callbacks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize

from skbilevel.problems import (
    GCV,
    BilevelProblem,
    CriterionProblem,
    Embedded,
    FeatureStrengths,
    GroupStrengths,
    LeaveOneOut,
    RowsDataFit,
    SharedStrength,
    SparsePenalty,
    Sweep,
    SweptRows,
    Task,
    as_design,
    moments_of,
    quadratic_task,
    rows_task,
    transfer,
)
from skbilevel.solvers import (
    SOLVERS,
    Direct,
    Nested,
    Status,
    best_shared_strength,
    choose_regime,
    resolve,
)
from skbilevel.solvers._krylov_path import krylov_path
from skbilevel.solvers._nested import DirectRun


def make_tasks(n=90, p=12, moments=True, n_folds=3, as_sparse=False, noise=False, t=1):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    X[rng.random((n, p)) < 0.3] = 0.0
    y = rng.standard_normal((n, t)) + 3.0
    if not noise:
        y += X[:, : p // 3] @ np.full((p // 3, t), 0.7)
    weight, fold = rng.uniform(0.5, 1.5, n), np.arange(n) % n_folds
    design = as_design(sparse.csr_array(X) if as_sparse else X)
    free, tasks = np.ones((n, 1)), []
    for k in range(n_folds):
        train, valid = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        task = rows_task(design, y, weight, train, valid, free)
        if moments:
            inner, outer = moments_of(task.inner), moments_of(task.outer)
            task = quadratic_task(inner, outer, float(weight.sum()))
        tasks.append(task)
    return tuple(tasks), SweptRows(design, y, weight, free)


def make_problem(par, v_min=0.0, v_max=1e4, penalty=None, **kwargs):
    tasks, _ = make_tasks(**kwargs)
    return BilevelProblem(tasks, par, par.bounds(v_min, v_max), penalty)


GROUPS = GroupStrengths(np.arange(12) // 4, 0.05)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_finds_the_same_minimum(name):
    moments = name in ("cholesky", "stale")
    problem = make_problem(GROUPS, moments=moments)
    result = SOLVERS[name].solve(problem, np.ones(3), tol=1e-6)
    assert result.status is Status.CONVERGED
    exact = SOLVERS["cholesky"]
    reference = make_problem(GROUPS)

    def fun(theta):
        done = exact.evaluate(reference, theta)
        return done.value, done.grad

    low, high = reference.bounds
    best = minimize(
        fun, np.ones(3), jac=True, bounds=list(zip(low, high, strict=True)),
        method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10},
    )  # fmt: skip
    np.testing.assert_allclose(result.value, best.fun, rtol=1e-6)
    assert result.n_iter >= 1
    assert len(result.history["value"]) == result.n_iter + 1
    np.testing.assert_array_equal(result.v, GROUPS.v(result.theta))


def test_useless_group_is_removed_exactly():
    problem = make_problem(GROUPS, noise=False)
    result = SOLVERS["cholesky"].solve(problem, np.ones(3), tol=1e-6)
    # The second and third group carry nothing.
    assert (result.v[4:] < 0.2 * result.v[0]).all()
    sparse_problem = make_problem(GROUPS, penalty=SparsePenalty(5.0))
    removed = SOLVERS["cholesky"].solve(sparse_problem, np.ones(3), tol=1e-6)
    assert (removed.v[4:] == 0.0).all()
    assert np.isinf(GROUPS.publish(removed.theta)[4:]).all()


def test_amortization_saves_products():
    par = FeatureStrengths(40, 0.05)
    problem = make_problem(par, n=200, p=40, moments=False)
    amigo = SOLVERS["amigo"].solve(problem, np.ones(40), tol=1e-3, max_iter=15)
    run, theta, cold = SOLVERS["amigo"], np.ones(40), 0
    for _ in range(amigo.counts.n_evaluations):
        cold += run.evaluate(problem.stacked(), theta, tol=1e-8).counts.n_hvp
    assert amigo.counts.n_hvp < 0.6 * cold
    exact = SOLVERS["dual"].solve(problem, np.ones(40), tol=1e-3, max_iter=15)
    assert amigo.value < 1.002 * exact.value


def test_refit_starts_from_the_folds():
    par = FeatureStrengths(40, 0.05)
    problem = make_problem(par, n=200, p=40, moments=False)
    solver = SOLVERS["amigo"]
    result = solver.solve(problem, np.ones(40), tol=1e-3, max_iter=5)
    inner = problem.tasks[0].inner
    weight = np.ones(200)
    full = RowsDataFit(
        inner.design, inner.y, weight, Sweep.of(np.ones((200, 1)), weight)
    )
    warm = solver.refit(full, result.v, result.states, tol=1e-4)
    cold = solver.refit(full, result.v, tol=1e-4)
    assert warm.counts.n_hvp < cold.counts.n_hvp
    exact = SOLVERS["dual"].refit(full, result.v)
    np.testing.assert_allclose(warm.W, exact.W, atol=1e-3)


def test_stale_factors_save_factorizations():
    par = FeatureStrengths(12, 0.05)
    stale = SOLVERS["stale"].solve(make_problem(par), np.ones(12), tol=1e-4)
    exact = SOLVERS["cholesky"].solve(make_problem(par), np.ones(12), tol=1e-4)
    np.testing.assert_allclose(stale.value, exact.value, rtol=1e-5)
    assert stale.counts.n_factorizations < exact.counts.n_factorizations


def test_repeated_solves_are_equal():
    problem = make_problem(GROUPS, moments=False)
    for name in ("amigo", "dual"):
        a, b = (SOLVERS[name].solve(problem, np.ones(3)) for _ in range(2))
        np.testing.assert_array_equal(a.theta, b.theta)
        assert a.counts == b.counts


def test_map_tasks_in_threads():
    problem = make_problem(GROUPS)
    alone = SOLVERS["cholesky"].solve(problem, np.ones(3), tol=1e-6)
    with ThreadPoolExecutor(2) as pool:
        both = SOLVERS["cholesky"].solve(
            problem, np.ones(3), tol=1e-6, map_tasks=pool.map
        )
    np.testing.assert_allclose(both.theta, alone.theta, rtol=1e-6)


def test_callback_sees_and_stops():
    seen = []

    def on_iter(info):
        seen.append(info)
        return info.n_iter == 2

    problem = make_problem(GROUPS)
    result = SOLVERS["cholesky"].solve(problem, np.ones(3), tol=1e-12, on_iter=on_iter)
    assert result.status is Status.STOPPED
    assert [info.n_iter for info in seen] == [1, 2]
    assert result.value == seen[-1].value


def test_max_iter():
    problem = make_problem(FeatureStrengths(12, 1e-3))
    result = SOLVERS["cholesky"].solve(problem, np.ones(12), tol=1e-12, max_iter=2)
    assert result.status is Status.MAX_ITER
    assert result.n_iter == 2
    assert "max_iter" in result.status.value


def test_start_at_the_minimum():
    problem = make_problem(GROUPS)
    first = SOLVERS["cholesky"].solve(problem, np.ones(3), tol=1e-8)
    again = SOLVERS["cholesky"].solve(problem, first.theta, tol=1e-6)
    assert again.status is Status.CONVERGED
    assert again.n_iter == 0


def test_tolerances_follow_the_gradient():
    problem = make_problem(FeatureStrengths(12, 0.01), moments=False)
    result = SOLVERS["amigo"].solve(problem, np.ones(12), tol=1e-6)
    tol = result.history["tol"]
    assert (np.diff(tol) <= 0).all()
    assert tol[-1] < 0.1 * tol[0]


@pytest.mark.parametrize("kind", ["loo", "gcv"])
@pytest.mark.parametrize("dual", [False, True])
def test_closed_forms(kind, dual):
    _, rows = make_tasks()
    criterion = LeaveOneOut(rows, dual) if kind == "loo" else GCV.of(rows, dual)
    problem = CriterionProblem(criterion, GROUPS, GROUPS.bounds(0.0, 1e4))
    solver = resolve("auto", problem)
    assert isinstance(solver, Direct)
    shared = best_shared_strength(solver, problem)
    result = solver.solve(problem, GROUPS.init(shared.v), tol=1e-6)
    assert result.status is Status.CONVERGED
    assert result.value < shared.value


@pytest.mark.parametrize("kind", ["loo", "gcv"])
@pytest.mark.parametrize("dual", [False, True])
def test_a_curvature_is_that_of_the_point_of_the_value(kind, dual):
    _, rows = make_tasks()
    criterion = LeaveOneOut(rows, dual) if kind == "loo" else GCV.of(rows, dual)

    points = []

    class Counted:
        n_features, has_curvature = criterion.n_features, True

        def at(self, v):
            points.append(v)
            return criterion.at(v)

    run = DirectRun(CriterionProblem(Counted(), GROUPS, GROUPS.bounds(0.0, 1e4)))
    theta = np.array([0.5, 1.0, 1.5])
    run(theta, 1e-10)
    B = run.curvature(theta)
    assert len(points) == 1
    run(theta + 1.0, 1e-10)
    np.testing.assert_array_equal(run.curvature(theta), B)
    assert len(points) == 3


def test_leave_one_out_is_n_folds():
    tasks, rows = make_tasks(n=24, n_folds=24)
    # Leave-one-out keeps strengths in sum units: fold and full data share alpha.
    tasks = tuple(Task(t.inner, t.outer, t.weight) for t in tasks)
    problem = BilevelProblem(tasks, GROUPS, GROUPS.bounds(0, 1))
    done = SOLVERS["cholesky"].evaluate(problem, np.array([0.5, 1.0, 1.5]))
    point = LeaveOneOut(rows).at(GROUPS.v(np.array([0.5, 1.0, 1.5])))
    np.testing.assert_allclose(done.value, point.value, rtol=1e-9)
    np.testing.assert_allclose(
        done.grad, GROUPS.vjp(np.array([0.5, 1.0, 1.5]), point.grad), rtol=1e-7
    )


@pytest.mark.parametrize("as_sparse", [False, True])
def test_krylov_path_is_exact(as_sparse):
    index = np.arange(2, 12)
    tasks, _ = make_tasks(moments=False, as_sparse=as_sparse, t=2)
    par = Embedded(SharedStrength(10), index, 12)
    problem = BilevelProblem(tasks, par, par.bounds(1e-9, 1e9)).stacked()
    grid = np.arange(-10.0, 3.0, 1.5)
    mask = np.zeros(12)
    mask[index] = 1.0
    path = krylov_path(problem.tasks[0], grid, mask=mask, tol=1e-9)
    solver = SOLVERS["dual"]
    exact = [solver.evaluate(problem, np.array([x])).value for x in grid]
    known = ~np.isnan(path.value)
    assert known.sum() > np.argmin(exact) + 1
    np.testing.assert_allclose(path.value[known], np.array(exact)[known], rtol=1e-7)
    single = krylov_path(tasks[0], grid, mask=mask, tol=1e-9)
    assert single.n_iter <= path.n_iter


def test_best_shared_strength_agrees_over_regimes():
    found = []
    for name in SOLVERS:
        moments = name in ("cholesky", "stale")
        problem = make_problem(SharedStrength(12), moments=moments)
        best = best_shared_strength(SOLVERS[name], problem)
        assert best.status is Status.CONVERGED
        found.append(best)
    values = [each.value for each in found]
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    np.testing.assert_allclose(
        [np.log(f.v) for f in found], np.log(found[0].v), atol=0.1
    )


@pytest.mark.parametrize("name", ["cholesky", "amigo"])
@pytest.mark.parametrize("expected", [Status.AT_ZERO, Status.AT_INFINITY])
def test_noise_and_perfect_fit_are_reported(name, expected):
    n, rng = 60, np.random.default_rng(0)
    X, noise = rng.standard_normal((n, 12)), rng.standard_normal((n, 1))
    y = X.sum(axis=1, keepdims=True) if expected is Status.AT_ZERO else noise
    fold, design, tasks = np.arange(n) % 3, as_design(X), []
    for k in range(3):
        train, valid = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        task = rows_task(design, y, np.ones(n), train, valid, np.ones((n, 1)))
        if name == "cholesky":
            task = quadratic_task(moments_of(task.inner), moments_of(task.outer), n)
        tasks.append(task)
    par = SharedStrength(12)
    problem = BilevelProblem(tuple(tasks), par, par.bounds(1e-12, 1e12))
    assert best_shared_strength(SOLVERS[name], problem).status is expected


def test_transfer():
    assert transfer(2.0, 80.0, 100.0) == 1.6
    # A fold with all rows' weight changes nothing.
    np.testing.assert_array_equal(transfer(np.ones(3), 5.0, 5.0), np.ones(3))


def test_choose_regime():
    assert choose_regime(1000, 50) == "primal"
    assert choose_regime(50, 1000) == "dual"
    assert choose_regime(20000, 130000, sparse=True) == "matrix-free"
    assert choose_regime(20000, 3000, sparse=True) == "matrix-free"


def test_resolve():
    problem = make_problem(GROUPS)
    solver = SOLVERS["amigo"]
    assert resolve(solver, problem) is solver
    assert isinstance(resolve("auto", problem), Nested)


def test_reversed_bounds():
    low, high = GROUPS.bounds(0.0, 1.0)
    tasks, _ = make_tasks()
    with pytest.raises(ValueError, match="bound"):
        BilevelProblem(tasks, GROUPS, (high, low))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_fold_without_weight_does_not_count(name):
    moments = name in ("cholesky", "stale")
    X, y, fold = np.eye(30)[:, :8] + 0.1, np.arange(30.0)[:, None], np.arange(30) % 3
    weight = (fold != 2).astype(float)
    design, tasks = as_design(X), []
    for k in range(3):
        train, valid = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        task = rows_task(design, y, weight, train, valid, np.ones((30, 1)))
        if moments:
            inner, outer = moments_of(task.inner), moments_of(task.outer)
            task = quadratic_task(inner, outer, float(weight.sum()))
        tasks.append(task)
    par = SharedStrength(8)
    problem = BilevelProblem(tuple(tasks), par, par.bounds(1e-9, 1e9)).stacked()
    two = BilevelProblem(tuple(tasks[:2]), par, par.bounds(1e-9, 1e9)).stacked()
    a, b = (SOLVERS[name].evaluate(each, np.zeros(1)) for each in (problem, two))
    np.testing.assert_allclose(a.value, b.value, rtol=1e-8)
    np.testing.assert_allclose(a.grad, b.grad, rtol=1e-6)
