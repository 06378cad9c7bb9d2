"""Which form of the data and which solvers suit a problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skbilevel import solvers
from skbilevel._records import record
from skbilevel.problems import BilevelProblem, CriterionProblem, SmoothPenalty
from skbilevel.solvers import (
    CG,
    CRITERION_SOLVERS,
    INNER,
    LBFGSB,
    SOLVERS,
    Direct,
    Implicit,
    InnerSolver,
    Nested,
    NewtonCG,
    NewtonCholesky,
    NewtonDual,
    OracleSolver,
    choose_regime,
    resolve,
)
from skbilevel.solvers._base import OuterOptimizer
from skbilevel.solvers._registry import ORACLES
from skbilevel.solvers.outer._trust_region import TrustRegion

# Moments of all folds may take this many bytes.
_MOMENT_BYTES = 1 << 30
# Up to this many strengths their curvature is formed and factored.
_CURVATURE_UP_TO = 500
# The same for folds that are known by rows: a product with X for each strength.
_CURVATURE_IN_ROWS = 60


@record
class Regime:
    """Which form of the data suits, and who solves inner problems on it.

    ``given`` is what the user asked for: an optimizer that is part of it stays.
    """

    name: str
    solver: Nested | None
    given: Any = "auto"

    @property
    def oracles(self) -> OracleSolver | None:
        """The published algorithm that was asked for, if it was one."""
        return oracle_solver(self.given)

    @property
    def in_closed_form(self) -> bool:
        """Whether a solver was asked for that is made for one criterion."""
        return isinstance(self.given, str) and self.given in CRITERION_SOLVERS

    @property
    def keeps_outer(self) -> bool:
        """Whether the outer search is part of what was asked for."""
        return isinstance(self.given, Nested) or self.in_closed_form

    @property
    def inner(self) -> InnerSolver:
        """Inner solver for rows."""
        if self.solver is not None:
            return self.solver.inner
        return INNER["dual" if self.name == "dual" else "cg"]

    def solver_of(self, problem: BilevelProblem | CriterionProblem) -> Nested | Direct:
        """Evaluates a problem; its outer search is replaced where another suits."""
        if isinstance(problem, CriterionProblem):
            own = CRITERION_SOLVERS[self.given] if self.in_closed_form else None
            return own or Direct(LBFGSB())
        solver = self.solver
        if solver is None and self.name == "primal":
            by_size = resolve("auto", problem)
            assert isinstance(by_size, Nested)
            solver = by_size
        if solver is None:
            solver = Nested(self.inner, Implicit(), LBFGSB())
        return solver


def check_solver(solver: Any) -> None:
    """Raise with the known names unless it is one of them, or a solver."""
    known = list(
        dict.fromkeys(["auto", "exact", *SOLVERS, *INNER, *CRITERION_SOLVERS, *ORACLES])
    )
    if isinstance(solver, str) and solver in known:
        return
    if isinstance(solver, type):
        name = solver.__name__
        raise ValueError(f"solver={name} is a class; pass a value such as {name}().")
    if not isinstance(solver, Nested) and oracle_solver(solver) is None:
        if not isinstance(solver, str):
            raise ValueError(
                f"solver={solver!r} is a part of a solver; put it into a DoubleLoop."
            )
        names = ", ".join(repr(each) for each in known)
        raise ValueError(
            f"solver={solver!r} is not known; choose one of {names}, or give a value "
            "of skbilevel.solvers such as Nested or DoubleLoop."
        )


def oracle_solver(solver: Any) -> OracleSolver | None:
    """The algorithm of a name or a value that sees a problem through oracles."""
    if isinstance(solver, str):
        # Loaded when one is asked for: most fits ask for none.
        return solvers.ORACLE_SOLVERS[solver] if solver in ORACLES else None
    return solver if hasattr(solver, "solve_oracles") else None


def choose(solver: Any, n: int, p: int, sparse: bool, n_folds: int) -> Regime:
    """Regime of a solver name or value; see `skbilevel.solvers.choose_regime`."""
    check_solver(solver)
    oracles = oracle_solver(solver)
    if oracles is not None:
        # It sees rows where it needs them; moments are read faster elsewhere.
        base = choose("auto", n, p, sparse, n_folds)
        rows = "row_batches" in oracles.requires and base.name == "primal"
        return Regime("matrix-free" if rows else base.name, None, solver)
    if isinstance(solver, str) and solver in CRITERION_SOLVERS:
        return replace(choose("exact", n, p, sparse, n_folds), given=solver)
    if isinstance(solver, Nested):
        needs = solver.inner.requires
        if "dense_hessian" in needs:
            return Regime("primal", solver, solver)
        name = "dual" if "rows" in needs else "matrix-free"
        return Regime(name, solver, solver)
    if solver in ("auto", "exact"):
        name = choose_regime(n, p, sparse)
        if solver == "exact":
            name = "primal" if p <= n else "dual"
        elif name == "primal" and 16 * (n_folds + 1) * p**2 > _MOMENT_BYTES:
            name = "matrix-free"
        return Regime(name, None, solver)
    value = SOLVERS.get(solver) or Nested(INNER[solver], Implicit(), LBFGSB())
    return replace(choose(value, n, p, sparse, n_folds), given=solver)


def optimizer(
    solver: Nested | Direct, problem: BilevelProblem | CriterionProblem
) -> OuterOptimizer:
    """Quasi-Newton from the Gauss-Newton matrix where that is cheap to have."""
    limit = _CURVATURE_UP_TO
    inner = solver.inner if isinstance(solver, Nested) else None
    if isinstance(problem, BilevelProblem):
        in_rows = "dense_hessian" not in problem.tasks[0].inner.provides
        # Newton's method reads the rows as often as a curvature does.
        in_rows = in_rows and not isinstance(inner, NewtonCholesky)
        limit = _CURVATURE_IN_ROWS if in_rows else limit
    small = len(problem.bounds[0]) <= limit
    iterative = isinstance(inner, CG | NewtonCG)
    if isinstance(inner, NewtonCholesky | NewtonDual):
        # A smooth hyperpenalty leaves a quasi-Newton method little to learn.
        iterative = isinstance(problem.hyperpenalty, SmoothPenalty)
    if not small or iterative or not problem.has_curvature:
        return LBFGSB()
    return TrustRegion()
