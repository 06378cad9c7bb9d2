"""Stochastic solvers: unbiased directions, memories, steps, limits and counts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    BilevelProblem,
    Centered,
    FeatureStrengths,
    InnerOracles,
    LogisticLoss,
    OracleProblem,
    OuterOracles,
    SoftmaxLoss,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers import Status, minimize_bilevel
from skbilevel.solvers._batch_metric import default_batch_size
from skbilevel.solvers._batches import Batches, Fresh, Remembered
from skbilevel.solvers.stochastic import SABA, SOBA, AmigoSGD
from skbilevel.solvers.stochastic._run import StochasticRun
from skbilevel.solvers.stochastic._schedule import OuterSteps
from skbilevel.solvers.stochastic._soba import directions

KINDS = ["hold-out", "folds", "sparse", "logistic", "softmax", "plain"]


def linear_problem(kind, n=240, p=5, seed=0, shift=0.0, units=1.0, reach=4.0):
    """Strengths of a linear model; ``shift`` moves the columns, ``units`` scales y."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(0.5, 1.5, p) + shift
    eta = (X[:, :2] - shift) @ np.array([1.0, -0.5])
    folds = 3 if kind in ("folds", "sparse", "softmax") else 1
    label = rng.permutation(n) % max(folds, 2)
    pairs = [
        (np.flatnonzero(label != i), np.flatnonzero(label == i)) for i in range(folds)
    ]
    weight = rng.uniform(0.5, 1.5, n)
    free = np.ones((n, 1))
    if kind in ("hold-out", "folds", "sparse"):
        if kind == "sparse":
            X = sparse.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0.0))
        y = units * (eta + rng.standard_normal(n))[:, None]
        design = Centered(as_design(X), np.full(p, shift), np.linspace(1.0, 2.0, p))
        tasks = [rows_task(design, y, weight, a, b, free) for a, b in pairs]
    else:
        loss = SoftmaxLoss() if kind == "softmax" else LogisticLoss()
        y = (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
        if kind == "softmax":
            scores = np.column_stack([eta, -eta, 0.0 * eta]) + rng.gumbel(size=(n, 3))
            y = np.eye(3)[scores.argmax(axis=1)]
        made = GLMTasks(as_design(X), y, weight, loss, loss, np.zeros((n, 0)))
        tasks = [made.fold(a, b) for a, b in pairs]
    v0 = np.exp(-reach) * 2.0 / n
    shared = FeatureStrengths(p, v0)
    bounds = shared.bounds(v0, v0 * np.exp(2 * reach))
    problem = BilevelProblem(tuple(tasks), shared, bounds).stacked()
    return linear_oracles(problem, np.full(p, 1.0 + reach))


def plain_problem(n=90, p=4, seed=0):
    """The same kind of problem as functions of a user, without a smoothness."""
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, n, p))
    a, b = A[:, 0] + rng.standard_normal(n), B[:, 0] + rng.standard_normal(n)

    def cut(X, y, rows):
        return (X, y) if rows is None else (X[rows], y[rows])

    def inner_value(t, w, rows=None):
        X, y = cut(A, a, rows)
        return 0.5 * np.mean((X @ w - y) ** 2) + 0.5 * np.exp(t) @ w**2

    def inner_grad(t, w, rows=None):
        X, y = cut(A, a, rows)
        return X.T @ (X @ w - y) / len(y) + np.exp(t) * w

    def hvp(t, w, d, rows=None):
        X, y = cut(A, a, rows)
        return X.T @ (X @ d) / len(y) + np.exp(t) * d

    def outer_value(t, w, rows=None):
        X, y = cut(B, b, rows)
        return 0.5 * np.mean((X @ w - y) ** 2) + 0.01 * t @ t

    def outer_grad(t, w, rows=None):
        X, y = cut(B, b, rows)
        return X.T @ (X @ w - y) / len(y)

    return OracleProblem(
        InnerOracles(
            inner_value,
            inner_grad,
            hvp,
            lambda t, w, d, rows=None: np.exp(t) * w * d,
            n_rows=n,
        ),
        OuterOracles(outer_value, outer_grad, lambda t, w, rows=None: 0.02 * t, n),
        np.zeros(p),
        np.full(p, -1.0),
        (-6.0, 3.0),
    )


def draw_problem(kind):
    """Any of them."""
    return plain_problem() if kind == "plain" else linear_problem(kind)


