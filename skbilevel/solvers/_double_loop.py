"""The double loop for problems known through oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._base import IterInfo, OnIter, OuterOptimizer, Result
from skbilevel.solvers._ledger import Ledger, counted
from skbilevel.solvers._oracle_base import (
    Descent,
    DescentSolver,
    HypergradientRequest,
    HypergradientValue,
    OracleHypergradient,
    check_words,
    first_norm,
)

# What makes a value an inner solver, a hypergradient, an outer optimizer.
_METHODS = {"inner": "solve", "hypergradient": "evaluate", "outer": "minimize"}
_STARTS = frozenset({"inner", "adjoint"})


@dataclass(frozen=True)
class DoubleLoop:
    """Descend in w, differentiate, step in theta; each by a value of its own.

    Parameters
    ----------
    inner : DescentSolver
        Approximates ``w(theta)``.
    hypergradient : OracleHypergradient
        Outer loss and its gradient there.
    outer : OuterOptimizer
        Moves theta; the tolerance that it asks for is handed to the other two.
    warm_start : tuple of {"inner", "adjoint"}
        What goes on from the last theta. Both of them is amortization (AmIGO); the
        algorithms it is compared with leave out one or both.

    References
    ----------
    M. Arbel, J. Mairal (2022). Amortized Implicit Differentiation for Stochastic
    Bilevel Optimization. ICLR. Algorithms 1 to 3.
    """

    inner: DescentSolver
    hypergradient: OracleHypergradient
    outer: OuterOptimizer
    warm_start: tuple[str, ...] = ("inner", "adjoint")

    def __post_init__(self) -> None:
        # A string is a sequence of letters, none of which is a name.
        if not set(self.warm_start) <= _STARTS:
            raise ValueError(
                f"warm_start={self.warm_start!r} is no tuple of 'inner' and 'adjoint', "
                "such as ('inner',)."
            )
        for name, method in _METHODS.items():
            if not hasattr(getattr(self, name), method):
                raise ValueError(
                    f"DoubleLoop needs {name} with a method {method}, which "
                    f"{getattr(self, name)!r} is not; see the page on solvers."
                )
        check_words(
            self.hypergradient, self.hypergradient.requires, self.inner.provides
        )

    @property
    def requires(self) -> frozenset[str]:
        """Words that the problem must provide."""
        return self.inner.requires

    def solve_oracles(
        self,
        problem: OracleProblem,
        theta0: Array,
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        random_state: int = 0,
        on_iter: OnIter | None = None,
    ) -> Result:
        """Tune theta from ``theta0``; see `minimize_bilevel`."""
        problem, ledger = counted(problem)
        run = DoubleLoopRun(self, problem, ledger, random_state)
        outcome = self.outer.minimize(
            run,
            theta0,
            problem.box,
            tol=tol,
            max_iter=max_iter,
            on_iter=run.observed(on_iter),
        )
        return Result(
            outcome.theta,
            np.empty(0),
            outcome.value,
            outcome.status.if_solved(run.converged),
            outcome.n_iter,
            outcome.history | run.costs(len(outcome.history["value"])),
            ledger.total,
            w=run.w,
        )


class DoubleLoopRun:
    """The objective of one `DoubleLoop.solve_oracles`; keeps what is amortized."""

    def __init__(
        self,
        loop: DoubleLoop,
        problem: OracleProblem,
        ledger: Ledger,
        random_state: int,
    ) -> None:
        self.loop, self.problem, self.ledger = loop, problem, ledger
        self.w, self.memory = problem.w0.astype(float), None
        self.adjoint: Array | None = None
        self.converged, self.reference = True, 0.0
        self._seeds = np.random.SeedSequence(random_state)
        self._began = perf_counter()
        self._costs: list[tuple[float, float]] = []

    def __call__(self, theta: Array, tol: float) -> tuple[float, Array]:
        done = self.evaluate(theta, tol)
        return done.value, done.grad

    def evaluate(self, theta: Array, tol: float) -> HypergradientValue:
        """One inner descent, and the hypergradient at its end."""
        loop, problem = self.loop, self.problem
        warm = "inner" in loop.warm_start
        start = self.w if warm else problem.w0
        memory = self.memory if warm else None
        draws, directions = self._seeds.spawn(2)
        # Where the first start was the solution, the next one tells.
        if not self.reference > np.finfo(float).tiny:
            self.reference = first_norm(problem.inner, theta, start)

        def descend(at: Array, known: Any) -> Descent:
            return loop.inner.solve(
                problem.inner,
                at,
                start,
                threshold=tol * self.reference,
                rng=np.random.default_rng(draws),
                memory=known,
                outer_grad=lambda w: problem.outer.at(at, w).grad,
            )

        descent = descend(theta, memory)
        done = loop.hypergradient.evaluate(
            HypergradientRequest(
                problem,
                theta,
                descent,
                self.adjoint if "adjoint" in loop.warm_start else None,
                tol,
                np.random.default_rng(directions),
                lambda other: descend(other, memory).w,
                self._side_by_side(start),
            )
        )
        seen: list[Any] = [descent.w, done.value, done.grad]
        if not descent.converged:  # which was told from the gradient
            seen.append(descent.point.grad)
        if all(np.isfinite(each).all() for each in seen):
            self.w, self.memory, self.adjoint = descent.w, descent.memory, done.adjoint
            self.converged = descent.converged and done.converged
        elif not self._costs:
            self._refuse(theta, descent)
        else:  # the outer search takes the step back, and goes on from what is kept
            done = replace(done, value=np.nan)
        self._costs = self._costs or [self._cost()]
        return done

    def _refuse(self, theta: Array, descent: Descent) -> None:
        """Say which oracle gives no number at the start."""
        outer = self.problem.outer.at(theta, descent.w)
        seen: dict[str, Any] = {
            "inner.grad": descent.point.grad,
            "outer.value": outer.value,
            "outer.grad": outer.grad,
            "outer.grad_theta": outer.grad_theta,
        }
        bad = [name for name, found in seen.items() if not np.isfinite(found).all()]
        raise ValueError(
            f"{bad[0] if bad else 'inner.hvp or inner.cross'} is not finite at the "
            "start: choose another theta0 or w0, or mend this oracle."
        )

    def _side_by_side(self, start: Array) -> Callable[[Array], Array] | None:
        """Descents at several theta at once, where both sides can do so."""
        inner, solver = self.problem.inner, self.loop.inner
        if "many_thetas" not in inner.provides & solver.provides:
            return None
        descend: Callable[..., Array] = solver.solve_many  # type: ignore[attr-defined]
        return lambda thetas: descend(inner, thetas, start)

    def _cost(self) -> tuple[float, float]:
        return self.ledger.passes, perf_counter() - self._began

    def observed(self, on_iter: OnIter | None) -> OnIter:
        """``on_iter`` that also sees passes and seconds, which are kept."""

        def observe(info: IterInfo) -> bool | None:
            passes, seconds = self._cost()
            self._costs.append((passes, seconds))
            if on_iter is None:
                return None
            return on_iter(replace(info, passes=passes, seconds=seconds))

        return observe

    def costs(self, n: int) -> dict[str, Array]:
        """Passes and seconds of every line of the history."""
        known = (self._costs + [self._cost()] * n)[:n]
        columns = np.array(known).reshape(-1, 2).T
        return {"passes": columns[0], "seconds": columns[1]}
