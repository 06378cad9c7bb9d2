"""The guard of generalized linear models: what it promises, on small data."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skbilevel.model_selection._average import Averaging, publish
from skbilevel.model_selection._glm_family import GLMFamily
from skbilevel.model_selection._glm_rows import GLMRows
from skbilevel.model_selection._glm_shared import are_many, at_strength, shared_path
from skbilevel.model_selection._glm_solve import TrainingProblem
from skbilevel.model_selection._glm_trainer import GLMTrainer
from skbilevel.model_selection._guard import guarded_strengths, with_classes
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._paths import make_candidates
from skbilevel.model_selection._plan import PlanRequest, default_plan
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._strengths import Strengths
from skbilevel.problems import LogisticLoss, PoissonLoss, SoftmaxLoss
from skbilevel.problems._evidence import KernelEvidence
from skbilevel.problems._kernel import KernelRows, Kernels
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._spectrum import choose_shared
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_problem import Whitened

FEW = Recipe(
    half=(1.0, 0.3),
    evidence=(1.0,),
    evidence_steps=3,
    elastic_net=3,
    refits=False,
)
NEAR = {"rtol": 1e-3, "atol": 1e-4}
# Even far outliers are found by fewer than 30 quasi-Newton steps: where a test is to
# see what is done after them, it sets their number.
PACKAGE = "skbilevel.model_selection"
FAMILIES = {
    "binary": GLMFamily(LogisticLoss(), LogisticLoss(), None),
    "classes": GLMFamily(SoftmaxLoss(), SoftmaxLoss(), None),
    "counts": GLMFamily(PoissonLoss(), PoissonLoss(), None),
}


def all_candidates(*given):
    """What is made in the end."""
    *_, (_, known) = make_candidates(*given)
    return known()


def make(kind, n=60, p=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = 1.5 * X[:, :3] @ rng.standard_normal((3, 3))
    codes = None
    if kind == "classes":
        codes = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)
        y = np.eye(3)[codes]
    elif kind == "binary":
        codes = (eta[:, 0] + rng.logistic(size=n) > 0).astype(int)
        y = codes[:, None].astype(float)
    else:
        y = rng.poisson(np.exp(np.clip(0.3 * eta[:, :1], None, 3))).astype(float)
    t = y.shape[1]
    weight = rng.uniform(0.5, 2.0, n)
    nothing = np.arange(0)
    rows = AugmentedRows(
        X, y, weight, nothing, np.arange(p), True, np.zeros(p), np.zeros(t)
    )
    rng = np.random.default_rng(1)
    request = PlanRequest(n, rows.width, None, rng, codes, True)
    return rows, default_plan(request, 3)


def trainer_of(kind, p=6):
    rows, plan = make(kind, p=p)
    family = FAMILIES[kind]
    glm = GLMRows(rows, family.loss, family.offset)
    return GLMTrainer(glm, plan.full)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("p", [6, 90])
def test_candidates_are_solutions_at_their_strengths(kind, p):
    trainer = trainer_of(kind, p)
    made = all_candidates(trainer, FEW, Strengths())
    problem, base = trainer.problem, trainer.problem.solve_shared(1.0)
    for v, w in zip(made.v[0], made.w[0], strict=True):
        fine = problem.solve(v, base, rough=False)
        best = problem.coefficients(v, fine)
        assert_allclose(best, v[:, None] * trainer.dual_gradient(best[None])[0], **NEAR)

        def objective(w, v=v):
            """Only active columns count: the others are exactly zero."""
            eta = problem.head(w, base.head)[1]
            loss = problem.weight @ problem.loss.value(eta, problem.y).sum(axis=1)
            return loss + 0.5 * (w[v > 0] ** 2 / v[v > 0, None]).sum()

        # Candidates are solved roughly: their losses have to be right, no more.
        excess = objective(w) - objective(best)
        assert -1e-6 <= excess <= 1e-4 * problem.weight.sum()
        assert not w[v == 0].any()


@pytest.mark.parametrize("kind", ["binary", "counts"])
@pytest.mark.parametrize("patience", [30, 1])
def test_candidates_together_are_those_one_by_one(kind, patience, monkeypatch):
    """Newton's method finishes what quasi-Newton steps do not."""
    monkeypatch.setattr(f"{PACKAGE}._glm_solve._PATIENCE", patience)
    problem = trainer_of(kind).problem
    base, v = problem.solve_shared(1.0), np.geomspace(1e-4, 10.0, 24).reshape(4, 6)
    v[1, 2] = 0.0
    for each, state in zip(v, problem.solve_together(v, base), strict=True):
        fine = problem.solve(each, base, rough=False)
        assert_allclose(state.eta, fine.eta, atol=1e-3)
        assert_allclose(state.head, fine.head, atol=1e-3)
        w, best = (problem.coefficients(each, one) for one in (state, fine))
        assert_allclose(w, best, atol=1e-3)
        known = np.concatenate([state.head, w])
        again = problem.solve(each, base, rough=False, known=known)
        assert_allclose(again.T, fine.T, atol=1e-7)