def run_of(problem, batch_size, seed=0):
    """A run at a point where nothing is zero."""
    rule = OuterSteps(0.5, 0.0, 1, False)
    run = StochasticRun(problem, problem.theta0, batch_size, rule, seed)
    rng = np.random.default_rng(1)
    run.w = 0.3 * rng.standard_normal(run.w.shape)
    run.q = 0.3 * rng.standard_normal(run.q.shape)
    return run


def exact_directions(run):
    """From all rows."""
    inner = run.problem.inner.at(run.theta, run.w)
    outer = run.problem.outer.at(run.theta, run.w)
    D_theta = outer.grad_theta - inner.cross(run.q)
    return inner.grad, inner.hvp(run.q) - outer.grad, D_theta


def mean_direction(run, make):
    """Mean over all pairs of batches; both estimators are new for each of them."""
    pairs = [
        (i, j)
        for i in range(len(run.inner.batches))
        for j in range(len(run.outer.batches))
    ]
    each = [directions(run, make(), i, j) for i, j in pairs]
    return [np.mean(parts, axis=0) for parts in zip(*each, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 40])
def test_directions_are_unbiased(kind, size):
    """Exhaustive averages over all pairs of batches, of unequal sizes, and of rows."""
    problem = draw_problem(kind)
    if size == 1:  # all pairs of single rows of a small problem
        problem = plain_problem(12) if kind == "plain" else linear_problem(kind, n=24)
    run = run_of(problem, size)
    assert size != 7 or len({len(part) for part in run.inner.batches.parts}) == 2

    def fresh():
        return Fresh(run.inner), Fresh(run.outer)

    for got, wanted in zip(
        mean_direction(run, fresh), exact_directions(run), strict=True
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    if size == 7 and kind in ("folds", "plain"):
        return  # a memory for every pair takes long

    def old():
        at = run.theta + 0.3, 0.5 * run.w - 0.1, 0.2 * run.q
        return Remembered(run.inner, *at), Remembered(run.outer, *at)

    first = old()  # estimates of single batches are linear: vary one level at a time
    n, m = len(run.inner.batches), len(run.outer.batches)
    state = [(e.memory.copy(), e.mean) for e in first]

    def restored():
        for e, (memory, mean) in zip(first, state, strict=True):
            e.memory[:], e.mean = memory, mean
        return first

    each = [directions(run, restored(), i, j) for i in range(n) for j in range(m)]
    got = [np.mean(parts, axis=0) for parts in zip(*each, strict=True)]
    for mean, wanted in zip(got, exact_directions(run), strict=True):
        np.testing.assert_allclose(mean, wanted, atol=1e-12)
    # A memory is no use if it is not the old point's: single directions do vary.
    assert np.std([e[0] for e in each], axis=0).max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_of_the_point_leaves_no_noise(kind):
    """At a fixed point all directions are those of all rows."""
    run = run_of(draw_problem(kind), 7)
    at = run.theta, run.w, run.q
    pair = Remembered(run.inner, *at), Remembered(run.outer, *at)
    wanted = exact_directions(run)
    for i in range(min(len(run.inner.batches), 6)):
        for got, exact in zip(directions(run, pair, i, 0), wanted, strict=True):
            np.testing.assert_allclose(got, exact, atol=1e-12)


def test_the_mean_of_a_memory_rolls_along():
    """After many changes it is still the mean of what is remembered."""
    run = run_of(linear_problem("logistic"), 7)
    memory = Remembered(run.inner, run.theta, run.w, run.q)
    rng = np.random.default_rng(0)
    for _ in range(60):
        w, q = rng.standard_normal((2, len(run.w)))
        memory.estimate(run.inner.batches.draw(), run.theta, w, q)
    parts = run.inner._ordered.assemble(memory.memory)
    for rolled, wanted in zip(memory.mean, parts, strict=True):
        np.testing.assert_allclose(rolled, wanted, atol=1e-12)


def test_memory_is_two_numbers_inside_and_one_outside():
    """2 n + m for one task; a line per batch for a user's functions."""
    problem = linear_problem("logistic")
    run = run_of(problem, 7)
    at = run.theta, run.w, run.q
    n, m = problem.inner.n_rows, problem.outer.n_rows
    sizes = [Remembered(level, *at).memory.size for level in (run.inner, run.outer)]
    assert sum(sizes) == 2 * n + m
    run = run_of(plain_problem(), 9)
    at = run.theta, run.w, run.q
    sizes = [Remembered(level, *at).memory.size for level in (run.inner, run.outer)]
    assert sizes == [10 * (4 + 4 + 4), 10 * (4 + 4)]


@pytest.mark.parametrize("kind", ["hold-out", "logistic", "plain"])
def test_full_batches_are_the_deterministic_flow(kind):
    """SOBA on one batch of all rows, against its three lines."""
    problem = draw_problem(kind)
    n = problem.inner.n_rows + problem.outer.n_rows
    seen = []
    # Where the metric has to be measured, that takes passes, too.
    passes = 6.4 if "smoothness" in problem.inner.provides else 60.0
    solver = SOBA(
        step=0.7,
        reach=0.3,
        decay=(0.0, 0.0),
        batch_size=n,
        max_passes=passes,
        warm_up=1,
        evaluate=False,
        record_every=1,
    )
    result = solver.solve_oracles(
        problem, problem.theta0, on_iter=lambda info: seen.append(info.theta)
    )
    rule = OuterSteps(0.3, 0.0, 1, False)
    run = run_of(problem, n)
    run.w, run.q = np.zeros_like(run.w), np.zeros_like(run.q)
    for theta in seen:
        D_w, D_q, D_theta = exact_directions(run)
        M = run.metric.at(run.theta, run.w)
        before = run.theta
        if "smoothness" in problem.inner.provides:
            np.testing.assert_allclose(M, problem.inner.smoothness(run.theta))
        run.w, run.q = run.w - 0.7 * D_w / M, run.q - 0.7 * D_q / M
        run.theta = np.clip(run.theta - rule.step(D_theta, 1.0), *problem.box)
        rule.after_pass(before, D_theta)
        np.testing.assert_allclose(run.theta, theta, rtol=1e-9)
    np.testing.assert_allclose(run.w, result.w, rtol=1e-9)
    assert np.ptp(seen, axis=0).max() > 0.1


def gap(problem, solver, best, **options):
    """F(theta) - F* relative to F(theta0) - F*, and the result."""
    result = minimize_bilevel(problem, solver, final_tol=1e-10, **options)
    start = minimize_bilevel(problem, "newton", tol=1e9, max_iter=1)
    return (result.value - best) / (start.value - best), result


@pytest.mark.parametrize("kind", ["hold-out", "logistic", "folds"])
def test_saba_converges_linearly_and_soba_does_not(kind):
    """Below 1e-6 of F(start) - F(best); SOBA with the same budget stays above."""
    problem = linear_problem(kind)
    best = minimize_bilevel(problem, "newton", tol=1e-8, max_iter=500).value
    short, _ = gap(problem, SABA(batch_size=8, max_passes=40), best, tol=0.0)
    saba, result = gap(problem, SABA(batch_size=8, max_passes=110), best, tol=1e-6)
    soba, _ = gap(problem, SOBA(batch_size=8, max_passes=110), best, tol=1e-6)
    assert saba < 1e-6
    assert short > saba
    assert soba > 10 * max(saba, 1e-9)
    assert soba < 0.5
    assert result.status in (Status.CONVERGED, Status.BUDGET)
    if result.status is Status.CONVERGED:
        assert (
            result.history["grad_norm"][-1] < 1e-5 * result.history["grad_norm"].max()
        )


@pytest.mark.parametrize("solver", [SABA(), SOBA(), AmigoSGD()])
@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_improves_every_problem(kind, solver):
    """With its own settings and a small budget."""
    problem = draw_problem(kind)
    best = minimize_bilevel(problem, "newton", tol=1e-6, max_iter=300).value
    reached, result = gap(problem, replace(solver, max_passes=60), best, tol=1e-4)
    assert reached < 0.6
    assert result.message
    low, high = problem.box
    assert ((result.theta >= low) & (result.theta <= high)).all()


@pytest.mark.parametrize("adapt", [False, True])
def test_components_without_a_slope_do_no_harm(adapt):
    """A zero direction, then a constant one, for thousands of passes."""
    rule = OuterSteps(0.5, None if adapt else 0.5, 1, False)
    theta = np.zeros(3)
    rule.after_pass(theta, np.zeros(3))
    assert (rule.step(np.ones(3), 1.0) == 0.0).all()
    for _ in range(3000):
        D = np.array([0.0, 1e-3, theta[2] - 1.0])
        before, theta = theta, theta - rule.step(D, 1.0)
        rule.after_pass(before, D)
    assert np.isfinite(rule.gamma).all()
    assert theta[0] == 0.0
    assert theta[1] < -5.0
    assert theta[2] == pytest.approx(1.0, abs=1e-6 if adapt else 0.1)


@pytest.mark.parametrize("solver", [SABA, SOBA])
def test_units_and_shifts_do_not_matter(solver):
    """X ~ N(100, 1) behind a centred design, and targets in millions."""
    tuned = solver(batch_size=8, max_passes=30)
    base = minimize_bilevel(linear_problem("hold-out"), tuned)
    moved = minimize_bilevel(linear_problem("hold-out", shift=100.0), tuned)
    scaled = minimize_bilevel(linear_problem("hold-out", units=1e6), tuned)
    np.testing.assert_allclose(moved.theta, base.theta, atol=1e-4)
    np.testing.assert_allclose(scaled.theta, base.theta, atol=1e-6)
    assert np.ptp(base.theta) > 0.5


def test_strong_strengths_do_not_blow_up():
    """q and w stay finite where theta wanders through a box of 24 units."""
    problem = linear_problem("hold-out", reach=12.0)
    for solver in (SOBA, SABA, AmigoSGD):
        rough = solver(batch_size=1, max_passes=12, reach=6.0)
        result = rough.solve_oracles(problem, problem.theta0)
        assert np.isfinite(result.w).all()
        assert np.isfinite(result.history["grad_norm"]).all()
        size = np.abs(minimize_bilevel(problem, "newton").w).max()
        assert np.abs(result.w).max() < 10 * size


def test_random_state_decides():
    """The same numbers with the same seed, others with another."""
    problem = linear_problem("logistic")
    solver = SABA(max_passes=8)
    one, two = (
        solver.solve_oracles(problem, problem.theta0, random_state=3) for _ in range(2)
    )
    other = solver.solve_oracles(problem, problem.theta0, random_state=4)
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.w, two.w)
    assert (one.w != other.w).any()


