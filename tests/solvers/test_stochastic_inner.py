"""AI-SARAH, SAGA and SRKCD: their formulas, their limits, what they read."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    BilevelProblem,
    Centered,
    FeatureStrengths,
    InnerOracles,
    LogisticLoss,
    SoftmaxLoss,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.problems._smoothness import squared_norms
from skbilevel.solvers import (
    LBFGSB,
    DoubleLoop,
    ImplicitGradient,
    counted,
    metric_norm,
    metric_of,
    minimize_bilevel,
)
from skbilevel.solvers._batch_metric import batch_metric
from skbilevel.solvers._batches import Batches, count_batches
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers.inner import AISARAH, SAGA, SRKCD, Newton
from skbilevel.solvers.inner._ai_sarah import line_derivatives
from skbilevel.solvers.inner._saga import memory_of

KINDS = ["ridge", "sparse", "folds", "logistic", "softmax"]
SOLVERS = {
    "ai-sarah": AISARAH(batch_size=8, max_passes=5000),
    "ai-sarah-plain": AISARAH(batch_size=8, metric=False, max_passes=5000),
    "saga": SAGA(batch_size=8, max_passes=5000),
    "srkcd": SRKCD(damping=2.0),
    "srkcd-thin": SRKCD(n_stages=3),
}
V_MIN, V_MAX = 2e-2, 2.0


def draw(kind, n=48, p=6, seed=0, v_min=V_MIN):
    """Oracles of one kind at a theta inside the box."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(0.5, 2.0, p) + 0.3
    weight = rng.uniform(0.5, 2.0, n)
    weight[3] = 0.0
    signal = X[:, :2] @ np.array([1.0, -1.0])
    label = np.arange(n) % 3
    k = 3 if kind in ("folds", "softmax") else 1
    pairs = [(np.flatnonzero(label != i), np.flatnonzero(label == i)) for i in range(k)]
    if kind in ("ridge", "sparse", "folds"):
        if kind == "sparse":
            X = sparse.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0.0))
        y = (signal + rng.standard_normal(n))[:, None]
        design, free = as_design(X), None
        if kind == "folds":
            design = Centered(design, np.full(p, 0.1), np.linspace(1.0, 2.0, p))
            free = np.column_stack([np.ones(n), rng.standard_normal(n)])
        tasks = [rows_task(design, y, weight, a, b, free) for a, b in pairs]
    else:
        loss = LogisticLoss() if kind == "logistic" else SoftmaxLoss()
        if kind == "logistic":
            y = (signal + rng.logistic(size=n) > 0)[:, None].astype(float)
        else:
            scores = np.column_stack([signal, -signal, 0.0 * signal])
            y = np.eye(3)[(scores + rng.gumbel(size=(n, 3))).argmax(axis=1)]
        offset = 0.2 * rng.standard_normal(y.shape)
        made = GLMTasks(as_design(X), y, weight, loss, loss, np.ones((n, 1)), offset)
        tasks = [made.fold(a, b) for a, b in pairs]
    shared = FeatureStrengths(p, v_min)
    bounds = shared.bounds(v_min, V_MAX)
    problem = BilevelProblem(tuple(tasks), shared, bounds)
    theta = bounds[0] + rng.random(p) * (bounds[1] - bounds[0])
    return linear_oracles(problem.stacked(), theta), theta


@pytest.fixture(params=KINDS, scope="module")
def case(request):
    """Every kind of linear model: oracles and theta."""
    return draw(request.param)


def plain(inner):
    """The same problem as functions with batches and without third derivatives."""

    def part(rows):
        return inner if rows is None else inner.take(rows)

    return InnerOracles(
        value=lambda t, w, rows=None: part(rows).at(t, w).value,
        grad=lambda t, w, rows=None: part(rows).at(t, w).grad,
        hvp=lambda t, w, d, rows=None: part(rows).at(t, w).hvp(d),
        cross=lambda t, w, d, rows=None: part(rows).at(t, w).cross(d),
        n_rows=inner.n_rows,
        smoothness=inner.smoothness,
    )


def solve(solver, inner, theta, w, *, seed=0, accuracy=1e-9, **more):
    """One descent to a relative accuracy."""
    start = metric_norm(inner.at(theta, w).grad, metric_of(inner, theta, w))
    rng = np.random.default_rng(seed)
    return solver.solve(inner, theta, w, threshold=accuracy * start, rng=rng, **more)


