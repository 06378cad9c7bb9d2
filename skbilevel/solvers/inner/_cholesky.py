"""Exact inner solves: a factorization over the columns, or over the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._dense_spd import diagonal_of, factor_spd
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.problems._sweep import Sweep
from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    LinearSolution,
    check_requires,
)

# Removed features are cut out of the factorization from this share on.
_CUT_FROM = 0.15


@record
class CholeskySystem:
    """Factors of a stack of systems; rows of ``active`` are the factored columns."""

    gram: Array
    d: Array
    factors: tuple[Array, ...]
    active: Array | None

    @classmethod
    def of(cls, gram: Array, v: Array) -> CholeskySystem:
        """Factor at variances v of shape (..., p)."""
        d = np.sqrt(v)
        if d.ndim < gram.ndim - 1:
            d = np.broadcast_to(d, gram.shape[:-1])
        flat, active = d.reshape(-1, d.shape[-1]), None
        grams = gram.reshape(-1, *gram.shape[-2:])
        used = np.asarray(flat.any(axis=0))
        if used.sum() < (1 - _CUT_FROM) * len(used):
            active = np.flatnonzero(used)
            grams = grams[:, active[:, None], active]
            flat = flat[:, active]
        # With nothing left there is nothing to solve: no factor, coefficients zero.
        factors = tuple(map(_factor, grams, flat)) if flat.shape[1] else ()
        return cls(gram, d, factors, active)

    def precondition(self, b: Array) -> tuple[Array, Array]:
        """``x = d K^-1 d b`` and ``K^-1 d b``; both zero where ``v = 0``."""
        scaled = self.d[..., None] * b
        flat = scaled.reshape(-1, *scaled.shape[-2:])
        omega = np.zeros_like(flat)
        index = slice(None) if self.active is None else self.active
        for factor, rhs, out in zip(self.factors, flat, omega, strict=False):
            out[index] = lapack.dpotrs(factor, rhs[index], lower=1)[0]
        omega = omega.reshape(scaled.shape)
        return self.d[..., None] * omega, omega

    def remaining(self, D: Array) -> Array:
        """``D - S A D`` with S the inverse of the system: `solve` without its pull."""
        return np.asarray(D - self.precondition(self.gram @ D)[0])

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Two triangular solves for every task."""
        x, omega = self.precondition(b)
        d = self.d[..., None]
        if self.d.all():
            return LinearSolution(x, omega / d)
        pull = np.divide(omega, d, out=np.zeros_like(omega), where=d > 0)
        # x / v has no digits at v = 0; the definition has.
        return LinearSolution(x, np.where(d > 0, pull, b - self.gram @ x))


def _factor(gram: Array, d: Array) -> Array:
    """Lower factor of ``I + d G d``."""
    K = gram * d
    K *= d[:, None]
    diagonal_of(K)[...] += 1.0
    return factor_spd(K)


