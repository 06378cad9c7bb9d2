"""Published algorithms for problems known through oracles, by name.

The one source of their names: estimators, error messages, the table of the
documentation and the tests read it.
"""

from __future__ import annotations

from skbilevel.solvers._double_loop import DoubleLoop
from skbilevel.solvers._oracle_base import OracleSolver
from skbilevel.solvers.hypergradient import (
    ConjugateGradient,
    GradientSteps,
    ImplicitGradient,
    NeumannSeries,
)
from skbilevel.solvers.inner import GradientDescent, Newton
from skbilevel.solvers.outer import LBFGSB, ProjectedGradient

_T = GradientDescent(n_iter=10)
_FIXED_BUDGET = ProjectedGradient(accuracy=(1e-6, 1e-6))

ORACLE_SOLVERS: dict[str, OracleSolver] = {
    "newton": DoubleLoop(Newton(), ImplicitGradient(), LBFGSB()),
    "amigo-cg": DoubleLoop(
        _T, ImplicitGradient(ConjugateGradient(n_iter=10)), _FIXED_BUDGET
    ),
    "amigo-gd": DoubleLoop(
        _T, ImplicitGradient(GradientSteps(n_iter=10)), _FIXED_BUDGET
    ),
    # Without a warm start of the adjoint.
    "aid-cg": DoubleLoop(
        _T, ImplicitGradient(ConjugateGradient(n_iter=10)), _FIXED_BUDGET, ("inner",)
    ),
    "aid-gd": DoubleLoop(
        _T, ImplicitGradient(GradientSteps(n_iter=10)), _FIXED_BUDGET, ("inner",)
    ),
    "aid-neumann": DoubleLoop(
        _T, ImplicitGradient(NeumannSeries(10)), _FIXED_BUDGET, ("inner",)
    ),
}
