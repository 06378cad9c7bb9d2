"""The guard of generalized linear models where n and p are both large."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import (
    Coordinates,
    MetadataMaker,
    Shape,
    column_statistics,
)
from skbilevel.model_selection._large_guard import guarded_large
from skbilevel.model_selection._large_rows import LargeProblem, is_large_glm
from skbilevel.model_selection._large_search import (
    HoldOut,
    MetadataSearch,
    shared_path,
)
from skbilevel.model_selection._large_tuning import LargeTuning
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    Headed,
    LogisticLoss,
    PoissonLoss,
    RowsDataFit,
    SoftmaxLoss,
    Task,
    as_design,
)
from skbilevel.problems._moments import AugmentedRows
from skbilevel.solvers import LBFGSB
from skbilevel.solvers.inner import NewtonCG

N, P, T = 240, 500, 3
# Words of the middle end here.
LAST = 60
NATS = Averaging(temperature=1.0, doubt=1.0, nats=True)
EXACT = NewtonCG(max_newton=50, max_cg=500, max_adjoint=1000)
LOSSES = {"binary": LogisticLoss(), "softmax": SoftmaxLoss(), "counts": PoissonLoss()}


def _text(n, seed, n_words=P):
    """Counts of words with natural frequencies, rows of unit length, and classes.

    Words of the middle lean to one class each; common and rare ones to none.
    """
    rng = np.random.default_rng(seed)
    lean = np.random.default_rng(99).integers(0, T, n_words)
    base = 1.0 / np.arange(4.0, n_words + 4.0)
    labels = rng.integers(0, T, n)
    X = np.zeros((n, n_words))
    middle = (np.arange(n_words) >= 10) & (np.arange(n_words) < LAST)
    for i, label in enumerate(labels):
        share = base * np.where(middle & (lean == label), 2.0, 1.0)
        X[i] = rng.multinomial(60, share / share.sum())
    X = np.log1p(X)
    return sparse.csr_array(X / np.linalg.norm(X, axis=1, keepdims=True)), labels


def _rows(name="softmax", free=(), weight=None, X=None, labels=None):
    if X is None:
        X, labels = _text(N, 0)
    y = {
        "binary": (labels == 0).astype(float)[:, None],
        "softmax": np.eye(T)[labels],
        "counts": np.random.default_rng(0).poisson(1.0 + 3.0 * (labels == 0))[:, None],
    }[name]
    n, p = X.shape
    free = np.array(free, dtype=int)
    weight = np.ones(n) if weight is None else weight
    rest = np.setdiff1d(np.arange(p), free)
    zero = np.zeros(p), np.zeros(y.shape[1])
    return AugmentedRows(X, y, weight, free, rest, True, *zero)


class Precise(LargeProblem):
    """Differences need double precision."""

    @property
    def fast(self):
        return self.design


def _problem(name="softmax", kind=LargeProblem, **options):
    rows = _rows(name, **options)
    return kind.of(rows, LOSSES[name], LOSSES[name], None)


def _plan(n, seed=0, k=3):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % k)

    def make(rows):
        order = rng.permutation(rows)
        cut = len(order) // 4
        pair = (np.sort(order[cut:]), np.sort(order[:cut]))
        return TrainingSet(rows, [pair], None)

    everything = np.arange(n)
    outer = [make(np.flatnonzero(label != j)) for j in range(k)]
    held_out = [np.flatnonzero(label == j) for j in range(k)]
    return NestedPlan(make(everything), outer, held_out, None, everything)


def _guarded(name="softmax", plan=None, budget=None, rows=None, **options):
    rows = _rows(name) if rows is None else rows
    plan = _plan(rows.n_rows) if plan is None else plan
    loss = LOSSES[name]
    budget = budget or LargeBudget(scored_rows=60)
    by_target = options.pop("by_target", False)
    terms = GuardTerms(RowViews(rows), plan, NATS, **options)
    return guarded_large(terms, loss, loss, None, budget, by_target)


def _loss(rows, loss, coef):
    eta = rows.predict(np.arange(rows.n_rows), coef)
    return float(loss.value(eta, rows.y).sum(axis=1).mean())


@pytest.mark.parametrize("free", [(), (3, 20)])
def test_columns_of_one_row_share_a_working_column_and_nothing_changes(free):
    X, labels = _text(60, 0)
    problem = _problem(free=free, X=X, labels=labels)
    layout, rows = problem.layout, problem.rows
    assert len(layout.lone) > len(layout.rows) > 0
    v = np.exp(np.random.default_rng(1).uniform(0.0, 4.0, layout.n_penalized))
    index = np.arange(10, 60)
    fit = problem.fit(index, exact=True)
    W = NewtonCG().solve(fit, layout.variances(v), tol=1e-9).W
    X = sparse.csr_array(rows.X[:, rows.penalized])
    plain = Headed(as_design(X), rows.free_block(np.arange(60)))
    other = RowsDataFit(plain, rows.y, fit.weight, None, SoftmaxLoss())
    full_v = np.r_[np.full(rows.n_free, np.inf), v]
    expected = NewtonCG().solve(other, full_v, tol=1e-9).W
    np.testing.assert_allclose(layout.coefficients(W, v), expected, atol=1e-5)
    assert W.shape[0] < expected.shape[0]


def test_nothing_is_copied_per_fold():
    problem = _problem()
    fits = [problem.fit(np.arange(k, N)) for k in range(3)]
    assert all(fit.design is problem.fast for fit in fits)
    assert np.shares_memory(problem.fast.X.indices, problem.design.X.indices)
    assert problem.score(np.arange(9)).design is problem.fast


@pytest.mark.parametrize("name", LOSSES)
def test_statistics_know_only_the_rows_of_the_training_set(name):
    index = np.arange(0, N, 2)
    rows = _rows(name)
    X, y = rows.X.tolil(), rows.y.copy()
    X[1::2] = 0.0
    y[1::2] = y[1::2][::-1] + 1.0
    other = replace(rows, X=sparse.csr_array(X), y=y)
    found = []
    for each in (rows, other):
        problem = LargeProblem.of(each, LOSSES[name], LOSSES[name], None)
        found.append(column_statistics(problem, index))
    np.testing.assert_allclose(found[0].Z, found[1].Z, atol=1e-10)
    assert found[0].emphasis.sum() == pytest.approx(1.0)
    assert np.isfinite(found[0].Z).all()


def test_statistics_of_weights_are_those_of_repeated_rows():
    X, labels = _text(N, 0)
    times = np.random.default_rng(0).integers(0, 3, N)
    weighted = _problem(X=X, labels=labels, weight=times.astype(float))
    index = np.repeat(np.arange(N), times)
    repeated = _problem(X=X[index], labels=labels[index])
    found = [
        column_statistics(p, np.arange(p.rows.n_rows), True)
        for p in (weighted, repeated)
    ]
    np.testing.assert_allclose(found[0].Z, found[1].Z, atol=1e-5)
    np.testing.assert_allclose(found[0].own, found[1].own, atol=1e-5)


def _search(problem, solver=EXACT, lam=0.01, columns=None):
    pairs = [(np.arange(80, N), np.arange(80)), (np.arange(160), np.arange(160, N))]
    columns = columns or MetadataMaker(problem, None, None)
    coordinates = Coordinates.of(columns.of(np.arange(N)))
    holdouts = [
        HoldOut.of(problem, pair, coordinates.apply(columns.of(pair[0])))
        for pair in pairs
    ]
    budget = LargeBudget(tuning=solver, accuracy=(1e-11, 1e-11))
    return MetadataSearch(holdouts, 2.0, lam, budget)


BY_CLASS = {
    "every class": lambda problem: MetadataMaker(problem, None, None, True),
    "labels of classes": lambda problem: MetadataMaker(
        problem, np.arange(P * T) % (2 * T), None, True
    ),
    "labels": lambda problem: MetadataMaker(problem, np.arange(P) % 4, None),
}


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("name", [*LOSSES, *BY_CLASS])
def test_gradient_in_beta_agrees_with_central_differences(name, boxed):
    problem = _problem(name if name in LOSSES else "softmax", Precise)
    assert len(problem.layout.lone) > 1
    columns = BY_CLASS[name](problem) if name in BY_CLASS else None
    search = _search(problem, columns=columns)
    q = search.holdouts[0].shape.size
    rng = np.random.default_rng(0)
    beta, direction = 0.2 * rng.standard_normal(q), rng.standard_normal(q)
    if boxed:
        search = replace(search, box=_box_of(search, beta))
    start = search.at(beta, None)
    step = 1e-4
    ends = [search.next(beta + s * direction, start).value for s in (step, -step)]
    slope = (ends[0] - ends[1]) / (2 * step)
    point = search.at(beta, start.states, keep=True)
    # A box leaves slopes so small that the rounding of losses of order one shows.
    rounding = 5e-9 if boxed else 0.0
    assert point.grad @ direction == pytest.approx(slope, rel=1e-6, abs=rounding)
    B = search.curvature(beta, point, 500)
    np.testing.assert_allclose(B, B.T, atol=1e-8)
    assert np.linalg.eigvalsh(B)[0] > 0.0
    log_v = np.log(search.v(search.holdouts[0], beta))
    assert np.isin(log_v, search.box).any() == boxed


def _box_of(search, beta):
    """A box whose ends lie in gaps: no column enters or leaves it in a short step."""
    log_v = [np.log(search.v(each, beta)).ravel() for each in search.holdouts]
    log_v = np.unique(np.concatenate(log_v).round(9))
    ends = []
    for part in np.array_split(log_v, 2):
        k = np.argmax(np.diff(part))
        ends.append(float(part[k : k + 2].mean()))
    return tuple(ends)


def test_amortized_search_gets_where_the_exact_one_gets():
    problem, found = _problem(), []
    pair = (np.arange(60, N), np.arange(60))
    s = TrainingSet(np.arange(N), [pair], None)
    for tuning in (EXACT, LargeBudget().tuning):
        budget = LargeBudget(tuning=tuning, steps=(15, 0), many=0.0)
        seen = []
        columns = MetadataMaker(problem, None, None)
        LargeTuning(problem, columns, replace(budget, trace=seen.append)).fold(s)
        found.append([point.value for point in seen])
    gain = found[0][0] - min(found[0])
    assert gain > 0.02
    assert min(found[1]) < min(found[0]) + 0.3 * gain


def test_shared_path_finds_the_best_strength_of_a_fine_grid():
    problem = _problem()
    train, valid = np.arange(60, N), np.arange(60)
    holdout = HoldOut.of(problem, (train, valid), Shape(np.ones((P, 1))))
    budget = LargeBudget(path=NewtonCG(), tol=(1e-4, 1e-4))
    found = shared_path([holdout], budget, (-np.inf, 30.0))
    losses = []
    for log_v in (*np.arange(-4.0, 10.0, 0.5), found.log_v):
        v = problem.layout.variances(np.full(P, np.exp(log_v)))
        W = NewtonCG().solve(problem.fit(train), v, tol=1e-4).W
        losses.append(float(problem.score(valid).at(W).value) / len(valid))
    assert losses[-1] < min(losses) + 0.005
    assert found.edge == 0
    assert found.loss < found.null


@pytest.mark.parametrize("name", LOSSES)
def test_published_coefficients_solve_the_problem_at_published_strengths(name):
    rows = _rows(name, free=(2,))
    found = _guarded(name, rows=rows)
    m = rows.n_free
    assert found.coef.shape == (m + rows.n_penalized, rows.n_targets)
    eta = rows.predict(np.arange(N), found.coef)
    X = rows.X[:, rows.penalized]
    u = -(X.T @ LOSSES[name].grad(eta, rows.y))
    distance = np.abs(found.coef[m:] - found.v[:, None] * u).max()
    assert distance < 0.05 * np.abs(found.coef[m:]).max()
    assert all(each.shape == found.coef.shape for each in found.fold_coef)


def test_free_strengths_overfit_and_the_guard_does_not():
    n, p = 600, 1500
    X, labels = _text(n, 1, p)
    rows = _rows(X=X, labels=labels)
    X, labels = _text(1500, 51, p)
    test = _rows(X=X, labels=labels)
    problem = LargeProblem.of(rows, SoftmaxLoss(), SoftmaxLoss(), None)
    design = Headed(as_design(rows.X), np.ones((n, 1)))
    order = np.random.default_rng(0).permutation(n)

    def fit(index):
        weight = np.isin(np.arange(n), index).astype(float)
        return RowsDataFit(design, rows.y, weight, None, SoftmaxLoss())

    task = Task(fit(order[150:]), fit(order[:150]), 150.0)
    found = _guarded(rows=rows)
    shared = np.full(p, np.exp(found.candidates.shared.log_v[0]))
    working = problem.layout.variances(shared)
    W = NewtonCG().solve(problem.fit(np.arange(n)), working).W
    losses = {
        "free": _loss(test, SoftmaxLoss(), _free_strengths(task, shared)),
        "shared": _loss(test, SoftmaxLoss(), problem.layout.coefficients(W, shared)),
        "guard": _loss(test, SoftmaxLoss(), found.coef),
    }
    assert losses["free"] > 1.1 * losses["shared"], losses
    assert losses["guard"] < 0.95 * losses["shared"], losses


def _free_strengths(task, v):
    """Coefficients after quasi-Newton steps on one strength for every word."""
    head, states = np.array([np.inf]), [None, None]

    def objective(theta, tol):
        full = np.r_[head, np.exp(theta)]
        found = NewtonCG().solve(task.inner, full, states[0], tol=1e-3)
        q = found.system.solve(task.outer.at(found.W).grad, states[1], tol=1e-3).x
        states[:] = found.state, q
        grad = (found.W * q).sum(axis=1)[1:] / np.exp(theta)
        return float(task.outer.at(found.W).value) / 150.0, grad / 150.0

    start = np.log(v)
    box = (start - 9.0, start + 6.0)
    LBFGSB().minimize(objective, start, box, tol=1e-5, max_iter=25)
    return states[0]


def test_noise_gets_the_shared_strength():
    X, labels = _text(N, 0)
    labels = np.random.default_rng(1).permutation(labels)
    rows = _rows("softmax", X=X, labels=labels)
    found = _guarded(rows=rows)
    null = np.log(T)
    assert _loss(rows, SoftmaxLoss(), found.coef) < null + 1e-6
    assert found.loss < 1.02 * null


def test_groups_metadata_and_limits_of_the_user():
    rows = _rows()
    members = (np.arange(P) >= LAST).astype(int)
    found = _guarded(rows=rows, members=members)
    assert len(np.unique(found.v.round(6))) == 2
    assert found.v[0] > found.v[-1]
    middle = (np.arange(P) >= 10) & (np.arange(P) < LAST)
    metadata = Metadata(middle.astype(float)[:, None])
    plain, told = _guarded(rows=rows), _guarded(rows=rows, metadata=metadata)
    assert told.choice.loss[1] < plain.choice.loss[1] - 0.005
    boxed = _guarded(rows=rows, limits=Limits(0.5, 2.0))
    assert boxed.v.min() >= 0.5
    assert boxed.v.max() <= 2.0
    for v in boxed.candidates.v[0]:
        assert v.min() >= 0.5
        assert v.max() <= 2.0


@pytest.mark.parametrize("by_target", [False, True])
def test_metadata_begin_at_the_start_of_the_user(by_target):
    rows, none = _rows(), LargeBudget(steps=(0, 0))
    shape = (P, T) if by_target else (P,)
    start = np.random.default_rng(0).uniform(0.1, 9.0, shape)
    options = {"rows": rows, "limits": Limits(start=start), "by_target": by_target}
    found = _guarded(budget=none, **options)
    shared, begun = found.candidates.v[0]
    assert (shared == shared.flat[0]).all()
    np.testing.assert_allclose(begun / start, (begun / start).flat[0])
    # Labels begin at the mean of the logarithms.
    members = np.arange(start.size) % 5
    begun = _guarded(budget=none, members=members, **options).candidates.v[0, 1].ravel()
    level = [np.log(start.ravel()[members == k]).mean() for k in range(5)]
    np.testing.assert_allclose(np.ptp(np.log(begun[:5]) - level), 0.0, atol=1e-9)
    np.testing.assert_array_equal(begun, begun[:5][members])


def test_the_same_result_twice_and_for_other_layouts():
    rows, plan = _rows(), _plan(N)
    first = _guarded(rows=rows, plan=plan)
    again = _guarded(rows=replace(rows, X=sparse.csc_array(rows.X)), plan=plan)
    np.testing.assert_array_equal(first.coef, again.coef)


def test_few_folds_are_scored():
    seen = []
    budget = LargeBudget(scored_rows=60, trace=seen.append)
    found = _guarded(budget=budget)
    assert len(found.fold_coef) == 1
    assert len(seen) <= 2 + sum(budget.steps)
    assert len(_guarded(budget=LargeBudget(scored_rows=100)).fold_coef) == 2


def test_a_dense_design_is_not_copied():
    rows = _rows()
    dense = replace(rows, X=rows.X.toarray())
    problem = LargeProblem.of(dense, SoftmaxLoss(), SoftmaxLoss(), None)
    assert np.shares_memory(problem.design.base.X, dense.X)
    found = _guarded(rows=dense)
    assert np.isfinite(found.coef).all()


def test_metadata_of_classes_are_apart_from_those_of_columns():
    problem, index = _problem(), np.arange(N)
    found = column_statistics(problem, index, by_target=True)
    assert found.own.shape == (P, T, 3)
    np.testing.assert_allclose(found.own.sum(axis=1), 0.0, atol=1e-4)
    shape = Coordinates.of(found).apply(found)
    flat = np.repeat(found.emphasis / T, T)
    both = np.hstack([np.repeat(shape.Z, T, 0), shape.own.reshape(P * T, -1)])
    np.testing.assert_allclose(
        both.T @ (flat[:, None] * both), np.eye(both.shape[1]), atol=1e-4
    )
    directions = np.stack([each.ravel() for each in shape.directions()])
    np.testing.assert_allclose(directions.T, both, atol=1e-6)
    G = np.random.default_rng(0).standard_normal((P, T))
    np.testing.assert_allclose(shape.pull(G), directions @ G.ravel(), rtol=1e-5)


def test_strengths_of_every_class_are_published_with_their_solution():
    rows = _rows(free=(2,))
    found = _guarded(rows=rows, by_target=True)
    assert found.v.shape == (rows.n_penalized, T)
    assert found.candidates.v.shape == (1, 3, rows.n_penalized, T)
    X = rows.X.toarray()[:, rows.penalized]
    head = np.c_[np.ones(N), rows.X.toarray()[:, rows.free]]
    eta = head @ found.coef[:2] + X @ found.coef[2:]
    u = -X.T @ (rows.weight[:, None] * SoftmaxLoss().grad(eta, rows.y))
    scale = np.abs(found.coef[2:]).max()
    np.testing.assert_allclose(found.coef[2:], found.v * u, atol=0.02 * scale)


def test_classes_that_share_a_strength_and_those_that_do_not():
    rows = _rows()
    one = _guarded(rows=rows, members=np.arange(P * T) % T, by_target=True)
    assert one.v.shape == (P, T)
    assert (one.v == one.v[0]).all()
    own, shared = _guarded(rows=rows, by_target=True), _guarded(rows=rows)
    # Words of the middle lean to one class each.
    assert own.choice.loss[1] < shared.choice.loss[1]


@pytest.mark.parametrize("scored", [60, N])
def test_memory_is_a_number_of_coefficient_arrays(scored):
    X, labels = _text(N, 0)
    rng = np.random.default_rng(0)
    wide = rng.random((N, 8000)) * (rng.random((N, 8000)) < 0.01)
    rows = _rows(X=sparse.csr_array(sparse.hstack([X, wide])), labels=labels)
    rows = replace(rows, y=np.eye(20)[rng.integers(0, 20, N)], y_shift=np.zeros(20))
    budget = LargeBudget(scored_rows=scored)
    tracemalloc.start()
    try:
        _guarded(rows=rows, budget=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    values = 12 * rows.X.nnz
    assert peak < 3 * values + 30 * 8 * rows.n_penalized * 20


def test_columns_that_are_all_zero():
    rows = _rows(X=sparse.csr_array((N, P)), labels=np.arange(N) % T)
    found = _guarded(rows=rows)
    np.testing.assert_array_equal(found.coef[1:], 0.0)
    np.testing.assert_allclose(found.coef[0], 0.0, atol=1e-6)


def test_where_no_unit_can_be_held_out():
    s = TrainingSet(np.arange(10, 18), (), None)
    train, valid = s.hold_out
    assert sorted([*train, *valid]) == list(range(10, 18))
    assert len(valid) == 2


@pytest.mark.parametrize("shape", [(1500, 4000), (300, 90_000)])
def test_which_problems_are_large(shape):
    labels = np.zeros(shape[0], dtype=int)
    assert is_large_glm(_rows(X=sparse.csr_array(shape), labels=labels))
    assert not is_large_glm(_rows())
    # Every class with strengths of its own has a factor of the smaller side.
    rows = _rows(X=np.zeros((900, 2000)), labels=np.arange(900) % T)
    many = replace(rows, y=np.eye(70)[np.arange(900) % 70], y_shift=np.zeros(70))
    assert not is_large_glm(many)
    assert is_large_glm(many, by_target=True)
    assert not is_large_glm(rows, by_target=True)
