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

    Vectors are orthogonalized against all earlier ones; there are few of them.
    """
    rng = np.random.default_rng(0)
    q = rng.standard_normal(shape)
    q /= np.linalg.norm(q, axis=-2, keepdims=True)
    basis, alphas, betas = [q], [], []
    steps = min(_STEPS, shape[-2])
    for step in range(steps):
        r = apply(basis[-1])
        alpha = (r * basis[-1]).sum(axis=(-2, -1))
        alphas.append(alpha)
        for _ in range(2):
            for known in basis:
                r = r - known * (known * r).sum(axis=-2, keepdims=True)
        beta = np.linalg.norm(r, axis=-2, keepdims=True)
        if step + 1 == steps or not (beta > 1e-12 * np.abs(alpha).max()).all():
            break
        betas.append(beta[..., 0, 0])
        basis.append(r / beta)
    size = len(alphas)
    T = np.zeros((*shape[:-2], size, size))
    for i, alpha in enumerate(alphas):
        T[..., i, i] = alpha
    for i, beta in enumerate(betas[: size - 1]):
        T[..., i, i + 1] = T[..., i + 1, i] = beta
    return np.asarray(_MARGIN * np.linalg.eigvalsh(T)[..., -1])


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
