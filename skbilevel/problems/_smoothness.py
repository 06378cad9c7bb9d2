"""Bounds on the curvature of mean losses, for steps that fit any units of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task
from skbilevel.problems._datafit import DataFit
from skbilevel.problems._linear_rows import RowSet
from skbilevel.problems._losses import SquaredLoss, facts_of
from skbilevel.problems._row_reader import RowBlock
from skbilevel.problems._rows_datafit import RowsDataFit

# Rows read at once, and numbers of dense ones.
_CHUNK, _ENTRIES = 4096, 1 << 22

# Lanczos' largest value approaches the largest eigenvalue from below.
_STEPS, _MARGIN = 16, 1.02


def data_smoothness(tasks: Sequence[Task]) -> Array | None:
    """Largest eigenvalue of the mean loss of every task, repeated to the length of w.

    None where a loss has no bound on its curvature.
    """
    parts = []
    for task in tasks:
        fit = task.inner
        loss = fit.loss if isinstance(fit, RowsDataFit) else SquaredLoss()
        bound = facts_of(loss).curvature_bound
        if bound is None:
            return None
        size = fit.n_features * fit.n_targets
        largest = bound * largest_of_data(fit) / np.asarray(fit.weight_sum)
        parts.append(np.repeat(largest.reshape(-1), size))
    return np.concatenate(parts)


def largest_of_data(fit: DataFit) -> Array:
    """Largest eigenvalue of ``X^T S X`` of one data fit, or of each in a stack."""
    if isinstance(fit, RowsDataFit):
        # The loss does not matter, and one target is enough.
        one = fit.y[:, :1]
        fit = replace(fit, y=one, loss=SquaredLoss(), offset=None)
    shape = (*fit.batch, fit.n_features, 1)
    point = fit.at(np.zeros((*fit.batch, fit.n_features, fit.n_targets)))
    return largest_eigenvalues(point.hvp, shape)


def largest_eigenvalues(
    apply: Callable[[Array], Array], shape: tuple[int, ...]
) -> Array:
    """Largest Ritz values of a stack of symmetric maps, with a small margin.

    ``shape`` is that of the stacked columns that ``apply`` takes, (..., p, 1).
    """
    start = np.random.default_rng(0).standard_normal(shape)
    return np.asarray(_MARGIN * ritz_values(apply, start, _STEPS)[..., -1])


def ritz_values(apply: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Ritz values (..., s) of a stack of symmetric maps by Lanczos' method.

    From columns (..., p, 1), in ascending order, after as many steps or fewer. Vectors
    are orthogonalized against all earlier ones; there are few of them.
    """
    basis = start / np.linalg.norm(start, axis=-2, keepdims=True)
    images: list[Array] = []
    while True:
        images.append(apply(np.ascontiguousarray(basis[..., -1:])))
        transposed, r = np.swapaxes(basis, -1, -2), images[-1]
        for _ in range(2):
            r = r - basis @ (transposed @ r)
        size = np.linalg.norm(r, axis=-2, keepdims=True)
        done = len(images) == min(steps, start.shape[-2])
        if done or not (size > 1e-12 * np.abs(images[-1]).max()).all():
            break
        basis = np.concatenate([basis, r / size], axis=-1)
    small = transposed @ np.concatenate(images, axis=-1)
    return np.linalg.eigvalsh(0.5 * (small + np.swapaxes(small, -1, -2)))


def row_smoothness(rows: RowSet) -> Array | None:
    """``max_i c scale_ik |x_i|^2`` of every task k; None without a curvature bound."""
    bound = facts_of(rows.loss).curvature_bound
    if bound is None:
        return None
    largest = np.zeros(rows.scale.shape[1])
    first = rows.take(np.arange(1)).block.X
    chunk = _CHUNK
    if not sparse.issparse(first):
        chunk = max(1, min(chunk, _ENTRIES // first.shape[1]))
    for start in range(0, rows.n_rows, chunk):
        part = rows.take(np.arange(start, min(start + chunk, rows.n_rows)))
        each = part.scale * squared_norms(part.block)
        largest = np.maximum(largest, each.max(axis=0))
    return bound * largest


def squared_norms(block: RowBlock) -> Array:
    """Squared norms (b, 1 or K) of rows as `RowBlock.push` sees them."""
    # Squares of columns far from zero cancel with those of their means.
    X, scale, mean = block.X.astype(np.float64), block.scale, block.mean
    p = X.shape[1]
    share = np.ones(p) if scale is None else 1.0 / scale**2
    if sparse.issparse(X):
        squares = X.multiply(X) @ share
    else:
        squares = (X * X) @ share
    if mean is not None:
        squares = squares - 2.0 * (X @ (mean * share)) + mean @ (mean * share)
    if block.head is not None:
        squares = squares + (block.head**2).sum(axis=1)
    squares = np.asarray(squares)[:, None]
    if block.free is None or block.shift is None:
        return squares
    # x - shift_k^T f, with <x, shift_k^T f> from one push of the shifts.
    F, shift = block.free, block.shift
    plain = RowBlock(X, mean, scale, block.head, None, None)
    mixed = plain.push(np.swapaxes(shift, -1, -2))
    inner = (mixed * F[:, None, :]).sum(axis=-1)
    own = np.einsum("bm,kmj,klj,bl->bk", F, shift, shift, F, optimize=True)
    return np.asarray(squares - 2.0 * inner + own)
