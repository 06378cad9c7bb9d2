"""Linear systems at a solution of Newton's method in whitened coordinates.

With ``Z Z^T = X diag(v) X^T``, C the curvature of the rows at the solution, E the
unpenalized columns and ``H = [E, Z]^T C [E, Z] + diag(0, I)``: whatever Z is,
``diag(1/v) + [E, X]^T C [E, X]`` is solved through H. Its order is the smaller of the
numbers of rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import Counts, InnerSolution, LinearSolution
from skbilevel.solvers._whitened import WhitenedSolution, minimize_whitened
from skbilevel.solvers._whitened_curvature import Curvature
from skbilevel.solvers._whitened_problem import Whitened

# A decrement below this, relative to the weights, is rounding.
_LEAST_TOL = 1e-16

# Below this mean objective accuracy is relative to it.
_SMALL_LOSS = 1e-2

Rows = Any


@dataclass(frozen=True)
class WhitenedSystem:
    """``diag(1/v) + A`` at a solution.

    Parameters
    ----------
    fit : RowsDataFit
        The data fit; its first columns are the unpenalized ones.
    v : ndarray of shape (m + p,)
        Variances, infinite for the unpenalized columns.
    rows : slice or ndarray of int
        Rows of positive weight: the rows of Z.
    curvature : Curvature
        The whitened problem at the solution.
    columns : ndarray of int or None
        Where Z consists of columns of X: which ones. None where it is a factor of
        the kernel.
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

    def curved(self, eta: Array) -> Array:
        """``C eta``."""
        return self.curvature.curved(eta)

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
        L = self.curvature.problem.Z[:, m:]
        inner = linalg.solve_triangular(
            L, T[m:], lower=True, trans="T", check_finite=False
        )
        return self.pulled(inner)

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
        if self.curvature.exact and len(columns) == len(self.v):
            pull = omega / d
            pull[: self.n_free] = 0.0
            return LinearSolution(x, pull)
        eta = self.curvature.problem.Z @ omega
        pull = b - self.pulled(self.curved(eta))
        if self.curvature.exact:
            pull[columns] = omega / d
            pull[: self.n_free] = 0.0
        return self._iterated(b, x, pull, n_iter)

    def _through_kernel(self, b: Array, tol: float) -> LinearSolution:
        m, problem = self.n_free, self.curvature.problem
        v = np.where(np.isinf(self.v), 0.0, self.v)[:, None]
        eta = self.fit.push(v * b)[self.rows]
        rhs = -problem.Z.T @ self.curved(eta)
        rhs[:m] += b[:m]
        step, n_iter = self.curvature.solve(rhs, tol)
        pull = b - self.pulled(self.curved(eta + problem.Z @ step))
        x = v * pull
        x[:m] = step[:m]
        if self.curvature.exact:
            pull[:m] = 0.0
        return self._iterated(b, x, pull, n_iter)

    def root(self, columns: Array) -> Array:
        """Scales of the columns of Z; one for unpenalized columns."""
        v = self.v[columns]
        return np.sqrt(np.where(np.isinf(v), 1.0, v))[:, None]

    def _iterated(self, b: Array, x: Array, pull: Array, n_iter: int) -> LinearSolution:
        t = b.shape[1]
        counts = Counts(n_hvp=n_iter, n_products=2 * t)
        return LinearSolution(x, pull, counts=counts, n_iter=n_iter)


def used_rows(fit: RowsDataFit) -> Rows:
    """Rows of positive weight; a slice where they are all."""
    used = np.flatnonzero(fit.weight > 0)
    return slice(None) if len(used) == len(fit.weight) else used


def whitened(fit: RowsDataFit, rows: Rows, Z: Array, n_free: int) -> Whitened:
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
    level = problem.value(found.T, found.eta) / max(float(problem.weight.sum()), 1e-300)
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
    pull = -system.pulled(problem.row_grad(found.eta))
    counts = Counts(n_factorizations=found.n_iter + 1, n_products=problem.n_targets)
    W, residual = np.zeros_like(pull), np.zeros_like(pull)
    if columns is not None:
        d = system.root(columns)
        W[columns] = d * found.T
        residual[columns] = -found.grad / d
    else:
        # W = V X^T L^-T T for the factor L of the kernel: the map from T to W is an
        # isometry but for V^1/2, whatever the condition of L is.
        v = system.v[:, None]
        W = np.where(np.isinf(v), 0.0, v) * system.from_kernel(found.T)
        W[:m] = found.T[:m]
        residual = np.where(v > 0.0, -system.from_kernel(found.grad), 0.0)
        residual[:m] = pull[:m]
    return LinearSolution(W, pull, residual, found.converged, counts, found.n_iter)
