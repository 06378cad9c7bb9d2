"""The double loop: inner solves, their hypergradients and curvature, an outer search.

With ``u = b - A W = W / v`` of the inner solution, ``dW = (I - S A) (dv * u)`` and
``S = (diag(1/v) + A)^-1``; a validation loss with Hessian ``A_out`` has the matrix
``dW^T A_out dW`` of Gauss and Newton: one solve with as many right-hand sides as theta
has coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import (
    BilevelProblem,
    CriterionProblem,
    Task,
)
from skbilevel.problems._datafit import DataFit, Linearization, zeros
from skbilevel.problems._hyperpenalties import Hyperpenalty
from skbilevel.problems._parametrizations import Parametrization
from skbilevel.solvers._base import (
    Counts,
    Hypergradient,
    InnerSolution,
    InnerSolver,
    LinearSystem,
    OnIter,
    OuterOptimizer,
    Result,
    TaskEval,
)

# A curvature needs few digits: of the inner solutions, and of iterative solves.
_ACCURACY, _ROUGH = 1e-6, 1e-3


def gauss_newton(
    problem: BilevelProblem,
    theta: Array,
    inner: Sequence[InnerSolution],
    hypergradient: Hypergradient | None = None,
) -> Array:
    """Curvature (g, g) of the outer loss and its hyperpenalty.

    ``inner`` are the solutions of all tasks at ``theta``; their factors are reused.
    A hypergradient that differentiates something else than the loss of validation
    rows at the solution brings its own ``curvature``.
    """
    D = problem.parametrization.jacobian(theta)
    out = np.zeros((len(theta), len(theta)))
    of_task = getattr(hypergradient, "curvature", _of_task)
    for task, solved in zip(problem.tasks, inner, strict=True):
        out += of_task(solved, task, _jacobian(task, theta, D))
    return with_penalty(problem, theta, out / problem.total_weight)


def with_penalty(
    problem: BilevelProblem | CriterionProblem, theta: Array, curvature: Array
) -> Array:
    """The curvature of a loss with that of the hyperpenalty."""
    if problem.hyperpenalty is None:
        return curvature
    more = _of_penalty(problem.hyperpenalty, problem.parametrization, theta)
    return np.asarray(curvature + more)


def _jacobian(task: Task, theta: Array, D: Array) -> Array:
    """Derivative (..., m + p, g) of the task's variances; zero for free columns."""
    own = task.parametrization
    if own is not None:
        each = [par.jacobian(theta) for par in own]
        D = np.stack(each) if task.inner.batch else each[0]
    D = np.asarray(task.v_scale)[..., None, None] * D
    if not task.n_free:
        return D
    return np.concatenate([np.zeros((task.n_free, D.shape[-1])), D])


def _of_task(solved: InnerSolution, task: Task, D: Array) -> Array:
    fit = task.inner
    weight = np.asarray(task.weight) / np.asarray(task.outer.weight_sum)
    out = np.zeros((D.shape[-1], D.shape[-1]))
    # Where the loss is quadratic, zero is as good as any point, and costs nothing.
    W = zeros(fit) if "quadratic" in fit.provides else solved.W
    point, outer = fit.at(W), task.outer.at(W)
    for t in range(fit.n_targets):
        moved = D * solved.solution.pull[..., t : t + 1]
        step = _remaining(solved.system, point, moved)
        image = weight[..., None, None] * outer.hvp(step)
        part = np.swapaxes(step, -1, -2) @ image
        out += part.sum(axis=0) if part.ndim == 3 else part
    return out


def _remaining(system: LinearSystem, point: Linearization, D: Array) -> Array:
    """``(I - S A) D``; factors of a Gram matrix need no pull of every column for it."""
    known = getattr(system, "remaining", None)
    if known is not None:
        return np.asarray(known(D))
    return np.asarray(D - system.solve(point.hvp(D), None, tol=_ROUGH).x)


def _of_penalty(
    penalty: Hyperpenalty, parametrization: Parametrization, theta: Array
) -> Array:
    """Differences of the gradient, made positive semidefinite."""

    def grad(x: Array) -> Array:
        slope = penalty.value_and_grad(parametrization.v(x))[1]
        return parametrization.vjp(x, slope)

    step, base = 1e-5, grad(theta)
    rows = [(grad(theta + step * e) - base) / step for e in np.eye(len(theta))]
    matrix = np.stack(rows)
    size, turn = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray((turn * np.maximum(size, 0.0)) @ turn.T)


