"""Gauss-Newton curvature of an outer loss in theta.

With ``u = b - A W = W / v`` of the inner solution, ``dW = (I - S A) (dv * u)`` and
``S = (diag(1/v) + A)^-1``; a validation loss with Hessian ``A_out`` has the matrix
``dW^T A_out dW``. One solve with as many right-hand sides as theta has coordinates.
"""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import (
    GCV,
    BilevelProblem,
    Criterion,
    CriterionProblem,
    Hyperpenalty,
    LeaveOneOut,
    Parametrization,
    Task,
    zeros,
)
from skbilevel.problems._closed_form_curvature import (
    gcv_curvature,
    leave_one_out_curvature,
)
from skbilevel.solvers._base import InnerSolver

# Accuracy of iterative solves: a curvature needs few digits.
_ACCURACY = 1e-3


def jacobian(parametrization: Parametrization, theta: Array, p: int) -> Array:
    """``dv / dtheta`` of shape (p, g)."""
    return np.stack([parametrization.vjp(theta, row) for row in np.eye(p)])


def gauss_newton(
    inner: InnerSolver | None,
    problem: BilevelProblem | CriterionProblem,
    theta: Array,
) -> Array:
    """Curvature (g, g) of the outer loss and its hyperpenalty."""
    parametrization = problem.parametrization
    if isinstance(problem, CriterionProblem):
        p = problem.criterion.n_features
        D = jacobian(parametrization, theta, p)
        out = _of_criterion(problem.criterion, parametrization.v(theta), D)
    else:
        assert inner is not None
        p = problem.tasks[0].inner.n_features
        D = jacobian(parametrization, theta, p)
        out = np.zeros((len(theta), len(theta)))
        for task in problem.tasks:
            out += _of_task(inner, task, parametrization, theta, D)
        out /= problem.total_weight
    if problem.hyperpenalty is not None:
        out += _of_penalty(problem.hyperpenalty, parametrization, theta)
    return np.asarray(out)


def has_curvature(problem: BilevelProblem | CriterionProblem) -> bool:
    """Whether `gauss_newton` costs about as much as some evaluations."""
    if isinstance(problem, CriterionProblem):
        return isinstance(problem.criterion, LeaveOneOut | GCV)
    return "quadratic" in problem.tasks[0].inner.provides


def _of_criterion(criterion: Criterion, v: Array, D: Array) -> Array:
    if isinstance(criterion, LeaveOneOut):
        return leave_one_out_curvature(criterion, v, D)
    if isinstance(criterion, GCV):
        return gcv_curvature(criterion, v, D)
    raise ValueError(f"{type(criterion).__name__} has no Gauss-Newton matrix.")


def _of_task(
    inner: InnerSolver, task: Task, shared: Parametrization, theta: Array, D: Array
) -> Array:
    fit, v = task.inner, task.variances(shared, theta)
    solved = inner.solve(fit, v, tol=_ACCURACY)
    own = task.parametrization
    if own is not None:
        each = [jacobian(par, theta, fit.n_features) for par in own]
        D = np.stack(each) if fit.batch else each[0]
    scale = np.asarray(task.v_scale)[..., None, None]
    weight = np.asarray(task.weight) / np.asarray(task.outer.weight_sum)
    out = np.zeros((len(theta), len(theta)))
    point, outer = fit.at(zeros(fit)), task.outer.at(zeros(task.outer))
    for t in range(fit.n_targets):
        moved = scale * D * solved.solution.pull[..., t : t + 1]
        step = moved - solved.system.solve(point.hvp(moved), None, tol=_ACCURACY).x
        image = weight[..., None, None] * outer.hvp(step)
        part = np.swapaxes(step, -1, -2) @ image
        out += part.sum(axis=0) if part.ndim == 3 else part
    return out


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
