"""Hypergradients of tasks: held-out losses, rows left out, marginal likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems import CurvedLoss, RowsDataFit, Task
from skbilevel.problems._approximate_leave_one_out import (
    Features,
    RowTerms,
    gradient,
    leave_out,
)
from skbilevel.problems._marginal import log_determinant
from skbilevel.solvers._base import Counts, InnerSolution, InnerSolver, TaskEval
from skbilevel.solvers._whitened_system import WhitenedSystem


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
        system, fit = factored(task, inner)
        left = leave_out(features_of(system), fit.loss)
        grad = grad_v(left, v, inner, system)
        return judged(left.value / fit.weight_sum, grad / fit.weight_sum, inner)

    def curvature(self, inner: InnerSolution, task: Task, D: Array) -> Array:
        """Gauss-Newton matrix for one target; D is the derivative of the variances."""
        system, fit = factored(task, inner)
        left, rows = leave_out(features_of(system), fit.loss), system.rows
        assert left.jacobian is not None
        pull = inner.solution.pull[:, 0]
        J = np.zeros((len(left.eta), D.shape[1]))
        for block, X in fit.design.iter_columns():
            J += left.jacobian(X[rows], pull[block]) @ D[block]
        bend = fit.weight[rows] * fit.loss.curvature(left.eta, fit.y[rows])[:, 0]
        weight = float(np.asarray(task.weight) / fit.weight_sum)
        return np.asarray(weight * (J.T @ (bend[:, None] * J)))


def factored(task: Task, inner: InnerSolution) -> tuple[WhitenedSystem, RowsDataFit]:
    """The factors of a fit to all rows, and these rows."""
    system, fit = inner.system, task.outer
    if not isinstance(system, WhitenedSystem) or not isinstance(fit, RowsDataFit):
        raise ValueError(
            "A criterion of all rows needs the factors of NewtonCholesky or NewtonDual "
            "as the inner solver."
        )
    return system, fit


def grad_v(
    found: RowTerms,
    v: Array,
    inner: InnerSolution,
    system: WhitenedSystem,
    more: Array | float = 0.0,
) -> Array:
    """Gradient in ``v`` of what was found of a fit, with ``more`` (p, t) added."""
    whitened = None
    if system.columns is not None and v.ndim == 1:
        whitened = system.columns, system.root(system.columns)
    columns, pull = system.fit.design.iter_columns, inner.solution.pull
    grad = gradient(found, pull, columns, system.rows, whitened) + more
    grad = grad if v.ndim == 2 else grad.sum(axis=1)
    # Unpenalized columns have no variance.
    grad[: system.n_free] = 0.0
    return grad


def judged(value: Any, grad: Array, inner: InnerSolution) -> TaskEval:
    """An evaluation without a state, one factorization later."""
    counts = inner.counts + Counts(n_factorizations=1)
    return TaskEval(np.asarray(value), grad, None, counts, inner.solution.converged)


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


# As for squared losses: a share of the null model's deviance always counts as noise.
_NOISE_FLOOR = 1e-4
# Columns whose whole expected Hessian is formed.
_HESSIAN_UP_TO = 1500


@record
class MarginalLikelihood:
    """Strengths of largest restricted likelihood (REML), by Laplace's approximation.

    For tasks of which both data fits are all rows, solved by `NewtonCholesky` or
    `NewtonDual`. The value is ``0.5 exp(F / q)`` with the F of the criterion's module
    and q the factor of its logarithm of J: in units of the deviance of a row. Where
    the dispersion is known, q is the number of rows. Its gradient is exact.

    Parameters
    ----------
    ratio : float or None
        The ``k`` of the criterion's module; None where the dispersion is one.
    null_loss : float
        Mean loss of the model without features.
    """

    ratio: float | None
    null_loss: float

    def evaluate(
        self, task: Task, v: Array, inner: InnerSolution, state: Any, *, tol: float
    ) -> TaskEval:
        """Value and its gradient; there is no state."""
        value, slope, grad = self._parts(task, v, inner)
        return judged(value, value * slope * grad, inner)

    def _parts(
        self, task: Task, v: Array, inner: InnerSolution
    ) -> tuple[float, float, Array]:
        """Value, ``1 / q``, and the gradient of F."""
        system, _ = factored(task, inner)
        at, m = features_of(system), system.n_free
        found = log_determinant(at, m)
        problem = system.curvature.problem
        J = problem.value(system.T, at.eta)
        n = float(problem.weight.sum())
        if self.ratio is None:
            q, misfit, scale = n, 2.0 * J, 1.0
        else:
            q = max(n - m, 1.0) / self.ratio
            twice = 2.0 * (J + _NOISE_FLOOR * n * self.null_loss) + np.finfo(float).tiny
            misfit, scale = q * np.log(twice / n), q / twice
        grad = grad_v(found, v, inner, system, -scale * inner.solution.pull**2)
        value = 0.5 * float(np.exp((misfit + found.value) / q))
        return value, 1.0 / q, grad

    def curvature(self, inner: InnerSolution, task: Task, D: Array) -> Array:
        """Expected Hessian for one target; D is the derivative of the variances.

        That of F is ``T * T`` with ``T = X^T (C - C G C) X``, as for squared losses.
        """
        system, _ = factored(task, inner)
        value, slope, grad = self._parts(task, system.v, inner)
        whole = _expected(system, D)
        along = D.T @ grad
        weight = float(np.asarray(task.weight))
        curved = slope * whole + slope**2 * np.outer(along, along)
        return np.asarray(weight * value * curved)


def _expected(system: WhitenedSystem, D: Array) -> Array:
    at, m = features_of(system), system.n_free
    if system.columns is not None:
        scale = system.root(system.columns)[m:, 0]
        T = np.eye(len(scale)) - at.inverse[m:, m:]
        T = T / scale / scale[:, None]
        own = D[system.columns[m:]]
        return np.asarray(own.T @ (T**2) @ own)
    C = at.curvature[:, 0, 0]
    Z = np.asarray(at.Z)
    design = system.fit.design
    left = np.linalg.cholesky(at.inverse).T @ (Z * C[:, None]).T
    parts = [(index, X[system.rows]) for index, X in design.iter_columns()]
    moved = np.zeros((D.shape[1], D.shape[1]))
    if len(D) > _HESSIAN_UP_TO:
        for index, X in parts:
            diagonal = C @ X**2 - ((left @ X) ** 2).sum(axis=0)
            moved += D[index].T @ (diagonal[:, None] ** 2 * D[index])
        return np.asarray(moved)
    X = np.concatenate([block for _, block in parts], axis=1)
    through = left @ X
    T = (X.T * C) @ X - through.T @ through
    T[:m] = 0.0
    T[:, :m] = 0.0
    return np.asarray(D.T @ (T**2) @ D)