# Inner solution state and adjoint of a task.
TaskState = tuple[Any, Any]
TaskDone = tuple[TaskEval, TaskState, InnerSolution]
MapTasks = Callable[[Callable[[Any], TaskDone], Iterable[Any]], Iterable[TaskDone]]


class ObjectiveRun:
    """An objective in use: counts its calls and keeps the states between them."""

    problem: Any

    def __init__(self) -> None:
        self.states: tuple[TaskState, ...] = ()
        self.counts, self.converged = Counts(), True
        # Where it was called last, and what was computed there.
        self._last: tuple[Array, Any] | None = None

    def __call__(self, theta: Array, tol: float) -> tuple[float, Array]:
        """Value and gradient at theta."""
        raise NotImplementedError

    def curvature(self, theta: Array) -> Array:
        """Gauss-Newton matrix at theta; uses what the last call computed, if here."""
        raise NotImplementedError

    def _solved_at(self, theta: Array) -> Any:
        """What the last call computed, if it was here; else that of a new one."""
        if self._last is None or not np.array_equal(self._last[0], theta):
            self(theta, _ACCURACY)
        assert self._last is not None
        return self._last[1]


@record
class Evaluation:
    """Outer value and gradient at one theta, and the states to go on from.

    ``inner`` are the solutions of the tasks, with their factors.
    """

    value: float
    grad: Array
    states: tuple[TaskState, ...]
    counts: Counts
    converged: bool
    inner: tuple[InnerSolution, ...] = ()


class StructuredSolver:
    """An outer search on the values of a run; `Nested` and `Direct` say which."""

    outer: OuterOptimizer

    def run(self, problem: Any, map_tasks: MapTasks | None = None) -> ObjectiveRun:
        """The objective."""
        raise NotImplementedError

    def solve(
        self,
        problem: BilevelProblem | CriterionProblem,
        theta0: Array,
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        on_iter: OnIter | None = None,
        map_tasks: MapTasks | None = None,
    ) -> Result:
        """Tune theta from ``theta0``.

        Parameters
        ----------
        problem : BilevelProblem or CriterionProblem
            Tasks are stacked where they can be, unless ``map_tasks`` is given.
        theta0 : ndarray
            Start.
        tol : float
            Largest component of the projected gradient, relative to the first value.
        max_iter : int
            Largest number of outer iterations.
        on_iter : callable, optional
            Called after every iteration; stops the search by returning True.
        map_tasks : callable, optional
            Like `map`, for running tasks in parallel.
        """
        run = self.run(problem, map_tasks)
        outcome = self.outer.minimize(
            run, theta0, problem.bounds, tol=tol, max_iter=max_iter, on_iter=on_iter
        )
        return Result(
            outcome.theta,
            problem.parametrization.v(outcome.theta),
            outcome.value,
            outcome.status.if_solved(run.converged),
            outcome.n_iter,
            outcome.history,
            run.counts,
            run.states,
        )


