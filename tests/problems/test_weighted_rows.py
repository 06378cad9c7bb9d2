"""Weights of rows as outer variables: derivatives, scale, equal weights."""

import numpy as np
import pytest
from scipy import optimize, sparse

from skbilevel.problems import (
    Headed,
    LogisticLoss,
    RowsDataFit,
    SoftmaxLoss,
    SquaredLoss,
    as_design,
)
from skbilevel.problems._weighted_rows import EqualWeights, row_weights_problem
from skbilevel.solvers import (
    LBFGSB,
    ConjugateGradient,
    DirectSolve,
    DoubleLoop,
    ImplicitGradient,
    Newton,
    evaluate_bilevel,
)
from skbilevel.testing import check_problem

LOSSES = {
    "squared": SquaredLoss(),
    "logistic": LogisticLoss(),
    "softmax": SoftmaxLoss(),
}


def rows(n, *spans):
    """Random positive weights of some spans of rows."""
    weight, rng = np.zeros(n), np.random.default_rng(n)
    for a, b in spans:
        weight[a:b] = rng.uniform(0.5, 2.0, b - a)
    return weight


def make(kind, n_tasks=2, factor=0.3, as_sparse=False):
    rng = np.random.default_rng(0)
    n, loss = 40, LOSSES[kind]
    X = rng.standard_normal((n, 4))
    design = Headed(as_design(sparse.csr_array(X) if as_sparse else X), np.ones((n, 1)))
    y = {
        "squared": rng.standard_normal((n, 1)),
        "logistic": rng.integers(0, 2, (n, 1)).astype(float),
        "softmax": np.eye(3)[rng.integers(0, 3, n)],
    }[kind]
    spans = [((0, 20), (20, 40)), ((10, 40), (0, 10))][:n_tasks]
    fits = [
        [RowsDataFit(design, y, rows(n, s), None, loss) for s in pair] for pair in spans
    ]
    basis = rng.standard_normal((n, 3))
    share = np.array([0.2, 0.3, 0.5])
    return row_weights_problem(
        [inner for inner, _ in fits],
        [outer for _, outer in fits],
        sparse.csr_array(basis) if as_sparse else basis,
        EqualWeights(factor, share, -1.0, 0.1),
        spread=10.0,
        drift=10.0,
    )


THETA = np.array([-0.7, 0.3, -0.4, 0.2])


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_oracles_belong_together(kind, as_sparse):
    report = check_problem(make(kind, as_sparse=as_sparse), THETA)
    checked = {check.oracle for check in report.checks}
    assert {"WeightedRows.cross", "WeightedRows.hessian"} <= checked
    assert {"WeightedRows.smoothness", "TrustedRows.grad_theta"} <= checked


@pytest.mark.parametrize("adjoint", [DirectSolve(), ConjugateGradient()])
@pytest.mark.parametrize("kind", LOSSES)
def test_hypergradient_against_differences(kind, adjoint):
    problem = make(kind)

    def value(theta):
        return evaluate_bilevel(problem, theta, tol=1e-12).value

    # A search that stops at once has looked at the gradient where it started.
    loop = DoubleLoop(
        Newton(), ImplicitGradient(adjoint), LBFGSB(accuracy=(1e-12,) * 2)
    )
    result = loop.solve_oracles(problem, THETA, tol=1e-12, max_iter=1)
    differences = optimize.approx_fprime(THETA, value, 1e-6)
    assert result.history["grad_norm"][0] == pytest.approx(
        abs(differences).max(), rel=2e-5
    )


@pytest.mark.parametrize("kind", LOSSES)
def test_one_factor_for_all_weights_changes_nothing(kind):
    # The loss is divided by the sum of the weights.
    problem = make(kind)
    n = problem.inner.basis.shape[0]
    shifted = np.column_stack([problem.inner.basis, np.ones(n)])
    one = row_weights_problem(
        problem.inner.fits,
        problem.outer.fits,
        shifted,
        EqualWeights(0.0, np.full(4, 0.25)),
        spread=10.0,
        drift=10.0,
    )
    w = [evaluate_bilevel(one, np.append(THETA, c), tol=1e-12).w for c in (0.0, -2.0)]
    np.testing.assert_allclose(w[0], w[1], atol=1e-9)


def test_weights_of_zero_are_rows_left_out():
    problem = make("logistic", n_tasks=1)
    inner = problem.inner
    fit = inner.fits[0]
    keep = np.arange(40) % 3 > 0
    basis = np.where(keep, 0.0, 1.0)[:, None]
    weighed = row_weights_problem(
        [fit],
        problem.outer.fits,
        basis,
        EqualWeights(0.0, np.ones(1)),
        spread=2,
        drift=2,
    )
    few = RowsDataFit(fit.design, fit.y, fit.weight * keep, None, fit.loss)
    alone = row_weights_problem(
        [few],
        problem.outer.fits,
        basis,
        EqualWeights(0.0, np.ones(1)),
        spread=2,
        drift=2,
    )
    a = evaluate_bilevel(weighed, np.array([-1.0, -60.0]), tol=1e-12)
    b = evaluate_bilevel(alone, np.array([-1.0, 0.0]), tol=1e-12)
    np.testing.assert_allclose(a.w, b.w, atol=1e-9)


def test_hyperpenalty_is_zero_at_equal_weights():
    penalty = EqualWeights(2.0, np.array([0.5, 0.25, 0.25]), -1.0, 0.1)
    value, grad = penalty.value_and_grad(np.array([-1.0, 0.7, 0.7, 0.7]))
    assert value == pytest.approx(0.0)
    np.testing.assert_allclose(grad, 0.0, atol=1e-12)
    unequal = np.array([0.0, 1.0, -1.0, 0.0])
    numeric = optimize.approx_fprime(
        unequal, lambda theta: penalty.value_and_grad(theta)[0], 1e-7
    )
    np.testing.assert_allclose(penalty.value_and_grad(unequal)[1], numeric, atol=1e-5)
