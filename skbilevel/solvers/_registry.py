"""Names of solvers, and a line about each.

The one source of names: estimators, error messages, the table of the documentation and
the tests read it.
"""

from __future__ import annotations

from skbilevel._records import record


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

_STRUCTURED = {
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
}

# For generalized cross-validation of a squared loss alone.
_OF_GCV = {
    "fcd": Description(
        "Generalized cross-validation, minimized exactly over one strength at a time.",
        "Yuan, 2023",
    ),
}

_OF_LIKELIHOODS = {
    "newton-cholesky": Description(
        "Newton's method with factorizations over the columns."
    ),
    "newton-dual": Description("Newton's method with factorizations over the rows."),
    "newton-cg": Description("Newton's method with conjugate gradients."),
}

# What `ORACLE_SOLVERS` holds.
ORACLES = {
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

# Of all names that a solver= accepts.
DESCRIPTIONS = _STRUCTURED | _OF_GCV | _OF_LIKELIHOODS | ORACLES
# Those for squared losses, and for losses that are not quadratic.
FOR_SQUARES = frozenset(_STRUCTURED | _OF_GCV | ORACLES)
FOR_LIKELIHOODS = frozenset(_STRUCTURED | _OF_LIKELIHOODS | ORACLES)
