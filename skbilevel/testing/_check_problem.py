"""Are these oracles derivatives of each other?"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.testing._derivatives import (
    check_inner,
    check_outer,
    check_shapes,
    check_third,
)
from skbilevel.testing._place import place_of
from skbilevel.testing._properties import (
    check_batches,
    check_codes,
    check_curvature,
    check_hessian,
)
from skbilevel.testing._report import ProblemReport


def check_problem(
    problem: OracleProblem,
    theta: Array | None = None,
    w: Array | None = None,
    *,
    n_directions: int = 3,
    random_state: int = 0,
) -> ProblemReport:
    """Check that the oracles of a problem belong together.

    A derivative is right where the remainder of Taylor's formula falls like the
    square of the step::

        | phi(x + h d) - phi(x) - h <phi'(x), d> | = O(h^2)

    and wrong where it falls like the step. The slope is taken over the smallest
    steps above rounding, so that linear and quadratic functions pass, too. Besides,
    the Hessian has to be symmetric and positive, a bound has to bound it, batches have
    to average to the whole, and codes of rows have to make the derivatives of the rows.

    Parameters
    ----------
    problem : OracleProblem
        The problem, its oracles in double precision.
    theta : ndarray of shape (d,), optional
        Where; by default the problem's start.
    w : ndarray of shape (p,), optional
        Where; by default the problem's start plus a random move, since many wrong
        oracles are right at zero.
    n_directions : int, default=3
        Random directions, each in w and in theta.
    random_state : int, default=0
        Seeds them.

    Returns
    -------
    report : ProblemReport
        What was checked, with slopes and relative errors. Printing it gives a table.

    Raises
    ------
    TypeError
        If the problem has no oracles; `linear_oracles` makes them of tasks.
    AssertionError
        At the first oracle that is wrong; the sentence names it and says what to
        look at.

    See Also
    --------
    check_solver : The same for the other side, an algorithm.

    Notes
    -----
    Random directions see an error in one of many components only by its share, and
    negative curvature is looked for by 60 steps of Lanczos' method: a report is
    evidence at one point. It takes about a hundred gradients and up to 300 Hessian
    products.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
    >>> from skbilevel.testing import check_problem
    >>> inner = InnerOracles(
    ...     value=lambda theta, w: 0.5 * ((w - theta) ** 2).sum(),
    ...     grad=lambda theta, w: w - theta,
    ...     hvp=lambda theta, w, d: d,
    ...     cross=lambda theta, w, d: d,
    ... )
    >>> outer = OuterOracles(
    ...     value=lambda theta, w: 0.25 * ((w - 1) ** 4).sum(),
    ...     grad=lambda theta, w: (w - 1) ** 3,
    ... )
    >>> problem = OracleProblem(inner, outer, w0=np.zeros(2), theta0=np.zeros(2))
    >>> check_problem(problem)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: InnerOracles.cross is not the derivative of <grad, d> in theta: ...

    With the right sign everything holds:

    >>> from dataclasses import replace
    >>> right = replace(inner, cross=lambda theta, w, d: -d)
    >>> report = check_problem(replace(problem, inner=right))
    >>> [check.oracle for check in report.checks if check.slope < 3]
    ['InnerOracles.grad', 'OuterOracles.grad']
    """
    if not isinstance(problem, OracleProblem):
        raise TypeError(
            f"check_problem takes an OracleProblem, got {type(problem).__name__}; of a "
            "BilevelProblem give linear_oracles(problem, theta0)."
        )
    rng = np.random.default_rng(random_state)
    place = place_of(problem, theta, w, n_directions, rng)
    check_shapes(place)
    return ProblemReport(
        (
            *check_inner(place),
            *check_curvature(place, rng),
            *check_hessian(place),
            *check_third(place),
            *check_outer(place),
            *check_batches(place, rng),
            *check_codes(place, rng),
        )
    )