@pytest.mark.parametrize("kind", ["binary", "counts"])
@pytest.mark.parametrize("patience", [30, 1])
def test_paths_in_stacks_are_those_of_newton(kind, patience, monkeypatch):
    monkeypatch.setattr(f"{PACKAGE}._glm_shared._PATIENCE", patience)
    rows = trainer_of(kind).problem.rotated()
    assert are_many(rows)
    fold = np.arange(len(rows.y)) % 4
    pairs = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    path = shared_path(rows, pairs, 100.0, 5.0)
    for log_v, loss, T in zip(path.grid, path.loss.T, path.T, strict=True):
        sets = [at_strength(rows, a, np.exp(log_v)) for a, _ in pairs]
        alone = [minimize_whitened(each, tol=1e-9) for each in sets]
        assert_allclose(np.mean([each.T for each in alone], axis=0), T, atol=1e-2)
        total = 0.0
        for (_, b), found in zip(pairs, alone, strict=True):
            each = rows.loss.value(rows.eta(found.T)[b], rows.y[b])
            total += rows.weight[b] @ each.sum(axis=1)
        assert_allclose(loss.sum(), total, rtol=1e-3)
    assert_array_equal(path.near(path.grid[1] + 0.1), path.T[1])


@pytest.mark.parametrize("p", [6, 90])
def test_candidates_of_every_class_are_solutions(p):
    trainer = trainer_of("classes", p)
    shared = all_candidates(trainer, FEW, Strengths())
    made = with_classes(trainer, shared, FEW, Strengths(), Limits())
    n, both = shared.v.shape[1], made.v.shape[1]
    assert both == 2 * n - 1 == len(made.family) == len(made.value)
    assert_array_equal(made.v[0, :n], np.repeat(shared.v[0][..., None], 3, axis=-1))
    base = trainer.problem.solve_shared(1.0)
    for v in made.v[0, n:]:
        assert v.shape == (p, 3)
        assert not (v[:, 0] == v[:, 1]).all()
        best = trainer.problem.coefficients(
            v, trainer.problem.solve(v, base, rough=False)
        )
        assert_allclose(best, v * trainer.dual_gradient(best[None])[0], **NEAR)
        assert_allclose(publish(best, best / np.where(v > 0, v, 1.0), None, True), v)


@pytest.mark.parametrize("p", [6, 90])
def test_classes_alone_are_single_targets(p):
    """What `by_class` poses is the block of the Hessian of one class."""
    trainer = trainer_of("classes", p)
    rows, eta = trainer.rows, trainer._start[1].eta
    index = trainer.set.rows
    weight, y = rows.weight[index], rows.y[index]
    grad = weight[:, None] * SoftmaxLoss().grad(eta, y)
    bend = weight[:, None] * SoftmaxLoss().curvature(eta, y)
    for c, own in enumerate(trainer.by_class()):
        assert_allclose(own.rows.weight[index], bend[:, c])
        slope = bend[:, c] * (eta[:, c] - own.rows.y[index, 0])
        assert_allclose(slope, grad[:, c])


@pytest.mark.parametrize("p", [6, 90])
@pytest.mark.parametrize("kind", FAMILIES)
def test_no_leak_to_the_bit(kind, p):
    rows, plan = make(kind, p=p)
    held_out, training = plan.held_out[0], plan.outer[0]
    rng = np.random.default_rng(5)
    X, weight = rows.X.copy(), rows.weight.copy()
    y = rows.y.copy()
    X[held_out] = 3.0 * rng.standard_normal(X[held_out].shape)
    y[held_out] = y[rng.permutation(held_out)]
    weight[held_out] = rng.uniform(0.1, 4.0, len(held_out))
    found = []
    for each in (rows, replace(rows, X=X, y=y, weight=weight)):
        family = FAMILIES[kind]
        glm = GLMRows(each, family.loss, family.offset)
        trainer = GLMTrainer(glm, training)
        made = all_candidates(trainer, FEW, Strengths())
        if kind == "classes":
            made = with_classes(trainer, made, FEW, Strengths(), Limits())
        found.append(made)
    assert_array_equal(found[0].v, found[1].v)
    assert_array_equal(found[0].w, found[1].w)


