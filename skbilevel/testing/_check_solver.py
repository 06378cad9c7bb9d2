"""Does a solver keep the promises of solvers? Problems with known solutions tell."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    InnerOracles,
    LogisticLoss,
    OracleProblem,
    OuterOracles,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks
from skbilevel.solvers import (
    ORACLE_SOLVERS,
    IterInfo,
    OracleSolver,
    Result,
    Status,
    minimize_bilevel,
)
from skbilevel.testing._report import SolverReport, SolverRun


def reference_problems() -> dict[str, OracleProblem]:
    """The problems by name."""
    return {
        "quadratic": quadratic(),
        "ridge": tuning("ridge"),
        "logistic": tuning("logistic"),
    }


def quadratic() -> OracleProblem:
    """Quadratic at both levels, means over rows, with all that a user can give.

    ::

        g = mean_i 0.5 (a_i.w - b_i.theta)^2 + 0.5 mu |w|^2
        f = mean_i 0.5 (c_i.w - y_i)^2 + 0.5 nu |theta|^2
    """
    n, p, d = 60, 5, 3
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((n, p)), rng.standard_normal((n, d))
    C, y = rng.standard_normal((n, p)), rng.standard_normal(n)
    mu, nu = 0.5, 0.01
    top = float(np.linalg.eigvalsh(A.T @ A / n)[-1])

    def some(M: Array, rows: Array | None) -> Array:
        return M if rows is None else M[rows]

    def pull(M: Array, rows: Array | None, r: Array) -> Array:
        return np.asarray(some(M, rows).T @ r / len(r))

    def inside(theta: Array, w: Array, rows: Array | None) -> Array:
        return np.asarray(some(A, rows) @ w - some(B, rows) @ theta)

    def outside(w: Array, rows: Array | None) -> Array:
        return np.asarray(some(C, rows) @ w - some(y, rows))

    inner = InnerOracles(
        value=lambda t, w, rows=None: (
            0.5 * (inside(t, w, rows) ** 2).mean() + 0.5 * mu * w @ w
        ),
        grad=lambda t, w, rows=None: pull(A, rows, inside(t, w, rows)) + mu * w,
        hvp=lambda t, w, d, rows=None: pull(A, rows, some(A, rows) @ d) + mu * d,
        cross=lambda t, w, d, rows=None: -pull(B, rows, some(A, rows) @ d),
        n_rows=n,
        smoothness=lambda t: top + mu,
        hessian=lambda t, w: A.T @ A / n + mu * np.eye(p),
    )
    outer = OuterOracles(
        value=lambda t, w, rows=None: (
            0.5 * (outside(w, rows) ** 2).mean() + 0.5 * nu * t @ t
        ),
        grad=lambda t, w, rows=None: pull(C, rows, outside(w, rows)),
        grad_theta=lambda t, w, rows=None: nu * t,
        n_rows=n,
    )
    # The box is tight enough to matter.
    return OracleProblem(inner, outer, np.zeros(p), np.zeros(d), (-0.5, 0.5))


def tuning(kind: str) -> OracleProblem:
    """Hold-out of a linear model with one strength per feature; half are noise."""
    n, p = 80, 6
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    eta = X[:, : p // 2] @ np.linspace(1.0, 2.0, p // 2)
    train, valid = np.arange(0, n, 2), np.arange(1, n, 2)
    task: Any
    if kind == "ridge":
        y = (eta + rng.standard_normal(n))[:, None]
        task = rows_task(as_design(X), y, np.ones(n), train, valid)
    else:
        y = (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
        loss, free = LogisticLoss(), np.zeros((n, 0))
        model = GLMTasks(as_design(X), y, np.ones(n), loss, loss, free)
        task = model.fold(train, valid)
    strengths = FeatureStrengths(p, 0.1 / n)
    bounds = strengths.bounds(0.1 / n, 1e2 / n)
    start = np.mean(bounds, axis=0)
    return linear_oracles(BilevelProblem((task,), strengths, bounds), start)


_NEEDED = ("value", "passes", "seconds")


def check_solver(
    solver: OracleSolver | str,
    *,
    accuracy: float = 1e-2,
    tol: float = 1e-6,
    max_iter: int = 500,
    random_state: int = 0,
) -> SolverReport:
    """Check that a solver of oracle problems does what all of them promise.

    On a quadratic toy, a ridge and a logistic regression with one strength per
    feature::

        F(found) - F(best) <= accuracy * (F(start) - F(best))

    with both values at exact inner solutions. Besides, theta stays in its box, the
    same seed gives the same result, nothing that was handed over is changed, histories
    and counts have the right shapes, and a callback can stop the search.

    Parameters
    ----------
    solver : OracleSolver or str
        A frozen dataclass with ``requires`` and ``solve_oracles``, such as a
        `DoubleLoop` around a new piece; or a name.
    accuracy : float, default=1e-2
        Largest share of the possible decrease that may be left. Stochastic solvers
        with constant steps need a larger one, or a larger budget of their own.
    tol : float, default=1e-6
        As for `minimize_bilevel`.
    max_iter : int, default=500
        As for `minimize_bilevel`.
    random_state : int, default=0
        Seeds the solver.

    Returns
    -------
    report : SolverReport
        How it did on every problem; a problem without the words that the solver
        requires is left out. Printing it gives a table.

    Raises
    ------
    AssertionError
        At the first promise that is broken.

    See Also
    --------
    check_problem : The same for the other side, oracles.

    Examples
    --------
    >>> from skbilevel.solvers import (
    ...     LBFGSB, DoubleLoop, ImplicitGradient, Newton
    ... )
    >>> from skbilevel.testing import check_solver
    >>> report = check_solver(
    ...     DoubleLoop(Newton(), ImplicitGradient(), LBFGSB())
    ... )
    >>> [run.problem for run in report.runs if run.suboptimality < 1e-4]
    ['quadratic', 'ridge', 'logistic']
    """
    if isinstance(solver, str):
        solver = ORACLE_SOLVERS[solver]
    _check_value(solver)
    options = {"tol": tol, "max_iter": max_iter, "random_state": random_state}
    runs = []
    for name, problem in reference_problems().items():
        missing = sorted(solver.requires - problem.provides)
        if missing:
            runs.append(SolverRun(name, f"left out: no {', '.join(missing)}"))
            continue
        runs.append(_check_on(solver, name, problem, accuracy, options))
    if all(run.left_out for run in runs):
        raise AssertionError(
            f"{_name(solver)} requires {sorted(solver.requires)}, which none of the "
            "reference problems provides. Look at the spelling."
        )
    return SolverReport(tuple(runs))


def _name(solver: Any) -> str:
    return type(solver).__name__


def _check_value(solver: Any) -> None:
    """Solvers are values: comparable, hashable, never changed by a run."""
    options = getattr(solver, "__dataclass_params__", None)
    if options is None or not options.frozen:
        raise AssertionError(
            f"{_name(solver)} is not a frozen dataclass. Options are its fields; what "
            "changes during a run belongs into local variables."
        )
    words = getattr(solver, "requires", None)
    if not isinstance(words, frozenset):
        raise AssertionError(f"{_name(solver)}.requires must be a frozenset of words.")


def _check_on(
    solver: OracleSolver,
    name: str,
    problem: OracleProblem,
    accuracy: float,
    options: dict[str, Any],
) -> SolverRun:
    who = f"{_name(solver)} on {name}"
    seen: list[Array] = []

    def watch(info: IterInfo) -> bool:
        seen.append(info.theta.copy())
        return False

    before = _inputs(problem), deepcopy(solver)
    # The solver itself, without the accurate last solve of `minimize_bilevel`.
    start = problem.theta0
    result = solver.solve_oracles(problem, start, on_iter=watch, **options)
    _check_result(who, problem, result)
    for theta in [*seen, result.theta]:
        if ((theta < problem.box[0]) | (theta > problem.box[1])).any():
            raise AssertionError(f"{who}: theta leaves its box. Clip every step.")
    unchanged = zip(before[0], _inputs(problem), strict=True)
    if not all(np.array_equal(*pair) for pair in unchanged) or before[1] != solver:
        raise AssertionError(
            f"{who}: the run changed what it was given. Look at operations in place "
            "on w0 or theta0, and at state kept in the solver."
        )
    _check_repeat(who, problem, solver, result, options)
    _check_stop(who, problem, solver, options)
    left = _suboptimality(problem, result.theta)
    if not left <= accuracy:
        raise AssertionError(
            f"{who}: {left:.1e} of the possible decrease is left where {accuracy:.0e} "
            f"was allowed, after {result.n_iter} iterations ({result.status.name}). "
            "Look at the hypergradient's accuracy, and at the budget."
        )
    return SolverRun(name, "", left, result.n_iter, result.counts.passes)


def _inputs(problem: OracleProblem) -> tuple[Array, ...]:
    return tuple(np.copy(a) for a in (problem.w0, problem.theta0, *problem.box))


def _suboptimality(problem: OracleProblem, theta: Array) -> float:
    """What is left of the possible decrease; all three values are exact."""
    best = minimize_bilevel(problem, "exact", tol=1e-9, max_iter=1000).value
    # Every theta is good enough for an infinite tolerance.
    start, found = (
        minimize_bilevel(problem, "exact", theta0=at, tol=np.inf).value
        for at in (problem.theta0, theta)
    )
    return (found - best) / (start - best)


def _check_result(who: str, problem: OracleProblem, result: Result) -> None:
    wrong, status = [], result.status.__class__
    if result.theta.shape != problem.theta0.shape:
        wrong.append(f"theta has shape {result.theta.shape}")
    if result.w is None or result.w.shape != problem.w0.shape:
        wrong.append("w is no inner solution")
    if status is not Status:
        wrong.append("status is not a Status")
    if result.n_iter < 1:
        wrong.append(f"n_iter is {result.n_iter}")
    if not (result.counts.passes > 0 and result.counts.n_grad > 0):
        wrong.append("counts has no passes or gradients; use counted(problem)")
    missing = [key for key in _NEEDED if key not in result.history]
    if missing:
        wrong.append(f"history has no {', '.join(missing)}")
    elif len({np.shape(column) for column in result.history.values()}) > 1:
        wrong.append("columns of history differ in length")
    else:
        wrong += [
            f"history's {key} decrease"
            for key in ("passes", "seconds")
            if (np.diff(result.history[key]) < 0).any()
        ]
    if wrong:
        raise AssertionError(f"{who}: {'; '.join(wrong)}.")


def _check_repeat(
    who: str,
    problem: OracleProblem,
    solver: OracleSolver,
    result: Result,
    options: dict[str, Any],
) -> None:
    again = solver.solve_oracles(problem, problem.theta0, **options)
    same = (
        np.array_equal(again.theta, result.theta)
        and np.array_equal(again.history["value"], result.history["value"])
        and again.counts == result.counts
    )
    if not same:
        raise AssertionError(
            f"{who}: a second run with the same random_state differs. Draw from "
            "np.random.default_rng(random_state) only, and keep nothing between runs."
        )


def _check_stop(
    who: str, problem: OracleProblem, solver: OracleSolver, options: dict[str, Any]
) -> None:
    seen: list[int] = []

    def stop(info: IterInfo) -> bool:
        seen.append(info.n_iter)
        return True

    start = problem.theta0
    stopped = solver.solve_oracles(problem, start, on_iter=stop, **options)
    if stopped.status is not Status.STOPPED or len(seen) != 1:
        raise AssertionError(
            f"{who}: on_iter returned True at its first call; after {len(seen)} calls "
            f"the status is {stopped.status.name} where STOPPED was expected."
        )
