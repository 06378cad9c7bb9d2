"""What solvers promise each other: protocols, results, counts, statuses, histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task
from skbilevel.problems._datafit import DataFit


class Status(Enum):
    """How a search ended; the value is the sentence shown to the user."""

    CONVERGED = "The projected gradient of the validation loss is below tol."
    FLAT = "The validation loss no longer changes by more than rounding."
    MAX_ITER = (
        "The outer search stopped after max_iter iterations; increase max_iter or tol."
    )
    LINE_SEARCH = (
        "The outer search found no better strengths along its last direction, "
        "although the projected gradient is above tol; increase tol."
    )
    BUDGET = "The passes over the rows are used up; increase max_passes or tol."
    WORSE = (
        "The algorithm ended at a higher validation loss than it started from, and the "
        "start is kept: its steps, or its estimates of the gradient, are too rough for "
        "this problem. Standardize X, give the solver more or shorter steps (as a "
        "value), or choose solver='auto'."
    )
    EVALUATED = "The value at one theta, from an accurate inner solve; no search."
    STOPPED = "A callback stopped the outer search."
    INNER = (
        "An inner problem was not solved to its tolerance; narrow the range of theta "
        "(alpha_bounds of an estimator, bounds of an OracleProblem), or choose "
        "solver='exact'. Where unpenalized columns alone separate classes there is no "
        "solution; penalize them. Of oracles of your own check_problem of "
        "skbilevel.testing tells which one is not what the others say."
    )
    AT_INFINITY = (
        "The best shared strength is infinite: the features do not help to predict "
        "held-out rows, and the model predicts like the mean."
    )
    AT_ZERO = (
        "The best shared strength is zero: the validation loss prefers ordinary least "
        "squares."
    )

    def if_solved(self, solved: bool) -> Status:
        """This one, or `INNER` where it rests on inner problems that are not solved."""
        rests = self in (Status.CONVERGED, Status.FLAT)
        return Status.INNER if rests and not solved else self


@dataclass(frozen=True)
class Counts:
    """Oracle calls. A product is one product with X or with its transpose.

    ``passes`` are readings of all rows, forth and back, of problems that are known
    through oracles; see `skbilevel.solvers._ledger`.
    """

    n_factorizations: int = 0
    n_hvp: int = 0
    n_products: int = 0
    n_evaluations: int = 0
    n_grad: int = 0
    n_cross: int = 0
    n_hessian: int = 0
    passes: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
        }
        return Counts(**sums)


@record
class LinearSolution:
    """Solution ``x`` of ``(diag(1/v) + A) x = b`` and what is left of it.

    Parameters
    ----------
    x : ndarray of shape (..., p, t)
        Exactly zero where ``v = 0``.
    pull : ndarray of shape (..., p, t)
        ``b - A x``: equal to ``x / v`` at the solution, and defined at ``v = 0``.
    residual : ndarray or None
        ``b - A x - x / v`` where v > 0, zero elsewhere; None if it is rounding only.
    converged : bool
        Whether the tolerance was reached.
    counts : Counts
        What it cost.
    n_iter : int
        Iterations of an iterative method.
    """

    x: Array
    pull: Array
    residual: Array | None = None
    converged: bool = True
    counts: Counts = Counts()
    n_iter: int = 0


class LinearSystem(Protocol):
    """``diag(1/v) + A`` with A the Hessian of a data fit."""

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Solve for b of shape (..., p, t); ``x0`` is a guess, of use or not."""


@record
class InnerSolution:
    """Coefficients, the system at them, and the state for the next solve."""

    solution: LinearSolution
    system: LinearSystem
    state: Any
    counts: Counts

    @property
    def W(self) -> Array:
        """Coefficients (..., p, t)."""
        return self.solution.x


class InnerSolver(Protocol):
    """Solves ``min_W fit(W) + 0.5 sum_j |W_j|^2 / v_j``."""

    @property
    def requires(self) -> frozenset[str]:
        """Capability words the data fit must provide."""

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 1e-10
    ) -> InnerSolution:
        """Solve at variances (p,) or (..., p) from an earlier state or from zero."""


@record
class TaskEval:
    """Outer losses of a task, their gradient in ``v``, and the state to go on from."""

    value: Array
    grad_v: Array
    state: Any
    counts: Counts
    converged: bool


class Hypergradient(Protocol):
    """Outer loss of a task and its gradient at an inner solution."""

    def evaluate(
        self, task: Task, v: Array, inner: InnerSolution, state: Any, *, tol: float
    ) -> TaskEval:
        """Mean outer loss (K,) or () and gradient in the variances (..., p)."""


