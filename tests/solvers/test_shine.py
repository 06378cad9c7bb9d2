"""L-BFGS inside, and hypergradients from its inverse."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    LBFGSB,
    Descent,
    DoubleLoop,
    GradientDescent,
    HypergradientRequest,
    ImplicitGradient,
    NeumannSeries,
    counted,
    minimize_bilevel,
)
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers._limited_memory import InverseHessian
from skbilevel.solvers.hypergradient import SHINE, JacobianFree
from skbilevel.solvers.inner import LBFGS
from skbilevel.solvers.outer import HOAG

TRUST = SHINE(threshold=None)


def run_of(inner, hypergradient, problem):
    """An objective in use."""
    return DoubleLoopRun(DoubleLoop(inner, hypergradient, HOAG()), *counted(problem), 0)


def descend(case, solver, theta=None, threshold=1e-9, memory=None, w=None):
    """One inner descent."""
    theta = case.theta if theta is None else theta
    return solver.solve(
        case.problem.inner,
        theta,
        case.problem.w0 if w is None else w,
        threshold=threshold,
        rng=np.random.default_rng(0),
        memory=memory,
        outer_grad=lambda w: case.problem.outer.at(theta, w).grad,
    )


def differentiate(case, hypergradient, memory, tol=1e-3, point=None):
    """A hypergradient at the exact inner solution, with a given inverse."""
    problem = case.problem if point is None else point
    w = case.solution(case.theta)
    descent = Descent(w, problem.inner.at(case.theta, w), memory=memory)
    return hypergradient.evaluate(
        HypergradientRequest(
            problem, case.theta, descent, None, tol, np.random.default_rng(0), None
        )
    )


def exact_inverse(case):
    """As many conjugate pairs as unknowns."""
    H = case.hessian(case.theta, case.solution(case.theta))
    inverse = InverseHessian(np.diag(H).copy(), memory=len(H))
    for v in np.linalg.eigh(H)[1].T:
        inverse = inverse.push(v, H @ v)
    return inverse


def cosine(a, b):
    """Of the angle between two vectors."""
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(
    "solver", [LBFGS(), LBFGS(3), LBFGS(scaled=False), LBFGS(opa=2)]
)
def test_descent_finds_the_solution(oracle_case, solver):
    """Down to rounding, and with the oracles of its last point."""
    done = descend(oracle_case, solver, threshold=1e-13)
    assert done.converged
    assert done.n_iter < 80
    np.testing.assert_allclose(
        done.w, oracle_case.solution(oracle_case.theta), atol=1e-9
    )
    np.testing.assert_array_equal(done.point.w, done.w)
    beyond = descend(oracle_case, solver, threshold=0.0)
    np.testing.assert_allclose(beyond.w, done.w, atol=1e-9)
    assert beyond.n_iter < 200


def test_descent_needs_no_bound_on_the_curvature():
    """Steps that overshoot are shortened: a metric that is far too small."""
    start = np.array([3.0, -2.0])
    inner = InnerOracles(
        value=lambda t, w: float(np.logaddexp(3 * w, -3 * w).sum()),
        grad=lambda t, w: 3 * np.tanh(3 * w),
        hvp=lambda t, w, d: 9 / np.cosh(3 * w) ** 2 * d,
        cross=lambda t, w, d: np.zeros(1),
        smoothness=lambda t: 1e-3,
    )
    done = LBFGS().solve(
        inner, np.zeros(1), start, threshold=1e-6, rng=np.random.default_rng(0)
    )
    assert done.converged
    np.testing.assert_allclose(done.w, 0.0, atol=1e-6)


def test_budget_is_kept(oracle_case):
    """And is no convergence."""
    done = descend(oracle_case, LBFGS(max_iter=2), threshold=1e-12)
    assert done.n_iter == 2
    assert not done.converged


def test_pairs_move_with_theta(make_oracles):
    """For ridge, corrected pairs are exact pairs of the Hessian at the new theta."""
    case = make_oracles("ridge")
    first = descend(case, LBFGS())
    other = np.clip(case.theta + np.linspace(-1, 1, 8), *case.problem.box)
    H = case.hessian(other, first.w)
    moved = LBFGS()._known(
        case.problem.inner, first.memory, case.problem.inner.smoothness(other)
    )
    assert len(moved.pairs) == len(first.memory.pairs) > 3
    for pair in moved.pairs:
        np.testing.assert_allclose(pair.y, H @ pair.s, rtol=1e-6, atol=1e-10)
    stale = LBFGS(correct=False)._known(
        case.problem.inner, first.memory, case.problem.inner.smoothness(other)
    )
    worst = max(np.abs(p.y - H @ p.s).max() / np.abs(p.y).max() for p in stale.pairs)
    assert worst > 0.01


def test_problems_that_promise_nothing_are_not_corrected():
    """A bound on the Hessian need not change as the Hessian does."""
    inner = InnerOracles(
        value=lambda t, w: 0.5 * float(w @ w),
        grad=lambda t, w: w,
        hvp=lambda t, w, d: d,
        cross=lambda t, w, d: np.zeros(1),
        smoothness=lambda t: 1.0 + float(np.exp(t[0])),
    )
    s = np.array([1.0, 2.0])
    known = InverseHessian(np.full(2, 2.0)).push(s, s)
    moved = LBFGS()._known(inner, known, np.full(2, 5.0))
    np.testing.assert_array_equal(moved.pairs[0].y, s)
    np.testing.assert_array_equal(moved.metric, 5.0)


def test_warm_starts_keep_the_pairs(oracle_case):
    """A second descent close by starts from the first one's inverse."""
    first = descend(oracle_case, LBFGS())
    near = oracle_case.theta + 0.05
    cold = descend(oracle_case, LBFGS(), near, w=first.w)
    warm = descend(oracle_case, LBFGS(), near, w=first.w, memory=first.memory)
    assert warm.n_iter < cold.n_iter
    np.testing.assert_allclose(warm.w, cold.w, atol=1e-7)


