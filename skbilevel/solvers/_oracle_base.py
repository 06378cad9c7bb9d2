"""What solvers of oracle problems promise each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem, OracleProblem
from skbilevel.problems._smoothness import largest_eigenvalues
from skbilevel.solvers._base import OnIter, Result

# What the curvature at one w may miss elsewhere.
_MARGIN = 1.1
# Share of ``M w`` that takes the place of a first gradient that is zero.
_ROUNDING = 1e-6


@record
class Descent:
    """Where an inner solver ended.

    Parameters
    ----------
    w : ndarray of shape (p,)
        Approximate solution.
    point : InnerPoint
        The oracles at ``w``; its gradient is what is left.
    converged : bool
        Whether the wanted accuracy was reached; True for solvers with a fixed budget.
    n_iter : int
        Steps.
    memory : object
        What the next call may start from besides ``w``; for solvers that provide
        ``inverse_hessian`` an object with ``apply(vector)``.
    trajectory : tuple of ndarray
        All iterates, the start first, of solvers that provide ``trajectory``; the
        steps between them are ``w - grad / metric``.
    metric : ndarray or None
        The metric of those steps.
    """

    w: Array
    point: InnerPoint
    converged: bool = True
    n_iter: int = 0
    memory: Any = None
    trajectory: tuple[Array, ...] = ()
    metric: Array | None = None


class DescentSolver(Protocol):
    """Minimizes ``g(theta, .)`` at fixed theta from a start.

    ``requires`` are words of the problem, ``provides`` words for hypergradients:
    ``inverse_hessian`` and ``trajectory``. Solvers that provide ``many_thetas`` have
    ``solve_many(inner, thetas, w)``, the ends of descents at several theta from one
    start, for problems that provide it as well.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Capability words that the inner problem must provide."""

    @property
    def provides(self) -> frozenset[str]:
        """Capability words for hypergradients."""

    def solve(
        self,
        inner: InnerProblem,
        theta: Array,
        w: Array,
        *,
        threshold: float,
        rng: np.random.Generator,
        memory: Any = None,
        outer_grad: Callable[[Array], Array] | None = None,
    ) -> Descent:
        """Descend from ``w`` until the gradient's norm is below ``threshold``.

        ``outer_grad`` is ``f_w`` as a function of w, for solvers that look ahead to
        the hypergradient.
        """


@record
class HypergradientRequest:
    """All that a hypergradient may look at.

    Parameters
    ----------
    problem : OracleProblem
        Both levels.
    theta : ndarray of shape (d,)
        Where.
    descent : Descent
        What the inner solver found there.
    adjoint : ndarray of shape (p,) or None
        The last solution of the adjoint system, to start from.
    tol : float
        Wanted relative accuracy of the adjoint.
    rng : numpy.random.Generator
        For random directions.
    again : callable
        ``again(theta)`` repeats the inner descent from the same start, with the same
        random numbers, at another theta.
    again_many : callable or None
        ``again`` at every row of an array, side by side where the inner solver and the
        inner problem both have ``many_thetas``; None is one after another.
    """

    problem: OracleProblem
    theta: Array
    descent: Descent
    adjoint: Array | None
    tol: float
    rng: np.random.Generator
    again: Callable[[Array], Array]
    again_many: Callable[[Array], Array] | None = None


@record
class HypergradientValue:
    """Outer value, its gradient in theta, and the adjoint to go on from."""

    value: float
    grad: Array
    adjoint: Array | None = None
    converged: bool = True


class OracleHypergradient(Protocol):
    """The outer loss and its gradient at an approximate inner solution."""

    @property
    def requires(self) -> frozenset[str]:
        """Words that the inner solver must provide."""

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and gradient in theta."""


class OracleSolver(Protocol):
    """From an oracle problem to a `Result`; the researcher's and SOBA's interface."""

    @property
    def requires(self) -> frozenset[str]:
        """Words that the problem must provide."""

    def solve_oracles(
        self,
        problem: OracleProblem,
        theta0: Array,
        *,
        tol: float,
        max_iter: int,
        random_state: int = 0,
        on_iter: OnIter | None = None,
    ) -> Result:
        """Tune theta; `minimize_bilevel` makes the honest last inner solve."""


# What a missing word means, in words for users.
_MEANING = {
    "row_batches": "an objective that is a mean over rows (n_rows > 0)",
    "row_codes": "derivatives of rows in compressed form (linear models)",
    "dense_hessian": "the Hessian as an array",
    "third_derivative": "third derivatives of the loss",
    "smoothness": "a bound on the Hessian for all w",
    "inverse_hessian": "an inner solver that builds an inverse Hessian (LBFGS)",
    "trajectory": (
        "an inner solver that keeps its iterates (GradientDescent(keep=True))"
    ),
    "data_fit": "strengths and data fits (an estimator, or a BilevelProblem)",
}


def check_words(user: Any, needs: frozenset[str], offers: frozenset[str]) -> None:
    """Raise with one sentence that says what is missing."""
    missing = sorted(needs - offers)
    if missing:
        what = " and ".join(_MEANING.get(word, word) for word in missing)
        raise ValueError(
            f"{type(user).__name__} needs {what}; what it is combined with does not "
            "provide it."
        )


def check_positive(value: Any, *names: str) -> None:
    """Raise unless these fields of a solver are positive, or None."""
    for name in names:
        number = getattr(value, name)
        if number is not None and not number > 0:
            raise ValueError(
                f"{type(value).__name__} needs {name} > 0, not {name}={number!r}."
            )


def metric_of(inner: InnerProblem, theta: Array, w: Array) -> Array:
    """M with ``g_ww <= diag(M)``: from the problem, or from Hessian products at w.

    A step of gradient descent is ``w - grad / M``. With an M for each component, the
    strengths of penalties enter step by step, and stiff ones cost nothing.
    """
    if inner.smoothness is not None and "smoothness" in inner.provides:
        return np.broadcast_to(np.asarray(inner.smoothness(theta), float), w.shape)
    largest = largest_eigenvalue(inner.at(theta, w).hvp, len(w))
    return np.full(w.shape, _MARGIN * largest)


def largest_eigenvalue(apply: Callable[[Array], Array], size: int) -> float:
    """Of a symmetric positive map, by Lanczos' method; 1 for the zero map."""
    found = largest_eigenvalues(lambda d: apply(d[:, 0])[:, None], (size, 1))
    return float(found) or 1.0


def metric_norm(grad: Array, metric: Array) -> float:
    """``sqrt(grad^T M^-1 grad)``: its square halved bounds what a step can gain."""
    return float(np.sqrt((grad * grad / metric).sum()))


def first_norm(inner: InnerProblem, theta: Array, w: Array) -> float:
    """What inner tolerances are relative to: the gradient at the first start.

    A start at the solution would make them zero: rounding of the metric stands in.
    """
    metric = metric_of(inner, theta, w)
    norm = metric_norm(inner.at(theta, w).grad, metric)
    size = float(np.sqrt((metric * w * w).sum()))
    return max(norm, _ROUNDING * size, float(np.finfo(float).tiny))