# --- the step of AI-SARAH


@pytest.mark.parametrize("euclidean", [False, True])
def test_derivatives_of_the_line_are_those_of_finite_differences(case, euclidean):
    """xi'(0) and xi''(0) on a batch, in both metrics."""
    problem, theta = case
    rng = np.random.default_rng(1)
    w, v = rng.standard_normal((2, len(problem.w0)))
    M = metric_of(problem.inner, theta, w)
    M = np.ones_like(M) if euclidean else M
    part = problem.inner.take(np.arange(9))
    here = part.at(theta, w)
    d = v / M

    def xi(a):
        left = part.at(theta, w - a * d).grad - here.grad + v
        return float((left * left / M).sum())

    slope, bend, gauss_newton = line_derivatives(here, d, M, True)
    eps = 1e-4
    assert -2 * slope == pytest.approx((xi(eps) - xi(-eps)) / (2 * eps), rel=1e-5)
    second = (xi(eps) - 2 * xi(0.0) + xi(-eps)) / eps**2
    assert 2 * bend == pytest.approx(second, rel=1e-4)
    Hd = here.hvp(d)
    assert gauss_newton == pytest.approx(float((Hd * Hd / M).sum()))
    assert line_derivatives(here, d, M, False)[1] == gauss_newton


def test_step_for_least_squares_is_the_exact_minimizer_of_the_line():
    """Against a brute-force search, and the step that the solver takes."""
    problem, theta = draw("ridge")
    w = np.random.default_rng(0).standard_normal(len(problem.w0))
    solver = AISARAH(batch_size=1000, n_passes=1.5, metric=False)
    point = problem.inner.at(theta, w)
    v = point.grad
    done = solve(solver, problem.inner, theta, w)
    assert done.n_iter == 1
    slope, bend, _ = line_derivatives(point, v, np.ones_like(v), True)

    def xi(a):
        return float(((problem.inner.at(theta, w - a * v).grad) ** 2).sum())

    grid = slope / bend * np.linspace(0.9, 1.1, 201)
    assert grid[np.argmin([xi(a) for a in grid])] == pytest.approx(slope / bend)
    np.testing.assert_allclose(done.w, w - slope / bend * v, rtol=1e-12)
    # A later step is no longer than a_max, unless the metric has moved since.
    bound = metric_of(problem.inner, theta, w)
    for memory, size in [((bound, 1e3), 1e-3), ((2 * bound, 1e3), slope / bend)]:
        later = solve(solver, problem.inner, theta, w, memory=memory)
        np.testing.assert_allclose(later.w, w - size * v, rtol=1e-12)


def saturated():
    """One feature and one row, deep in the flat part of the logistic loss."""
    loss = LogisticLoss()
    X, y = np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]])
    made = GLMTasks(as_design(X), y, np.ones(2), loss, loss, np.zeros((2, 0)))
    shared = FeatureStrengths(1, 1e-6)
    problem = BilevelProblem(
        (made.fold(np.array([0]), np.array([1])),), shared, shared.bounds(1e-6, 200.0)
    )
    theta = problem.bounds[1].copy()
    return linear_oracles(problem, theta), theta


@pytest.mark.parametrize("metric", [True, False])
def test_a_line_that_bends_down_is_no_accident(metric):
    """Where xi'' < 0 the unguarded step is absurd; the guarded one still descends."""
    problem, theta = saturated()
    inner, w = problem.inner, np.array([3.0])
    M = metric_of(inner, theta, w) if metric else np.ones(1)
    point = inner.at(theta, w)
    slope, bend, gauss_newton = line_derivatives(point, point.grad / M, M, True)
    assert bend < 0.0 < slope
    first = solve(AISARAH(n_passes=1.5, metric=metric), inner, theta, w)
    assert first.n_iter == 1
    np.testing.assert_allclose(first.w, w - slope / gauss_newton * point.grad / M)
    # A later step, with a long a_max from the last call.
    memory = metric_of(inner, theta, w), 1e-9
    later = solve(AISARAH(n_passes=1.5, metric=metric), inner, theta, w, memory=memory)
    np.testing.assert_allclose(
        later.w, w - slope / gauss_newton * point.grad / M, rtol=1e-10
    )
    assert solve(AISARAH(metric=metric), inner, theta, w).converged