@pytest.mark.parametrize("p", [6, 90])
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_shared_strength_of_a_fold_is_chosen_by_the_other_folds(kind, p):
    """One path of all rows serves: losses of rows that are held out have no say."""
    rows, plan = make(kind, p=p)
    full, *outer = FAMILIES[kind].trainers(RowViews(rows), plan)
    path = full.path
    assert_array_equal(np.sort(path.row), np.arange(rows.n_rows))
    for trainer, held_out in zip(outer, plan.held_out, strict=True):
        inside = ~np.isin(path.row, held_out)
        expected, _ = choose_shared(path.grid, path.loss[inside], path.weight[inside])
        assert_allclose(trainer.shared("loo").log_v[0], expected)
        assert "path" not in vars(trainer)  # no path of its own


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("p", [6, 90])
def test_what_is_published_is_a_solution(kind, p):
    rows, plan = make(kind, p=p)
    family, averaging = FAMILIES[kind], Averaging(temperature=2.0, nats=True)
    terms = GuardTerms(RowViews(rows), plan, averaging)
    found = guarded_strengths(terms, FEW, Strengths(), family)
    assert (found.v >= 0).all()
    assert_array_equal(found.coef[1:][found.v == 0], 0.0)
    eta = rows.X @ found.coef[1:] + found.coef[0]
    residual = rows.weight[:, None] * family.loss.grad(eta, rows.y)
    assert_allclose(residual.sum(axis=0), 0.0, atol=1e-5)
    u = -rows.X.T @ residual
    scale = abs(found.coef[1:]).max() + 1e-12
    assert_allclose(found.coef[1:], found.v[:, None] * u, atol=1e-5 * scale)
    assert found.loss <= 1.02 * found.choice.loss[0]


@pytest.mark.parametrize("kind", ["binary", "classes"])
@pytest.mark.parametrize("p", [6, 90])
def test_a_constant_strength_is_logistic_regression(kind, p):
    trainer = trainer_of(kind, p)
    rows = trainer.rows
    codes = rows.y[:, 0] if kind == "binary" else rows.y.argmax(axis=1)
    peer = LogisticRegression(C=0.7, tol=1e-12, max_iter=10_000)
    peer.fit(rows.X, codes, rows.weight)
    w = trainer.solve(np.full((1, 1, p), 0.7))
    assert_allclose(w[0, 0].T, peer.coef_, atol=1e-6)
    full = trainer.full_coefficients(w)[0, 0]
    head = full[0] - full[0].mean() if kind == "classes" else full[0]
    shift = peer.intercept_.mean() if kind == "classes" else 0.0
    assert_allclose(head, peer.intercept_ - shift, atol=1e-6)


def test_rotated_rows_predict_like_the_rows():
    trainer = trainer_of("binary", p=90)
    problem = trainer.problem
    state = problem.solve_shared(0.3)
    same = problem.solve(np.full(90, 0.3), state, rough=False)
    assert_allclose(state.eta, same.eta, atol=1e-5)


def test_the_path_goes_on_through_a_plateau():
    """Two columns that matter only by their small difference."""
    rng = np.random.default_rng(0)
    n = 300
    common, small = rng.standard_normal((2, n))
    X = np.column_stack([common + 0.01 * small, common - 0.01 * small])
    y = (2.0 * small + rng.logistic(size=n) > 0).astype(float)[:, None]
    Z = np.column_stack([np.ones(n), X])
    rows = Whitened(Z, 1, y, np.ones(n), LogisticLoss())
    fold = rng.permutation(np.arange(n) % 5)
    pairs = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
    path = shared_path(rows, pairs, float(n), 30.0)
    mean = path.loss.mean(axis=0)
    assert mean.min() < 0.8 * mean[0]
    assert path.grid[mean.argmin()] > 5.0


