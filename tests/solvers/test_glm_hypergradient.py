"""Hypergradients of generalized linear models against central differences."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import (
    BilevelProblem,
    BrierLoss,
    ByTarget,
    CriterionProblem,
    FeatureStrengths,
    GroupStrengths,
    LeaveOneOut,
    LogisticLoss,
    PoissonLoss,
    SmoothPenalty,
    SmoothZeroOneLoss,
    SoftmaxLoss,
    SquaredHingeLoss,
    SquaredLoss,
    SweptRows,
)
from skbilevel.solvers import (
    LBFGSB,
    NEWTON,
    ApproximateLeaveOneOut,
    Implicit,
    Nested,
    NewtonCG,
    NewtonCholesky,
    NewtonDual,
)
from skbilevel.solvers._nested import DirectRun, NestedRun
from skbilevel.solvers.hypergradient._implicit import MarginalLikelihood

SHAPES = {"tall": (60, 6), "wide": (25, 40)}
INNER = list(NEWTON.values())
OF_ALL_ROWS = ("loo", "reml")
_TOL = 1e-11


def _name(value):
    return type(value).__name__ if not isinstance(value, tuple) else None


def _splits(criterion, n):
    fold = np.arange(n) % 3
    pairs = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    return pairs if criterion == "folds" else pairs[:1]


def _hypergradient(criterion, loss):
    if criterion != "reml":
        return ApproximateLeaveOneOut() if criterion == "loo" else Implicit()
    known = loss.noise(1) is not None
    return MarginalLikelihood(None if known else 1.3, 0.7)


def _problem(model, criterion, parametrization):
    if criterion in OF_ALL_ROWS:
        tasks = (model.everything(),)
    else:
        splits = _splits(criterion, len(model.y))
        tasks = tuple(model.fold(*pair) for pair in splits)
    bounds = parametrization.bounds(0.0, 1e6)
    return BilevelProblem(tasks, parametrization, bounds)


def _check(solver, problem, theta, zero):
    """Central differences along two directions, one-sided where ``v_j = 0``."""

    def value(x):
        return solver.evaluate(problem, x, tol=_TOL).value

    grad = solver.evaluate(problem, theta, tol=_TOL).grad
    rng, h = np.random.default_rng(3), 1e-5
    for _ in range(2):
        D = rng.standard_normal(len(theta))
        D[zero] = 0.0
        slope = (value(theta + h * D) - value(theta - h * D)) / (2 * h)
        np.testing.assert_allclose(grad @ D, slope, rtol=1e-6, atol=1e-6)
    if len(zero):
        # A one-sided difference of fourth order.
        e = np.zeros(len(theta))
        e[zero] = 1e-4
        points = [value(theta + k * e) for k in range(5)]
        slope = np.array([-25, 48, -36, 16, -3]) @ points / 12 / 1e-4
        np.testing.assert_allclose(grad[zero].sum(), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("inner", INNER, ids=_name)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("criterion", ["folds", "hold-out", "loo", "reml"])
def test_weights_offsets_and_removed_features(
    make_glm, glm_loss, criterion, shape, inner
):
    model = make_glm(glm_loss, *shape)
    hypergradient = _hypergradient(criterion, model.loss)
    solver = Nested(inner, hypergradient, LBFGSB())
    p = shape[1]
    problem = _problem(model, criterion, FeatureStrengths(p, 0.03))
    theta = np.random.default_rng(1).uniform(0.3, 1.8, p)
    theta[1] = 0.0
    if criterion in OF_ALL_ROWS and isinstance(inner, NewtonCG):
        with pytest.raises(ValueError, match="needs the factors"):
            solver.evaluate(problem, theta)
        return
    _check(solver, problem, theta, np.array([1]))


@pytest.mark.parametrize(
    "outer", [BrierLoss(), SmoothZeroOneLoss(), SquaredHingeLoss()]
)
@pytest.mark.parametrize("loss", [LogisticLoss(), SoftmaxLoss()], ids=_name)
@pytest.mark.parametrize("criterion", ["folds", "loo"])
def test_other_validation_losses(make_glm, loss, outer, criterion):
    model = make_glm(loss, 60, 6, outer=outer)
    hypergradient = _hypergradient(criterion, model.loss)
    solver = Nested(NewtonCholesky(), hypergradient, LBFGSB())
    problem = _problem(model, criterion, GroupStrengths(np.arange(6) % 2, 0.05))
    _check(solver, problem, np.array([0.6, 1.4]), np.array([], dtype=int))


def _without_some(p, t):
    """Strengths by class: a feature without one class, a class of few features."""
    theta = np.random.default_rng(1).uniform(0.3, 1.8, (p, t))
    theta[1, 0] = theta[2:, 1] = 0.0
    theta[3] = 0.0
    return theta.reshape(-1)


@pytest.mark.parametrize("inner", INNER, ids=_name)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("criterion", ["folds", "hold-out", "loo", "reml"])
def test_strengths_of_every_class(make_glm, criterion, shape, inner):
    if criterion in OF_ALL_ROWS and isinstance(inner, NewtonCG):
        pytest.skip("approximate leave-one-out needs factors")
    model, p = make_glm(SoftmaxLoss(), *shape, outer=BrierLoss()), shape[1]
    hypergradient = _hypergradient(criterion, model.loss)
    solver = Nested(inner, hypergradient, LBFGSB())
    problem = _problem(model, criterion, ByTarget(FeatureStrengths(3 * p, 0.03), 3))
    theta = _without_some(p, 3)
    _check(solver, problem, theta, np.flatnonzero(theta == 0.0))


@pytest.mark.parametrize("criterion", ["folds", "loo", "reml"])
def test_one_strength_for_every_class(make_glm, criterion):
    model = make_glm(SoftmaxLoss(), 60, 6)
    hypergradient = _hypergradient(criterion, model.loss)
    solver = Nested(NewtonCholesky(), hypergradient, LBFGSB())
    labels = np.tile(np.arange(3), 6)
    problem = _problem(model, criterion, ByTarget(GroupStrengths(labels, 0.05), 3))
    _check(solver, problem, np.array([0.6, 0.9, 1.4]), np.array([], dtype=int))


def test_equal_strengths_of_classes_are_shared_ones(make_glm):
    for shape in SHAPES.values():
        model, p = make_glm(SoftmaxLoss(), *shape), shape[1]
        theta = np.random.default_rng(2).uniform(0.3, 1.8, p)
        shared = _problem(model, "folds", FeatureStrengths(p, 0.03))
        own = _problem(model, "folds", ByTarget(FeatureStrengths(3 * p, 0.03), 3))
        for inner in INNER:
            solver = Nested(inner, Implicit(), LBFGSB())
            one = solver.evaluate(shared, theta, tol=_TOL)
            each = solver.evaluate(own, np.repeat(theta, 3), tol=_TOL)
            assert each.value == pytest.approx(one.value, rel=1e-8)
            total = each.grad.reshape(p, 3).sum(axis=1)
            np.testing.assert_allclose(total, one.grad, atol=1e-7)


def test_many_features_are_removed_in_the_dual(make_glm, glm_loss):
    model = make_glm(glm_loss, 25, 40)
    theta = np.zeros(40)
    theta[:5] = 1.0
    problem = _problem(model, "folds", FeatureStrengths(40, 0.03))
    values = [
        Nested(inner, Implicit(), LBFGSB()).evaluate(problem, theta, tol=_TOL)
        for inner in INNER
    ]
    for other in values[1:]:
        np.testing.assert_allclose(other.value, values[0].value, rtol=1e-8)
        np.testing.assert_allclose(other.grad, values[0].grad, atol=1e-6)


def test_tuning_lowers_the_loss_and_sees_hyperpenalties(make_glm, glm_loss):
    model = make_glm(glm_loss, 60, 6, plain=True)
    parametrization = FeatureStrengths(6, 0.03)
    for criterion, gradient in [
        ("folds", Implicit()),
        ("loo", ApproximateLeaveOneOut()),
    ]:
        problem = _problem(model, criterion, parametrization)
        solver = Nested(NewtonCholesky(), gradient, LBFGSB())
        start = solver.evaluate(problem, np.ones(6)).value
        done = solver.solve(problem, np.ones(6), max_iter=60)
        assert done.value < start
        bounds = parametrization.bounds(1e-6, 1e3)
        tied = replace(problem, hyperpenalty=SmoothPenalty(1e4), bounds=bounds)
        v = solver.solve(tied, np.ones(6), max_iter=60).v
        assert v.shape == (6,)
        assert v.max() / v.min() < 1.2


def test_a_stack_of_folds_stays_apart(make_glm):
    problem = _problem(make_glm(LogisticLoss(), 60, 6), "folds", FeatureStrengths(6))
    assert len(problem.stacked().tasks) == 3


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("inner", [NewtonCholesky(), NewtonDual()], ids=_name)
def test_gauss_newton_of_folds_is_that_of_moved_predictions(make_glm, shape, inner):
    model = make_glm(LogisticLoss(), *shape, outer=BrierLoss())
    parametrization = GroupStrengths(np.arange(shape[1]) % 3, 0.03)
    problem = _problem(model, "folds", parametrization)
    theta = np.array([0.5, 0.8, 1.2])
    B = NestedRun(Nested(inner, Implicit(), LBFGSB()), problem, map).curvature(theta)

    def predictions(task, x):
        v = task.variances(parametrization, x)
        return task.outer.at(inner.solve(task.inner, v, tol=_TOL).W).eta

    h, expected = 1e-4, np.zeros((3, 3))
    for task in problem.tasks:
        columns = [
            predictions(task, theta + h * e) - predictions(task, theta - h * e)
            for e in np.eye(3)
        ]
        J = np.hstack(columns) / (2 * h)
        bend = task.outer.loss.curvature(predictions(task, theta), task.outer.y)
        expected += J.T @ (task.outer.weight[:, None] * bend * J)
    expected /= problem.total_weight
    np.testing.assert_allclose(B, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_gauss_newton_of_squared_errors_left_out_is_that_of_ridge(make_glm, shape):
    model = make_glm(PoissonLoss(), *shape)
    squared = replace(model, loss=SquaredLoss(), outer=SquaredLoss(), offset=None)
    parametrization = GroupStrengths(np.arange(shape[1]) % 3, 0.03)
    theta = np.array([0.5, 0.8, 1.2])
    rows = SweptRows(model.design, model.y, model.weight, model.free)
    bounds = parametrization.bounds(0.0, 1.0)
    closed = CriterionProblem(LeaveOneOut(rows), parametrization, bounds)
    expected = DirectRun(closed).curvature(theta)
    solver = Nested(NewtonDual(), ApproximateLeaveOneOut(), LBFGSB())
    B = NestedRun(solver, _problem(squared, "loo", parametrization), map)
    np.testing.assert_allclose(B.curvature(theta), expected, rtol=1e-6)
