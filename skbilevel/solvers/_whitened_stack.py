"""Limited-memory quasi-Newton steps for several whitened problems on the same rows.

Folds differ in their weights only: a left-out row has none. Candidates differ in the
scales of their features only. One product with Z then serves all of them, and reads Z
once; Newton's method on each of them would read a part of Z for every fold and every
step of conjugate gradients. Where the columns of Z are nearly orthogonal a diagonal is
as good a first model of the Hessian as a factor is. Where rows are many, one Gram
matrix of them makes a factor for every problem.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from skbilevel._device_array import in_memory_order, rounding_of_sums
from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import factor_spd
from skbilevel.problems._losses import Loss
from skbilevel.problems._target_features import Scaled
from skbilevel.solvers._limited_memory import InverseHessian
from skbilevel.solvers._whitened import WhitenedSolution, minimize_whitened
from skbilevel.solvers._whitened_problem import (
    Whitened,
    gram,
    regularize,
    small_decrements,
)

_MEMORY, _MAX_ITER, _MAX_HALVINGS = 10, 500, 30
# Steps after which Newton's method is asked.
_PATIENCE = 100


@record
class WhitenedStack:
    """K problems ``sum_i s_ki loss(o_i + z_ki T_k, y_ki) + 0.5 c |T_k penalized|^2``.

    Coefficients are stacked as (K, t, m + r): rows of one matrix. The features of
    problem k are those of Z, times scales of its own.

    Parameters
    ----------
    Z : ndarray of shape (n, m + r)
        Features, the unpenalized ones first.
    n_free : int
        Number m of unpenalized columns.
    y : ndarray of shape (K, t, n)
        Targets of every problem; classes one after the other in memory.
    weight : ndarray of shape (K, n)
        Row weights of every problem.
    loss : Loss
        The loss.
    offset : ndarray of shape (n, t) or None
        Added to the predictions.
    scale : ndarray of shape (K, m + r) or None
        Factors of the features; None is one for all.
    """

    Z: Array
    n_free: int
    y: Array
    weight: Array
    loss: Loss
    offset: Array | None = None
    scale: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of the coefficients."""
        return (*self.y.shape[:2], self.Z.shape[1])

    @property
    def noise(self) -> float:
        """Changes of the objective, relative to it, that are rounding."""
        return rounding_of_sums(self.y)

    @cached_property
    def _squares(self) -> Array:
        return self.Z**2

    def along(self, T: Array) -> Array:
        """``Z T`` of shape (K, t, n)."""
        T = self._scaled(T)
        flat = T.reshape(-1, T.shape[-1]) @ self.Z.T
        return flat.reshape(self.y.shape)

    def _scaled(self, T: Array) -> Array:
        return T if self.scale is None else self.scale[:, None] * T

    def enough(self, tol: float, eta: Array) -> Array:
        """Decrements (K,) that are small; see `small_decrements`."""
        each = self.loss, tol, _last(eta), _last(self.y), self.weight
        return small_decrements(*each)

    def eta(self, T: Array) -> Array:
        """Predictions (K, t, n)."""
        eta = self.along(T)
        return eta if self.offset is None else eta + self.offset.T

    def value(self, T: Array, eta: Array, penalty: float) -> Array:
        """Objectives (K,)."""
        loss = self.loss.value(_last(eta), _last(self.y)).sum(axis=-1)
        square = (T[..., self.n_free :] ** 2).sum(axis=(1, 2))
        return np.asarray((self.weight * loss).sum(axis=1) + 0.5 * penalty * square)

    def grad(self, T: Array, eta: Array, penalty: float) -> Array:
        """Gradients (K, t, m + r)."""
        rows = np.swapaxes(self.loss.grad(_last(eta), _last(self.y)), 1, 2)
        rows = np.multiply(rows, self.weight[:, None], order="C")
        out = self._scaled((rows.reshape(-1, len(self.Z)) @ self.Z).reshape(self.shape))
        out[..., self.n_free :] += penalty * T[..., self.n_free :]
        return np.asarray(out)

    def diagonal(self, eta: Array) -> Array:
        """Of the Hessians of the losses, the curvature averaged over classes (K, w)."""
        curvature = self.loss.curvature(_last(eta), _last(self.y)).mean(axis=-1)
        t = self.y.shape[1]
        return np.asarray(
            (self.weight * curvature * (t / max(t - 1, 1))) @ self._squares
        )

    def factors(self, G: Array, penalty: float) -> list[Array]:
        """Lower factors of the Hessians of a loss with the Gram matrix G (w, w)."""
        scales = np.ones((1, len(G))) if self.scale is None else self.scale
        out = []
        for each in scales:
            H = np.array(each[:, None] * G * each)
            regularize(H, self.n_free, penalty)
            out.append(factor_spd(H))
        return out * (len(self.y) // len(out))

    def gram(self, eta: Array) -> Array:
        """Gram matrix (w, w) of the rows, by the mean of the curvatures; one target."""
        curvature = self.loss.curvature(_last(eta), _last(self.y))[..., 0]
        return gram(self.Z, (self.weight * curvature).mean(axis=0))


@record
class StackSolution:
    """Coefficients (K, t, m + r), predictions (K, t, n), iterations, and success."""

    T: Array
    eta: Array
    n_iter: int
    converged: bool


def minimize_stack(
    problem: WhitenedStack,
    penalty: float,
    start: Array,
    *,
    tol: float = 1e-5,
    diagonal: bool = True,
    gram: Array | None = None,
    max_iter: int = _MAX_ITER,
) -> StackSolution:
    """Minimize all problems of a stack at once.

    The search ends where the decrements ``g^T H g``, estimates of twice the distances
    to the minima with H the quasi-Newton model, are below ``tol`` times the sums of
    weights, in the unit of the loss. First models are diagonals of Hessians, which is
    right where columns are nearly orthogonal, or multiples of the identity, or come
    from a Gram matrix of the rows, for one target.
    """
    T, eta = start, problem.eta(start)
    enough = problem.enough(tol, eta)
    value, grad = problem.value(T, eta, penalty), problem.grad(T, eta, penalty)
    factors = None if gram is None else problem.factors(gram, penalty)
    flat = _turned(factors, grad.reshape(len(T), -1))
    sizes = [np.full(len(g), max(float(np.linalg.norm(g)), 1.0)) for g in flat]
    models = [InverseHessian(each, _MEMORY) for each in sizes]
    if gram is not None:
        ones = np.ones(flat.shape[1])
        models = [InverseHessian(ones, _MEMORY, scaled=False)] * len(T)
    elif diagonal:
        bend = problem.diagonal(eta)
        bend[:, problem.n_free :] += penalty
        bend = np.tile(np.maximum(bend, np.finfo(float).tiny), T.shape[1])
        models = [InverseHessian(each, _MEMORY, scaled=False) for each in bend]
    for n_iter in range(1, max_iter + 1):
        steps = [model.apply(g) for model, g in zip(models, flat, strict=True)]
        step = -np.stack(steps)
        slope = np.array([g @ d for g, d in zip(flat, step, strict=True)])
        out = _turned(factors, step, back=True).reshape(T.shape)
        T, eta, new, length = _search(problem, penalty, T, eta, value, out, slope)
        grad = problem.grad(T, eta, penalty).reshape(len(T), -1)
        before, flat = flat, _turned(factors, grad)
        pairs = zip(models, length[:, None] * step, flat - before, strict=True)
        models = [model.push(s, y) for model, s, y in pairs]
        stuck, value = value - new <= problem.noise * abs(value), new
        if ((-slope <= enough) | stuck).all():
            # Its unit, where the start was far from here.
            enough = problem.enough(tol, eta)
        if ((-slope <= enough) | stuck).all():
            return StackSolution(T, eta, n_iter, bool((-slope <= 1e4 * enough).all()))
    return StackSolution(T, eta, max_iter, False)


def _turned(factors: list[Array] | None, rows: Array, back: bool = False) -> Array:
    """Gradients (K, w) in ``u = L^T T``, where Hessians ``L L^T`` are one.

    ``back`` makes steps of T of those of u; None as factors keeps T.
    """
    if factors is None:
        return rows
    pairs, solve = zip(factors, rows, strict=True), lapack.dtrtrs
    return np.stack([solve(L, r, lower=1, trans=back)[0] for L, r in pairs])


def minimize_alone(problem: Whitened, start: Array, tol: float) -> WhitenedSolution:
    """One problem by the same steps, from a start or from zero, whichever is better.

    Where a start is far, or curvatures of classes differ much, these steps are many:
    what has not converged is left to Newton's method.
    """
    assert not isinstance(problem.Z, Scaled)
    y, weight = in_memory_order(problem.y.T)[None], problem.weight[None]
    stack = WhitenedStack(
        problem.Z, problem.n_free, y, weight, problem.loss, problem.offset
    )
    T, penalty = np.ascontiguousarray(start.T)[None], problem.penalty
    zero = np.zeros_like(T)
    values = [stack.value(each, stack.eta(each), penalty) for each in (T, zero)]
    T = T if values[0] <= values[1] else zero
    found = minimize_stack(
        stack, penalty, T, tol=tol, diagonal=False, max_iter=_PATIENCE
    )
    T = np.ascontiguousarray(found.T[0].T)
    if not found.converged:
        return minimize_whitened(problem, T, tol=tol)
    eta = found.eta[0].T
    return WhitenedSolution(T, eta, problem.grad(T, eta), True, found.n_iter)


def _last(a: Array) -> Array:
    """Classes last, as losses want them; memory stays as it is."""
    return np.swapaxes(a, 1, 2)


def _search(
    problem: WhitenedStack,
    penalty: float,
    T: Array,
    eta: Array,
    value: Array,
    step: Array,
    slope: Array,
) -> tuple[Array, Array, Array, Array]:
    """Shorten the steps until all objectives fall; one product with Z in all."""
    along, length = problem.along(step), np.ones(len(value))
    for k in range(_MAX_HALVINGS):
        size = length[:, None, None]
        new_T = T + (size * step if k else step)
        new_eta = eta + (size * along if k else along)
        new = problem.value(new_T, new_eta, penalty)
        fine = new <= value + 1e-4 * length * slope + problem.noise * abs(value)
        if fine.all():
            return new_T, new_eta, new, length
        excess = new - value - length * slope
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            best = -0.5 * slope * length**2 / excess
        best = np.where(np.isfinite(best), best, 0.0)
        last = k == _MAX_HALVINGS - 2
        shorter = np.clip(best, 0.1 * length, 0.5 * length)
        length = np.where(fine, length, 0.0 if last else shorter)
    return T, eta, value, np.zeros_like(value)
