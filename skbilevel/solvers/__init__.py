"""Algorithms that turn a bilevel problem into tuned strengths."""

from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    InnerSolver,
    IterInfo,
    OuterResult,
    Result,
    Status,
)
from skbilevel.solvers._double_loop import DoubleLoop
from skbilevel.solvers._minimize import minimize_bilevel
from skbilevel.solvers._nested import Direct, Evaluation, Nested
from skbilevel.solvers._oracle_base import OracleSolver
from skbilevel.solvers._registry import ORACLE_SOLVERS
from skbilevel.solvers._shared import SharedSearch, best_shared_strength
from skbilevel.solvers._structured import (
    INNER,
    NEWTON,
    NEWTON_SOLVERS,
    SOLVERS,
    choose_newton,
    choose_regime,
    resolve,
    resolve_inner,
    too_many_factors,
)
from skbilevel.solvers.hypergradient import (
    ApproximateLeaveOneOut,
    ConjugateGradient,
    DirectSolve,
    GradientSteps,
    Implicit,
    ImplicitGradient,
    NeumannSeries,
)
from skbilevel.solvers.inner import (
    CG,
    Cholesky,
    Dual,
    GradientDescent,
    Newton,
    NewtonCG,
    NewtonCholesky,
    NewtonDual,
    StaleCholesky,
)
from skbilevel.solvers.outer import (
    LBFGSB,
    Adam,
    ProjectedGradient,
    ScalarResult,
    minimize_scalar_log,
)

__all__ = [
    "CG",
    "INNER",
    "LBFGSB",
    "NEWTON",
    "NEWTON_SOLVERS",
    "ORACLE_SOLVERS",
    "SOLVERS",
    "Adam",
    "ApproximateLeaveOneOut",
    "Cholesky",
    "ConjugateGradient",
    "Counts",
    "Direct",
    "DirectSolve",
    "DoubleLoop",
    "Dual",
    "Evaluation",
    "GradientDescent",
    "GradientSteps",
    "Implicit",
    "ImplicitGradient",
    "InnerSolution",
    "InnerSolver",
    "IterInfo",
    "Nested",
    "NeumannSeries",
    "Newton",
    "NewtonCG",
    "NewtonCholesky",
    "NewtonDual",
    "OracleSolver",
    "OuterResult",
    "ProjectedGradient",
    "Result",
    "ScalarResult",
    "SharedSearch",
    "StaleCholesky",
    "Status",
    "best_shared_strength",
    "choose_newton",
    "choose_regime",
    "minimize_bilevel",
    "minimize_scalar_log",
    "resolve",
    "resolve_inner",
    "too_many_factors",
]
