"""Strengths as a function of metadata, tuned on hold-outs through products with X.

Metadata that nobody gave are what the columns of a training set say about themselves.

With ``log v = offset + Z beta`` and ``H w = c``, ``H = X^T S X + diag(1/v)``::

    d w / d beta_k = H^-1 (Z_k w / v)

All columns of the Jacobian are one solve with many right-hand sides, which share their
products with X; they need few digits, the residuals more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems import (
    Centered,
    Design,
    RowsDataFit,
    SparseDesign,
    Task,
)
from skbilevel.solvers import CG, InnerSolution
from skbilevel.solvers.outer._gauss_newton import DeviationPenalty, gauss_newton_path

# Right-hand sides solved at a time: bounds memory, not the number of columns.
_TOGETHER = 3


@dataclass(frozen=True)
class MetadataSearch:
    """The search for ``beta``.

    Parameters
    ----------
    tasks : sequence of Task
        Inner hold-outs on shared rows.
    index : ndarray of int
        Penalized columns, the rows of Z.
    center : float
        ``log v`` at ``beta = 0``.
    box : tuple of float
        Limits of ``log v``.
    scale : float
        Divides the sums of squares.
    accuracy : tuple of float
        Relative accuracy of coefficients and of their derivatives.
    max_iter : int
        Most conjugate-gradient steps of one solve.
    """

    tasks: Sequence[Task]
    index: Array
    center: float
    box: tuple[float, float]
    scale: float
    accuracy: tuple[float, float]
    max_iter: int

    def log_v(self, Z: Array, beta: Array) -> Array:
        """Log variances (p,)."""
        return np.clip(self.center + Z @ beta, *self.box)

    def run(self, full: Array, parts: Sequence[Array], lam: float, steps: int) -> Array:
        """Variances (p,) on the columns ``full``; ``parts`` are those of the tasks.

        ``lam`` weighs the mean squared departure from a shared strength. The first
        column is constant and free.
        """
        q = full.shape[1]
        constant = np.zeros((1, q, 1))
        constant[0, 0] = 1.0
        reach = np.array([max(abs(self.box[0] - self.center), 1.0)])
        reach = reach / np.maximum(np.abs(full).max(axis=0), 1e-300)
        states: list[Any] = [None] * len(self.tasks)

        def model(beta: Array) -> HoldOutPoint:
            return HoldOutPoint.at(self, parts, beta[0], states)

        # The penalty of a step is a mean over its unknowns; this one is a sum.
        (beta,) = gauss_newton_path(
            model,
            np.zeros((1, q)),
            [lam * q],
            DeviationPenalty(constant),
            steps,
            (-reach, reach),
        )
        return np.exp(self.log_v(full, beta[0]))


@dataclass(frozen=True)
class HoldOutPoint:
    """The hold-out loss at one ``beta``; derivatives are made when asked for."""

    search: MetadataSearch
    parts: Sequence[Array]
    log_v: Sequence[Array]
    solutions: Sequence[InnerSolution]

    @classmethod
    def at(
        cls,
        search: MetadataSearch,
        parts: Sequence[Array],
        beta: Array,
        states: list[Any],
    ) -> HoldOutPoint:
        """Solve every task from its last coefficients, which are kept in ``states``."""
        solver, log_v, solutions = CG(search.max_iter), [], []
        for k, (task, Z) in enumerate(zip(search.tasks, parts, strict=True)):
            log_v.append(search.log_v(Z, beta))
            v = np.zeros(task.inner.n_features)
            v[search.index] = np.exp(log_v[k])
            found = solver.solve(task.inner, v, states[k], tol=search.accuracy[0])
            states[k] = found.state
            solutions.append(found)
        return cls(search, parts, log_v, solutions)

    def choose(self, take: Array, other: HoldOutPoint) -> HoldOutPoint:
        """The other point where ``take`` is true."""
        return other if take.all() else self

    @cached_property
    def _residuals(self) -> list[Array]:
        out = []
        for task, found in zip(self.search.tasks, self.solutions, strict=True):
            fit = task.outer
            assert isinstance(fit, RowsDataFit)
            rows = np.flatnonzero(fit.weight)
            error = fit.push(found.W)[rows] - fit.target[rows]
            out.append(np.sqrt(fit.weight[rows])[:, None] * error)
        return out

    @cached_property
    def value(self) -> Array:
        """Relative hold-out loss, shape (1,)."""
        total = sum(float((each**2).sum()) for each in self._residuals)
        return np.array([total / self.search.scale])

    @cached_property
    def _jacobians(self) -> list[Array]:
        """Derivatives (n_valid, t, q) of the residuals in beta."""
        return [self._jacobian(k) for k in range(len(self.parts))]

    def _jacobian(self, k: int) -> Array:
        fit, found = self.search.tasks[k].outer, self.solutions[k]
        assert isinstance(fit, RowsDataFit)
        index, Z, log_v = self.search.index, self.parts[k], self.log_v[k]
        low, high = self.search.box
        inside = (log_v > low) & (log_v < high)
        pull = (inside * np.exp(-log_v))[:, None] * found.W[index]
        rows = np.flatnonzero(fit.weight)
        root = np.sqrt(fit.weight[rows])[:, None]
        t, q = pull.shape[1], Z.shape[1]
        out = np.empty((len(rows), t, q))
        step = max(1, _TOGETHER // t)
        for start in range(0, q, step):
            some = Z[:, start : start + step]
            right = np.zeros((fit.n_features, t * some.shape[1]))
            right[index] = (pull[:, :, None] * some[:, None, :]).reshape(len(Z), -1)
            moved = found.system.solve(right, None, tol=self.search.accuracy[1]).x
            out[..., start : start + step] = (root * fit.push(moved)[rows]).reshape(
                len(rows), t, -1
            )
        return out

    @cached_property
    def grad(self) -> Array:
        """Gradient (1, q)."""
        pairs = zip(self._jacobians, self._residuals, strict=True)
        total = sum(np.einsum("itq,it->q", J, e) for J, e in pairs)
        return np.asarray(2.0 * total / self.search.scale)[None]

    @cached_property
    def normal(self) -> Array:
        """Gauss-Newton matrix (1, q, q)."""
        total = sum(np.einsum("itq,itr->qr", J, J) for J in self._jacobians)
        return np.asarray(total / self.search.scale)[None]


def intrinsic_metadata(fit: RowsDataFit, index: Array) -> Array:
    """Columns (len(index), q) from the rows of one training set only.

    The logarithm of the scale of every column, of the number of rows in
    which it is not zero (with its square; sparse designs only), and of its squared
    correlation with the targets in units of what noise would give.
    """
    square = fit.curvature_diag[index]
    columns = [0.5 * _log(square)]
    count = occurrences(fit, index)
    if count is not None:
        frequency = np.log1p(count)
        columns += [frequency, (frequency - frequency.mean()) ** 2]
    columns.append(np.log1p(_score(fit, index, square)))
    return np.stack(columns, axis=1)


def occurrences(fit: RowsDataFit, index: Array) -> Array | None:
    """Weight of the rows in which a column is not zero; None for dense designs."""
    X = _stored(fit.design)
    if X is None:
        return None
    present = (X.data != 0).astype(np.float64)
    holds = sparse.csc_array((present, X.indices, X.indptr), shape=X.shape)
    return np.asarray((holds.T @ fit.weight)[index])


def emphasis(fit: RowsDataFit, index: Array) -> Array:
    """Weights of the columns when metadata are made orthonormal; they sum to one.

    Half of the weight is spread evenly and half by the root of how often a column
    occurs: otherwise a step that is small on average moves the commonest far.
    """
    even = np.full(len(index), 1.0 / max(len(index), 1))
    count = occurrences(fit, index)
    if count is None or not count.any():
        return even
    root = np.sqrt(count)
    return np.asarray(0.5 * even + 0.5 * root / root.sum())


def _stored(design: Design) -> sparse.csc_array | None:
    base = design.base if isinstance(design, Centered) else design
    return base.X if isinstance(base, SparseDesign) else None


def _log(x: Array) -> Array:
    """Logarithm; what is zero counts as the smallest positive value."""
    positive = x[x > 0]
    floor = positive.min() if positive.size else 1.0
    return np.log(np.maximum(x, floor))


def _score(fit: RowsDataFit, index: Array, square: Array) -> Array:
    """``n r^2``: about one for a column that has nothing to do with the targets."""
    yy = (fit.weight[:, None] * fit.target**2).sum(axis=0)
    cross = (fit.cross[index] ** 2 / np.where(yy > 0, yy, 1.0)).mean(axis=1)
    ratio = np.divide(cross, square, out=np.zeros_like(cross), where=square > 0)
    return np.asarray(float(fit.weight_sum) * np.minimum(ratio, 1.0))
