"""Ridge at given variances: from moments (primal) or from the kernel (dual)."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of, factor_spd
from skbilevel.problems._kernel import KernelRows, dual_factor


def solve_moments(gram: Array, cross: Array, v: Array) -> Array:
    """Coefficients (c, p, t) at variances ``v`` of shape (c, p); zeros stay exact."""
    out = np.zeros((len(v), *cross.shape))
    for row, w in zip(v, out, strict=True):
        active = np.flatnonzero(row > 0)
        if active.size:
            w[active] = _solve_active(gram, cross, row, active)
    return out


def _solve_active(gram: Array, cross: Array, v: Array, active: Array) -> Array:
    d = np.sqrt(v[active])
    block = gram if len(active) == len(v) else gram[np.ix_(active, active)]
    K = d[:, None] * block * d
    diagonal_of(K)[...] += 1.0
    scaled = d[:, None] * cross[active]
    solution = linalg.cho_solve((factor_spd(K), True), scaled, check_finite=False)
    return np.asarray(d[:, None] * solution)


def solve_kernel(rows: KernelRows, train: Array, v: Array) -> Array:
    """Coefficients (c, p, t) of a training set through (n, n) kernels."""
    sweep_train, E = rows.sweep_map(train), rows.free[train]
    root = rows.root_weight[train]
    y = root[:, None] * (rows.y[train] - E @ (sweep_train @ rows.y[train]))
    lifted = np.zeros((rows.rows.n_rows, len(v), y.shape[1]))
    for c, row in enumerate(v):
        kernel = rows.kernel(row)[np.ix_(train, train)]
        factor, _ = dual_factor(rows.center(kernel, E, sweep_train, E), root)
        a = root[:, None] * linalg.cho_solve(factor, y, check_finite=False)
        lifted[train, c] = a - sweep_train.T @ (E.T @ a)
    back = rows.rmatvec(lifted.reshape(len(lifted), -1))
    back = back.reshape(-1, len(v), y.shape[1])
    return np.asarray(v[:, :, None] * np.moveaxis(back, 1, 0))
