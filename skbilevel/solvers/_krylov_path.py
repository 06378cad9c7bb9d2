"""The outer loss at many shared strengths from one run of conjugate gradients.

For one variance c shared by all features, ``w = X^T a`` with::

    (X X^T + I / c) a = y        (swept rows times the roots of their weights)

These systems differ by a multiple of the identity, so their Krylov spaces are the
same: residuals of all strengths are multiples ``zeta`` of one residual, and a single
sequence of products with X serves the whole path (shifted conjugate gradients; Frommer
and Maass, 1999). Only predictions of validation rows are carried along, so memory is
two numbers per validation row and strength, whatever the number of columns.
"""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.solvers._base import Counts
from skbilevel.solvers._pcg import DELAY, ratio

# Below this a residual is rounding, and its ratio to the next is not a number.
_SPENT = 1e-100
# The path ends where the loss has risen past its minimum at this many strengths.
_PAST = 2
# Largest number of products with ``X X^T``.
_MAX_ITER = 500


@record
class KrylovPath:
    """Outer losses at increasing shared variances.

    ``value`` is nan where the iteration ended before the strength was resolved.
    """

    value: Array
    n_iter: int
    counts: Counts


def krylov_path(
    task: Task,
    log_v: Array,
    *,
    mask: Array | None = None,
    rise: float = 1e-3,
    tol: float = 1e-3,
) -> KrylovPath:
    """Outer loss at every ``log_v``, or up to the first minimum that is clear.

    Parameters
    ----------
    task : Task
        A stack of folds on shared rows, with a loss of constant curvature.
    log_v : ndarray of shape (c,)
        Increasing logarithms of shared variances.
    mask : ndarray of shape (p,), optional
        Zero for features that have no strength.
    rise : float
        The share by which the loss has to rise past a minimum that is clear.
    tol : float
        Relative error of the coefficients in the norm of their system.
    """
    state = _Shifts(task, log_v, mask)
    for step in range(_MAX_ITER):
        state.step()
        if step % 5 == 4 and _is_clear(state.values(tol), rise):
            break
    products = 2 * (step + 1) * state.columns
    return KrylovPath(state.values(tol), step + 1, Counts(n_products=products))


def _is_clear(value: Array, rise: float) -> bool:
    missing = np.isnan(value)
    known = value[: missing.argmax()] if missing.any() else value
    if len(known) == len(value):
        return True
    if not len(known):
        return False
    best = int(np.argmin(known))
    past = known[best + 1 :]
    return int((past > known[best] * (1 + rise)).sum()) >= _PAST


class _Shifts:
    """Vectors of the seed system and coefficients of all shifted ones.

    Arrays have shape (K, n, t) for the seed, (c, K, t) for numbers of each of c
    strengths, and (c, m, t) for the m validation rows of all folds.
    """

    def __init__(self, task: Task, log_v: Array, mask: Array | None) -> None:
        inner, outer = task.inner, task.outer
        assert isinstance(inner, RowsDataFit)
        assert isinstance(outer, RowsDataFit)
        self.fit, self.mask = inner, None if mask is None else mask[:, None]
        self.root = np.sqrt(inner.weight)[..., None]
        weight = np.atleast_2d(outer.weight)
        self.fold, self.row = np.nonzero(weight)
        share = np.atleast_1d(task.weight) / np.sum(task.weight)
        total = np.atleast_1d(outer.weight_sum)
        share = share / np.where(total > 0, total, 1.0)
        self.weight = (weight * share[:, None])[self.fold, self.row]
        self.target = self._valid(outer.target)
        self.columns = int(np.prod(inner.batch, dtype=int)) * inner.n_targets

        self._start(log_v, np.broadcast_to(task.v_scale, inner.batch or (1,)))

    def _start(self, log_v: Array, scale: Array) -> None:
        """Zero coefficients; the seed is the weakest strength, the slowest of all."""
        alpha = np.exp(-log_v)[:, None] / scale
        self.seed = alpha[-1][:, None, None].reshape(*self.fit.batch, 1, 1)
        self.shift = (alpha - alpha[-1])[..., None]
        self.r = self.root * self.fit.target
        self.p = self.r.copy()
        self.rho = self._dot(self.r, self.r)
        shape = (len(log_v), len(scale), self.fit.n_targets)
        self.zeta, self.zeta_old = np.ones(shape), np.ones(shape)
        self.alpha = np.ones(shape[1:])
        self.beta = np.zeros(shape[1:])
        self.beta_shift = np.zeros(shape)
        self.last = np.zeros_like(self.target)
        self.direction = np.zeros((len(log_v), *self.target.shape))
        self.prediction = np.zeros_like(self.direction)
        self.energy = np.zeros(shape)
        self.drops: list[Array] = []

    def step(self) -> None:
        """One product with ``X X^T``."""
        moved = self.fit.pull(self.root * self.p)
        moved = self.fit.push(moved if self.mask is None else self.mask * moved)
        image = self.root * moved + self.seed * self.p
        curvature = self._dot(self.p, image)
        alpha = ratio(self.rho, curvature)
        # The image of the residual, from those of two directions.
        valid = self._valid(moved)
        self.direction *= self.beta_shift[:, self.fold]
        self.direction += self.zeta[:, self.fold] * (
            valid - self.beta[self.fold] * self.last
        )
        self.last = valid
        zeta_new = self._next_zeta(alpha)
        shrunk = ratio(zeta_new, self.zeta, _SPENT)
        step = alpha * shrunk
        self.prediction += step[:, self.fold] * self.direction
        drop = step * self.zeta**2 * self.rho
        self.energy += drop
        self.drops = [*self.drops[1 - DELAY :], drop]
        self.r -= self._tall(alpha) * image
        rho = self._dot(self.r, self.r)
        beta = ratio(rho, self.rho)
        self.p = self.r + self._tall(beta) * self.p
        self.beta_shift = beta * shrunk**2
        self.rho, self.alpha, self.beta = rho, alpha, beta
        self.zeta_old, self.zeta = self.zeta, zeta_new

    def _next_zeta(self, alpha: Array) -> Array:
        top = self.zeta * self.zeta_old * self.alpha
        bottom = alpha * self.beta * (self.zeta_old - self.zeta)
        bottom = bottom + self.zeta_old * self.alpha * (1.0 + self.shift * alpha)
        return ratio(top, bottom, _SPENT)

    def values(self, tol: float) -> Array:
        """Outer losses; nan from the first strength that is not resolved."""
        loss = self.fit.loss.value(self.prediction, self.target).sum(axis=-1)
        value = loss @ self.weight
        if len(self.drops) < DELAY:
            return np.full(len(value), np.nan)
        left = np.asarray(sum(self.drops))
        resolved = (left <= tol**2 * self.energy).all(axis=(1, 2))
        open_ = np.flatnonzero(~resolved)
        if open_.size:
            value[open_[0] :] = np.nan
        return np.asarray(value)

    def _valid(self, rows: Array) -> Array:
        stack = rows[None] if rows.ndim == 2 else rows
        return np.asarray(stack[self.fold, self.row])

    def _dot(self, a: Array, b: Array) -> Array:
        out = np.einsum("...nt,...nt->...t", a, b)
        return np.asarray(np.atleast_2d(out))

    def _tall(self, numbers: Array) -> Array:
        return numbers.reshape(*self.fit.batch, 1, -1)