def test_a_loop_that_went_wrong_is_undone():
    """Batches that lie about their curvature cannot make the result worse."""
    problem, theta = draw("ridge")
    honest = plain(problem.inner)

    def lying(t, w, d, rows=None):
        return (1.0 if rows is None else 1e-3) * honest.hvp(t, w, d, rows=rows)

    inner = replace(honest, hvp=lying)
    memory = metric_of(inner, theta, problem.w0), 1e-6
    done = solve(
        AISARAH(batch_size=8, max_passes=60), inner, theta, problem.w0, memory=memory
    )
    start = inner.at(theta, problem.w0).grad
    assert np.isfinite(done.w).all()
    assert np.linalg.norm(done.point.grad) <= np.linalg.norm(start)
    assert done.memory[1] > 1e-6


# --- limits


@pytest.mark.parametrize("name", SOLVERS)
def test_ends_at_the_solution(case, name):
    """That of Newton's method, for every kind of linear model."""
    problem, theta = case
    exact = solve(Newton(), problem.inner, theta, problem.w0, accuracy=1e-13)
    done = solve(SOLVERS[name], problem.inner, theta, problem.w0)
    assert done.converged
    np.testing.assert_allclose(done.w, exact.w, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SOLVERS)
def test_ends_at_the_solution_of_plain_functions(name):
    """Without third derivatives and codes; and without rows."""
    problem, theta = draw("logistic")
    exact = solve(Newton(), problem.inner, theta, problem.w0, accuracy=1e-13)
    for inner in (plain(problem.inner), replace(plain(problem.inner), n_rows=0)):
        done = solve(SOLVERS[name], inner, theta, problem.w0)
        assert done.converged
        np.testing.assert_allclose(done.w, exact.w, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SOLVERS)
def test_hypergradients_are_exact_in_the_limit(oracle_case, name):
    """Within a relative 1e-5 when the inner gradient has shrunk by 1e-9."""
    loop = DoubleLoop(SOLVERS[name], ImplicitGradient(), LBFGSB())
    run = DoubleLoopRun(loop, *counted(oracle_case.problem), 0)
    done = run.evaluate(oracle_case.theta, 1e-9)
    assert done.converged
    exact = oracle_case.grad(oracle_case.theta)
    np.testing.assert_allclose(done.grad, exact, rtol=1e-5, atol=1e-7)


def test_stiff_penalties_do_not_slow_the_metric():
    """One strength far above the others: nothing in the metric, many passes without."""
    problem, theta = draw("logistic", v_min=1e-6)
    stiff = 0.9 * problem.box[1] + 0.1 * theta
    stiff[0] = problem.box[0][0]
    passes = {}
    for metric in (True, False):
        problem_, ledger = counted(problem)
        solver = AISARAH(batch_size=8, metric=metric, max_passes=3000)
        w = np.full(len(problem.w0), 0.3)
        solve(solver, problem_.inner, stiff, w, accuracy=1e-4)
        passes[metric] = ledger.rows / problem.inner.n_rows
    assert 3 * passes[True] < passes[False]


def test_stabilized_batches_come_near_and_decay_matters():
    """With batches the error falls with the budget, and constant steps stay behind."""
    problem, theta = draw("ridge")
    exact = solve(Newton(), problem.inner, theta, problem.w0, accuracy=1e-13)

    def error(passes, decay):
        solver = SRKCD(3, batch_size=8, n_passes=passes, decay=decay)
        found = [
            solve(solver, problem.inner, theta, problem.w0, seed=seed).w
            for seed in range(3)
        ]
        return float(np.mean([np.sum((w - exact.w) ** 2) for w in found]))

    assert error(300.0, 1.0) < 0.4 * error(30.0, 1.0)
    assert error(300.0, 1.0) < 0.4 * error(300.0, 0.0)


# --- SAGA


def batches_of(inner, size):
    """The same batches every time, and how many."""
    count, fixed = count_batches(inner.n_rows, size), "grad_codes" not in inner.provides
    rng = np.random.default_rng(0)
    return Batches(inner.n_rows, count, rng, fixed=fixed), count


