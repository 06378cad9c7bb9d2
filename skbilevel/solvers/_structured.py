"""Solvers of tasks with strengths: their names, and that of a problem."""

from __future__ import annotations

import numpy as np

from skbilevel.problems._bilevel import BilevelProblem, CriterionProblem
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import InnerSolver
from skbilevel.solvers._nested import Direct, Nested
from skbilevel.solvers._sizes import (
    CHOLESKY_UP_TO,
    DUAL_UP_TO,
    RELATIVE,
    choose_newton,
)
from skbilevel.solvers.hypergradient import Implicit
from skbilevel.solvers.inner import (
    CG,
    Cholesky,
    Dual,
    NewtonCG,
    NewtonCholesky,
    NewtonDual,
    StaleCholesky,
)
from skbilevel.solvers.outer import LBFGSB, GCVCoordinates

INNER: dict[str, InnerSolver] = {
    "cholesky": Cholesky(),
    "dual": Dual(),
    "stale": StaleCholesky(),
    "cg": CG(),
}

# The same for losses that are not quadratic.
NEWTON: dict[str, InnerSolver] = {
    "newton-cholesky": NewtonCholesky(),
    "newton-dual": NewtonDual(),
    "newton-cg": NewtonCG(),
}

SOLVERS = {
    "amigo": Nested(CG(), Implicit(), LBFGSB()),
    "cholesky": Nested(Cholesky(), Implicit(), LBFGSB()),
    "dual": Nested(Dual(), Implicit(), LBFGSB()),
    "stale": Nested(StaleCholesky(), Implicit(), LBFGSB()),
}

NEWTON_SOLVERS = {
    name: Nested(inner, Implicit(), LBFGSB()) for name, inner in NEWTON.items()
}

# For criteria in closed form.
CRITERION_SOLVERS = {"fcd": Direct(GCVCoordinates())}


def resolve_inner(name: str, fit: DataFit) -> InnerSolver:
    """Inner solver of a name ("auto", "exact" or a key of `INNER`) for a data fit."""
    if "quadratic" not in fit.provides:
        return _resolve_newton(name, fit)
    if name in INNER:
        return INNER[name]
    if name == "amigo":
        return INNER["cg"]
    if name not in ("auto", "exact"):
        known = ", ".join(repr(each) for each in ["auto", "exact", *SOLVERS])
        raise ValueError(f"Unknown solver {name!r}; choose one of {known}.")
    if "dense_hessian" in fit.provides:
        small = fit.n_features <= CHOLESKY_UP_TO
        return INNER["cholesky" if small or name == "exact" else "stale"]
    if name == "exact":
        return INNER["dual"]
    n = fit.design.shape[0] if isinstance(fit, RowsDataFit) else 0
    return INNER["dual" if 0 < n < fit.n_features and n <= DUAL_UP_TO else "cg"]


def _resolve_newton(name: str, fit: DataFit) -> InnerSolver:
    known = ["auto", "exact", *NEWTON, *RELATIVE]
    if name not in known or not isinstance(fit, RowsDataFit):
        names = ", ".join(repr(each) for each in known)
        raise ValueError(f"Unknown solver {name!r}; choose one of {names}.")
    sparse = not isinstance(fit.design.take_rows(np.arange(0)), np.ndarray)
    n = int((fit.weight > 0).sum())
    return NEWTON[choose_newton(n, fit.n_features, sparse, name)]


def resolve(
    name: str | Nested | Direct, problem: BilevelProblem | CriterionProblem
) -> Nested | Direct:
    """Solver of a name for a problem; see `choose_regime` for the rule of "auto"."""
    if not isinstance(name, str):
        return name
    if isinstance(problem, CriterionProblem):
        return CRITERION_SOLVERS.get(name, Direct(LBFGSB()))
    if name in CRITERION_SOLVERS:
        raise ValueError(
            f"solver={name!r} minimizes GCV in closed form, and needs a "
            "CriterionProblem of it; choose solver='auto' for folds."
        )
    inner = resolve_inner(name, problem.tasks[0].inner)
    return Nested(inner, Implicit(), LBFGSB())