def test_batches_are_a_partition_in_every_epoch():
    """Every row once, in a new order, and weights that average to one."""
    batches = Batches(53, 6, np.random.default_rng(0), fixed=True)
    epochs = [[batches.draw() for _ in range(6)] for _ in range(4)]
    for epoch in epochs:
        rows = np.concatenate([batches.parts[k] for k in epoch])
        np.testing.assert_array_equal(np.sort(rows), np.arange(53))
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert np.mean(batches.weights) == pytest.approx(1.0)
    assert {len(part) for part in batches.parts} == {8, 9}


def test_batch_sizes_follow_from_bytes_and_curvature():
    """Two megabytes, or eight times L_max / L, whichever is less; within limits."""
    assert default_batch_size(10**6, 200) == (1 << 21) // 1600
    assert default_batch_size(10**6, 200, critical=20.0) == 160
    assert default_batch_size(10**5, 20) == 10**5 // 256
    assert default_batch_size(10**6, 10**5) == 64
    assert default_batch_size(80, 3) == 10
    assert default_batch_size(3, 3) == 1


@pytest.mark.parametrize("kind", ["logistic", "plain"])
def test_counts_are_those_of_the_passes(kind):
    """A pass reads every row of both levels once; the memory takes one more."""
    problem = draw_problem(kind)
    first = SABA(batch_size=9, max_passes=1e-9, evaluate=False)
    start = first.solve_oracles(problem, problem.theta0).counts
    more = replace(first, max_passes=start.passes + 3.9)
    counts = more.solve_oracles(problem, problem.theta0).counts
    n, m = problem.inner.n_rows, problem.outer.n_rows
    batches = len(run_of(problem, 9).inner.batches)
    # Functions of a user read the inner rows for gradient, product and cross product.
    per_pass = 1.0 if kind == "logistic" else (3 * n + m) / (n + m)
    steps = (counts.passes - start.passes) / (per_pass / batches)
    assert steps == pytest.approx(round(steps), abs=0.2)
    assert counts.n_grad - start.n_grad == 2 * round(steps)
    assert counts.n_hvp - start.n_hvp == round(steps)
    if kind == "logistic":  # half a reading for norms of rows, one for the memory
        assert start.passes == pytest.approx(0.5 * n / (n + m) + 1.0)


