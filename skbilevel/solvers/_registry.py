"""Published algorithms for problems known through oracles, by name.

The one source of their names: estimators, error messages, the table of the
documentation and the tests read it.
"""

from __future__ import annotations

from skbilevel._records import record
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


@record
class Description:
    """A line of the table of solvers in the documentation.

    Parameters
    ----------
    what : str
        One sentence.
    paper : str
        Authors and year; empty for textbook methods.
    stochastic : bool
        Whether it draws rows.
    """

    what: str
    paper: str = ""
    stochastic: bool = False


_ARBEL, _GRAZZI = "Arbel and Mairal, 2022", "Grazzi et al., 2020"

# Of all names that a solver= accepts, those of structured solvers included.
DESCRIPTIONS: dict[str, Description] = {
    "auto": Description("The method that suits the shape of the data."),
    "exact": Description("Factorizations, whatever the size."),
    "amigo": Description(
        "Conjugate gradients for the inner problem and for the adjoint, both "
        "warm-started, as accurate as the outer search needs.",
        _ARBEL,
    ),
    "cholesky": Description("Cholesky's factorization over the columns."),
    "dual": Description("Cholesky's factorization over the rows."),
    "stale": Description(
        "Conjugate gradients, preconditioned by a factorization of earlier strengths."
    ),
    "cg": Description("Another name of amigo."),
    "fcd": Description(
        "Generalized cross-validation, minimized exactly over one strength at a time.",
        "Yuan, 2023",
    ),
    "newton-cholesky": Description(
        "Newton's method with factorizations over the columns."
    ),
    "newton-dual": Description("Newton's method with factorizations over the rows."),
    "newton-cg": Description("Newton's method with conjugate gradients."),
    "newton": Description(
        "Newton's method for the inner problem, conjugate gradients for the adjoint, "
        "quasi-Newton steps in theta; on oracles alone."
    ),
    "amigo-cg": Description(
        "10 gradient steps and 10 steps of conjugate gradients, both warm-started.",
        _ARBEL,
    ),
    "amigo-gd": Description(
        "10 gradient steps for the inner problem and 10 for the adjoint, both "
        "warm-started.",
        _ARBEL,
    ),
    "aid-cg": Description("amigo-cg without a warm start of the adjoint.", _GRAZZI),
    "aid-gd": Description("amigo-gd without a warm start of the adjoint.", _GRAZZI),
    "aid-neumann": Description(
        "10 terms of a Neumann series for the adjoint.", "Lorraine et al., 2020"
    ),
    "aid-fp": Description(
        "10 fixed-point steps of a heavy ball for the adjoint.", _GRAZZI
    ),
    "aid-cg-ws": Description(
        "amigo-cg with a warm start of the adjoint alone.", _ARBEL
    ),
    "aid-cg-cold": Description("amigo-cg without any warm start.", _ARBEL),
    "itd": Description(
        "The chain rule through the last 10 gradient steps.", "Franceschi et al., 2017"
    ),
    "reverse": Description(
        "itd, every descent from the first guess.", "Franceschi et al., 2017"
    ),
    "pzobo": Description(
        "Differences of inner solutions along random directions; no second "
        "derivatives.",
        "Sow et al., 2022",
    ),
    "hoag": Description(
        "L-BFGS for the inner problem, conjugate gradients for the adjoint, steps of "
        "length 1/L under a schedule of tolerances.",
        "Pedregosa, 2016",
    ),
    "shine": Description(
        "The inverse Hessian that L-BFGS builds inside serves the adjoint.",
        "Ramzi et al., 2022",
    ),
    "jacobian-free": Description(
        "The inverse Hessian is replaced by a diagonal.", "Fung et al., 2022"
    ),
    "ai-sarah": Description(
        "AI-SARAH for the inner problem, conjugate gradients for the adjoint.",
        "Shi et al., 2023",
        True,
    ),
    "saga": Description(
        "SAGA for the inner problem, conjugate gradients for the adjoint.",
        "Defazio et al., 2014",
        True,
    ),
    "srkcd": Description(
        "Stabilized Runge-Kutta-Chebyshev steps, inside and for the adjoint.",
        "Stillfjord and Williamson, 2023",
    ),
    "amigo-sgd": Description(
        "Warm-started stochastic steps in w, then in the adjoint, then one in theta.",
        _ARBEL,
        True,
    ),
    "soba": Description(
        "w, the adjoint and theta move together on one batch; steps shrink.",
        "Dagréou et al., 2022",
        True,
    ),
    "saba": Description(
        "soba with a memory of rows that removes the noise; constant steps.",
        "Dagréou et al., 2022",
        True,
    ),
}
