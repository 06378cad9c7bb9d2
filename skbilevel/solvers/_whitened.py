"""Newton's method for a loss of dense features with a unit penalty.

In the coordinates of the prior, ``w = sqrt(v) u``, every penalized problem is::

    min over T of  sum_i s_i loss(o_i + z_i T, y_i) + 0.5 c |T_penalized|^2,   c = 1

which is 1-strongly convex but for the unpenalized columns, whatever the strengths
are. ``Z = [E, X sqrt(v)]``, or any Z with ``Z Z^T = X diag(v) X^T`` where rows are
fewer than columns: then ``w = v X^T a`` with ``a = -s loss'`` at the solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._losses import LinearMap, Loss

# Up to this many unknowns the Hessian over all classes is formed and factored.
_DENSE_UP_TO = 100
_MAX_ITER, _MAX_HALVINGS, _CG_ITER = 100, 30, 500
# A factor is kept as a preconditioner while it makes do with so many iterations.
_STALE_UP_TO = 25
# Relative accuracy of a step far from the solution.
_ROUGH = 0.1
# Changes of the objective that are rounding, and decrements that are small beside it.
_NOISE, _FLAT = 1e-12, 1e-6
# Smallest curvature of unpenalized columns, relative to the mean of the diagonal.
_RIDGE = 1e-10


@dataclass(frozen=True)
class Whitened:
    """The problem of the module docstring.

    Parameters
    ----------
    Z : ndarray of shape (n, m + r)
        Features, the unpenalized ones first.
    n_free : int
        Number m of unpenalized columns.
    y : ndarray of shape (n, t)
        Targets.
    weight : ndarray of shape (n,)
        Row weights.
    loss : Loss
        The loss.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    penalty : float
        ``c``; other values serve paths of one shared strength, where Z stays.
    """

    Z: Array
    n_free: int
    y: Array
    weight: Array
    loss: Loss
    offset: Array | None = None
    penalty: float = 1.0

    @property
    def n_targets(self) -> int:
        """Number of targets or classes."""
        return int(self.y.shape[1])

    def eta(self, T: Array) -> Array:
        """Predictions."""
        eta = _predict(self.Z, T)
        return eta if self.offset is None else eta + self.offset

    def value(self, T: Array, eta: Array) -> float:
        """The objective."""
        loss = self.loss.value(eta, self.y).sum(axis=-1)
        square = self.penalty * (T[self.n_free :] ** 2).sum()
        return float(self.weight @ loss + 0.5 * square)

    def row_grad(self, eta: Array) -> Array:
        """``s_i loss'`` of every row, shape (n, t)."""
        return np.asarray(self.weight[:, None] * self.loss.grad(eta, self.y))

    def grad(self, T: Array, eta: Array) -> Array:
        """Gradient of the objective."""
        out = self.Z.T @ self.row_grad(eta)
        out[self.n_free :] += self.penalty * T[self.n_free :]
        return np.asarray(out)


