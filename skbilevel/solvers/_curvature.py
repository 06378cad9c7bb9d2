"""Gauss-Newton curvature of an outer loss in theta.

With ``u = b - A W = W / v`` of the inner solution, ``dW = (I - S A) (dv * u)`` and
``S = (diag(1/v) + A)^-1``; a validation loss with Hessian ``A_out`` has the matrix
``dW^T A_out dW``. One solve with as many right-hand sides as theta has coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import (
    BilevelProblem,
    CriterionProblem,
    Hyperpenalty,
    Parametrization,
    Task,
    zeros,
)
from skbilevel.problems._datafit import Linearization
from skbilevel.solvers._base import Hypergradient, InnerSolution, LinearSystem

# Accuracy of iterative solves: a curvature needs few digits.
_ACCURACY = 1e-3


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
    return np.asarray(D - system.solve(point.hvp(D), None, tol=_ACCURACY).x)


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