@dataclass(frozen=True)
class Nested(StructuredSolver):
    """Solve, differentiate, step.

    Parameters
    ----------
    inner : InnerSolver
        Coefficients at given variances.
    hypergradient : Hypergradient
        Outer loss and its gradient at an inner solution.
    outer : OuterOptimizer
        Search over theta; it alone decides how accurate the other two have to be.
    """

    inner: InnerSolver
    hypergradient: Hypergradient
    outer: OuterOptimizer

    def evaluate(
        self,
        problem: BilevelProblem,
        theta: Array,
        states: tuple[TaskState, ...] = (),
        *,
        tol: float = 1e-10,
        map_tasks: MapTasks = map,
    ) -> Evaluation:
        """Value and gradient in theta, started from the states of another theta."""
        states = states or ((None, None),) * len(problem.tasks)

        def one(item: tuple[Task, TaskState]) -> TaskDone:
            task, (inner_state, adjoint) = item
            v = task.variances(problem.parametrization, theta)
            inner = self.inner.solve(task.inner, v, inner_state, tol=tol)
            done = self.hypergradient.evaluate(task, v, inner, adjoint, tol=tol)
            return done, (inner.state, done.state), inner

        total, value, grad = problem.total_weight, 0.0, np.zeros(len(theta))
        counts, converged = Counts(n_evaluations=1), True
        after: list[TaskState] = []
        solutions: list[InnerSolution] = []
        pairs: Any = zip(problem.tasks, states, strict=True)
        for task, (done, state, inner) in zip(
            problem.tasks, map_tasks(one, pairs), strict=True
        ):
            weight = np.asarray(task.weight, dtype=float) / total
            value += float((weight * done.value).sum())
            grad_v = weight[..., None] * done.grad_v
            grad += task.pull_back(problem.parametrization, theta, grad_v)
            counts, converged = counts + done.counts, converged and done.converged
            after.append(state)
            solutions.append(inner)
        value, grad = _add_penalty(problem, theta, value, grad)
        return Evaluation(
            value, grad, tuple(after), counts, converged, tuple(solutions)
        )

    def run(
        self, problem: BilevelProblem, map_tasks: MapTasks | None = None
    ) -> NestedRun:
        """The objective; tasks that nobody maps are stacked where they can be."""
        if map_tasks is None:
            return NestedRun(self, problem.stacked(), map)
        return NestedRun(self, problem, map_tasks)

    def refit(
        self,
        fit: DataFit,
        v: Array,
        states: tuple[TaskState, ...] = (),
        *,
        tol: float = 1e-8,
    ) -> InnerSolution:
        """Coefficients on all rows, started from the mean of those of the folds.

        ``states`` are those of a `Result`; an inner solver that keeps no coefficients
        in its state starts anew.
        """
        shape = (fit.n_features, fit.n_targets)
        known = [inner for inner, _ in states if isinstance(inner, np.ndarray)]
        start = None
        if known:
            start = np.concatenate([each.reshape(-1, *shape) for each in known])
            start = start.mean(axis=0)
        return self.inner.solve(fit, v, start, tol=tol)


@dataclass(frozen=True)
class Direct(StructuredSolver):
    """Tunes a criterion in closed form, such as leave-one-out; no inner problem."""

    outer: OuterOptimizer

    def run(
        self, problem: CriterionProblem, map_tasks: MapTasks | None = None
    ) -> DirectRun:
        """The objective; there are no tasks to map."""
        return DirectRun(problem)


class NestedRun(ObjectiveRun):
    """The objective of one `Nested.solve`; holds states between evaluations."""

    def __init__(
        self, solver: Nested, problem: BilevelProblem, map_tasks: MapTasks
    ) -> None:
        super().__init__()
        self.solver, self.problem, self.map_tasks = solver, problem, map_tasks

    def __call__(self, theta: Array, tol: float) -> tuple[float, Array]:
        done = self.solver.evaluate(
            self.problem, theta, self.states, tol=tol, map_tasks=self.map_tasks
        )
        self._last = theta.copy(), done.inner
        self.states, self.counts = done.states, self.counts + done.counts
        self.converged = done.converged
        return done.value, done.grad

    def curvature(self, theta: Array) -> Array:
        solved, how = self._solved_at(theta), self.solver.hypergradient
        return gauss_newton(self.problem, theta, solved, how)


class DirectRun(ObjectiveRun):
    """The objective of one `Direct.solve`."""

    def __init__(self, problem: CriterionProblem) -> None:
        super().__init__()
        self.problem = problem

    def __call__(self, theta: Array, tol: float) -> tuple[float, Array]:
        problem = self.problem
        point = problem.criterion.at(problem.parametrization.v(theta))
        self._last = theta.copy(), point
        grad = problem.parametrization.vjp(theta, point.grad)
        self.counts += Counts(n_factorizations=1, n_evaluations=1)
        return _add_penalty(problem, theta, point.value, grad)

    def curvature(self, theta: Array) -> Array:
        problem, curvature = self.problem, self._solved_at(theta).curvature
        if curvature is None:
            name = type(problem.criterion).__name__
            raise ValueError(f"{name} has no Gauss-Newton matrix.")
        out = curvature(problem.parametrization.jacobian(theta))
        return with_penalty(problem, theta, out)


def _add_penalty(
    problem: BilevelProblem | CriterionProblem, theta: Array, value: float, grad: Array
) -> tuple[float, Array]:
    penalty: Hyperpenalty | None = problem.hyperpenalty
    if penalty is None:
        return value, grad
    more, slope = penalty.value_and_grad(problem.parametrization.v(theta))
    return value + more, grad + problem.parametrization.vjp(theta, slope)