def test_aware_pairs_turn_the_direction(make_oracles):
    """Over several problems: closer to the exact hypergradient in every one."""
    for seed in range(5):
        case = make_oracles("logistic", n=160, p=40, seed=seed)
        exact = case.grad(case.theta)
        found = {}
        for opa in (0, 5, 1):
            run = run_of(LBFGS(opa=opa), TRUST, case.problem)
            found[opa] = run.evaluate(case.theta, 1e-6).grad
        angles = {opa: cosine(grad, exact) for opa, grad in found.items()}
        assert angles[0] < angles[5]
        assert 1.0 - angles[5] < 0.2 * (1.0 - angles[0])
        assert angles[1] > 0.9999
        np.testing.assert_allclose(found[1], exact, atol=0.02 * np.abs(exact).max())


def test_aware_pairs_cost_one_gradient_each(oracle_case):
    """One every three steps, and one at the end if the last step made none."""
    problem, ledger = counted(oracle_case.problem)
    case = replace(oracle_case, problem=problem)
    done = descend(case, LBFGS(opa=3), threshold=1e-6)
    aware = -(-done.n_iter // 3)
    assert len(done.memory.pairs) == done.n_iter + aware
    # Inner gradients at all iterates and displaced points, outer ones for e.
    assert ledger.total.n_grad == done.n_iter + 1 + 2 * aware


def test_an_exact_inverse_gives_the_exact_hypergradient(oracle_case):
    """With and without the test, which costs the one product."""
    inverse, exact = exact_inverse(oracle_case), oracle_case.grad(oracle_case.theta)
    for shine, products in [(TRUST, 0), (SHINE(), 1), (SHINE(threshold=1e-8), 1)]:
        problem, ledger = counted(oracle_case.problem)
        done = differentiate(oracle_case, shine, inverse, point=problem)
        np.testing.assert_allclose(done.grad, exact, rtol=1e-6, atol=1e-9)
        assert done.value == pytest.approx(oracle_case.value(oracle_case.theta))
        assert ledger.total.n_hvp == products
        assert done.converged


def test_refinement_is_exact_in_the_limit(oracle_case):
    """Errors fall with the steps; as many steps as unknowns are exact."""
    memory = descend(oracle_case, LBFGS(3), threshold=1e-3).memory
    exact = oracle_case.grad(oracle_case.theta)
    errors = [
        np.abs(differentiate(oracle_case, SHINE(n, None), memory).grad - exact).max()
        for n in (0, 3, 8)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-6 * np.abs(exact).max()


def test_fallback_replaces_a_bad_inverse(oracle_case):
    """An inverse that is far too long: trusted without the test, mended with it."""
    bad = InverseHessian(1e-3 * oracle_case.problem.inner.smoothness(oracle_case.theta))
    exact = oracle_case.grad(oracle_case.theta)
    size = np.linalg.norm(exact)
    trusted = differentiate(oracle_case, TRUST, bad).grad
    assert np.linalg.norm(trusted - exact) > 100 * size
    mended = differentiate(oracle_case, SHINE(), bad, tol=1e-8).grad
    np.testing.assert_allclose(mended, exact, rtol=1e-4, atol=1e-4 * size)
    simple = SHINE(fallback=NeumannSeries(1))
    np.testing.assert_allclose(
        differentiate(oracle_case, simple, bad).grad,
        differentiate(oracle_case, JacobianFree(), bad).grad,
    )


def test_jacobian_free_descends_but_is_not_exact(make_oracles):
    """Too short where it is scaled, the outer gradient itself where it is not."""
    for seed in range(5):
        case = make_oracles("logistic", n=200, p=6, seed=seed)
        exact = case.grad(case.theta)
        short = differentiate(case, JacobianFree(), None).grad
        assert short @ exact > 0
        assert np.linalg.norm(short - exact) > 0.05 * np.linalg.norm(exact)
        w = case.solution(case.theta)
        f_w = case.problem.outer.at(case.theta, w).grad
        plain = differentiate(case, JacobianFree(scaled=False), None)
        np.testing.assert_array_equal(plain.adjoint, f_w)
        np.testing.assert_allclose(
            plain.grad, -case.problem.inner.at(case.theta, w).cross(f_w)
        )


def test_units_of_features_do_not_matter(make_oracles):
    """The scaled direction is that of the problem, the published one is not."""
    gap = {}
    for unit in (1.0, 100.0):
        inner = InnerOracles(
            value=lambda t, w, u=unit: (
                0.5 * float(((u * w - 1) ** 2).sum())
                + 0.5 * float(np.exp(t) @ (u * w) ** 2)
            ),
            grad=lambda t, w, u=unit: u * (u * w - 1) + np.exp(t) * u**2 * w,
            hvp=lambda t, w, d, u=unit: u**2 * (1 + np.exp(t)) * d,
            cross=lambda t, w, d, u=unit: np.exp(t) * u**2 * w * d,
            smoothness=lambda t, u=unit: u**2 * (1 + np.exp(t)),
        )
        outer = OuterOracles(
            value=lambda t, w, u=unit: 0.5 * float(((u * w - 2) ** 2).sum()),
            grad=lambda t, w, u=unit: u * (u * w - 2),
        )
        problem = OracleProblem(inner, outer, np.zeros(2), np.zeros(2), (-3.0, 3.0))
        for scaled in (True, False):
            run = run_of(LBFGS(), JacobianFree(scaled), problem)
            gap[unit, scaled] = run.evaluate(np.zeros(2), 1e-10).grad
    np.testing.assert_allclose(gap[1.0, True], gap[100.0, True], rtol=1e-6)
    assert np.linalg.norm(gap[100.0, False]) > 10 * np.linalg.norm(gap[1.0, False])


def test_combinations_without_an_inverse_are_refused():
    """One sentence that says what is missing."""
    with pytest.raises(ValueError, match=r"SHINE needs .*inverse Hessian \(LBFGS\)"):
        DoubleLoop(GradientDescent(), SHINE(), LBFGSB())
    DoubleLoop(GradientDescent(), JacobianFree(), LBFGSB())


@pytest.mark.parametrize("outer", [HOAG(decrease=0.78), LBFGSB()])
def test_searches_with_shine_end_at_the_minimum(oracle_case, outer):
    """As low as with exact gradients, with far fewer Hessian products."""
    best = minimize_bilevel(oracle_case.problem, "exact", tol=1e-7, max_iter=500)
    start = oracle_case.value(oracle_case.theta)
    counts = {}
    for name, hypergradient in {"shine": SHINE(), "exact": ImplicitGradient()}.items():
        loop = DoubleLoop(LBFGS(opa=5), hypergradient, outer)
        found = minimize_bilevel(
            oracle_case.problem, loop, tol=1e-5, max_iter=150, final_tol=None
        )
        assert found.value - best.value <= 0.01 * (start - best.value)
        counts[name] = found.counts.n_hvp / len(found.history["value"])
    assert counts["shine"] < 0.5 * counts["exact"]
