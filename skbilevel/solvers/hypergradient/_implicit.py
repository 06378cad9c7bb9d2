"""Hypergradient by implicit differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task
from skbilevel.solvers._base import InnerSolution, InnerSolver, TaskEval


@dataclass(frozen=True)
class Implicit:
    """Gradient of the outer loss through one adjoint system per task.

    With z the gradient of the outer loss at the solution, q the solution of
    ``(diag(1/v) + A) q = z`` and m the gradient of the inner data fit::

        dF/dv_j = -sum_t (z - A q)_jt m_jt

    which is finite and right at ``v_j = 0``; where every target has variances of its
    own, ``dF/dv_jt`` is a single term of the sum. Where the coefficients are not exact,
    the value is corrected by ``q . residual``, which leaves an error of second order.

    Parameters
    ----------
    linear_solver : InnerSolver or None
        Solver whose system is used for the adjoint; by default the one of the inner
        problem with its factorization.
    """

    linear_solver: InnerSolver | None = None

    def evaluate(
        self, task: Task, v: Array, inner: InnerSolution, state: Any, *, tol: float
    ) -> TaskEval:
        """Mean outer loss and gradient; ``state`` is the last ``q``."""
        system, counts = inner.system, inner.counts
        if self.linear_solver is not None:
            other = self.linear_solver.solve(task.inner, v, tol=tol)
            system, counts = other.system, counts + other.counts
        outer = task.outer.at(inner.W)
        weight = np.asarray(task.outer.weight_sum)
        # Validation rows that all have weight zero have a loss of zero, not 0 / 0.
        weight = np.where(weight > 0, weight, 1.0)
        adjoint = system.solve(outer.grad, state, tol=tol)
        value = outer.value
        residual = inner.solution.residual
        if residual is not None:
            value = value + (adjoint.x * residual).sum(axis=(-2, -1))
        grad = adjoint.pull * inner.solution.pull
        if v.ndim < len(task.inner.batch) + 2:
            grad = grad.sum(axis=-1)
        return TaskEval(
            np.asarray(value / weight),
            grad / weight[..., None],
            adjoint.x,
            counts + adjoint.counts,
            inner.solution.converged and adjoint.converged,
        )