@pytest.mark.parametrize("loss", [LogisticLoss(), SoftmaxLoss(), PoissonLoss()])
def test_targets_that_are_all_the_same(loss):
    n, p = 30, 4
    X = np.random.default_rng(0).standard_normal((n, p))
    y = np.zeros((n, 3 if isinstance(loss, SoftmaxLoss) else 1))
    y[:, 0] = 0.0 if isinstance(loss, PoissonLoss) else 1.0
    columns = np.hstack([np.ones((n, 1)), X])
    problem = TrainingProblem(columns, columns[:, :1], y, np.ones(n), None, loss)
    state = problem.solve(np.ones(p), problem.solve_shared(1.0), rough=False)
    assert np.isfinite(state.eta).all()
    assert abs(problem.coefficients(np.ones(p), state)).max() < 1e-3


@pytest.mark.parametrize("p", [6, 90])
def test_rows_of_weight_zero_are_not_there(p):
    """A training set that does not have them at all finds the same candidates."""
    rows, _ = make("binary", p=p)
    weight = rows.weight.copy()
    weight[50:] = 0.0
    family, found = FAMILIES["binary"], []
    for some in (
        replace(rows, weight=weight),
        replace(rows, X=rows.X[:50], y=rows.y[:50], weight=weight[:50]),
    ):
        codes = some.y[:50, 0].astype(int)
        rng = np.random.default_rng(1)
        request = PlanRequest(50, some.width, None, rng, codes, True)
        plan = default_plan(request, 3)
        glm = GLMRows(some, family.loss, family.offset)
        recipe = Recipe(half=(), evidence=(1.0, 0.3), elastic_net=0)
        made = all_candidates(GLMTrainer(glm, plan.full), recipe, Strengths())
        assert made.family == ("shared", "evidence", "evidence")
        assert np.ptp(np.log(made.v[0, -1])) > 0.1
        found.append(made.v)
    assert_allclose(found[0], found[1], rtol=1e-9)


def test_wide_sets_read_their_own_rows_and_meet_no_point_twice(monkeypatch):
    """Evaluations of the evidence are most of a fit where p >> n."""
    rows, plan = make("binary", p=90)
    family = FAMILIES["binary"]
    glm = GLMRows(rows, family.loss, family.offset)
    trainer = GLMTrainer(glm, plan.outer[0])
    kernels, points = [], []
    product, evaluate = Kernels._product, KernelEvidence.point

    def count_kernels(self, v):
        assert self.design.shape[0] == len(plan.outer[0].rows)
        kernels.append(v.tobytes())
        return product(self, v)

    def count_points(self, v):
        points.append(v.tobytes())
        return evaluate(self, v)

    # How often a fit computes them no candidate tells.
    monkeypatch.setattr(Kernels, "_product", count_kernels)
    monkeypatch.setattr(KernelEvidence, "point", count_points)
    recipe = replace(FEW, evidence=(1.0, 0.3, 0.1))
    all_candidates(trainer, recipe, Strengths())
    assert np.shares_memory(trainer._working.kernel_rows.X, trainer.problem.X)
    assert len(points) == len(set(points)) > 3
    # The start needs the kernel of one variance only, as the shared strength does,
    # and candidates are solved where a criterion has been.
    assert len(kernels) <= 1 + len(recipe.half) + len(points) - 1


@pytest.mark.parametrize("free", [(), (1, 4)])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_rows_of_a_training_set(free, standardize, is_sparse):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 6))
    shift = np.zeros(6) if is_sparse else rng.standard_normal(6)
    rows = AugmentedRows(
        sparse.csr_array(X) if is_sparse else X,
        rng.standard_normal((9, 2)),
        rng.uniform(0.5, 2.0, 9),
        np.array(free, dtype=int),
        np.setdiff1d(np.arange(6), free),
        True,
        shift,
        np.zeros(2),
        standardize,
    )
    glm = GLMRows(rows, SoftmaxLoss(), None)
    index = np.array([7, 2, 4, 0])
    metric = np.ones(rows.n_penalized)
    if standardize:
        metric = rng.uniform(0.5, 2.0, rows.n_penalized)
    taken = glm.taken(index, glm.X[index] * metric, metric)
    expected = (X - shift)[index][:, rows.penalized] * metric
    assert_allclose(KernelRows.of(taken).columns(np.arange(len(metric))), expected)
    assert_allclose(taken.free_block(np.arange(4)), rows.free_block(index))
    assert_array_equal(taken.weight, rows.weight[index])