def test_history_and_callbacks():
    """Values every so many passes; True stops; NaN where none were asked for."""
    problem = linear_problem("hold-out")
    solver = SABA(max_passes=20, record_every=4)
    seen = []
    result = solver.solve_oracles(problem, problem.theta0, on_iter=seen.append)
    assert len(seen) == len(result.history["passes"])
    assert (np.diff(result.history["passes"]) >= 4).all()
    assert np.isfinite(result.history["value"]).all()
    assert result.status is Status.BUDGET
    assert "max_passes" in result.message
    stopped = replace(solver, evaluate=False).solve_oracles(
        problem, problem.theta0, on_iter=lambda info: True
    )
    assert stopped.status is Status.STOPPED
    assert len(stopped.history["value"]) == 1
    assert np.isnan(stopped.history["value"]).all()


def test_rows_are_needed():
    """One sentence for a problem that is no mean over rows."""
    problem = plain_problem()
    whole = replace(problem, inner=replace(problem.inner, n_rows=0))
    with pytest.raises(ValueError, match="mean over rows"):
        minimize_bilevel(whole, SABA())


@pytest.mark.parametrize("solver", [SOBA(warm_up=0), SABA(warm_up=0)])
def test_the_first_pass_is_always_a_warm_up(solver):
    """Step sizes are made of what it shows, so that zero means one."""
    problem = linear_problem("hold-out")
    ends = [
        replace(solver, warm_up=k, max_passes=12.0)
        .solve_oracles(problem, problem.theta0)
        .theta
        for k in (0, 1, 2)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[1] != ends[2]).any()


