"""The stabilized recurrence: its polynomial, its stability, its use on systems."""

import numpy as np
import pytest

from skbilevel.problems import InnerOracles
from skbilevel.solvers._adjoint_system import AdjointSystem
from skbilevel.solvers._chebyshev import ChebyshevStages
from skbilevel.solvers.hypergradient import Chebyshev, GradientSteps
from skbilevel.solvers.inner import SRKCD

CASES = [(1, 0.05), (2, 0.05), (3, 0.05), (5, 0.05), (10, 0.05), (4, 2.0), (6, 0.0)]
# Measured limits of stability in the literature's units: 2 for plain descent.
KNOWN = {(2, 0.05): 7.8, (3, 0.05): 17.5, (5, 0.05): 48.5, (10, 0.05): 193.7} | {
    (s, 2 / 13): beta for s, beta in [(2, 7.5), (3, 16.5), (5, 45.6), (10, 181.9)]
}


def polynomial(scheme, z):
    """``R(z)`` from numpy's Chebyshev polynomials."""
    T = np.polynomial.chebyshev.Chebyshev.basis(scheme.n_stages)
    w0 = 1 + scheme.damping / scheme.n_stages**2
    w1 = T(w0) / T.deriv()(w0)
    return T(w0 - w1 * z) / T(w0)


def factor(scheme, z):
    """What one step does to a component with eigenvalue z."""
    y = np.ones_like(z)
    return scheme.step(lambda x: z * x, y, 1.0, z * y)


@pytest.mark.parametrize(("stages", "damping"), CASES)
def test_recurrence_is_the_polynomial(stages, damping):
    """On the whole stable interval, and beyond."""
    scheme = ChebyshevStages(stages, damping)
    z = np.linspace(0.0, 1.1 * scheme.stable, 301)
    np.testing.assert_allclose(factor(scheme, z), polynomial(scheme, z), atol=1e-9)


@pytest.mark.parametrize(("stages", "damping"), CASES)
def test_limit_of_stability_is_the_formula(stages, damping):
    """Bisection on the first z with |R| > 1; and |R| <= 1 below, damped up to it."""
    scheme = ChebyshevStages(stages, damping)
    z = np.linspace(1e-9, scheme.stable * (1 - 1e-9), 4001)
    assert np.abs(factor(scheme, z)).max() <= 1.0 + 1e-12
    low, high = 0.5 * scheme.limit, 3.0 * scheme.stable
    for _ in range(60):
        middle = 0.5 * (low + high)
        grid = np.linspace(0.9 * middle, middle, 50)
        if np.abs(factor(scheme, grid)).max() <= 1.0 + 1e-12:
            low = middle
        else:
            high = middle
    assert low == pytest.approx(scheme.stable, rel=1e-6)
    smallest = (scheme.w0 - 1.0) / scheme.w1
    damped = np.linspace(smallest, scheme.limit, 1001)
    rate = 1.0 / np.polynomial.chebyshev.Chebyshev.basis(stages)(scheme.w0)
    assert np.abs(factor(scheme, damped)).max() <= rate * (1 + 1e-9)
    assert scheme.limit <= scheme.stable


@pytest.mark.parametrize("case", KNOWN)
def test_limit_grows_with_the_square_of_stages(case):
    """Published values, and about ``(2 - 4 damping / 3) s^2``."""
    stages, damping = case
    scheme = ChebyshevStages(stages, damping)
    assert scheme.stable == pytest.approx(KNOWN[case], abs=0.06)
    about = (2 - 4 * damping / 3) * stages**2
    assert scheme.stable == pytest.approx(about, rel=0.05)


@pytest.mark.parametrize(("stages", "damping"), CASES)
def test_order_of_consistency_is_one(stages, damping):
    """``R(z) = 1 - z + O(z^2)``: halving z quarters the error of one step."""
    scheme = ChebyshevStages(stages, damping)
    z = np.array([1e-2, 5e-3])
    error = np.abs(factor(scheme, z) - np.exp(-z))
    assert error[0] < 1e-4
    assert error[0] / error[1] == pytest.approx(4.0, rel=0.05)


