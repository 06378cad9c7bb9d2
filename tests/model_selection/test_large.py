"""Large ridge agrees with the exact trainers, and never leaks."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skbilevel import BilevelRidgeCV
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import MetadataMaker
from skbilevel.model_selection._large_paths import NetPaths
from skbilevel.model_selection._large_rows import LargeProblem, is_large
from skbilevel.model_selection._large_tuning import LargeTuning
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._plan import (
    PlanRequest,
    default_plan,
    large_plan,
    split_plan,
)
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems import SquaredLoss
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows, RowMoments

TIGHT = LargeBudget(tol=(1e-13, 1e-13), deviation=0.0)


def make_rows(
    n,
    p,
    seed=0,
    n_free=0,
    intercept=True,
    standardize=False,
    targets=1,
    as_sparse=False,
):
    """Rows with uneven weights; half of the entries of X are zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.5)
    if standardize:
        X *= np.logspace(-2, 2, p)
    w = rng.standard_normal((p, targets)) / np.sqrt((X**2).sum(axis=0) / n)[:, None]
    y = X @ w / np.sqrt(p) + 0.5 * rng.standard_normal((n, targets)) + 3.0
    return AugmentedRows(
        sparse.csr_array(X) if as_sparse else X,
        y,
        rng.uniform(0.5, 2.0, n),
        np.arange(n_free),
        np.arange(n_free, p),
        intercept,
        np.zeros(p),
        np.zeros(targets),
        standardize,
    )


