"""Hypergradient of approximate leave-one-out at an inner solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import CurvedLoss, RowsDataFit, Task
from skbilevel.problems._approximate_leave_one_out import gradient, leave_out
from skbilevel.problems._left_out import Features
from skbilevel.solvers._base import Counts, InnerSolution, TaskEval
from skbilevel.solvers._whitened_system import WhitenedSystem

# Approximate leave-one-out inverts a Hessian of this size at most, over all classes.
INVERSE_UP_TO = 6000


@dataclass(frozen=True)
class ApproximateLeaveOneOut:
    """Every row predicted by one Newton step that leaves it out of the full fit.

    For tasks of which both data fits are all rows (`GLMTasks.everything`), solved by
    `NewtonCholesky` or `NewtonDual`. With r the smaller of the numbers of rows and
    columns and t classes, a call takes a multiple of ``n r^2 t^2`` operations and
    ``(r t)^3``; its gradient is exact.
    """

    def evaluate(
        self, task: Task, v: Array, inner: InnerSolution, state: Any, *, tol: float
    ) -> TaskEval:
        """Mean outer loss and its gradient; there is no state."""
        system, fit = inner.system, task.outer
        if not isinstance(system, WhitenedSystem) or not isinstance(fit, RowsDataFit):
            raise ValueError(
                "Approximate leave-one-out needs the factors of NewtonCholesky or "
                "NewtonDual as the inner solver."
            )
        left = leave_out(features_of(system), fit.loss)
        rows, design = system.rows, fit.design
        pull, whitened = inner.solution.pull, None
        if system.columns is not None and v.ndim == 1:
            whitened = system.columns, system.root(system.columns)
        grad = gradient(left, pull, design.iter_columns, rows, whitened)
        grad = grad if v.ndim == 2 else grad.sum(axis=1)
        # Unpenalized columns have no variance.
        grad[: system.n_free] = 0.0
        weight = fit.weight_sum
        counts = inner.counts + Counts(n_factorizations=1)
        return TaskEval(
            np.asarray(left.value / weight),
            grad / weight,
            None,
            counts,
            inner.solution.converged,
        )

    def curvature(self, inner: InnerSolution, task: Task, D: Array) -> Array:
        """Gauss-Newton matrix for one target; D is the derivative of the variances."""
        system, fit = inner.system, task.outer
        assert isinstance(system, WhitenedSystem)
        assert isinstance(fit, RowsDataFit)
        left, rows = leave_out(features_of(system), fit.loss), system.rows
        assert left.jacobian is not None
        pull = inner.solution.pull[:, 0]
        J = np.zeros((len(left.eta), D.shape[1]))
        for block, X in fit.design.iter_columns():
            J += left.jacobian(X[rows], pull[block]) @ D[block]
        bend = fit.weight[rows] * fit.loss.curvature(left.eta, fit.y[rows])[:, 0]
        weight = float(np.asarray(task.weight) / fit.weight_sum)
        return np.asarray(weight * (J.T @ (bend[:, None] * J)))


def features_of(system: WhitenedSystem) -> Features:
    """The full fit as approximate leave-one-out sees it."""
    curvature = system.curvature
    problem = curvature.problem
    size = problem.width * problem.n_targets
    if size > INVERSE_UP_TO:
        raise ValueError(
            f"The criterion inverts a matrix of {size} columns, which is too large; "
            "give cv a number of folds."
        )
    return Features(
        problem.Z,
        curvature.inverse(),
        curvature.eta,
        problem.y,
        problem.weight,
        cast(CurvedLoss, problem.loss),
    )
