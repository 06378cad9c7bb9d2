"""The best shared strength of a generalized linear model, by resampling.

One rotation of the rows serves all strengths: with ``X X^T = U S U^T`` the columns
``U sqrt(S)`` stand for those of X, so that a penalty ``1 / v`` is all that changes
along the path. Rows that are not trained on are rows of the same matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._device_array import beside
from skbilevel._typing import Array
from skbilevel.model_selection._held_out import LARGEST_LOSS
from skbilevel.model_selection._resampling import Pair
from skbilevel.problems._losses import facts_of
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_problem import Whitened
from skbilevel.solvers._whitened_stack import WhitenedStack, minimize_stack

# Steps of log v, and by how much the path goes below and above what one row in the
# direction of the largest variance says.
_STEP = 2.0
_BELOW, _ABOVE = 3.0, 30.0
# The path ends so many steps beyond its minimum, where the rise is that many standard
# errors, and after so many steps anyway. As long as features have not been of use by
# as many standard errors, it ends where the loss is above the first by that share:
# columns of large variance that are all noise come first, those that matter later.
_RISES, _SURE, _USELESS = (2, 8), 2.0, 0.25
# The path also ends where the penalty is balanced by this share of the gradient that
# the data have at the null model: where classes separate, the loss on left-out rows
# falls without end as long as no row is wrong, and says nothing about the row that is.
_PULL = 5e-4
# Accuracy of the solutions, as a share of the loss of a row: the last of Newton's steps
# squares its error, a quasi-Newton step does not.
_TOL, _TOL_STACK = 1e-5, 1e-6
# Up to so many classes a product with Z takes as long as it takes to read Z.
_NARROW = 16

# With so many rows for each column one Gram matrix stands for those of all folds.
_MANY, _PATIENCE = 4, 30

# Predictions of left-out rows at a variance, the largest gradient of the loss, which
# the penalty balances, and the mean solution.
Solve = Callable[[float], tuple[Array, float, Array]]


@dataclass(frozen=True)
class SharedPath:
    """Losses along a path of shared strengths.

    Parameters
    ----------
    grid : ndarray of shape (c,)
        Increasing ``log v``.
    loss : ndarray of shape (m, c)
        Weighted losses of the rows that were left out.
    weight : ndarray of shape (m,)
        Their weights.
    row : ndarray of shape (m,)
        Which rows they are.
    T : ndarray of shape (c, width, t)
        Means of the solutions, to start others from.
    """

    grid: Array
    loss: Array
    weight: Array
    row: Array
    T: Array

    def near(self, log_v: float) -> Array:
        """The mean solution at the nearest point of the path."""
        return np.asarray(self.T[np.argmin(abs(self.grid - log_v))])


def are_many(rows: Whitened) -> bool:
    """Whether there is one target, and rows are many for each column."""
    n_rows = float(rows.weight.sum())
    return rows.n_targets == 1 and n_rows >= _MANY * rows.width


def at_strength(rows: Whitened, index: Any, v: float) -> Whitened:
    """The problem of some of the rows at a shared variance."""
    offset = None if rows.offset is None else rows.offset[index]
    y, weight = rows.y[index], rows.weight[index]
    y = facts_of(rows.loss).with_pseudo_counts(y, weight, offset)
    Z = rows.Z[index]
    return Whitened(Z, rows.n_free, y, weight, rows.loss, offset, 1.0 / v)


def _stack(rows: Whitened, sets: Sequence[Array]) -> WhitenedStack:
    """The problems of some sets of rows."""
    Z: Any = rows.Z
    n, t = rows.y.shape
    weight, y = np.zeros((len(sets), n)), np.zeros((len(sets), t, n))
    for k, index in enumerate(sets):
        own = at_strength(rows, index, 1.0)
        weight[k, index] = own.weight
        y[k] = rows.y.T
        y[k][:, index] = own.y.T
    y, weight = beside(Z, y, 2), beside(Z, weight, 1)
    return WhitenedStack(Z, rows.n_free, y, weight, rows.loss, rows.offset)


def shared_path(
    rows: Whitened, pairs: Sequence[Pair], scale: float, ceiling: float
) -> SharedPath:
    """Walk from strong to weak regularization until the loss rises for good.

    ``pairs`` are positions in ``rows``; ``scale`` is the largest eigenvalue of
    ``X^T S D X`` of all rows, ``ceiling`` the largest ``log v``.
    """
    start = -np.log(max(scale, 1e-300)) - _BELOW
    grid = np.arange(start, min(start + _BELOW + _ABOVE, ceiling), _STEP)
    grid = grid if len(grid) else np.array([ceiling])
    left_out = np.concatenate([b for _, b in pairs])
    weight = np.asarray(rows.weight[left_out])
    in_stacks = is_narrow(rows.n_targets, rows.n_free) or are_many(rows)
    solve = _in_stacks(rows, pairs) if in_stacks else _one_by_one(rows, pairs)
    losses: list[Array] = []
    pulls: list[float] = []
    means: list[Array] = []
    for log_v in grid:
        eta, pull, mean = solve(float(np.exp(log_v)))
        means.append(mean)
        value = np.asarray(rows.loss.value(eta, rows.y[left_out]).sum(axis=1))
        losses.append(weight * np.where(value < LARGEST_LOSS, value, LARGEST_LOSS))
        if _rises(losses, weight):
            break
        pulls.append(pull)
        if pulls[-1] < _PULL * pulls[0]:
            break
    loss = np.stack(losses, axis=1)
    grid = grid[: loss.shape[1]]
    return SharedPath(grid, loss, weight, left_out, np.stack(means))


def _rises(losses: Sequence[Array], weight: Array) -> bool:
    """Whether the loss has risen for good; ``losses`` (m,) are weighted.

    Curves that are flat for decades and fall after that exist: features that are of
    use together only need weak regularization.
    """
    total = [each.sum() for each in losses]
    k = int(np.argmin(total))
    n_steps = len(losses) - 1 - k
    if n_steps < _RISES[0]:
        return False
    sure = _is_sure(losses[-1] - losses[k], weight)
    if not _is_sure(losses[0] - losses[k], weight):
        return sure and bool(total[-1] > (1.0 + _USELESS) * total[0])
    return sure or n_steps >= _RISES[1]


def _is_sure(more: Array, weight: Array) -> bool:
    """Whether a difference of weighted losses (m,) is some standard errors.

    A row of weight s counts as s rows.
    """
    spread = more - weight * (more.sum() / weight.sum())
    return bool(more.sum() > _SURE * np.sqrt((spread**2 / weight).sum()))


def is_narrow(n_targets: int, n_free: int) -> bool:
    """Whether quasi-Newton steps, which are cheap, beat Newton's, which are few.

    With one target Newton's factor is exact; with many classes products keep a
    processor busy, and a step of Newton's method needs fewer of them. Unpenalized
    columns besides the constant one may have any scale.
    """
    return 1 < n_targets <= _NARROW and n_free <= 1


def _in_stacks(rows: Whitened, pairs: Sequence[Pair]) -> Solve:
    """All folds at once, each variance from the solutions at the one before."""
    stack, m = _stack(rows, [a for a, _ in pairs]), rows.n_free
    fold = np.repeat(np.arange(len(pairs)), [len(b) for _, b in pairs])
    left_out = np.concatenate([b for _, b in pairs])
    T, many = np.zeros(stack.shape), are_many(rows)

    def solve(v: float) -> tuple[Array, float, Array]:
        nonlocal T
        if many:
            G = stack.gram(stack.eta(T))
            found = minimize_stack(
                stack, 1.0 / v, T, tol=_TOL_STACK, gram=G, max_iter=_PATIENCE
            )
        else:
            found = minimize_stack(stack, 1.0 / v, T, tol=_TOL_STACK)
        T, eta = found.T, found.eta
        if many and not found.converged:
            held = zip(pairs, T, strict=True)
            T = np.stack([_solved(rows, a, v, own.T).T for (a, _), own in held])
            eta = stack.eta(T)
        norm = np.sqrt((T[..., m:] ** 2).sum(axis=(1, 2))).max()
        return eta[fold, :, left_out], float(norm / v), T.mean(axis=0).T

    return solve


def _solved(rows: Whitened, index: Array, v: float, start: Array) -> Array:
    """Coefficients of some of the rows at a shared variance."""
    return minimize_whitened(at_strength(rows, index, v), start, tol=_TOL).T


def _one_by_one(rows: Whitened, pairs: Sequence[Pair]) -> Solve:
    """The same by Newton's method, fold by fold."""
    warm: list[Array] = [np.zeros((rows.Z.shape[1], rows.y.shape[1]))] * len(pairs)

    def solve(v: float) -> tuple[Array, float, Array]:
        for k, (a, _) in enumerate(pairs):
            warm[k] = _solved(rows, a, v, warm[k])
        held = zip(pairs, warm, strict=True)
        eta = np.concatenate([at_strength(rows, b, v).eta(T) for (_, b), T in held])
        norm = max(float(np.linalg.norm(T[rows.n_free :])) for T in warm)
        return eta, norm / v, np.mean(warm, axis=0)

    return solve