def test_saga_directions_are_unbiased(case):
    """Over all batches that the next draw may be, whatever the memory holds."""
    problem, theta = case
    rng = np.random.default_rng(4)
    w0, w1, w = 0.3 * rng.standard_normal((3, len(problem.w0)))
    for inner in (problem.inner, plain(problem.inner)):
        found = []
        for k in range(batches_of(inner, 5)[1]):
            batches, count = batches_of(inner, 5)
            known = memory_of(inner, theta, w0, batches)
            for _ in range(3):
                known.estimate(batches.draw(), theta, w1)
            if inner is problem.inner:  # dealt anew, the memory stays
                batches.parts[:] = np.array_split(np.arange(inner.n_rows), count)
            found.append(known.estimate(k, theta, w)[0])
        grad = problem.inner.at(theta, w).grad
        np.testing.assert_allclose(np.mean(found, axis=0), grad, atol=1e-12)
        assert np.std(found, axis=0).max() > 1e-3


def test_saga_converges_linearly():
    """The squared distance shrinks by a similar factor in every ten passes."""
    problem, theta = draw("logistic")
    exact = solve(Newton(), problem.inner, theta, problem.w0, accuracy=1e-14)
    errors = [
        np.linalg.norm(
            solve(
                SAGA(batch_size=4, n_passes=float(passes)),
                problem.inner,
                theta,
                problem.w0,
            ).w
            - exact.w
        )
        for passes in range(20, 121, 20)
    ]
    ratios = [after / before for before, after in pairwise(errors)]
    assert max(ratios) < 0.7
    assert max(ratios) < 3 * min(ratios)