@dataclass(frozen=True)
class Cholesky:
    """Exact inner solves, one factorization of a (p, p) matrix per task and call.

    The factor is kept by the solution and serves the adjoint system as well. Use it
    where Gram matrices are at hand and p is at most some thousands.
    """

    requires = frozenset({"quadratic", "dense_hessian"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 0.0
    ) -> InnerSolution:
        """Solve at variances v; neither state nor tol matters."""
        check_requires(self, fit)
        system = CholeskySystem.of(gram_of(fit), v)
        counts = Counts(n_factorizations=len(system.factors))
        solution = system.solve(fit.cross, None, tol=tol)
        return InnerSolution(solution, system, None, counts)


def gram_of(fit: DataFit) -> Array:
    """The Hessian of a fit that provides ``dense_hessian``."""
    return np.asarray(fit.gram)  # type: ignore[attr-defined]


@record
class _Block:
    """Training rows of one task, the roots of their weights, and the factor."""

    rows: Array
    root: Array
    factor: Array

    def solve(self, R: Array) -> Array:
        """``S^1/2 K^-1 S^1/2 R`` for R of shape (n_train, t)."""
        inner, _ = lapack.dpotrs(self.factor, self.root * R, lower=1)
        return np.asarray(self.root * inner)


@record
class DualSystem:
    """``diag(1/v) + A`` through one (n_train, n_train) factor for every task."""

    fit: RowsDataFit
    v: Array
    blocks: tuple[_Block, ...]

    @classmethod
    def of(cls, fit: RowsDataFit, v: Array) -> DualSystem:
        """Kernels of all tasks come from one where their variances are proportional."""
        v = np.broadcast_to(v, (*fit.batch, fit.n_features))
        weights = np.atleast_2d(fit.weight)
        blocks = [
            _block(kernel, weight, fit.sweep, k if fit.batch else None)
            for k, (kernel, weight) in enumerate(
                zip(_kernels(fit, np.atleast_2d(v)), weights, strict=True)
            )
        ]
        return cls(fit, v[..., None], tuple(blocks))

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """``x = V (b - X^T c)`` with ``c`` from the rows."""
        c = self._solve_rows(self.fit.push(self.v * b))
        pull = b - self.fit.pull(c)
        counts = Counts(n_products=2 * len(self.blocks) * b.shape[-1])
        return LinearSolution(self.v * pull, pull, counts=counts)

    def solve_targets(self) -> LinearSolution:
        """Solve for ``b = cross`` without a difference of large numbers."""
        pull = self.fit.pull(self._solve_rows(self.fit.target))
        counts = Counts(n_products=len(self.blocks) * pull.shape[-1])
        return LinearSolution(self.v * pull, pull, counts=counts)

    def _solve_rows(self, R: Array) -> Array:
        out = np.zeros(R.shape)
        flat_in, flat_out = R.reshape(-1, *R.shape[-2:]), out.reshape(-1, *R.shape[-2:])
        for block, rhs, target in zip(self.blocks, flat_in, flat_out, strict=True):
            target[block.rows] = block.solve(rhs[block.rows])
        return out


def _kernels(fit: RowsDataFit, v: Array) -> Iterator[Array]:
    """``X V_k X^T`` of all rows for every task."""
    kernel, base = fit.design.kernel(v[0]), v[0]
    top = int(np.argmax(base))
    for row in v:
        ratio = row[top] / base[top] if base[top] > 0 else 1.0
        if np.allclose(row, ratio * base, rtol=1e-14, atol=0.0):
            yield ratio * kernel if ratio != 1.0 else kernel
        else:
            yield fit.design.kernel(row)


def _block(kernel: Array, weight: Array, sweep: Sweep | None, k: int | None) -> _Block:
    rows = np.flatnonzero(weight)
    K = kernel[rows[:, None], rows]
    if sweep is not None:
        maps = sweep.maps if k is None else sweep.maps[k]
        free, maps = sweep.free[rows], maps[:, rows]
        K -= free @ (maps @ K)
        K -= (K @ maps.T) @ free.T
    root = np.sqrt(weight[rows])[:, None]
    K *= root
    K *= root.T
    diagonal_of(K)[...] += 1.0
    return _Block(rows, root, factor_spd(K))


@dataclass(frozen=True)
class Dual:
    """Exact inner solves through (n_train, n_train) kernels; never a (p, p) matrix.

    Notes
    -----
    ``n^2 p`` operations for the kernel that all tasks share, and ``n^3 / 3`` for every
    task. Use it for more columns than rows and at most some thousands of rows.
    """

    requires = frozenset({"quadratic", "rows"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 0.0
    ) -> InnerSolution:
        """Solve at variances v; neither state nor tol matters."""
        check_requires(self, fit)
        assert isinstance(fit, RowsDataFit)
        system = DualSystem.of(fit, v)
        solution = system.solve_targets()
        counts = Counts(n_factorizations=len(system.blocks)) + solution.counts
        return InnerSolution(solution, system, None, counts)
