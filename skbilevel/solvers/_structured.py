"""Solvers of tasks with strengths: their names, and which one suits a shape."""

from __future__ import annotations

import numpy as np

from skbilevel.problems._bilevel import BilevelProblem, CriterionProblem
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import InnerSolver
from skbilevel.solvers._nested import Direct, Nested
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

# Up to this many columns, dense and sparse, Newton's method factors a Hessian.
_NEWTON_UP_TO, _SPARSE_NEWTON_UP_TO = 1500, 200
# Newton's method with factors copies the rows of every training set: of X with more
# numbers than this it takes products instead.
_COPIED_UP_TO = 10_000_000
# Numbers in the factors of all targets with strengths of their own.
_FACTOR_ENTRIES = 50_000_000
# Up to this many columns a factorization costs less than the iterations it saves.
_CHOLESKY_UP_TO = 1500
# Beyond so many columns a Gram matrix is neither formed nor factored.
_PRIMAL_UP_TO = 6000
# Beyond so many rows a kernel is neither formed nor factored.
_DUAL_UP_TO = 3000
# Products with a sparse X cost less than a kernel of more rows, by Newton's method.
_SPARSE_DUAL_UP_TO = 1000

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

# What a name of a method for ridge means where the loss is not quadratic.
_RELATIVE = {
    "amigo": "newton-cg",
    "cg": "newton-cg",
    "cholesky": "newton-cholesky",
    "dual": "newton-dual",
    "stale": "newton-cholesky",
}


def choose_regime(n: int, p: int, sparse: bool = False) -> str:
    """Which data fit and solver suit n rows and p columns.

    =====================================  ==============  =========================
    shape                                  regime          inner solver
    =====================================  ==============  =========================
    p <= n and p <= 1500                   "primal"        Cholesky
    p <= n and p <= 6000 (dense)           "primal"        stale Cholesky with CG
    n < p and n <= 3000                    "dual"          Cholesky of the kernel
    else                                   "matrix-free"   CG ("amigo")
    =====================================  ==============  =========================
    """
    if p <= n and p <= (_CHOLESKY_UP_TO if sparse else _PRIMAL_UP_TO):
        return "primal"
    if n < p and n <= _DUAL_UP_TO:
        return "dual"
    return "matrix-free"


def too_many_factors(n: int, p: int, n_own: int) -> bool:
    """Whether ``n_own`` targets with strengths of their own need too much memory.

    Each of them has a factor of the smaller side.
    """
    return n_own > 1 and n_own * min(n, p) ** 2 > _FACTOR_ENTRIES


def choose_newton(
    n: int, p: int, sparse: bool = False, name: str = "auto", n_own: int = 1
) -> str:
    """Which inner solver of `NEWTON` suits a loss that is not quadratic.

    =====================================  =================
    shape                                  inner solver
    =====================================  =================
    p <= n, p <= 1500, n p <= 1e7 (dense)  "newton-cholesky"
    n < p and n <= 3000                    "newton-dual"
    else                                   "newton-cg"
    =====================================  =================

    Sparse columns are made dense up to 200 of them, and sparse rows have a kernel up to
    1000 of them. ``n_own`` targets with strengths
    of their own need a factor each: "newton-cg" beyond 50 million numbers in all.
    "exact" factors whatever the size; names of methods for ridge mean their relatives.
    """
    if name in NEWTON:
        return name
    if name in _RELATIVE:
        return _RELATIVE[name]
    if name == "exact":
        return "newton-cholesky" if p <= n else "newton-dual"
    if too_many_factors(n, p, n_own):
        return "newton-cg"
    few = p <= n and p <= (_SPARSE_NEWTON_UP_TO if sparse else _NEWTON_UP_TO)
    if few and n * p <= _COPIED_UP_TO:
        return "newton-cholesky"
    dual_up_to = _SPARSE_DUAL_UP_TO if sparse else _DUAL_UP_TO
    return "newton-dual" if n < p and n <= dual_up_to else "newton-cg"


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
        small = fit.n_features <= _CHOLESKY_UP_TO
        return INNER["cholesky" if small or name == "exact" else "stale"]
    if name == "exact":
        return INNER["dual"]
    n = fit.design.shape[0] if isinstance(fit, RowsDataFit) else 0
    return INNER["dual" if 0 < n < fit.n_features and n <= _DUAL_UP_TO else "cg"]


def _resolve_newton(name: str, fit: DataFit) -> InnerSolver:
    known = ["auto", "exact", *NEWTON, *_RELATIVE]
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
