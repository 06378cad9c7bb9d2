"""Ridge at given variances: from moments (primal) or from the kernel (dual)."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skbilevel._typing import Array
from skbilevel.problems._dense_spd import factor_spd, preconditioned
from skbilevel.problems._kernel import KernelSet


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
    scaled = d[:, None] * cross[active]
    solution = linalg.cho_solve(
        (factor_spd(preconditioned(block, d)), True), scaled, check_finite=False
    )
    return np.asarray(d[:, None] * solution)


def solve_kernel(train: KernelSet, v: Array) -> Array:
    """Coefficients (c, p, t) of a training set through (n, n) kernels."""
    rows, t = train.rows, train.y.shape[1]
    lifted = np.zeros((rows.rows.n_rows, len(v), t))
    for c, row in enumerate(v):
        factor, _ = train.factor(rows.kernel(row))
        a = linalg.cho_solve(factor, train.y, check_finite=False)
        lifted[train.index, c] = train.root[:, None] * a
        train.lift(lifted[:, c])
    back = rows.rmatvec(lifted.reshape(len(lifted), -1)).reshape(-1, len(v), t)
    return np.asarray(v[:, :, None] * np.moveaxis(back, 1, 0))