@dataclass(frozen=True)
class Curvature:
    """The Hessian of `Whitened` at one point; solves systems with it.

    One target: a Cholesky factor. Several, few unknowns: a factor over all of them.
    Several, many unknowns: conjugate gradients, preconditioned by a factor
    of the curvature averaged over the classes (one factor for every class takes no
    fewer seconds). An earlier one does as long as the point is near: ``stale``.
    """

    problem: Whitened
    eta: Array
    stale: Array | None = None

    @cached_property
    def factor(self) -> Array:
        """Lower Cholesky factor."""
        problem = self.problem
        if self.exact and problem.n_targets > 1:
            width = problem.Z.shape[1] * problem.n_targets
            return _cholesky(self._all_classes().reshape(width, width))
        if self.stale is not None and not self.exact:
            return self.stale
        H = _gram(problem.Z, self._mean_curvature)
        _regularize(H, problem.n_free, problem.penalty)
        return _cholesky(H)

    @property
    def exact(self) -> bool:
        """Whether the factor is that of the whole Hessian."""
        t = self.problem.n_targets
        return t == 1 or t * self.problem.Z.shape[1] <= _DENSE_UP_TO

    @cached_property
    def _second_derivative(self) -> LinearMap:
        return self.problem.loss.second_derivative(self.eta, self.problem.y)

    @cached_property
    def _row_curvature(self) -> Array:
        problem = self.problem
        curvature = problem.loss.curvature(self.eta, problem.y)
        return np.asarray(problem.weight[:, None] * curvature)

    @property
    def _mean_curvature(self) -> Array:
        """One number a row; exact at even class probabilities."""
        t = self.problem.n_targets
        if t == 1:
            return self._row_curvature[:, 0]
        return np.asarray(self._row_curvature.mean(axis=1) * (t / (t - 1.0)))

    def _all_classes(self) -> Array:
        """Hessian of shape (width, t, width, t)."""
        problem = self.problem
        Z, m, t = problem.Z, problem.n_free, problem.n_targets
        width, blocks = Z.shape[1], self._row_blocks()
        H = np.empty((width, t, width, t))
        if width <= t:
            for j, k in _pairs(width):
                flat = (Z[:, j] * Z[:, k]) @ blocks.reshape(len(Z), -1)
                H[j, :, k, :] = H[k, :, j, :] = flat.reshape(t, t)
        else:
            for c, d in _pairs(t):
                H[:, c, :, d] = (Z * blocks[:, c, d, None]).T @ Z
                H[:, d, :, c] = H[:, c, :, d].T
        for c in range(t):
            _regularize(H[:, c, :, c], m, problem.penalty)
        # A common shift of an unpenalized column changes no prediction: a penalty
        # in that direction alone fixes it at zero.
        for j in range(m):
            H[j, :, j, :] += max(float(np.trace(H[j, :, j, :])), 1.0) / t
        return H

    def _row_blocks(self) -> Array:
        """Second derivatives (n, t, t) of the rows."""
        t = self.problem.n_targets
        out = np.empty((len(self.eta), t, t))
        unit = np.zeros((len(self.eta), t))
        for c in range(t):
            unit[:, c] = self.problem.weight
            out[:, c] = self._second_derivative(unit)
            unit[:, c] = 0.0
        return out

    def curved(self, D: Array) -> Array:
        """Second derivative of the loss in the predictions, times D (n, t)."""
        return np.asarray(self.problem.weight[:, None] * self._second_derivative(D))

    def apply(self, D: Array) -> Array:
        """Hessian times D (m + r, t)."""
        problem = self.problem
        out = problem.Z.T @ self.curved(_predict(problem.Z, D))
        out[problem.n_free :] += problem.penalty * D[problem.n_free :]
        return np.asarray(out)

    def inverse(self) -> Array:
        """``H^-1`` over all classes, of shape (width t, width t)."""
        if self.exact:
            L = self.factor
        else:
            size = self.problem.Z.shape[1] * self.problem.n_targets
            L = _cholesky(self._all_classes().reshape(size, size))
        out, _ = linalg.lapack.dpotri(L, lower=1)
        lower = np.tril(out)
        return np.asarray(lower + np.tril(out, -1).T)

    def _precondition(self, R: Array) -> Array:
        if self.exact and self.problem.n_targets > 1:
            return _solve_factored(self.factor, R.reshape(-1)).reshape(R.shape)
        return _solve_factored(self.factor, R)

    def solve(
        self, B: Array, tol: float = 1e-12, enough: float = 0.0
    ) -> tuple[Array, int]:
        """``H^-1 B`` for B of shape (m + r, t), and the number of iterations.

        Where it is iterative, it ends as soon as the squared residual (in the norm
        of the preconditioner) has fallen by ``tol^2`` or is below ``enough``.
        """
        if self.exact:
            return self._precondition(B), 1
        X, n_iter = _conjugate_gradients(self.apply, B, self._precondition, tol, enough)
        # A common shift of all classes changes no prediction; it is set to zero.
        X[: self.problem.n_free] -= X[: self.problem.n_free].mean(axis=1, keepdims=True)
        return X, n_iter


@dataclass(frozen=True)
class WhitenedSolution:
    """Where Newton's method ended.

    Parameters
    ----------
    T : ndarray of shape (m + r, t)
        Coefficients.
    eta : ndarray of shape (n, t)
        Predictions.
    grad : ndarray of shape (m + r, t)
        Gradient that is left.
    converged : bool
        Whether the decrement fell below the tolerance.
    n_iter : int
        Newton steps.
    """

    T: Array
    eta: Array
    grad: Array
    converged: bool
    n_iter: int


