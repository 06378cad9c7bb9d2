"""The functional door: one call for every problem and every solver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import BilevelProblem, CriterionProblem
from skbilevel.problems._linear_oracles import linear_oracles
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._base import OnIter, Result, Status
from skbilevel.solvers._ledger import counted
from skbilevel.solvers._nested import Direct, MapTasks, Nested
from skbilevel.solvers._oracle_base import (
    OracleSolver,
    check_words,
    first_norm,
)
from skbilevel.solvers._registry import ORACLES
from skbilevel.solvers._structured import SOLVERS, resolve
from skbilevel.solvers.inner import Newton


def minimize_bilevel(
    problem: OracleProblem | BilevelProblem | CriterionProblem,
    solver: str | Nested | Direct | OracleSolver = "auto",
    *,
    theta0: Array | None = None,
    w0: Array | None = None,
    tol: float = 1e-4,
    max_iter: int = 100,
    random_state: int = 0,
    on_iter: OnIter | None = None,
    map_tasks: MapTasks | None = None,
    final_tol: float | None = 1e-8,
) -> Result:
    """Minimize ``f(theta, w(theta))`` over a box of theta.

    ::

        F(theta) = f(theta, w(theta)),   w(theta) = argmin_w g(theta, w)

    Parameters
    ----------
    problem : OracleProblem, BilevelProblem or CriterionProblem
        Oracles of your own, or tasks of linear models with strengths.
    solver : str or solver value, default="auto"
        A name of the table on the page "All solvers" (``doc/solvers.md``), or a value
        such as ``SABA(step=0.5)`` or ``DoubleLoop(...)``. For oracles "auto" and
        "exact" solve every inner problem by Newton's method, "amigo" and "cg" by
        Newton's method with conjugate gradients.
    theta0 : ndarray of shape (d,), optional
        Start; by default that of an `OracleProblem`.
    w0 : ndarray of shape (p,), optional
        First guess of the inner solution; by default that of an `OracleProblem`, or
        zero.
    tol : float, default=1e-4
        Largest component of the projected hypergradient, relative to the first value.
    max_iter : int, default=100
        Largest number of outer iterations; solvers with a budget of passes over the
        rows have it in their value.
    random_state : int, default=0
        Seeds stochastic solvers and random directions.
    on_iter : callable, optional
        Called with an `IterInfo` after every outer iteration; returning True stops.
    map_tasks : callable, optional
        Like `map`; runs tasks of a `BilevelProblem` in parallel.
    final_tol : float or None, default=1e-8
        Accuracy of the last inner solve, by Newton's method at the final theta: the
        reported ``w`` and ``value`` are never those of an algorithm half way. None
        leaves it out: ``w`` is then that of the last theta that was tried.

    Returns
    -------
    result : Result
        ``theta, value, w, status, message, n_iter, history, counts``.

    Raises
    ------
    ValueError
        If the solver needs what the problem does not provide, if a tolerance is
        negative, or if oracles are not finite where the search starts or ends; the
        sentence says what. A step to where they are not finite is taken back.

    Examples
    --------
    A quadratic toy, ``w(theta) = theta`` and ``F = 0.5 |theta - 1|^2``:

    >>> import numpy as np
    >>> from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
    >>> from skbilevel.solvers import minimize_bilevel
    >>> inner = InnerOracles(
    ...     value=lambda theta, w: 0.5 * ((w - theta) ** 2).sum(),
    ...     grad=lambda theta, w: w - theta,
    ...     hvp=lambda theta, w, d: d,
    ...     cross=lambda theta, w, d: -d,
    ... )
    >>> outer = OuterOracles(
    ...     value=lambda theta, w: 0.5 * ((w - 1) ** 2).sum(),
    ...     grad=lambda theta, w: w - 1,
    ... )
    >>> problem = OracleProblem(inner, outer, w0=np.zeros(2), theta0=np.zeros(2))
    >>> minimize_bilevel(problem).theta.round(6)
    array([1., 1.])
    """
    _check_at_least_zero(tol=tol, max_iter=max_iter, final_tol=final_tol)
    chosen = as_solver(solver, problem)
    start = _start(problem, theta0)
    if isinstance(chosen, Nested | Direct):
        structured: Any = problem
        return chosen.solve(
            structured,
            start,
            tol=tol,
            max_iter=max_iter,
            on_iter=on_iter,
            map_tasks=map_tasks,
        )
    oracles = _as_oracles(problem, start, w0, type(chosen).__name__)
    check_words(chosen, chosen.requires, oracles.provides)
    start = np.clip(start, *oracles.box)
    result = chosen.solve_oracles(
        oracles,
        start,
        tol=tol,
        max_iter=max_iter,
        random_state=random_state,
        on_iter=on_iter,
    )
    if final_tol is not None:
        w = oracles.w0 if result.w is None else result.w
        end = accurate_end(oracles, result.theta, w, final_tol)
        if isinstance(problem, OracleProblem) and not np.isfinite(end.value):
            raise ValueError(
                f"{type(chosen).__name__} ended where outer.value is {end.value}: give "
                "it shorter steps, narrow the bounds of theta, or mend this oracle."
            )
        counts = result.counts + end.counts
        status = result.status.if_solved(end.status is not Status.INNER)
        result = replace(result, w=end.w, value=end.value, counts=counts, status=status)
    if isinstance(problem, BilevelProblem):
        result = replace(result, v=problem.parametrization.v(result.theta))
    return result


def as_solver(
    solver: Any, problem: OracleProblem | BilevelProblem | CriterionProblem
) -> Nested | Direct | OracleSolver:
    """A value from a name or a value, checked against the kind of the problem."""
    oracles = isinstance(problem, OracleProblem)
    if isinstance(solver, type):
        name = solver.__name__
        raise ValueError(f"solver={name} is a class; pass a value such as {name}().")
    if isinstance(solver, str):
        structured = solver in SOLVERS or solver not in ORACLES
        if structured and not isinstance(problem, OracleProblem):
            return resolve(solver, problem)
        # Algorithms are loaded when one of them is asked for.
        from skbilevel.solvers._algorithms import BY_ORACLES

        if solver in BY_ORACLES:
            return BY_ORACLES[solver]
        known = ", ".join(repr(each) for each in BY_ORACLES)
        raise ValueError(f"solver={solver!r} is not known; choose one of {known}.")
    if isinstance(solver, Nested | Direct) and oracles:
        raise ValueError(
            f"{type(solver).__name__} needs strengths and data fits, that is a "
            "BilevelProblem; for oracles build a DoubleLoop."
        )
    if not isinstance(solver, Nested | Direct) and not hasattr(solver, "solve_oracles"):
        raise ValueError(
            f"solver={solver!r} is neither a name nor a value with a method "
            "solve_oracles."
        )
    return solver  # type: ignore[no-any-return]


def _as_oracles(problem: Any, theta0: Array, w0: Array | None, asker: str) -> Any:
    if isinstance(problem, BilevelProblem):
        problem = linear_oracles(problem.stacked(), theta0)
    if not isinstance(problem, OracleProblem):
        raise ValueError(
            f"{asker} needs an inner problem; a criterion in closed form "
            " has none. Give a number of folds, or choose solver='exact'."
        )
    return problem if w0 is None else replace(problem, w0=np.asarray(w0, dtype=float))


def evaluate_bilevel(
    problem: OracleProblem | BilevelProblem,
    theta: Array,
    *,
    w0: Array | None = None,
    tol: float = 1e-8,
) -> Result:
    """``F(theta)`` and ``w(theta)`` by Newton's method, without a search.

    Parameters
    ----------
    problem : OracleProblem or BilevelProblem
        As for `minimize_bilevel`.
    theta : ndarray of shape (d,)
        Where.
    w0 : ndarray of shape (p,), optional
        First guess of the inner solution.
    tol : float, default=1e-8
        Accuracy, relative to the gradient at the problem's own ``w0``.

    Returns
    -------
    result : Result
        ``theta``, ``value``, ``w`` and ``counts``; no iteration was made.
    """
    _check_at_least_zero(tol=tol)
    theta = np.asarray(theta, dtype=float)
    oracles = _as_oracles(problem, theta, w0, "evaluate_bilevel")
    result = accurate_end(oracles, theta, oracles.w0, tol)
    if isinstance(problem, BilevelProblem):
        result = replace(result, v=problem.parametrization.v(theta))
    return result


def _check_at_least_zero(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not number >= 0:
            raise ValueError(
                f"{name} must be at least 0, not {number!r}; leave it out for the "
                "default."
            )


def _start(problem: Any, theta0: Array | None) -> Array:
    if theta0 is None:
        if not isinstance(problem, OracleProblem):
            raise ValueError("theta0 is needed: a BilevelProblem has no start.")
        theta0 = problem.theta0
    return np.asarray(theta0, dtype=float)


def accurate_end(problem: OracleProblem, theta: Array, w: Array, tol: float) -> Result:
    """The inner solution and the outer value at theta, to an accuracy."""
    problem, ledger = counted(problem)
    descent = Newton(max_iter=200).solve(
        problem.inner,
        theta,
        w,
        threshold=tol * first_norm(problem.inner, theta, problem.w0),
        rng=np.random.default_rng(0),
    )
    value = problem.outer.at(theta, descent.w).value
    nothing = {name: np.empty(0) for name in ("value", "grad_norm", "tol")}
    status = Status.EVALUATED if descent.converged else Status.INNER
    return Result(
        theta, np.empty(0), value, status, 0, nothing, ledger.total, w=descent.w
    )
