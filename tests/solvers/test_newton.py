"""Newton's method for generalized linear models: optimality, scikit-learn, limits."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    TweedieRegressor,
)

from skbilevel.problems import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    as_design,
)
from skbilevel.solvers import (
    NEWTON,
    NewtonCholesky,
    NewtonDual,
    choose_newton,
    resolve_inner,
)

SHAPES = [(60, 6), (25, 40)]
INNER = list(NEWTON.values())


def _variances(model, seed=0):
    """Infinite in front, one zero and one tiny among the others."""
    p = model.design.shape[1]
    v = np.random.default_rng(seed).uniform(0.02, 0.5, p)
    v[1], v[2] = 0.0, 1e-12
    return np.concatenate([np.full(model.n_free, np.inf), v])


def _name(value):
    return type(value).__name__ if not isinstance(value, tuple) else None


@pytest.mark.parametrize("inner", INNER, ids=_name)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_zero_at_the_solution(make_glm, glm_loss, shape, inner):
    model = make_glm(glm_loss, *shape)
    fit, v = model.fit, _variances(model)
    found = inner.solve(fit, v, tol=1e-11)
    with np.errstate(divide="ignore"):
        inverse = np.where(v > 0, 1.0 / v, 0.0)[:, None]
    grad = np.where(v[:, None] > 0, fit.at(found.W).grad + inverse * found.W, 0.0)
    assert np.abs(grad * np.sqrt(np.minimum(v, 1.0))[:, None]).max() < 1e-7
    assert not found.W[model.n_free + 1].any()
    np.testing.assert_allclose(found.solution.pull, -fit.at(found.W).grad, atol=1e-7)
    assert found.solution.converged


@pytest.mark.parametrize("inner", INNER, ids=_name)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_system_is_that_of_the_hessian(make_glm, glm_loss, shape, inner):
    model = make_glm(glm_loss, *shape)
    fit, v = model.fit, _variances(model)
    found = inner.solve(fit, v, tol=1e-12)
    b = np.random.default_rng(1).standard_normal(found.W.shape)
    if isinstance(glm_loss, SoftmaxLoss):
        # Nothing in a fit depends on a common shift of unpenalized coefficients.
        b[: model.n_free] -= b[: model.n_free].mean(axis=1, keepdims=True)
    done = found.system.solve(b, None, tol=1e-10)
    pull = b - fit.at(found.W).hvp(done.x)
    np.testing.assert_allclose(done.pull, pull, atol=1e-6 * np.abs(pull).max())
    finite = np.where(np.isinf(v), 0.0, v)[:, None]
    body = slice(model.n_free, None)
    np.testing.assert_allclose(done.x[body], (finite * pull)[body], atol=1e-6)
    assert np.abs(pull[: model.n_free]).max() < 1e-6


@pytest.mark.parametrize("inner", INNER, ids=_name)
def test_another_start_leads_to_the_same_place(make_glm, glm_loss, inner):
    model = make_glm(glm_loss, 25, 40)
    v = _variances(model)
    cold = inner.solve(model.fit, v, tol=1e-11).W
    for factor in (1e-3, 1e3):
        near = inner.solve(model.fit, factor * v, tol=1e-11).state
        warm = inner.solve(model.fit, v, near, tol=1e-11).W
        np.testing.assert_allclose(warm, cold, atol=2e-6)


def test_sparse_rows_give_the_same(make_glm, glm_loss):
    for shape, inner in zip(SHAPES, (NewtonCholesky(), NewtonDual()), strict=True):
        model = make_glm(glm_loss, *shape)
        same = replace(model, design=as_design(sparse.csr_array(model.design.X)))
        v = _variances(model)
        W, other = (inner.solve(each.fit, v).W for each in (model, same))
        np.testing.assert_allclose(other, W, atol=1e-9)


def _reference(loss, alpha, weight_sum):
    tight = {"tol": 1e-10, "max_iter": 10_000}
    if isinstance(loss, LogisticLoss | SoftmaxLoss):
        return LogisticRegression(C=1 / alpha, solver="newton-cg", **tight)
    of = {PoissonLoss: PoissonRegressor, GammaLoss: GammaRegressor}
    if type(loss) in of:
        return of[type(loss)](alpha=alpha / weight_sum, **tight)
    return TweedieRegressor(
        alpha=alpha / weight_sum, power=loss.power, link="log", **tight
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_constant_strengths_are_those_of_scikit_learn(make_glm, glm_loss, shape):
    model = make_glm(glm_loss, *shape, plain=True)
    weight = np.random.default_rng(1).uniform(0.3, 2.0, shape[0])
    model, alpha = replace(model, weight=weight), 3.0
    target = model.y[:, 0] if model.y.shape[1] == 1 else model.y.argmax(axis=1)
    reference = _reference(glm_loss, alpha, weight.sum())
    reference.fit(model.design.X, target, sample_weight=weight)
    v = np.concatenate([[np.inf], np.full(shape[1], 1 / alpha)])
    for inner in INNER:
        W = inner.solve(model.fit, v, tol=1e-12).W
        np.testing.assert_allclose(W[1:].T, np.atleast_2d(reference.coef_), atol=1e-6)
        difference = W[0] - reference.intercept_
        # Of several classes only differences of intercepts are determined.
        np.testing.assert_allclose(difference, difference.mean(), atol=1e-6)
        assert W.shape[1] > 1 or abs(difference[0]) < 1e-6


@pytest.mark.parametrize("inner", INNER, ids=_name)
def test_free_coefficients_of_classes_sum_to_zero(make_glm, inner):
    model = make_glm(SoftmaxLoss(), 60, 6)
    W = inner.solve(model.fit, _variances(model), tol=1e-11).W
    np.testing.assert_allclose(W[: model.n_free].sum(axis=1), 0.0, atol=1e-7)


@pytest.mark.parametrize("loss", [LogisticLoss(), SoftmaxLoss()], ids=_name)
@pytest.mark.parametrize("shape", SHAPES)
def test_separable_classes_do_not_diverge(make_glm, loss, shape):
    model = make_glm(loss, *shape, plain=True)
    x = model.design.X[:, 0]
    y = (x > 0)[:, None].astype(float)
    if isinstance(loss, SoftmaxLoss):
        y = np.eye(3)[(x > -0.5).astype(int) + (x > 0.5)]
    model = replace(model, y=y)
    v = np.concatenate([[np.inf], np.full(shape[1], 1e10)])
    for inner in (NewtonCholesky(), NewtonDual()):
        found = inner.solve(model.fit, v)
        assert found.solution.converged
        assert np.isfinite(found.W).all()
        assert float(model.fit.at(found.W).value) < 1e-3


def test_all_targets_zero_is_no_accident(make_glm):
    model = replace(make_glm(PoissonLoss(), 30, 4, plain=True), y=np.zeros((30, 1)))
    v = np.concatenate([[np.inf], np.ones(4)])
    found = NewtonCholesky().solve(model.fit, v)
    assert np.isfinite(found.W).all()
    assert float(model.fit.at(found.W).value) < 1e-6


def test_the_rule_follows_the_shape(make_glm):
    assert choose_newton(500, 30) == "newton-cholesky"
    assert choose_newton(500, 30, n_own=20) == "newton-cholesky"
    assert choose_newton(2500, 9000) == "newton-dual"
    assert choose_newton(2500, 9000, n_own=20) == "newton-cg"
    assert choose_newton(2500, 9000, name="newton-dual", n_own=20) == "newton-dual"
    assert choose_newton(100, 5000) == "newton-dual"
    assert choose_newton(900, 5000, sparse=True) == "newton-dual"
    assert choose_newton(1500, 5000, sparse=True) == "newton-cg"
    assert choose_newton(10_000, 100_000) == "newton-cg"
    assert choose_newton(10_000, 1000, sparse=True) == "newton-cg"
    assert choose_newton(10_000, 100_000, name="exact") == "newton-dual"
    fit = make_glm(LogisticLoss(), 25, 40).fit
    assert resolve_inner("auto", fit) == NewtonDual()
    assert resolve_inner("cholesky", fit) == NewtonCholesky()


def test_what_cannot_be_solved_is_refused(make_glm):
    fit = make_glm(LogisticLoss(), 25, 4).fit
    for inner in (NewtonCholesky(), NewtonDual()):
        with pytest.raises(ValueError, match="must be the first"):
            inner.solve(fit, np.array([1.0, np.inf, 1.0, 1.0, 1.0, 1.0]))
        with pytest.raises(ValueError, match="not a stack"):
            inner.solve(replace(fit, weight=np.ones((2, 25))), np.ones(6))
