"""Algorithms that turn a bilevel problem into tuned strengths."""

from typing import TYPE_CHECKING, Any

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
from skbilevel.solvers._ledger import counted
from skbilevel.solvers._minimize import evaluate_bilevel, minimize_bilevel
from skbilevel.solvers._nested import Direct, Evaluation, Nested
from skbilevel.solvers._oracle_base import (
    Descent,
    DescentSolver,
    HypergradientRequest,
    HypergradientValue,
    OracleHypergradient,
    OracleSolver,
    metric_norm,
    metric_of,
)
from skbilevel.solvers._registry import ORACLE_SOLVERS
from skbilevel.solvers._shared import SharedSearch, best_shared_strength
from skbilevel.solvers._structured import (
    CRITERION_SOLVERS,
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
    PZOBO,
    SHINE,
    ApproximateLeaveOneOut,
    Chebyshev,
    ConjugateGradient,
    DirectSolve,
    FixedPoint,
    GradientSteps,
    Implicit,
    ImplicitGradient,
    JacobianFree,
    NeumannSeries,
    Unrolled,
)
from skbilevel.solvers.inner import (
    AISARAH,
    CG,
    LBFGS,
    SAGA,
    SRKCD,
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
    HOAG,
    LBFGSB,
    Adam,
    GCVCoordinates,
    ProjectedGradient,
    ScalarResult,
    minimize_scalar_log,
)
from skbilevel.solvers.stochastic import SABA, SOBA, AmigoSGD

if TYPE_CHECKING:
    from skbilevel.solvers._ratio import RatioResult, RatioStatus, minimize_ratio
else:

    def __getattr__(name: str) -> Any:
        # Ratios are loaded when one of them is asked for: no linear model needs them.
        if name in __all__:
            from skbilevel.solvers import _ratio

            return getattr(_ratio, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AISARAH",
    "CG",
    "CRITERION_SOLVERS",
    "HOAG",
    "INNER",
    "LBFGS",
    "LBFGSB",
    "NEWTON",
    "NEWTON_SOLVERS",
    "ORACLE_SOLVERS",
    "PZOBO",
    "SABA",
    "SAGA",
    "SHINE",
    "SOBA",
    "SOLVERS",
    "SRKCD",
    "Adam",
    "AmigoSGD",
    "ApproximateLeaveOneOut",
    "Chebyshev",
    "Cholesky",
    "ConjugateGradient",
    "Counts",
    "Descent",
    "DescentSolver",
    "Direct",
    "DirectSolve",
    "DoubleLoop",
    "Dual",
    "Evaluation",
    "FixedPoint",
    "GCVCoordinates",
    "GradientDescent",
    "GradientSteps",
    "HypergradientRequest",
    "HypergradientValue",
    "Implicit",
    "ImplicitGradient",
    "InnerSolution",
    "InnerSolver",
    "IterInfo",
    "JacobianFree",
    "Nested",
    "NeumannSeries",
    "Newton",
    "NewtonCG",
    "NewtonCholesky",
    "NewtonDual",
    "OracleHypergradient",
    "OracleSolver",
    "OuterResult",
    "ProjectedGradient",
    "RatioResult",
    "RatioStatus",
    "Result",
    "ScalarResult",
    "SharedSearch",
    "StaleCholesky",
    "Status",
    "Unrolled",
    "best_shared_strength",
    "choose_newton",
    "choose_regime",
    "counted",
    "evaluate_bilevel",
    "metric_norm",
    "metric_of",
    "minimize_bilevel",
    "minimize_ratio",
    "minimize_scalar_log",
    "resolve",
    "resolve_inner",
    "too_many_factors",
]