def test_saga_keeps_one_number_per_row_task_and_target(case):
    """And a slot of p numbers per batch where rows have no codes."""
    problem, theta = case
    rows = problem.inner.take(np.arange(2)).rows
    at = theta, problem.w0
    known = memory_of(problem.inner, *at, batches_of(problem.inner, 5)[0])
    tasks, targets = rows.scale.shape[1], rows.y.shape[-1]
    assert known.memory.size == problem.inner.n_rows * tasks * targets
    functions = plain(problem.inner)
    slots = memory_of(functions, *at, batches_of(functions, 5)[0])
    assert slots.memory.shape == (-(-problem.inner.n_rows // 5), len(problem.w0))
    np.testing.assert_allclose(known.whole(*at)[0], slots.whole(*at)[0], atol=1e-12)


def test_saga_goes_on_from_its_memory():
    """No pass to fill it, and the caller's copy stays what it was."""
    problem, theta = draw("logistic")
    first = solve(SAGA(8, batch_size=8, n_passes=5.0), problem.inner, theta, problem.w0)
    codes = first.memory[0].copy()
    moved = theta + 0.1
    counting, ledger = counted(problem)
    done = SAGA(batch_size=8, n_passes=3.0).solve(
        counting.inner,
        moved,
        first.w,
        threshold=0.0,
        rng=np.random.default_rng(0),
        memory=first.memory,
    )
    assert ledger.rows / problem.inner.n_rows == pytest.approx(3.0, abs=0.3)
    np.testing.assert_array_equal(first.memory[0], codes)
    assert not np.array_equal(done.memory[0], codes)


# --- batches, their metric, what is read


def test_every_epoch_deals_every_row_once():
    """In sizes that differ by at most one."""
    batches = Batches(23, count_batches(23, 5), np.random.default_rng(0))
    assert len(batches) == 5
    epochs = [[batches.parts[batches.draw()] for _ in range(5)] for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(23))
        assert {len(rows) for rows in epoch} == {4, 5}
    assert not np.array_equal(*[np.concatenate(epoch) for epoch in epochs])


def test_norms_of_rows_are_those_of_pushed_units(case):
    """Centred, scaled, swept or sparse."""
    problem, _ = case
    rows = problem.inner.rows.rows
    K, p = rows.scale.shape[1], len(problem.w0) // rows.scale.shape[1]
    p //= rows.y.shape[-1]
    dense = [rows.block.push(np.repeat(e[None, :, None], K, 0)) for e in np.eye(p)]
    expected = (np.stack(dense)[..., 0] ** 2).sum(axis=0)
    got = np.broadcast_to(squared_norms(rows.block), expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_metric_of_batches_bounds_their_expected_smoothness(case, size):
    """``E |M_b^-1/2 grad_S(x) - ..|^2 <= 2 D(x, y)`` over many batches; M at n rows."""
    problem, theta = case
    inner, n = problem.inner, problem.inner.n_rows
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, len(problem.w0)))
    M = batch_metric(inner, theta, x, Batches(n, count_batches(n, size), rng))
    if size > n:
        np.testing.assert_array_equal(M, metric_of(inner, theta, x))
        return
    grads = []
    for _ in range(40):
        for rows in np.split(rng.permutation(n)[: n - n % size], n // size):
            part = inner.take(rows)
            grads.append(part.at(theta, x).grad - part.at(theta, y).grad)
    mean = np.mean([(g * g / M).sum() for g in grads])
    at_y = inner.at(theta, y)
    gap = inner.at(theta, x).value - at_y.value - at_y.grad @ (x - y)
    assert mean <= 2 * gap


def test_metric_for_every_batch_bounds_nearly_all(case):
    """Largest eigenvalues of batches in its units; those of M alone are above 1."""
    problem, theta = case
    rng = np.random.default_rng(0)
    w = np.zeros(len(problem.w0))
    n = problem.inner.n_rows
    batches = Batches(n, count_batches(n, 8), rng)
    M = batch_metric(problem.inner, theta, w, batches, every=True)
    plain_metric = metric_of(problem.inner, theta, w)
    above = {"batch": [], "all": []}
    for _ in range(60):
        rows = rng.choice(problem.inner.n_rows, 8, replace=False)
        point = problem.inner.take(rows).at(theta, w)
        H = np.stack([point.hvp(e) for e in np.eye(len(w))])
        for name, metric in (("batch", M), ("all", plain_metric)):
            root = np.sqrt(metric)
            above[name].append(np.linalg.eigvalsh(H / root[:, None] / root)[-1] > 1.0)
    assert np.mean(above["batch"]) <= 0.02
    assert np.mean(above["all"]) > 0.1


@pytest.mark.parametrize("solver", [SRKCD(4, batch_size=8), SRKCD(4, batch_size=16)])
def test_all_stages_use_one_batch(solver):
    """s gradients of every batch, and each row in s of them per epoch."""
    problem, theta = draw("ridge")
    taken = []

    class Watched:
        def __init__(self, inner):
            self.inner = inner

        def take(self, rows):
            taken.append(rows)
            return self.inner.take(rows)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    counting, ledger = counted(problem)
    solver = replace(solver, n_passes=8.0)
    done = solve(solver, Watched(counting.inner), theta, problem.w0)
    n, count = problem.inner.n_rows, len(taken)
    assert done.n_iter == count == 2 * -(-n // solver.batch_size)
    half = count // 2
    for epoch in (taken[:half], taken[half:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(n))
    # One gradient is that of `solve`, which scales the threshold.
    assert ledger.total.n_grad == 1 + 4 * count


PASSES = [
    (AISARAH(batch_size=8), 0.8),
    (AISARAH(batch_size=8, metric=False), 0.8),
    (SAGA(batch_size=8), 0.2),
    (SRKCD(3), 3.0),
    (SRKCD(3, batch_size=8), 0.6),
]


@pytest.mark.parametrize(("solver", "slack"), PASSES)
def test_budgets_are_passes(solver, slack):
    """What the ledger counts is what was allowed, up to one step."""
    problem, theta = draw("logistic")
    for name in ("n_passes", "max_passes"):
        counting, ledger = counted(problem)
        done = replace(solver, **{name: 12.0}).solve(
            counting.inner,
            theta,
            problem.w0,
            threshold=1e-14,
            rng=np.random.default_rng(0),
        )
        spent = ledger.rows / problem.inner.n_rows
        assert 12.0 - slack <= spent <= 12.0 + slack + 1.0
        assert done.converged == (name == "n_passes")


@pytest.mark.parametrize("name", SOLVERS)
def test_results_depend_on_the_seed_alone(name):
    """Two runs of one seed are equal to the last bit; those of two seeds are not."""
    problem, theta = draw("logistic")
    solver = replace(SOLVERS[name], n_passes=10.0)
    first, second, other = (
        solve(solver, problem.inner, theta, problem.w0, seed=seed).w
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert np.array_equal(first, other) == name.startswith("srkcd")


@pytest.mark.parametrize("name", ["ai-sarah", "saga", "srkcd"])
def test_double_loop_tunes_with_them(oracle_case, name):
    """The whole search, warm starts included, ends where that of Newton does."""
    values = []
    for inner in (Newton(), SOLVERS[name]):
        loop = DoubleLoop(inner, ImplicitGradient(), LBFGSB())
        found = minimize_bilevel(oracle_case.problem, loop, tol=1e-4, max_iter=100)
        values.append(found.value)
    start = oracle_case.value(oracle_case.theta)
    assert values[0] < start
    assert abs(values[1] - values[0]) <= 0.02 * (start - values[0])
