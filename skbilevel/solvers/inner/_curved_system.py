"""The Hessian of a Newton step as a linear system, through products with the rows."""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import get_blas_funcs

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._rows_datafit import RowCurvature, RowsDataFit
from skbilevel.solvers._base import Counts, LinearSolution
from skbilevel.solvers._pcg import DELAY


def dot(a: Array, b: Array) -> float:
    """Inner product of two arrays of the same shape."""
    return float(np.dot(a.ravel(), b.ravel()))


def add(y: Array, alpha: float, x: Array) -> None:
    """``y += alpha x`` in place, without a temporary array; both in C order."""
    axpy = get_blas_funcs("axpy", (x, y))
    axpy(x.reshape(-1), y.reshape(-1), a=alpha)


@record
class Ridge:
    """``0.5 sum_j |W_j|^2 / v_j`` with variances from zero to infinity.

    Parameters
    ----------
    inverse : ndarray of shape (..., p, 1) or (p, t)
        ``1 / v``, zero where v is zero or infinite.
    active : ndarray of shape (..., p, 1) or (p, t), or None
        Zero where ``v = 0``, one elsewhere; None where all are one.
    free : ndarray of int
        Places where v is infinite.
    """

    inverse: Array
    active: Array | None
    free: Array

    @classmethod
    def of(cls, v: Array, dtype: np.dtype[np.generic]) -> Ridge:
        """From variances as they multiply coefficients, in the same order of memory."""
        removed = v == 0.0
        inverse = np.divide(1.0, v, out=np.zeros_like(v), where=~removed)
        active = (~removed).astype(dtype) if removed.any() else None
        free = np.flatnonzero(np.isinf(v[..., 0]))
        return cls(inverse.astype(dtype, copy=False), active, free)

    def restrict(self, x: Array) -> Array:
        """Zero where ``v = 0``."""
        return x if self.active is None else x * self.active

    def value(self, W: Array) -> float:
        """The penalty."""
        return 0.5 * self.inner(W, W)

    def inner(self, a: Array, b: Array) -> float:
        """``sum_j <a_j, b_j> / v_j`` of one data fit."""
        if self.inverse.shape[1] > 1:
            return float(np.einsum("ij,ij,ij->", a, b, self.inverse, dtype=np.float64))
        rows = np.einsum("ij,ij->i", a, b)
        return float(rows.astype(np.float64) @ self.inverse[:, 0].astype(np.float64))


@record
class Descent:
    """Where conjugate gradients ended.

    Parameters
    ----------
    x : ndarray of shape (p, t)
        The solution.
    image : ndarray of shape (n, t)
        ``X x``, a by-product of the iterations.
    residual : ndarray of shape (p, t)
        ``b - H x``.
    n_iter : int
        Steps.
    converged : bool
        Whether the tolerance was reached.
    """

    x: Array
    image: Array
    residual: Array
    n_iter: int
    converged: bool


@record
class CurvedSystem:
    """``diag(1/v) + X^T C X`` with the curvature C of the loss at one point.

    Classes may be coupled in C, so all coefficients are one unknown.

    Parameters
    ----------
    fit : RowsDataFit
        Rows of the training set.
    curvature : RowCurvature
        C.
    ridge : Ridge
        The variances.
    scale : ndarray of shape (p, t)
        Jacobi's preconditioner, possibly of an earlier point.
    max_iter : int
        Most steps of one solve.
    """

    fit: RowsDataFit
    curvature: RowCurvature
    ridge: Ridge
    scale: Array
    max_iter: int

    @classmethod
    def of(
        cls, fit: RowsDataFit, curvature: RowCurvature, ridge: Ridge, max_iter: int
    ) -> CurvedSystem:
        """With the preconditioner of this point."""
        diagonal = fit.design.column_squares(curvature.diagonal)
        scale = diagonal.astype(ridge.inverse.dtype, copy=False)
        scale += ridge.inverse
        # Below the smallest normal number the inverse overflows.
        np.divide(1.0, scale, out=scale, where=scale > np.finfo(scale.dtype).tiny)

        return cls(fit, curvature, ridge, ridge.restrict(scale), max_iter)

    def solve(self, b: Array, x0: Array | None, *, tol: float) -> LinearSolution:
        """Iterate from ``x0`` to a relative error of ``tol`` in the system's norm."""
        found = self.descend(b, x0, tol, self.max_iter)
        # b - X^T C X x, which the residual tells without another product.
        pull = found.residual + self.ridge.inverse * found.x
        residual = self.ridge.restrict(found.residual)
        hvp = found.n_iter + (x0 is not None)
        counts = Counts(n_hvp=hvp, n_products=2 * hvp * self.fit.n_targets)
        return LinearSolution(
            found.x, pull, residual, found.converged, counts, found.n_iter
        )

    def descend(self, b: Array, x0: Array | None, tol: float, max_iter: int) -> Descent:
        """Conjugate gradients; at least three steps are made from any guess.

        Step k lowers the squared error in the norm of H by ``alpha_k rho_k`` exactly,
        so the sum over the last steps estimates what was left before them.
        """
        dtype = self.scale.dtype
        r = b.astype(dtype, order="C")
        x = np.zeros_like(r)
        image = np.zeros((self.fit.design.shape[0], self.fit.n_targets), dtype)
        if x0 is not None:
            x[...] = self.ridge.restrict(x0)
            image[...] = self.fit.push(x)
            r -= self._pulled(x, image)
        z = self.scale * r
        d, rho = z.copy(), dot(r, z)
        drops: list[float] = []
        for step in range(max_iter + 1):
            if rho <= 0.0 or _accurate(drops, tol, None if x0 is None else dot(b, x)):
                return Descent(x, image, r, step, True)
            if step == max_iter:
                break
            moved = np.asarray(self.fit.push(d), dtype=dtype, order="C")
            q = self._pulled(d, moved)
            bend = dot(d, q)
            if not bend > 0.0:
                return Descent(x, image, r, step, False)
            alpha = rho / bend
            drops.append(alpha * rho)
            add(x, alpha, d)
            add(image, alpha, moved)
            add(r, -alpha, q)
            np.multiply(self.scale, r, out=z)
            old, rho = rho, dot(r, z)
            d *= rho / old
            d += z
        return Descent(x, image, r, max_iter, False)

    def _pulled(self, d: Array, image: Array) -> Array:
        """``H d`` from ``X d``."""
        q = np.ascontiguousarray(self.fit.pull(self.curvature.apply(image)))
        q += self.ridge.inverse * d
        return q


def _accurate(drops: list[float], tol: float, size: float | None) -> bool:
    """Whether little is left; ``size`` is ``|x|_H^2``, the sum of drops from zero."""
    if len(drops) < DELAY:
        return False
    size = sum(drops) if size is None else size
    return sum(drops[-DELAY:]) <= tol**2 * max(size, 0.0)