def training_set(rows, seed=1):
    """Two thirds of the rows, a quarter of them held out inside."""
    order = np.random.default_rng(seed).permutation(rows.n_rows)
    train, inner = np.sort(order[: 2 * rows.n_rows // 3]), len(order) // 6
    mine = np.random.default_rng(seed).permutation(train)
    return TrainingSet(train, [(np.sort(mine[inner:]), np.sort(mine[:inner]))], None)


def tuning_of(rows, metadata=None, budget=TIGHT, **options):
    """Who tunes and solves these rows, with the elastic net beside it."""
    loss = SquaredLoss()
    problem = LargeProblem.of(rows, loss, loss, None)
    paths = NetPaths(rows, 5, 0.5, **options)
    columns = MetadataMaker(problem, None, metadata)
    return LargeTuning(problem, columns, budget, paths=paths)


def solved(tuning, training, v):
    """Coefficients (c, n_free + p, t) at variances (c, p) of the columns."""
    out = []
    for each in v:
        W = tuning.solve(training.rows, each, None, exact=True)
        out.append(tuning.problem.layout.coefficients(W, each))
    return np.stack(out)


def path_of(tuning, training, family):
    """Variances and coefficients of a path."""
    points = tuning.paths.of(tuning.problem, training.rows)
    own = [(v, W) for name, _, v, W in points if name == family]
    spread = tuning.problem.layout.coefficients
    return np.stack([v for v, _ in own]), np.stack([spread(W, v) for v, W in own])


CASES = {
    "plain": {},
    "unpenalized": {"n_free": 3},
    "no intercept": {"intercept": False},
    "unpenalized, no intercept": {"n_free": 2, "intercept": False},
    "standardized": {"standardize": True},
    "sparse": {"as_sparse": True, "n_free": 2},
    "two targets": {"targets": 2},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", [(90, 12), (60, 80)])
def test_same_answers_as_the_exact_trainers(case, shape):
    rows = make_rows(*shape, **CASES[case])
    training = training_set(rows)
    if shape[1] < shape[0]:
        exact = MomentTrainer(rows, [training], RowMoments(rows))
    else:
        exact = KernelTrainer.of(KernelRows.of(rows), training)
    v = np.random.default_rng(2).lognormal(size=(1, 2, rows.n_penalized)) / 30
    v[0, 1, :4] = 0.0
    coef = exact.full_coefficients(exact.solve(v))[0]
    found = solved(tuning_of(rows), training, exact.variances(v)[0])
    np.testing.assert_allclose(found, coef, rtol=1e-6, atol=1e-7 * abs(coef).max())


@pytest.mark.parametrize("case", ["plain", "sparse", "standardized"])
def test_paths_are_those_of_the_exact_trainer(case):
    rows = make_rows(300, 150, **CASES[case])
    training = training_set(rows)
    exact = MomentTrainer(rows, [training], RowMoments(rows))
    # Columns whose scales span four orders of magnitude end the path less precisely.
    near = 1e-3 if case == "standardized" else 1e-4
    v_exact, w_exact = exact.elastic_net(5, 0.5)
    coef = exact.full_coefficients(w_exact)[0]
    v, found = path_of(tuning_of(rows), training, "elastic_net")
    np.testing.assert_allclose(found, coef, atol=near * abs(coef).max())
    assert v.shape == v_exact[0].shape
    # Both families solve the problem at their strengths.
    for family in ("elastic_net", "refit"):
        v, found = path_of(tuning_of(rows), training, family)
        again = solved(tuning_of(rows), training, v)
        np.testing.assert_allclose(found, again, atol=near * abs(again).max())


def test_elastic_net_stays_within_its_working_set():
    rows = make_rows(300, 150)
    v, _ = path_of(tuning_of(rows, columns=30), training_set(rows), "elastic_net")
    assert (v > 0).sum(axis=1).max() <= 30
    np.testing.assert_array_equal(v[-1], v[-2])


@pytest.mark.parametrize("n_free", [0, 2])
def test_shared_strength_minimizes_the_loss_of_the_hold_out(n_free):
    rows = make_rows(200, 60, n_free=n_free)
    training = training_set(rows)
    tuning = tuning_of(rows)
    found = tuning.fold(training, lambda tuned: True)
    inner, outer = training.halves[0]
    # A strength of the training part refers to fewer rows.
    moved = np.log(rows.weight[training.rows].sum() / rows.weight[inner].sum())
    grid = found.center + moved + np.linspace(-2, 2, 41)
    v = np.repeat(np.exp(grid)[:, None], rows.n_penalized, axis=1)
    coefs = solved(tuning, TrainingSet(inner, (), None), v)[..., 0]
    residual = rows.predict(outer, coefs.T) - rows.y[outer]
    loss = rows.weight[outer] @ residual**2
    assert loss[20] < 1.01 * loss.min() < 0.99 * loss.max()
    assert found.shared.edge == 0


def test_noise_ends_at_the_edge_and_constant_targets_at_zero():
    rows = make_rows(60, 20)
    rest = [getattr(rows, k) for k in _AFTER_Y]
    noise = np.random.default_rng(3).standard_normal((60, 1))
    edges = []
    for y in (noise, np.ones((60, 1))):
        own = AugmentedRows(rows.X, y, *rest)
        tuning, training = tuning_of(own), training_set(own)
        tuned = tuning.fold(training)
        edges.append(tuned.shared.edge)
        coef = solved(tuning, training, tuned.v[:2])
        assert np.abs(coef[:, 1:]).max() < 0.1
    assert edges == [-1, -1]


def test_points_of_paths_take_little_memory():
    rng = np.random.default_rng(0)
    n, p = 600, 30_000
    X = sparse.random(n, p, 0.003, format="csr", random_state=0)
    signal = np.asarray(X[:, :50].sum(axis=1)).reshape(-1, 1)
    y = 20.0 * signal + rng.standard_normal((n, 1))
    tracemalloc.start()
    try:
        model = BilevelRidgeCV().fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.hyperpenalty_["alpha"].shape == (12, p)
    assert peak < 3 * 12 * X.nnz + 8 * p * 120


_AFTER_Y = (
    "weight",
    "free",
    "penalized",
    "intercept",
    "shift",
    "y_shift",
    "standardize",
)


def test_sparse_equals_dense():
    shared, path, coef = [], [], []
    for as_sparse in (False, True):
        rows = make_rows(150, 40, as_sparse=as_sparse, n_free=1)
        tuning, training = tuning_of(rows), training_set(rows)
        shared.append(tuning.fold(training, lambda tuned: True).center)
        path.append(path_of(tuning, training, "elastic_net")[0])
        coef.append(solved(tuning, training, np.full((1, 39), 0.1)))
    # A sparse X is tuned in single precision, and has other metadata; paths have not.
    np.testing.assert_allclose(shared[1], shared[0], atol=5e-3)
    np.testing.assert_allclose(path[1], path[0], rtol=1e-6)
    np.testing.assert_allclose(coef[1], coef[0], rtol=1e-6)


def test_metadata_of_dense_columns_tell_signal_from_noise():
    """All columns have entries in all rows: that count alone is no metadata."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 400))
    y = X[:, :5].sum(axis=1, keepdims=True) + 4.0 * rng.standard_normal((1500, 1))
    rows = make_rows(1500, 400)
    rows = AugmentedRows(X, y, *(getattr(rows, k) for k in _AFTER_Y))
    v = tuning_of(rows, budget=LargeBudget(deviation=0.0)).fold(training_set(rows)).v[1]
    assert v[:5].min() > 2 * np.median(v[5:])


@pytest.mark.parametrize("as_sparse", [False, True])
def test_held_out_rows_change_nothing(as_sparse):
    rows = make_rows(150, 200, as_sparse=as_sparse, n_free=1, standardize=True)
    training = training_set(rows)
    outside = np.setdiff1d(np.arange(150), training.rows)
    other = make_rows(150, 200, seed=9, as_sparse=as_sparse, n_free=1, standardize=True)
    X, y, weight = rows.X.copy(), rows.y.copy(), rows.weight.copy()
    keep = np.ones(150)
    keep[outside] = 0.0
    if as_sparse:
        keep_in = sparse.diags_array(keep)
        X = sparse.csr_array(
            keep_in @ rows.X + (sparse.eye_array(150) - keep_in) @ other.X
        )
    else:
        X[outside] = other.X[outside]
    y[outside], weight[outside] = other.y[outside], other.weight[outside]
    changed = AugmentedRows(
        X, y, weight, *(getattr(rows, k) for k in _AFTER_Y if k != "weight")
    )
    first, second = (tuning_of(each).fold(training) for each in (rows, changed))
    for k in range(len(first.v)):
        np.testing.assert_array_equal(first.variances(k), second.variances(k))
    assert first.W.keys() == second.W.keys()
    for k in first.W:
        np.testing.assert_array_equal(first.working(k), second.working(k))


def test_metadata_of_the_user_reach_the_large_trainer():
    rows = make_rows(200, 30)
    seen = []

    def columns(X, y, sample_weight):
        seen.append(len(y))
        assert X.shape == (len(y), 30)
        assert sample_weight.shape == y.shape
        return np.arange(30.0)

    training = training_set(rows)
    made = tuning_of(rows, Metadata(columns)).fold(training)
    assert [name for name, _ in made.names[:2]] == ["shared", "metadata"]
    assert seen == [len(training.rows), len(training.halves[0][0])]


def test_plan_keeps_groups_and_time_together():
    n = 120
    request = PlanRequest(n, 30, None, np.random.default_rng(0))
    plan = large_plan(default_plan(request, 5), request, False, False, 10)
    assert len(plan.outer) == len(default_plan(request, 5).outer)
    for s in (plan.full, *plan.outer):
        ((inner, outer),) = s.halves
        np.testing.assert_array_equal(np.sort(np.r_[inner, outer]), np.sort(s.rows))
    assert (
        len(large_plan(default_plan(request, 5), request, False, False, 10**9).outer)
        == 1
    )

    past = [(np.arange(k), np.arange(k, k + 30)) for k in (30, 60, 90)]
    plan = large_plan(split_plan(request, past, False), request, True, False, 10)
    assert len(plan.outer) == 3
    for s in plan.outer:
        ((inner, outer),) = s.halves
        assert inner.max() < outer.min()

    groups = np.repeat(np.arange(12), 10)
    request = PlanRequest(n, 30, groups, np.random.default_rng(0))
    splits = [
        (np.flatnonzero(groups % 3 != k), np.flatnonzero(groups % 3 == k))
        for k in range(3)
    ]
    plan = large_plan(split_plan(request, splits, False), request, True, False, 10)
    for s in plan.outer:
        ((inner, outer),) = s.halves
        assert not set(groups[inner]) & set(groups[outer])


def sparse_problem(n=3100, p=3300, seed=0):
    """More rows and columns than the exact regimes take."""
    rng = np.random.default_rng(seed)
    X = sparse.csr_array(rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.01))
    w = rng.standard_normal(p) * (np.arange(p) < 300)
    signal = X @ w
    return X, signal + 0.5 * signal.std() * rng.standard_normal(n) + 1.0


def test_estimator_beyond_the_exact_regimes():
    X, y = sparse_problem()
    train, test = np.arange(2400, 3100), np.arange(2400)
    before = X.copy()
    model = BilevelRidgeCV().fit(X, y)
    assert (before != X).nnz == 0
    families = {"shared", "metadata", "elastic_net", "refit"}
    assert set(model.hyperpenalty_["family"]) == families
    alpha = np.where(np.isfinite(model.alpha_), model.alpha_, 1e12)
    root = sparse.diags_array(1 / np.sqrt(alpha))
    reference = Ridge(alpha=1.0, solver="sparse_cg", tol=1e-10).fit(X @ root, y)
    np.testing.assert_allclose(
        model.coef_, root @ reference.coef_, atol=2e-3 * abs(model.coef_).max()
    )
    again = BilevelRidgeCV().fit(X, y)
    np.testing.assert_array_equal(model.coef_, again.coef_)
    assert len(train) < len(test)


def test_estimator_with_unpenalized_columns_and_no_intercept():
    X, y = sparse_problem()
    y = y + 20 * X[:, [5]].toarray().ravel()
    model = BilevelRidgeCV(unpenalized=[5], fit_intercept=False).fit(X, y)
    assert model.alpha_[5] == 0.0
    assert model.intercept_ == 0.0
    assert abs(model.coef_[5] - 20) < 6
    # The residual of an unpenalized column is orthogonal to it.
    residual = y - model.predict(X)
    scale = np.linalg.norm(residual) * np.sqrt((X[:, [5]].power(2)).sum())
    assert abs(X[:, [5]].T @ residual).max() < 1e-6 * scale


def test_estimator_with_groups_shares_strengths():
    X, y = sparse_problem()
    groups = (np.arange(X.shape[1]) < 300).astype(int)
    model = BilevelRidgeCV(feature_groups=groups).fit(X, y)
    assert model.group_alpha_[1] < model.group_alpha_[0]
    assert len(np.unique(model.alpha_)) == 2


def test_rule_of_the_regime():
    assert is_large(make_rows(50, 20)) is False
    X, y = sparse_problem()
    n, p = X.shape
    rows = AugmentedRows(
        X, y[:, None], np.ones(n), np.array([], int), np.arange(p), True,
        np.zeros(p), np.zeros(1),
    )  # fmt: skip
    assert is_large(rows)


def test_plan_scores_as_many_rows_as_needed():
    n = 12_000
    request = PlanRequest(n, 30, None, np.random.default_rng(0))
    plan = large_plan(default_plan(request, 5), request, False, False, 10)
    assert [len(b) for b in plan.held_out] == [2400, 2400, 2400]
    splits = [
        (np.arange(9000), np.arange(9000, n)),
        (np.arange(3000, n), np.arange(3000)),
    ]
    given = large_plan(split_plan(request, splits, False), request, True, False, 10)
    assert len(given.outer) == 2