def test_numbers_that_make_no_sense_are_refused():
    """Steps of both kinds, and rows in a batch."""
    with pytest.raises(ValueError, match="n_linear"):
        AmigoSGD(n_linear=0)
    problem = linear_problem("hold-out")
    with pytest.raises(ValueError, match="batch_size"):
        SABA(batch_size=0).solve_oracles(problem, problem.theta0)


def test_nothing_is_read_outside_the_box():
    """Not even at the problem's own start, where the data's curvature is measured."""
    problem = linear_problem("hold-out")
    start = np.zeros_like(problem.theta0)  # no variance, infinite strengths
    outside = replace(problem, theta0=start)
    result = minimize_bilevel(outside, SABA(max_passes=5))
    low, high = problem.box
    assert ((result.theta >= low) & (result.theta <= high)).all()


@pytest.mark.parametrize("solver", [SOBA(), SABA(), AmigoSGD()])
def test_very_wide_sparse_rows(solver):
    """Words that no row has, and rows without weight: all numbers stay finite."""
    rng = np.random.default_rng(0)
    n, p = 120, 2000
    X = sparse.csr_array(rng.random((n, p)) * (rng.random((n, p)) < 0.004))
    y = np.eye(4)[rng.integers(0, 4, n)]
    weight = np.where(np.arange(n) % 7, 1.0, 0.0)
    made = GLMTasks(
        as_design(X), y, weight, SoftmaxLoss(), SoftmaxLoss(), np.ones((n, 1))
    )
    order = rng.permutation(n)
    v0 = np.exp(-4.0) * 2.0 / n
    shared = FeatureStrengths(p, v0)
    bounds = shared.bounds(v0, v0 * np.exp(8.0))
    task = made.fold(order[:60], order[60:])
    problem = linear_oracles(BilevelProblem((task,), shared, bounds), np.full(p, 5.0))
    run = replace(solver, max_passes=40.0, record_every=1.0)
    result = run.solve_oracles(problem, problem.theta0)
    for array in (result.theta, result.w, result.history["value"]):
        assert np.isfinite(array).all()
    assert (result.theta != problem.theta0).any()


def test_oracles_that_are_no_numbers_at_the_start_are_told():
    """Before theta has moved there is nothing to go back to."""
    rows = {"n_rows": 20}
    inner = InnerOracles(
        value=lambda t, w, rows: 0.5 * ((w - t) ** 2).sum(),
        grad=lambda t, w, rows: w - t,
        hvp=lambda t, w, d, rows: d,
        cross=lambda t, w, d, rows: -d,
        **rows,
    )
    outer = OuterOracles(
        lambda t, w, rows: np.nan, lambda t, w, rows: np.nan * w, **rows
    )
    problem = OracleProblem(inner, outer, np.zeros(2), np.zeros(2), (-1.0, 1.0))
    for solver in (SOBA(), SABA(), AmigoSGD()):
        with pytest.raises(ValueError, match="not finite at the start"):
            minimize_bilevel(problem, solver)
