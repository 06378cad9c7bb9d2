"""Primal factorization of ``K = I + sqrt(V) G sqrt(V)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack

from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._dense_spd import diagonal_of, factor_spd
from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    LinearSolution,
    check_requires,
)

# Removed features are cut out of the factorization from this share on.
_CUT_FROM = 0.15


@dataclass(frozen=True)
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
