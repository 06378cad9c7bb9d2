"""Published algorithms for problems known through oracles, by name.

The one source of their names: estimators, error messages, the table of the
documentation and the tests read it.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
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


_ARBEL = "Arbel and Mairal, 2022"

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
    "aid-cg": Description(
        "amigo-cg without a warm start of the adjoint.", "Grazzi et al., 2020"
    ),
    "aid-gd": Description(
        "amigo-gd without a warm start of the adjoint.", "Grazzi et al., 2020"
    ),
    "aid-neumann": Description(
        "10 terms of a Neumann series for the adjoint.", "Lorraine et al., 2020"
    ),
}
