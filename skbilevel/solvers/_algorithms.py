"""Published algorithms for problems known through oracles, by name.

Linear models know their names from `_registry`, and load this when one is asked for.
"""

from __future__ import annotations

from skbilevel.solvers._double_loop import DoubleLoop
from skbilevel.solvers._oracle_base import OracleSolver
from skbilevel.solvers.hypergradient import (
    PZOBO,
    SHINE,
    Chebyshev,
    ConjugateGradient,
    FixedPoint,
    GradientSteps,
    ImplicitGradient,
    JacobianFree,
    NeumannSeries,
    Unrolled,
)
from skbilevel.solvers.inner import (
    AISARAH,
    LBFGS,
    SAGA,
    SRKCD,
    GradientDescent,
    Newton,
)
from skbilevel.solvers.outer import HOAG, LBFGSB, Adam, ProjectedGradient
from skbilevel.solvers.stochastic import SABA, SOBA, AmigoSGD

_T = GradientDescent(n_iter=10)
_KEPT = GradientDescent(n_iter=10, keep=True)
_CG_STEPS = ImplicitGradient(ConjugateGradient(n_iter=10))
_FIXED_BUDGET = ProjectedGradient(accuracy=(1e-6, 1e-6))

ORACLE_SOLVERS: dict[str, OracleSolver] = {
    "newton": DoubleLoop(Newton(), ImplicitGradient(), LBFGSB()),
    "amigo-cg": DoubleLoop(_T, _CG_STEPS, _FIXED_BUDGET),
    "amigo-gd": DoubleLoop(
        _T, ImplicitGradient(GradientSteps(n_iter=10)), _FIXED_BUDGET
    ),
    # What the AmIGO paper compares with. Without a warm start of the adjoint:
    "aid-cg": DoubleLoop(_T, _CG_STEPS, _FIXED_BUDGET, ("inner",)),
    "aid-gd": DoubleLoop(
        _T, ImplicitGradient(GradientSteps(n_iter=10)), _FIXED_BUDGET, ("inner",)
    ),
    "aid-neumann": DoubleLoop(
        _T, ImplicitGradient(NeumannSeries(10)), _FIXED_BUDGET, ("inner",)
    ),
    # A momentum of 0.9 needs more than 10 steps.
    "aid-fp": DoubleLoop(
        _T, ImplicitGradient(FixedPoint(10, momentum=0.5)), _FIXED_BUDGET, ("inner",)
    ),
    # With one of the adjoint alone, and without any:
    "aid-cg-ws": DoubleLoop(_T, _CG_STEPS, _FIXED_BUDGET, ("adjoint",)),
    "aid-cg-cold": DoubleLoop(_T, _CG_STEPS, _FIXED_BUDGET, ()),
    # Iterative differentiation with a warm start, and without:
    "itd": DoubleLoop(_KEPT, Unrolled(), _FIXED_BUDGET, ("inner",)),
    "reverse": DoubleLoop(_KEPT, Unrolled(), _FIXED_BUDGET, ()),
    "pzobo": DoubleLoop(GradientDescent(n_iter=20), PZOBO(), Adam(), ("inner",)),
    "hoag": DoubleLoop(LBFGS(), ImplicitGradient(), HOAG()),
    "shine": DoubleLoop(LBFGS(opa=5), SHINE(), HOAG()),
    "jacobian-free": DoubleLoop(LBFGS(), JacobianFree(), HOAG(decrease=0.78)),
    "ai-sarah": DoubleLoop(AISARAH(), ImplicitGradient(), LBFGSB()),
    "saga": DoubleLoop(SAGA(), ImplicitGradient(), LBFGSB()),
    "srkcd": DoubleLoop(SRKCD(damping=2.0), ImplicitGradient(Chebyshev()), LBFGSB()),
    "amigo-sgd": AmigoSGD(),
    "soba": SOBA(),
    "saba": SABA(),
}

# The same, and what a name of a structured solver means where only oracles are known.
_BY_PRODUCTS = DoubleLoop(Newton(linear_solver="cg"), ImplicitGradient(), LBFGSB())
BY_ORACLES: dict[str, OracleSolver] = {
    "auto": ORACLE_SOLVERS["newton"],
    "exact": ORACLE_SOLVERS["newton"],
    "amigo": _BY_PRODUCTS,
    "cg": _BY_PRODUCTS,
    **ORACLE_SOLVERS,
}