def minimize_whitened(
    problem: Whitened,
    start: Array | None = None,
    *,
    tol: float = 1e-10,
    max_iter: int = _MAX_ITER,
) -> WhitenedSolution:
    """Newton's method with backtracking; predictions are updated, not recomputed.

    Parameters
    ----------
    problem : Whitened
        The problem.
    start : ndarray of shape (m + r, t), optional
        Zero by default.
    tol : float
        The search ends where the decrement ``g^T H^-1 g``, an estimate of twice the
        distance to the minimum, is below ``tol`` times the sum of the weights.
    max_iter : int
        Most steps.
    """
    shape = (problem.Z.shape[1], problem.n_targets)
    T = np.zeros(shape)
    eta = problem.eta(T)
    value = problem.value(T, eta)
    if start is not None:
        warm = np.array(start, dtype=np.float64)
        warm_eta = problem.eta(warm)
        warm_value = problem.value(warm, warm_eta)
        # Where a fit is exact, starts made from gradients are made from rounding.
        if warm_value <= value:
            T, eta, value = warm, warm_eta, warm_value
    enough = tol * max(float(problem.weight.sum()), np.finfo(float).tiny)
    accuracy, stale = _ROUGH, None
    for n_iter in range(1, max_iter + 1):
        grad = problem.grad(T, eta)
        curvature = Curvature(problem, eta, stale)
        step, n_inner = curvature.solve(-grad, accuracy, 0.1 * enough)
        stale = curvature.factor if n_inner <= _STALE_UP_TO else None
        slope = float((grad * step).sum())
        # As accurate as the next step of an exact method would be.
        accuracy = min(_ROUGH, max(-slope, 0.0) / (10.0 * enough / tol))
        before = value
        T, eta, value, moved = _line_search(problem, T, eta, value, step, slope)
        # Where the objective is all rounding no further step can be judged.
        flat = before - value <= _NOISE * abs(value) and -slope <= _FLAT * abs(value)
        # The last step is taken, too: it costs nothing and squares the error.
        if -slope <= enough or flat or not moved:
            grad, near = problem.grad(T, eta), flat or -slope <= 1e4 * enough
            return WhitenedSolution(T, eta, grad, near, n_iter)
    return WhitenedSolution(T, eta, problem.grad(T, eta), False, max_iter)


def _line_search(
    problem: Whitened, T: Array, eta: Array, value: float, step: Array, slope: float
) -> tuple[Array, Array, float, bool]:
    """Halve the step until the objective falls; one product with Z in all."""
    along = _predict(problem.Z, step)
    length, noise = 1.0, _NOISE * abs(value)
    for _ in range(_MAX_HALVINGS):
        new_T, new_eta = T + length * step, eta + length * along
        new = problem.value(new_T, new_eta)
        if new <= value + 1e-4 * length * slope + noise:
            return new_T, new_eta, new, True
        length *= 0.5
    return T, eta, value, False


def _pairs(n: int) -> list[tuple[int, int]]:
    return [(c, d) for c in range(n) for d in range(c + 1)]


def _predict(Z: Array, T: Array) -> Array:
    """``Z T``; classes one after the other in memory, sums over them are fast then."""
    return np.asarray(Z @ T if T.shape[1] == 1 else (T.T @ Z.T).T)


def _gram(Z: Array, d: Array) -> Array:
    """``Z^T diag(d) Z``."""
    scaled = np.sqrt(np.maximum(d, 0.0))[:, None] * Z
    return np.asarray(scaled.T @ scaled)


def _regularize(H: Array, n_free: int, penalty: float) -> None:
    """Add the penalty; a trace of one where unpenalized columns have none."""
    diagonal = np.einsum("ii->i", H)
    diagonal[n_free:] += penalty
    if n_free:
        free = diagonal[:n_free]
        free += _RIDGE * max(float(free.sum()) / n_free, 1.0)


def _cholesky(H: Array) -> Array:
    """Lower factor, written over H."""
    L, info = linalg.lapack.dpotrf(H.T, lower=1, overwrite_a=1, clean=0)
    if info:
        raise linalg.LinAlgError("The Hessian has no Cholesky factor.")
    return np.asarray(L)


def _solve_factored(L: Array, B: Array) -> Array:
    if not L.size:  # neither features nor an intercept
        return B
    return np.asarray(linalg.lapack.dpotrs(L, B, lower=1)[0])


def _conjugate_gradients(
    apply: LinearMap, B: Array, precondition: LinearMap, tol: float, enough: float
) -> tuple[Array, int]:
    """Conjugate gradients; see `Curvature.solve`."""
    X, R = np.zeros_like(B), B
    Z = precondition(R)
    D, rz = Z, float((R * Z).sum())
    enough = max(tol**2 * rz, enough)
    for n_iter in range(_CG_ITER):
        if rz <= enough or rz <= 0.0:
            return X, n_iter
        HD = apply(D)
        bend = float((D * HD).sum())
        if not bend > 0.0:
            # No prediction changes along D, but for rounding.
            return X, n_iter
        step = rz / bend
        X, R = X + step * D, R - step * HD
        Z = precondition(R)
        rz, before = float((R * Z).sum()), rz
        D = Z + (rz / before) * D
    return X, _CG_ITER
