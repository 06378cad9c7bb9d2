"""The fixed point of the adjoint of a heavy-ball step."""

import numpy as np
import pytest

from skbilevel.problems import InnerOracles
from skbilevel.solvers import (
    DoubleLoop,
    GradientSteps,
    ImplicitGradient,
    Newton,
    ProjectedGradient,
    counted,
)
from skbilevel.solvers._adjoint_system import AdjointSystem
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers.hypergradient import FixedPoint

P = 6


@pytest.fixture(scope="module")
def system():
    """A system whose metric differs between components."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, P))
    own = np.logspace(-2, 1, P)
    data = X.T @ X / 20
    H = data + np.diag(own)
    inner = InnerOracles(
        value=lambda t, w: 0.5 * w @ H @ w,
        grad=lambda t, w: H @ w,
        hvp=lambda t, w, d: H @ d,
        cross=lambda t, w, d: d,
    )
    metric = np.linalg.eigvalsh(data)[-1] + own
    point = inner.at(np.zeros(P), np.zeros(P))
    return AdjointSystem(point, metric, rng.standard_normal(P)), H


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n_iter", [1, 2, 7])
def test_it_iterates_the_adjoint_of_the_map(system, momentum, n_iter):
    """Against the matrix of the derivative of one step, of size 2p."""
    linear, H = system
    step, eye, zero = np.diag(0.8 / linear.metric), np.eye(P), np.zeros((P, P))
    J = np.block([[(1 + momentum) * eye - step @ H, -momentum * eye], [eye, zero]])
    source = np.concatenate([linear.b, np.zeros(P)])
    v = np.zeros(2 * P)
    for _ in range(n_iter):
        v = J.T @ v + source
    q, done = FixedPoint(n_iter, momentum, 0.8).solve(linear, None, tol=0.0)
    assert done
    np.testing.assert_allclose(q, step @ v[:P], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("warm", [False, True])
def test_without_momentum_it_is_gradient_steps(system, warm):
    """From zero and from a guess."""
    linear, _ = system
    q0 = np.arange(P) / P if warm else None
    mine, _ = FixedPoint(9, 0.0, 0.7).solve(linear, q0, tol=0.0)
    known, _ = GradientSteps(9, 0.7).solve(linear, q0, tol=0.0)
    np.testing.assert_allclose(mine, known, rtol=1e-14)


def test_momentum_is_worth_it(system):
    """To one tolerance in fewer products, with the right solution."""
    linear, H = system
    exact = np.linalg.solve(H, linear.b)
    q, done = FixedPoint(momentum=0.3).solve(linear, None, tol=1e-12)
    assert done
    np.testing.assert_allclose(q, exact, rtol=1e-8)
    errors = [
        np.abs(FixedPoint(40, b).solve(linear, None, tol=0.0)[0] - exact).max()
        for b in (0.0, 0.3)
    ]
    assert errors[1] < 0.1 * errors[0]
    assert not FixedPoint(max_iter=2).solve(linear, None, tol=1e-12)[1]


def test_hypergradient_is_exact_in_the_limit(oracle_case):
    """As every linear solver's."""
    loop = DoubleLoop(Newton(), ImplicitGradient(FixedPoint()), ProjectedGradient())
    run = DoubleLoopRun(loop, *counted(oracle_case.problem), 0)
    done = run.evaluate(oracle_case.theta, 1e-11)
    exact = oracle_case.grad(oracle_case.theta)
    np.testing.assert_allclose(done.grad, exact, rtol=1e-6, atol=1e-8)


def test_momentum_has_a_range():
    """It is below one."""
    with pytest.raises(ValueError, match="momentum"):
        FixedPoint(momentum=1.0)