def quadratic(h):
    """``0.5 sum_j h_j w_j^2`` with its largest curvature as the metric."""
    return InnerOracles(
        value=lambda t, w: 0.5 * float(h @ w**2),
        grad=lambda t, w: h * w,
        hvp=lambda t, w, d: h * d,
        cross=lambda t, w, d: np.zeros(1),
        smoothness=lambda t: float(h.max()),
    )


@pytest.mark.parametrize("stages", [1, 2, 5])
def test_descent_is_stable_up_to_the_limit_and_not_beyond(stages):
    """The step of SRKCD in units of the inverse metric."""
    inner = quadratic(np.array([5.0, 100.0]))
    ends = {}
    for step in (0.9, 1.0, 1.1):
        solver = SRKCD(stages, step=step, n_passes=60.0 * stages)
        done = solver.solve(
            inner, np.zeros(1), np.ones(2), threshold=0.0, rng=np.random.default_rng(0)
        )
        ends[step] = np.abs(done.w).max()
    assert ends[0.9] < 0.1
    assert ends[1.0] < 0.1
    assert ends[1.1] > 1e3


@pytest.mark.parametrize(
    "arguments", [{"n_stages": 0}, {"damping": -1.0}, {"damping": np.nan}]
)
def test_impossible_stages_are_refused(arguments):
    """With what was given."""
    with pytest.raises(ValueError, match="n_stages must be at least 1"):
        ChebyshevStages(**arguments)


@pytest.fixture
def system(oracle_case):
    """An adjoint system and its matrix."""
    problem, theta = oracle_case.problem, oracle_case.theta
    w = oracle_case.solution(theta)
    metric = np.broadcast_to(problem.inner.smoothness(theta), w.shape)
    b = problem.outer.at(theta, w).grad
    point = problem.inner.at(theta, w)
    return AdjointSystem(point, metric, b), oracle_case.hessian(theta, w)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(("stages", "damping"), [(1, 0.05), (4, 0.05), (10, 2.0)])
def test_chebyshev_is_its_polynomial(system, stages, damping, warm):
    """Two steps: the error is ``R(a M^-1 H)^2`` times the first error."""
    system, H = system
    solver = Chebyshev(stages, n_iter=2, damping=damping)
    exact = np.linalg.solve(H, system.b)
    start = np.random.default_rng(0).standard_normal(len(exact)) if warm else None
    q, converged = solver.solve(system, start, tol=0.0)
    assert converged
    root = np.sqrt(system.metric)
    values, vectors = np.linalg.eigh(H / root[:, None] / root)
    scheme = ChebyshevStages(stages, damping)
    R = vectors @ np.diag(polynomial(scheme, scheme.limit * values)) @ vectors.T
    error = root * ((0.0 if start is None else start) - exact)
    np.testing.assert_allclose(root * (q - exact), R @ R @ error, atol=1e-10)


def test_chebyshev_is_exact_in_the_limit(system):
    """To the tolerance; a budget that is too small is no success."""
    system, H = system
    q, converged = Chebyshev().solve(system, None, tol=1e-12)
    assert converged
    np.testing.assert_allclose(q, np.linalg.solve(H, system.b), rtol=1e-8, atol=1e-12)
    again, converged = Chebyshev(n_iter=None, max_iter=1).solve(system, q, tol=1e-10)
    assert converged
    np.testing.assert_array_equal(again, q)
    assert not Chebyshev(max_iter=1).solve(system, None, tol=1e-12)[1]


def test_chebyshev_needs_fewer_products_than_gradient_steps():
    """On a system of condition 100, and no inner product is taken."""
    h = np.geomspace(1.0, 100.0, 40)
    point = quadratic(h).at(np.zeros(1), np.zeros(40))
    system = AdjointSystem(point, np.full(40, 100.0), np.ones(40))
    few, many = (
        np.linalg.norm(system.residual(solver.solve(system, None, tol=0.0)[0]))
        for solver in (Chebyshev(10, n_iter=3), GradientSteps(n_iter=30))
    )
    assert few < 0.1 * many