@dataclass(frozen=True)
class IterInfo:
    """What ``on_iter`` sees after every outer iteration.

    ``seconds`` are those since the search began, and so are ``passes`` over the rows,
    where the problem is known through oracles.
    """

    n_iter: int
    theta: Array
    value: float
    grad_norm: float
    tol: float
    passes: float = float("nan")
    seconds: float = float("nan")


OnIter = Callable[[IterInfo], bool | None]
Objective = Callable[[Array, float], tuple[float, Array]]


@record
class OuterResult:
    """Where an outer search ended."""

    theta: Array
    value: float
    grad_norm: float
    status: Status
    n_iter: int
    history: dict[str, Array]


class OuterOptimizer(Protocol):
    """Minimizes ``objective(theta, tol)`` on a box.

    The optimizer decides how accurately each evaluation has to be made: ``tol`` is
    passed down to the inner and adjoint solves.
    """

    def minimize(
        self,
        objective: Objective,
        theta0: Array,
        bounds: tuple[Array, Array],
        *,
        tol: float,
        max_iter: int,
        on_iter: OnIter | None = None,
    ) -> OuterResult:
        """Minimize from ``theta0``."""


@dataclass(frozen=True)
class Result:
    """Tuned strengths.

    Parameters
    ----------
    theta : ndarray
        The outer vector.
    v : ndarray of shape (p,)
        Prior variances in units of the full data; empty where theta is no strength.
    value : float
        Outer loss plus hyperpenalty.
    status : Status
        How the search ended.
    n_iter : int
        Outer iterations.
    history : dict of ndarray
        ``value``, ``grad_norm``, ``tol`` and ``seconds`` since the start, of every
        iteration; for problems known through oracles ``passes``, too.
    counts : Counts
        Oracle calls.
    states : tuple
        State of every task at the last evaluation.
    w : ndarray or None
        Inner solution at theta, where one was asked for.
    """

    theta: Array
    v: Array
    value: float
    status: Status
    n_iter: int
    history: dict[str, Array]
    counts: Counts
    states: tuple[Any, ...] = field(default=(), repr=False)
    w: Array | None = field(default=None, repr=False)

    @property
    def message(self) -> str:
        """How the search ended, in words."""
        return self.status.value


def check_requires(solver: InnerSolver, fit: DataFit) -> None:
    """Raise with the names of the capabilities that are missing."""
    missing = solver.requires - fit.provides
    if missing:
        raise ValueError(
            f"{type(solver).__name__} needs a data fit that provides "
            f"{', '.join(sorted(missing))}; {type(fit).__name__} does not."
        )


def stationarity(theta: Array, grad: Array, bounds: tuple[Array, Array]) -> Array:
    """Gradient without the components that push against a bound."""
    low, high = bounds
    blocked = ((theta <= low) & (grad > 0)) | ((theta >= high) & (grad < 0))
    return np.where(blocked, 0.0, grad)


_NAMES = ("value", "grad_norm", "tol", "passes", "seconds")


class Trace:
    """What an outer search writes down after each of its evaluations.

    Parameters
    ----------
    on_iter : callable or None
        Is told lines by `tell`.
    passes : callable or None
        Passes over the rows so far, where they are counted.
    """

    def __init__(
        self,
        on_iter: OnIter | None = None,
        passes: Callable[[], float] | None = None,
    ) -> None:
        self.on_iter, self._passes = on_iter, passes
        self._began = perf_counter()
        self._lines: list[tuple[float, ...]] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, value: float, grad_norm: float, tol: float) -> None:
        """Write a line; its seconds are those since the trace was made."""
        passes = float("nan") if self._passes is None else self._passes()
        seconds = perf_counter() - self._began
        self._lines.append((value, grad_norm, tol, passes, seconds))

    def tell(self, n_iter: int, theta: Array) -> bool:
        """Whether the one who is told the last line wants to stop there."""
        if self.on_iter is None:
            return False
        return bool(self.on_iter(IterInfo(n_iter, theta, *self._lines[-1])))

    @property
    def seconds(self) -> float:
        """Seconds at the last line."""
        return self._lines[-1][-1]

    def history(self) -> dict[str, Array]:
        """The lines as columns."""
        columns = np.array(self._lines, dtype=float).reshape(-1, len(_NAMES)).T
        history = dict(zip(_NAMES, columns, strict=True))
        if self._passes is None:
            del history["passes"]
        return history
