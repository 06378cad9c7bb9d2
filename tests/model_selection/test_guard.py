"""The guard sees no held-out row, does no harm on noise, and counts its passes."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

from skbilevel import BilevelLogisticCV, BilevelPoissonCV, BilevelRidgeCV
from skbilevel.model_selection._average import Averaging, publish
from skbilevel.model_selection._candidate_average import _strengths_of
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._family import LeastSquares
from skbilevel.model_selection._guard import guarded_strengths
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._paths import make_candidates
from skbilevel.model_selection._plan import PlanRequest, default_plan, split_plan
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._strengths import Strengths
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._penalties import Ridge
from skbilevel.problems._ridge import solve_moments

FEW = Recipe(half=(1.0, 0.1), evidence=(1.0,), elastic_net=4)


def all_candidates(*given):
    """What is made in the end."""
    *_, (_, known) = make_candidates(*given)
    return known()


def request(rows, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    return PlanRequest(rows.n_rows, rows.width, groups, rng)


def terms_of(rows, plan):
    return GuardTerms(RowViews(rows), plan, Averaging())


def plan_of(kind, rows):
    n = rows.n_rows
    if kind == "default":
        return default_plan(request(rows), 5)
    if kind == "groups":
        groups = np.arange(n) % 17
        splits = list(GroupKFold(4).split(np.zeros(n), groups=groups))
        return split_plan(request(rows, groups), splits, False)
    if kind == "time":
        return split_plan(request(rows), list(TimeSeriesSplit(4).split(rows.y)), False)
    splits = KFold(4, shuffle=True, random_state=1).split(rows.y)
    return split_plan(request(rows), list(splits), True)


def replaced(rows, held_out, seed=9):
    """Other values of the same scale in the held-out rows."""
    rng = np.random.default_rng(seed)
    X, y, weight = rows.X.copy(), rows.y.copy(), rows.weight.copy()
    if sparse.issparse(X):
        X = X.toarray()
    m = len(held_out)
    X[held_out] = rng.standard_normal((m, X.shape[1])) * (rng.random(X.shape[1]) < 0.8)
    y[held_out] = 3.0 * rng.standard_normal((m, y.shape[1]))
    weight[held_out] = rng.uniform(0.2, 3.0, m)
    if sparse.issparse(rows.X):
        X = sparse.csr_array(X)
    return replace(rows, X=X, y=y, weight=weight)


def candidates_of_fold(rows, plan, fold, strengths=None):
    """Candidates (v, w) of one outer fold, made as the guard makes them."""
    groups = LeastSquares().trainers(RowViews(rows), plan)
    place = fold + 1
    for trainer in groups:
        size = len(trainer.sets)
        if place >= size:
            place -= size
            continue
        found = all_candidates(trainer, FEW, strengths or Strengths())
        w = trainer.full_coefficients(found.w)
        return type(trainer), found.v[place], w[place]
    raise AssertionError("no such fold")


DIRECT = [
    pytest.param((60, 8), MomentTrainer, {}, id="primal"),
    pytest.param((60, 8), MomentTrainer, {"t": 2, "free": (1,)}, id="primal-free"),
    pytest.param((60, 8), MomentTrainer, {"standardize": True}, id="primal-metric"),
    pytest.param((60, 8), MomentTrainer, {"sparse_X": True}, id="primal-sparse"),
    pytest.param((60, 150), KernelTrainer, {}, id="dual"),
    pytest.param((60, 150), KernelTrainer, {"free": (1,)}, id="dual-free"),
    pytest.param((60, 150), KernelTrainer, {"standardize": True}, id="dual-metric"),
    pytest.param((60, 150), KernelTrainer, {"sparse_X": True}, id="dual-sparse"),
]


@pytest.mark.parametrize("kind", ["default", "groups", "time", "explicit"])
@pytest.mark.parametrize(("shape", "route", "setting"), DIRECT)
def test_no_leak_to_the_bit(make_rows, kind, shape, route, setting):
    rows = make_rows(*shape, weighted=True, **setting)
    plan = plan_of(kind, rows)
    for fold in (0, len(plan.outer) - 1):
        kind_a, v, w = candidates_of_fold(rows, plan, fold)
        other = replaced(rows, plan.held_out[fold])
        kind_b, v_other, w_other = candidates_of_fold(other, plan, fold)
        assert kind_a is kind_b is route
        assert_array_equal(v_other, v)
        assert_array_equal(w_other, w)


def test_no_leak_in_one_pass(make_rows):
    rows = make_rows(5200, 6, weighted=True)
    plan = plan_of("default", rows)
    assert plan.cell is not None
    _, v, w = candidates_of_fold(rows, plan, 2)
    _, v_other, w_other = candidates_of_fold(replaced(rows, plan.held_out[2]), plan, 2)
    assert_allclose(v_other, v, rtol=1e-9)
    assert_allclose(w_other, w, rtol=1e-9, atol=1e-9 * abs(w).max())


def test_no_leak_with_groups_of_features(make_rows):
    rows = make_rows(60, 8, weighted=True)
    plan = plan_of("default", rows)
    strengths = Strengths(np.repeat(np.eye(2), 4, axis=0))
    _, v, w = candidates_of_fold(rows, plan, 0, strengths)
    other = replaced(rows, plan.held_out[0])
    _, v_other, w_other = candidates_of_fold(other, plan, 0, strengths)
    assert_array_equal(v_other, v)
    assert_array_equal(w_other, w)


def test_the_training_rows_do_matter(make_rows):
    rows = make_rows(60, 8)
    plan = plan_of("default", rows)
    _, _, w = candidates_of_fold(rows, plan, 0)
    _, _, other = candidates_of_fold(replaced(rows, plan.outer[0].rows[:5]), plan, 0)
    assert abs(other - w).max() > 1e-3


def test_one_pass_is_the_direct_route(make_rows):
    rows = make_rows(5200, 6, weighted=True, t=2)
    plan = plan_of("default", rows)
    once, anew = (
        guarded_strengths(terms_of(rows, each), FEW, Strengths())
        for each in (plan, replace(plan, cell=None))
    )
    assert_allclose(once.coef, anew.coef, rtol=1e-7, atol=1e-9)
    assert_allclose(once.choice.loss, anew.choice.loss, rtol=1e-9)


class InKernels(LeastSquares):
    """The dual, whatever the shape of the data is."""

    def trainers(self, views, plan):
        rows = KernelRows.of(views.full)
        return [KernelTrainer.of(rows, each) for each in (plan.full, *plan.outer)]


def test_primal_is_dual(make_rows):
    """Same candidates where nothing but the route differs."""
    rows = make_rows(60, 45, weighted=True, t=2, free=(1,))
    plan = plan_of("default", rows)
    recipe = replace(FEW, evidence=(), elastic_net=0, half=(1.0,))
    args = terms_of(rows, plan), recipe, Strengths()
    primal, dual = (
        guarded_strengths(*args, family=each) for each in (LeastSquares(), InKernels())
    )
    # The shared strength is exact; its step on halves is solved by CG in the dual.
    assert_allclose(primal.choice.loss[0], dual.choice.loss[0], rtol=1e-8)
    assert_allclose(primal.choice.loss[1], dual.choice.loss[1], rtol=2e-2)


def test_published_variances_give_the_published_coefficients(make_rows, explicit_ridge):
    for shape, setting in [((60, 8), {"free": (1,)}), ((40, 60), {"t": 2})]:
        rows = make_rows(*shape, weighted=True, **setting)
        plan = plan_of("default", rows)
        found = guarded_strengths(terms_of(rows, plan), FEW, Strengths())
        expected = explicit_ridge(rows, plan.full.rows, found.v)
        scale = abs(expected).max()
        assert_allclose(found.coef, expected, rtol=1e-6, atol=1e-7 * scale)
        for fold, coef in zip(plan.outer, found.fold_coef, strict=True):
            residual = rows.targets(fold.rows) - rows.predict(fold.rows, coef)
            assert np.isfinite(residual).all()


def test_nested_score_is_that_of_the_published_folds(make_rows):
    rows = make_rows(60, 8)
    plan = plan_of("explicit", rows)
    found = guarded_strengths(terms_of(rows, plan), FEW, Strengths())
    total = 0.0
    for index, coef in zip(plan.held_out, found.fold_coef, strict=True):
        total += ((rows.targets(index) - rows.predict(index, coef)) ** 2).sum()
    assert_allclose(found.loss, total / 60, rtol=1e-10)


class Counted(AugmentedRows):
    """Tells of how many rows moments were taken."""

    seen: ClassVar[list[int]] = []

    def moment(self, rows):
        self.seen.append(len(rows))
        return super().moment(rows)


@pytest.mark.parametrize(
    ("n", "most"),
    # Few rows: moments of every set anew, to the bit independent of the others. There
    # are eleven sets, and the training half of each of their ten pairs.
    [(6000, 6000), (200, 11 * (200 + 10 * 101))],
)
def test_passes_over_the_rows(make_rows, n, most):
    Counted.seen.clear()
    rows = Counted(**vars(make_rows(n, 8)))
    plan = default_plan(request(rows), 5)
    guarded_strengths(terms_of(rows, plan), FEW, Strengths())
    assert n <= sum(Counted.seen) <= most


def relative_mse(make, n_seeds, **options):
    """Means over seeds of the test error against RidgeCV's and the mean's."""
    against_ridge, against_mean = [], []
    for seed in range(n_seeds):
        X, y, X_test, y_test = make(np.random.default_rng(seed))
        ridge = RidgeCV(np.logspace(-3, 5, 41)).fit(X, y)
        ours = BilevelRidgeCV(**options).fit(X, y)
        mse = ((ours.predict(X_test) - y_test) ** 2).mean()
        against_ridge.append(mse / ((ridge.predict(X_test) - y_test) ** 2).mean())
        against_mean.append(mse / ((y.mean() - y_test) ** 2).mean())
    return np.array(against_ridge), np.array(against_mean)


def linear(n, p, coef, noise=1.0):
    def make(rng):
        X, X_test = rng.standard_normal((n, p)), rng.standard_normal((1000, p))
        w = coef(rng, p)
        return X, X @ w + noise * rng.standard_normal(n), X_test, X_test @ w

    return make


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
# More columns than rows take ten times as long: fewer draws of them.
@pytest.mark.parametrize(
    ("shape", "n_seeds"), [((100, 10), 7), ((60, 40), 7), ((40, 80), 4), ((300, 30), 7)]
)
def test_noise_predicts_like_the_mean(shape, n_seeds):
    def noise(rng):
        X, X_test = rng.standard_normal(shape), rng.standard_normal((1000, shape[1]))
        y_test = rng.standard_normal(1000)
        return X, rng.standard_normal(shape[0]), X_test, y_test

    against_ridge, against_mean = relative_mse(noise, n_seeds)
    assert np.median(against_mean) < 1.02
    # Columns that happen to correlate mislead everybody.
    ridge = against_mean / against_ridge
    assert against_mean.mean() < ridge.mean() + 0.03


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize(
    ("shape", "n_seeds", "mean"), [((100, 20), 6, 1.06), ((40, 60), 3, 1.12)]
)
def test_never_much_worse_than_ridge(shape, n_seeds, mean):
    """Excess error over the noise-free target, where ridge is the right model."""
    dense = linear(*shape, lambda rng, p: rng.standard_normal(p) / np.sqrt(p))
    against_ridge, _ = relative_mse(dense, n_seeds)
    assert against_ridge.mean() < mean
    assert against_ridge.max() < 1.25


def test_better_than_ridge_where_few_columns_count():
    def few(rng, p):
        return np.where(np.arange(p) < 4, 1.0, 0.0)

    for shape, n_seeds in [((100, 30), 4), ((60, 90), 2)]:
        against_ridge, _ = relative_mse(linear(*shape, few), n_seeds)
        assert against_ridge.mean() < 0.65


def test_better_than_ridge_where_labels_tell():
    def blocks(rng, p):
        return np.repeat([2.0, 1.0, 0.0, 0.0, 0.0], p // 5) * rng.standard_normal(p)

    labels = np.repeat(np.arange(5), 6)
    against_ridge, _ = relative_mse(
        linear(100, 30, blocks, noise=3.0), 4, feature_groups=labels
    )
    assert against_ridge.mean() < 0.75


def test_strengths_are_taken_again_where_signs_disagree():
    """The published model is nearer to the combination than at the first strengths."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 12))
    X += 0.1 * rng.standard_normal(X.shape)
    gram, cross = X.T @ X, X.T @ rng.standard_normal((40, 1))

    class Trainer:
        """A training set of moments."""

        penalty = Ridge()

        def dual_gradient(self, w):
            return cross - gram @ w

        def solve(self, v):
            return solve_moments(gram, cross, v[0])[None]

    v = np.ones((2, 12))
    v[0, ::2], v[1, 1::3] = 0.0, 0.0
    w = solve_moments(gram, cross, 10.0 * v).mean(axis=0)[None]
    u = Trainer().dual_gradient(w)
    first = publish(w[0], u[0])
    assert ((first == 0) & (w[0, :, 0] != 0)).any()

    def distance(v):
        rest = X @ (solve_moments(gram, cross, v[None])[0] - w[0])
        return float((rest**2).sum())

    assert distance(_strengths_of(Trainer(), w, False, None)[0]) < 0.7 * distance(first)


@pytest.mark.parametrize(
    ("estimator", "half"),
    [(BilevelRidgeCV, False), (BilevelLogisticCV, False), (BilevelPoissonCV, True)],
)
def test_families_of_groups(estimator, half):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 12))
    y = rng.poisson(np.exp(X[:, 0]))
    y = np.minimum(y, 1) if estimator is BilevelLogisticCV else y
    found = estimator(feature_groups=np.arange(12) % 3).fit(X, y).hyperpenalty_
    expected = {"shared", "evidence"} | ({"half"} if half else set())
    assert set(found["family"]) == expected
