"""The double loop on oracles: limits, warm starts, counts, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    AISARAH,
    HOAG,
    LBFGS,
    LBFGSB,
    SABA,
    SAGA,
    SOBA,
    SRKCD,
    Adam,
    AmigoSGD,
    ConjugateGradient,
    DirectSolve,
    DoubleLoop,
    GradientDescent,
    GradientSteps,
    ImplicitGradient,
    Nested,
    NeumannSeries,
    Newton,
    ProjectedGradient,
    Status,
    counted,
    evaluate_bilevel,
    minimize_bilevel,
)
from skbilevel.solvers._double_loop import DoubleLoopRun
from skbilevel.solvers.hypergradient import Implicit
from skbilevel.solvers.inner import CG

INNERS = {
    "newton-direct": Newton("direct"),
    "newton-cg": Newton("cg"),
    "gradient": GradientDescent(),
}
LINEAR = {
    "direct": DirectSolve(),
    "cg": ConjugateGradient(),
    "cg-plain": ConjugateGradient(precondition=False),
    "gradient": GradientSteps(),
    "neumann": NeumannSeries(20_000),
}


def run_of(loop, problem):
    """An objective in use."""
    return DoubleLoopRun(loop, *counted(problem), 0)


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize("inner", INNERS)
def test_hypergradients_are_exact_in_the_limit(oracle_case, inner, linear):
    """Any inner solver and any linear solver, run to the end."""
    loop = DoubleLoop(INNERS[inner], ImplicitGradient(LINEAR[linear]), LBFGSB())
    done = run_of(loop, oracle_case.problem).evaluate(oracle_case.theta, 1e-11)
    exact = oracle_case.grad(oracle_case.theta)
    assert done.value == pytest.approx(oracle_case.value(oracle_case.theta), rel=1e-8)
    np.testing.assert_allclose(done.grad, exact, rtol=1e-6, atol=1e-8)


def test_exact_gradient_is_that_of_finite_differences(oracle_case):
    """The reference of all tests here."""
    theta, eps = oracle_case.theta, 1e-5
    numeric = [
        (oracle_case.value(theta + eps * e) - oracle_case.value(theta - eps * e))
        / (2 * eps)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(oracle_case.grad(theta), numeric, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "outer", [LBFGSB(), ProjectedGradient(), Adam(), ProjectedGradient(step=20.0)]
)
def test_outer_optimizers_reach_one_minimum(oracle_case, outer):
    """Each from the same start."""
    loop = DoubleLoop(Newton(), ImplicitGradient(), outer)
    best = minimize_bilevel(oracle_case.problem, "exact", tol=1e-7, max_iter=500)
    found = minimize_bilevel(oracle_case.problem, loop, tol=1e-5, max_iter=600)
    start = oracle_case.value(oracle_case.theta)
    assert found.value - best.value <= 0.03 * (start - best.value)
    assert len(found.history["passes"]) == len(found.history["value"])
    assert (np.diff(found.history["passes"]) > 0).all()


def test_warm_starts_reach_lower(oracle_case):
    """With one step of everything, amortization is what makes the adjoint right."""
    values = {}
    for warm in [("inner", "adjoint"), ("inner",), ()]:
        loop = DoubleLoop(
            GradientDescent(n_iter=1),
            ImplicitGradient(GradientSteps(n_iter=1)),
            ProjectedGradient(step=1.0),
            warm,
        )
        found = minimize_bilevel(oracle_case.problem, loop, tol=0.0, max_iter=300)
        values[warm] = found.value
    assert values["inner", "adjoint"] < values["inner",]
    assert values["inner", "adjoint"] < values[()]


def test_counts_are_those_of_the_algorithm(oracle_case):
    """T gradients, N products, one cross product for an evaluation."""
    loop = DoubleLoop(
        GradientDescent(n_iter=7),
        ImplicitGradient(GradientSteps(n_iter=4)),
        ProjectedGradient(step=0.1),
        (),
    )
    run = run_of(loop, oracle_case.problem)
    run(oracle_case.theta, 1e-3)
    before = run.ledger.total
    run(oracle_case.theta, 1e-3)
    spent = replace(run.ledger.total)
    # One gradient is the outer one; the first step of four starts at zero.
    assert spent.n_grad - before.n_grad == 7 + 1
    assert spent.n_hvp - before.n_hvp == 3
    assert spent.n_cross - before.n_cross == 1
    # Every row is read 7 + 3 times inside, once outside; halves are equal here.
    assert spent.passes - before.passes == pytest.approx((7 + 3 + 1) / 2)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_oracles_of_a_user(kind, make_oracles):
    """Plain functions give what the linear model gives."""
    case = make_oracles(kind, n=30, p=3, reach=3.0)
    inner, outer = case.problem.inner, case.problem.outer
    plain = OracleProblem(
        InnerOracles(
            value=lambda t, w: inner.at(t, w).value,
            grad=lambda t, w: inner.at(t, w).grad,
            hvp=lambda t, w, d: inner.at(t, w).hvp(d),
            cross=lambda t, w, d: inner.at(t, w).cross(d),
        ),
        OuterOracles(
            value=lambda t, w: outer.at(t, w).value,
            grad=lambda t, w: outer.at(t, w).grad,
        ),
        case.problem.w0,
        case.theta,
        case.problem.bounds,
    )
    mine = minimize_bilevel(plain, "exact", tol=1e-7)
    ours = minimize_bilevel(case.problem, "exact", tol=1e-7)
    assert mine.value == pytest.approx(ours.value, rel=1e-8)
    assert mine.message
    assert mine.v.size == 0
    # Values of loose inner solves look flat before the minimum.
    outer_search = LBFGSB(accuracy=(1e-6, 1e-10))
    loop = DoubleLoop(
        GradientDescent(), ImplicitGradient(GradientSteps()), outer_search
    )
    found = minimize_bilevel(plain, loop, tol=1e-5)
    assert found.value == pytest.approx(ours.value, rel=1e-7)


def test_on_iter_sees_costs_and_stops(oracle_case):
    """Passes and seconds grow; True stops."""
    seen = []
    result = minimize_bilevel(
        oracle_case.problem,
        "exact",
        tol=0.0,
        on_iter=lambda info: seen.append(info) or len(seen) == 3,
    )
    assert result.n_iter == 3
    assert 0 < seen[0].passes < seen[1].passes
    assert 0 < seen[0].seconds < seen[1].seconds


def test_a_start_at_the_solution_leaves_tolerances_within_reach():
    """Where w0 solves the first inner problem, its gradient is no reference."""
    bend = np.linspace(0.1, 1.0, 5)
    inner = InnerOracles(
        value=lambda t, w: 0.5 * bend @ w**2 - bend @ (t * w),
        grad=lambda t, w: bend * (w - t),
        hvp=lambda t, w, d: bend * d,
        cross=lambda t, w, d: -bend * d,
        smoothness=lambda t: 1.0,
    )
    outer = OuterOracles(lambda t, w: 0.5 * ((w - 1) ** 2).sum(), lambda t, w: w - 1)
    problem = OracleProblem(inner, outer, np.zeros(5), np.zeros(5))
    loop = DoubleLoop(GradientDescent(), ImplicitGradient(), LBFGSB())
    found = minimize_bilevel(problem, loop, tol=1e-6)
    np.testing.assert_allclose(found.theta, 1.0, atol=1e-5)
    assert found.counts.n_grad < 2000


def test_directions_that_change_nothing_do_no_harm():
    """As one constant for all classes of a softmax: no factor, many solutions."""
    A = np.random.default_rng(0).standard_normal((4, 6))
    H = A.T @ A
    inner = InnerOracles(
        value=lambda t, w: 0.5 * w @ H @ w - w @ H @ t,
        grad=lambda t, w: H @ (w - t),
        hvp=lambda t, w, d: H @ d,
        cross=lambda t, w, d: -H @ d,
    )
    outer = OuterOracles(
        value=lambda t, w: 0.5 * ((A @ w - 1) ** 2).sum(),
        grad=lambda t, w: A.T @ (A @ w - 1),
    )
    problem = OracleProblem(inner, outer, np.zeros(6), np.zeros(6))
    loop = DoubleLoop(Newton("direct"), ImplicitGradient(DirectSolve()), LBFGSB())
    assert minimize_bilevel(problem, loop, tol=1e-8).value < 1e-10


def test_refusals_say_what_is_missing(oracle_case):
    """One sentence each."""
    problem = oracle_case.problem
    with pytest.raises(ValueError, match="not known"):
        minimize_bilevel(problem, "no-such-name")
    with pytest.raises(ValueError, match="BilevelProblem"):
        minimize_bilevel(problem, Nested(CG(), Implicit(), LBFGSB()))
    with pytest.raises(ValueError, match="solve_oracles"):
        minimize_bilevel(problem, 3)
    with pytest.raises(ValueError, match="warm_start"):
        DoubleLoop(Newton(), ImplicitGradient(), LBFGSB(), ("everything",))
    with pytest.raises(ValueError, match="finite vector"):
        OracleProblem(problem.inner, problem.outer, np.array([np.nan]), np.zeros(1))
    with pytest.raises(ValueError, match="lower bound"):
        OracleProblem(problem.inner, problem.outer, np.zeros(1), np.zeros(1), (1, 0))


def test_a_last_solve_that_falls_short_is_said(oracle_case):
    """The reported solution is not as accurate as was asked for."""
    status = [
        minimize_bilevel(oracle_case.problem, "newton", final_tol=tol).status
        for tol in (1e-8, 1e-30)
    ]
    assert status[0] in (Status.CONVERGED, Status.FLAT)
    assert status[1] is Status.INNER


def test_a_start_at_the_solution_is_accurate(oracle_case):
    """Rounding is no failure where nothing is left to do."""
    problem = oracle_case.problem
    w = oracle_case.solution(oracle_case.theta)
    done = evaluate_bilevel(replace(problem, w0=w), oracle_case.theta)
    assert done.status is Status.EVALUATED
    np.testing.assert_allclose(done.w, w, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("outer", [ProjectedGradient(), Adam()])
def test_a_rough_small_gradient_is_no_end(outer):
    """It is computed again, at the same theta, with the tolerance of the search."""
    asked = []

    def objective(theta, tol):
        asked.append((float(theta[0]), tol))
        rough = tol > 1e-4
        return 1.0, np.zeros(1) if rough else theta - 1.0

    result = outer.minimize(objective, np.zeros(1), (np.zeros(1), np.ones(1) * 2))
    assert asked[:2] == [(0.0, 1e-2), (0.0, 1e-4)]
    assert result.status is Status.CONVERGED
    assert result.theta[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("solver", "field"),
    [
        (SABA, "max_passes"),
        (SOBA, "batch_size"),
        (AmigoSGD, "n_linear"),
        (SAGA, "step"),
        (AISARAH, "gamma"),
        (SRKCD, "n_stages"),
        (LBFGS, "memory"),
        (GradientDescent, "n_iter"),
    ],
)
def test_values_are_checked(solver, field):
    """The sentence names the field."""
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"{field} > 0"):
            solver(**{field: number})


def test_pieces_in_the_wrong_place():
    """An outer optimizer is no hypergradient."""
    with pytest.raises(ValueError, match="hypergradient with a method evaluate"):
        DoubleLoop(Newton(), LBFGSB(), ImplicitGradient())


def test_an_evaluation_says_that_it_is_one(oracle_case):
    """Value and solution at theta, without a search."""
    found = evaluate_bilevel(oracle_case.problem, oracle_case.theta)
    assert found.value == pytest.approx(oracle_case.value(oracle_case.theta), rel=1e-9)
    assert found.n_iter == 0
    assert "no search" in found.message


def walled(place, wrong=np.nan, start=0.0):
    """A toy whose oracles are no numbers beyond theta = 0.6; its minimum is at 0.5."""

    def beyond(theta, number, name):
        return number * wrong if name == place and theta[0] > 0.6 else number

    inner = InnerOracles(
        value=lambda t, w: 0.5 * ((w - t) ** 2).sum(),
        grad=lambda t, w: beyond(t, w - t, "inner.grad"),
        hvp=lambda t, w, d: beyond(t, d, "inner.hvp"),
        cross=lambda t, w, d: beyond(t, -d, "inner.cross"),
    )
    outer = OuterOracles(
        value=lambda t, w: beyond(t, 5.0 * ((w - 0.5) ** 2).sum() + 1.0, "outer.value"),
        grad=lambda t, w: beyond(t, 10.0 * (w - 0.5), "outer.grad"),
    )
    return OracleProblem(inner, outer, np.zeros(1), np.full(1, start), (-2.0, 2.0))


PLACES = ("outer.value", "outer.grad", "inner.grad", "inner.hvp", "inner.cross")
OUTERS = {
    "lbfgsb": LBFGSB(first_step=1.5),
    "hoag": HOAG(),
    "gradient": ProjectedGradient(first_step=1.5),
    "fixed": ProjectedGradient(step=0.19),
    "adam": Adam(step=0.7),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("outer", OUTERS)
def test_steps_to_where_oracles_are_no_numbers_are_taken_back(outer, place):
    """A search that starts on the right side of the wall stays there."""
    loop = DoubleLoop(Newton(), ImplicitGradient(), OUTERS[outer])
    found = minimize_bilevel(walled(place), loop, max_iter=200)
    assert found.theta[0] == pytest.approx(0.5, abs=1e-2)
    assert np.isfinite(found.history["value"]).all()
    assert found.value == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("place", PLACES)
def test_oracles_that_are_no_numbers_at_the_start_are_named(place):
    """Beyond the wall there is nothing to go on from."""
    with pytest.raises(ValueError, match=f"{place}.*theta0"):
        minimize_bilevel(walled(place, start=1.0), "hoag")


def test_a_value_that_is_no_number_at_the_end_is_told(oracle_case):
    """Solvers without a line search may end anywhere."""

    class Jump(DoubleLoop):
        def solve_oracles(self, problem, theta0, **options):
            found = super().solve_oracles(problem, theta0, **options)
            return replace(found, theta=np.ones(1))

    loop = Jump(Newton(), ImplicitGradient(), LBFGSB())
    with pytest.raises(ValueError, match=r"Jump ended where outer\.value is nan"):
        minimize_bilevel(walled("outer.value"), loop)


@pytest.mark.parametrize("name", ["tol", "max_iter", "final_tol"])
def test_negative_numbers_are_refused(name):
    """They would never be reached; NaN is no tolerance either."""
    for number in (-1.0, np.nan):
        with pytest.raises(ValueError, match=f"{name} must be at least 0"):
            minimize_bilevel(walled("none"), **{name: number})
    with pytest.raises(ValueError, match="tol must be at least 0"):
        evaluate_bilevel(walled("none"), np.zeros(1), tol=-1.0)


def test_an_unsolved_inner_problem_is_told_of_in_words_of_the_problem():
    """`alpha_bounds` is a parameter of estimators only."""
    inner = InnerOracles(
        value=lambda t, w: 0.5 * ((w - t) ** 2).sum(),
        grad=lambda t, w: t - w,
        hvp=lambda t, w, d: d,
        cross=lambda t, w, d: -d,
    )
    outer = OuterOracles(lambda t, w: float(w @ w), lambda t, w: 2.0 * w)
    problem = OracleProblem(inner, outer, np.ones(1), np.zeros(1))
    message = evaluate_bilevel(problem, np.zeros(1)).message
    assert "bounds of an OracleProblem" in message
    assert "check_problem" in message
