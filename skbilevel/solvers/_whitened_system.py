"""Linear systems at a solution of Newton's method in whitened coordinates.

With ``Z Z^T = X diag(v) X^T``, C the curvature of the rows at the solution, E the
unpenalized columns and ``H = [E, Z]^T C [E, Z] + diag(0, I)``: whatever Z is,
``diag(1/v) + [E, X]^T C [E, X]`` is solved through H. Its order is the smaller of the
numbers of rows and columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.problems._target_features import (
    Features,
    by_columns,
    predict,
    pull,
    solve_transposed,
)
from skbilevel.solvers._base import Counts, InnerSolution, LinearSolution
from skbilevel.solvers._whitened import WhitenedSolution, minimize_whitened
from skbilevel.solvers._whitened_problem import Curvature, Whitened

# A decrement below this, relative to the weights, is rounding.
_LEAST_TOL = 1e-16

# Below this mean objective accuracy is relative to it.
_SMALL_LOSS = 1e-2

Rows = Any


@record
class WhitenedSystem:
    """``diag(1/v) + A`` at a solution.

    Parameters
    ----------
    fit : RowsDataFit
        The data fit; its first columns are the unpenalized ones.
    v : ndarray of shape (m + p,) or (m + p, t)
        Variances, infinite for the unpenalized columns; shared by the targets, or one
        for each of them.
    rows : slice or ndarray of int
        Rows of positive weight: the rows of Z.
    curvature : Curvature
        The whitened problem at the solution.
    columns : ndarray of int or None
        Where Z consists of columns of X: which ones. None where it is a factor of
        the kernel (of every target's own one).
    T : ndarray of shape (m + r, t)
        The solution.
    """

    fit: RowsDataFit
    v: Array
    rows: Rows
    curvature: Curvature
    columns: Array | None
    T: Array

    @property
    def n_free(self) -> int:
        """Number m of unpenalized columns."""
        return self.curvature.problem.n_free

    def pulled(self, R: Array) -> Array:
        """``X^T R`` for R of the rows of Z."""
        if isinstance(self.rows, slice):
            return self.fit.pull(R)
        full = np.zeros((self.fit.design.shape[0], R.shape[1]))
        full[self.rows] = R
        return self.fit.pull(full)

    def from_kernel(self, T: Array) -> Array:
        """``X^T L^-T T`` where Z holds a lower factor L of the kernel."""
        m = self.n_free
        Z = self.curvature.problem.Z
        assert isinstance(Z, np.ndarray)
        return self.pulled(solve_transposed(Z[..., m:], T[m:]))

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Two triangular solves, or conjugate gradients with an averaged factor."""
        if self.columns is not None:
            return self._through_columns(b, self.columns, tol)
        return self._through_kernel(b, tol)

    def _through_columns(self, b: Array, columns: Array, tol: float) -> LinearSolution:
        d = self.root(columns)
        omega, n_iter = self.curvature.solve(d * b[columns], tol)
        x = np.zeros_like(b)
        x[columns] = d * omega
        known = np.divide(omega, d, out=np.zeros_like(omega), where=d > 0.0)
        if self.curvature.exact and len(columns) == len(self.v) and (d > 0.0).all():
            known[: self.n_free] = 0.0
            return LinearSolution(x, known)
        eta = predict(self.curvature.problem.Z, omega)
        b_left = b - self.pulled(self.curvature.curved(eta))
        if self.curvature.exact:
            b_left[columns] = np.where(d > 0.0, known, b_left[columns])
            b_left[: self.n_free] = 0.0
        return self._iterated(b, x, b_left, n_iter)

    def _through_kernel(self, b: Array, tol: float) -> LinearSolution:
        m, problem = self.n_free, self.curvature.problem
        v = _finite(self.v)
        eta = self.fit.push(v * b)[self.rows]
        rhs = -pull(problem.Z, self.curvature.curved(eta))
        rhs[:m] += b[:m]
        step, n_iter = self.curvature.solve(rhs, tol)
        b_left = b - self.pulled(self.curvature.curved(eta + predict(problem.Z, step)))
        x = v * b_left
        x[:m] = step[:m]
        if self.curvature.exact:
            b_left[:m] = 0.0
        return self._iterated(b, x, b_left, n_iter)

    def root(self, columns: Array) -> Array:
        """Scales (c, 1) or (c, t) of columns of Z; one for unpenalized columns."""
        v = by_columns(self.v[columns])
        return np.sqrt(np.where(np.isinf(v), 1.0, v))

    def _iterated(self, b: Array, x: Array, pull: Array, n_iter: int) -> LinearSolution:
        t = b.shape[1]
        counts = Counts(n_hvp=n_iter, n_products=2 * t)
        return LinearSolution(x, pull, counts=counts, n_iter=n_iter)


def _finite(v: Array) -> Array:
    """Zero in place of infinite variances."""
    return by_columns(np.where(np.isinf(v), 0.0, v))


def used_rows(fit: RowsDataFit) -> Rows:
    """Rows of positive weight; a slice where they are all."""
    used = np.flatnonzero(fit.weight > 0)
    return slice(None) if len(used) == len(fit.weight) else used


def whitened(fit: RowsDataFit, rows: Rows, Z: Features, n_free: int) -> Whitened:
    """The problem of the rows in given features."""
    offset = None if fit.offset is None else fit.offset[rows]
    return Whitened(Z, n_free, fit.y[rows], fit.weight[rows], fit.loss, offset)


def solved(
    fit: DataFit,
    v: Array,
    rows: Rows,
    problem: Whitened,
    columns: Array | None,
    start: Array | None,
    tol: float,
) -> InnerSolution:
    """Newton's method from a start; see the callers."""
    assert isinstance(fit, RowsDataFit)
    # Steps by conjugate gradients do not square the error of the last one.
    exact = Curvature(problem, problem.y).exact
    tol = tol if exact else max(tol**2, _LEAST_TOL)
    found = minimize_whitened(problem, start, tol=tol)
    level = problem.value(found.T, found.eta) / problem.enough(1.0, found.eta)
    if level < _SMALL_LOSS:
        # Rows that are fitted nearly exactly: their loss says nothing about the rest.
        least = _LEAST_TOL * (_SMALL_LOSS if exact else 1.0)
        found = minimize_whitened(problem, found.T, tol=max(tol * level, least))
    curvature = Curvature(problem, found.eta)
    system = WhitenedSystem(fit, v, rows, curvature, columns, found.T)
    solution = _solution(system, found)
    return InnerSolution(solution, system, solution.x, solution.counts)


def _solution(system: WhitenedSystem, found: WhitenedSolution) -> LinearSolution:
    """Coefficients of all columns, and what is left of their equations."""
    problem, m, columns = system.curvature.problem, system.n_free, system.columns
    pulled = -system.pulled(problem.row_grad(found.eta))
    counts = Counts(n_factorizations=found.n_iter + 1, n_products=problem.n_targets)
    W, residual = np.zeros_like(pulled), np.zeros_like(pulled)
    if columns is not None:
        d = system.root(columns)
        W[columns] = d * found.T
        left = np.zeros_like(found.grad)
        residual[columns] = np.divide(-found.grad, d, out=left, where=d > 0.0)
    else:
        # W = V X^T L^-T T for the factor L of the kernel: the map from T to W is an
        # isometry but for V^1/2, whatever the condition of L is.
        W = _finite(system.v) * system.from_kernel(found.T)
        W[:m] = found.T[:m]
        present = by_columns(system.v) > 0.0
        residual = np.where(present, -system.from_kernel(found.grad), 0.0)
        residual[:m] = pulled[:m]
    return LinearSolution(W, pulled, residual, found.converged, counts, found.n_iter)
