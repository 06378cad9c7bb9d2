"""Tasks of linear models as oracles: derivatives, batches, codes of rows."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    BilevelProblem,
    ByTarget,
    Centered,
    FeatureStrengths,
    InnerOracles,
    LogisticLoss,
    SmoothPenalty,
    SoftmaxLoss,
    as_design,
    linear_oracles,
    moments_of,
    quadratic_task,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.problems._row_reader import RowReader
from skbilevel.problems._smoothness import squared_norms
from skbilevel.solvers import (
    LBFGSB,
    Cholesky,
    Dual,
    Implicit,
    Nested,
    NewtonCholesky,
    minimize_bilevel,
)

V_MIN, V_MAX = 1e-4, 1e2
KINDS = ["ridge", "ridge-sparse", "moments", "hold-out", "logistic", "softmax", "own"]


def strengths(p):
    """Strengths as logarithms on a box that removes nothing."""
    return FeatureStrengths(p, V_MIN)


def folds(n, k):
    """Three folds, or a single hold-out."""
    label = np.arange(n) % 3
    return [(np.flatnonzero(label != i), np.flatnonzero(label == i)) for i in range(k)]


def make_problem(kind, seed=0):
    """Tasks of one kind and the solver that is exact on them."""
    rng = np.random.default_rng(seed)
    n, p = 45, 6
    X = rng.standard_normal((n, p)) * np.linspace(0.5, 2.0, p) + 0.3
    weight = rng.uniform(0.5, 2.0, n)
    weight[3] = 0.0
    signal = X[:, :2] @ np.array([1.0, -1.0])
    shared = strengths(p)
    pairs = folds(n, 1 if kind == "hold-out" else 3)
    if kind in ("ridge", "ridge-sparse", "moments", "hold-out"):
        if kind == "ridge-sparse":
            X = sparse.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0.0))
        y = (signal + rng.standard_normal(n))[:, None]
        y = np.hstack([y, -(y**2)])
        design = Centered(as_design(X), np.full(p, 0.1), np.linspace(1.0, 2.0, p))
        free = np.column_stack([np.ones(n), rng.standard_normal(n)])
        tasks = [rows_task(design, y, weight, a, b, free) for a, b in pairs]
        solver = Nested(Dual(), Implicit(), LBFGSB())
        if kind == "moments":
            both = [(moments_of(t.inner), moments_of(t.outer)) for t in tasks]
            tasks = [quadratic_task(*pair, float(weight.sum())) for pair in both]
            solver = Nested(Cholesky(), Implicit(), LBFGSB())
    else:
        loss = LogisticLoss() if kind == "logistic" else SoftmaxLoss()
        if kind == "logistic":
            y = (signal + rng.logistic(size=n) > 0)[:, None].astype(float)
        else:
            scores = np.column_stack([signal, -signal, 0.0 * signal])
            y = np.eye(3)[(scores + rng.gumbel(size=(n, 3))).argmax(axis=1)]
        if kind == "own":
            shared = ByTarget(strengths(3 * p), 3)
        free, offset = np.ones((n, 1)), 0.2 * rng.standard_normal(y.shape)
        made = GLMTasks(as_design(X), y, weight, loss, loss, free, offset)
        tasks = [made.fold(a, b) for a, b in pairs]
        solver = Nested(NewtonCholesky(), Implicit(), LBFGSB())
    bounds = shared.bounds(V_MIN, V_MAX)
    problem = BilevelProblem(tuple(tasks), shared, bounds, SmoothPenalty(0.01))
    return problem, solver


def start_of(problem, seed=1):
    """Any theta inside the box."""
    low, high = problem.bounds
    return low + (0.3 + 0.4 * np.random.default_rng(seed).random(len(low))) * (
        high - low
    )


def slope(function, x, direction, eps=1e-6):
    """Central difference."""
    return (function(x + eps * direction) - function(x - eps * direction)) / (2 * eps)


@pytest.fixture(params=KINDS)
def case(request):
    """Oracles, a theta, and two directions."""
    problem, solver = make_problem(request.param)
    theta = start_of(problem)
    oracles = linear_oracles(problem.stacked(), theta)
    rng = np.random.default_rng(2)
    w, d = 0.3 * rng.standard_normal((2, len(oracles.w0)))
    return problem, solver, oracles, theta, w, d


def test_derivatives_are_those_of_the_values(case):
    """Gradient, Hessian product, cross product and third derivative."""
    _, _, oracles, theta, w, d = case
    inner, outer = oracles.inner, oracles.outer
    point = inner.at(theta, w)
    assert point.grad @ d == pytest.approx(
        slope(lambda x: inner.at(theta, x).value, w, d), rel=1e-6
    )
    np.testing.assert_allclose(
        point.hvp(d),
        slope(lambda x: inner.at(theta, x).grad, w, d),
        rtol=1e-5,
        atol=1e-7,
    )
    e = np.random.default_rng(3).standard_normal(len(theta))
    assert point.cross(d) @ e == pytest.approx(
        slope(lambda t: inner.at(t, w).grad @ d, theta, e), rel=1e-6
    )
    assert outer.at(theta, w).grad @ d == pytest.approx(
        slope(lambda x: outer.at(theta, x).value, w, d), rel=1e-6
    )
    assert outer.at(theta, w).grad_theta @ e == pytest.approx(
        slope(lambda t: outer.at(t, w).value, theta, e), rel=1e-6
    )
    if "third_derivative" in inner.provides:
        assert point.third(d) == pytest.approx(
            slope(lambda x: d @ inner.at(theta, x).hvp(d), w, d), rel=1e-5, abs=1e-8
        )


def test_smoothness_bounds_the_hessian(case):
    """``g_ww <= diag(M)``, and not by much for a quadratic loss."""
    _, _, oracles, theta, w, _ = case
    M = np.broadcast_to(oracles.inner.smoothness(theta), w.shape)
    point = oracles.inner.at(theta, w)
    H = np.stack([point.hvp(e) for e in np.eye(len(w))])
    scaled = H / np.sqrt(M[:, None] * M)
    assert np.linalg.eigvalsh(scaled)[-1] <= 1.0


def test_batches_average_to_the_whole(case):
    """All oracles of batches of equal size, and everything that codes tell."""
    _, _, oracles, theta, w, d = case
    if "row_batches" not in oracles.provides:
        assert oracles.inner.n_rows == 0
        return
    for level in (oracles.inner, oracles.outer):
        n = level.n_rows
        size = next(b for b in (4, 3, 2, 1) if n % b == 0)
        parts = np.random.default_rng(0).permutation(n).reshape(-1, size)
        whole = level.at(theta, w)
        each = [level.take(rows) for rows in parts]
        at = [part.at(theta, w) for part in each]
        assert np.mean([p.value for p in at]) == pytest.approx(whole.value)
        np.testing.assert_allclose(
            np.mean([p.grad for p in at], axis=0), whole.grad, atol=1e-12
        )
        exact = level.rows.exact(theta, w, d)
        totals = [
            np.mean(parts_, axis=0) + more
            for parts_, more in zip(
                zip(*[p.assemble(p.codes(theta, w, d)) for p in each], strict=True),
                exact,
                strict=True,
            )
        ]
        if level is oracles.inner:
            expected = (whole.grad, whole.hvp(d), whole.cross(d))
            np.testing.assert_allclose(
                np.mean([p.hvp(d) for p in at], axis=0), whole.hvp(d), atol=1e-12
            )
            assert np.mean([p.third(d) for p in at]) == pytest.approx(whole.third(d))
        else:
            expected = (whole.grad, whole.grad_theta)
        for got, wanted in zip(totals, expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_oracles_and_tasks_have_one_minimum(case):
    """Value and gradient agree with the solver that works on variances."""
    problem, solver, _, theta, _, _ = case
    exact = solver.evaluate(
        problem.stacked() if solver.inner.requires & {"quadratic"} else problem,
        theta,
        tol=1e-12,
    )
    result = minimize_bilevel(problem, "newton", theta0=theta, max_iter=1, tol=1e9)
    assert result.value == pytest.approx(exact.value, rel=1e-9)
    full = minimize_bilevel(problem, "newton", theta0=theta, tol=1e-7, max_iter=300)
    reference = minimize_bilevel(problem, solver, theta0=theta, tol=1e-7, max_iter=300)
    assert full.value == pytest.approx(reference.value, rel=1e-6)


def test_a_box_with_removed_features_is_refused():
    """Infinite strengths are for solvers that work on variances."""
    problem, _ = make_problem("ridge")
    low, high = problem.bounds
    open_box = BilevelProblem(problem.tasks, problem.parametrization, (low - 5, high))
    with pytest.raises(ValueError, match="variances of zero"):
        linear_oracles(open_box, high)


def test_tasks_with_rows_of_their_own_have_no_batches():
    """Folds with features of their own: a batch would be one of the first fold's."""
    rng = np.random.default_rng(0)
    y, weight = rng.standard_normal((30, 1)), np.ones(30)
    tasks = tuple(
        rows_task(as_design(rng.standard_normal((30, 4))), y, weight, *pair)
        for pair in folds(30, 2)
    )
    shared = FeatureStrengths(4)
    problem = BilevelProblem(tasks, shared, shared.bounds(V_MIN, V_MAX))
    oracles = linear_oracles(problem.stacked(), np.ones(4))
    assert "row_batches" not in oracles.provides
    assert oracles.inner.n_rows == oracles.outer.n_rows == 0
    with pytest.raises(ValueError, match="mean over rows"):
        minimize_bilevel(problem, "soba", theta0=np.ones(4))


def test_norms_of_single_precision_rows_far_from_zero():
    """Squares of columns at 1e4 and those of their means cancel in double precision."""
    rng = np.random.default_rng(0)
    X = (1e4 + rng.standard_normal((30, 3))).astype(np.float32)
    mean = X.astype(float).mean(axis=0)
    block = RowReader(Centered(as_design(X), mean, np.ones(3))).read(np.arange(30))
    expected = ((X.astype(float) - mean) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_norms(block)[:, 0], expected, rtol=1e-6)


def test_rows_of_rows():
    """Taking twice is taking the rows of what was taken."""
    seen = []
    inner = InnerOracles(
        lambda t, w, rows=None: 0.0 if rows is None else float(seen.append(rows) or 1),
        *[lambda *args, rows=None: np.zeros(1)] * 3,
        n_rows=9,
    )
    part = inner.take(np.array([2, 4, 6])).take(np.array([0, 2]))
    assert part.at(np.zeros(1), np.zeros(1)).value == 1.0
    np.testing.assert_array_equal(seen[0], [2, 6])
    assert part.n_rows == 2
