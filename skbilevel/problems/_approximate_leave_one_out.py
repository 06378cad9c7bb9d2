"""Approximate leave-one-out: one Newton step from the full fit for every row.

At the solution let ``r_i = s_i loss'_i`` and ``C_i = s_i loss''_i`` (t x t), H the
Hessian, ``G = X H^-1 X^T`` in blocks of (t x t) and ``B_i = G_ii``. Leaving out row i
with its weight moves its own prediction, to second order, by::

    delta_i = M_i B_i r_i,   M_i = (I - B_i C_i)^-1

The loss at ``eta_i + delta_i`` has an exact gradient in the variances. With f the
gradient of that loss, ``phi_i = M_i^T f_i``, ``rho_i = r_i + C_i delta_i`` and the
third derivative ``K_k`` of the loss of row k::

    dF/deta_k = a_k = phi_k + K_k[B_k phi_k, delta_k]
                      - sum_i K_k[G_ki phi_i, G_ki rho_i]
    dF/dv_j   = u_j . [X^T (a - C G a)]_j
                + sum_i [X^T N e_i phi_i]_j . [X^T N e_i rho_i]_j,   N = I - C G

where ``u = -X^T r`` is ``w / v`` at the solution. Nothing is divided by a variance.
The products ``.`` are sums over the targets; where every target has variances of its
own, ``dF/dv_jt`` is a single term of them.
``G = Z H^-1 Z^T`` for any whitened features Z (`Features`), so that no matrix has
more rows or columns than the smaller side of X, times t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._left_out import (
    Features,
    LeftOut,
    RowTerms,
    leave_out_single,
)
from skbilevel.problems._left_out_classes import leave_out_coupled
from skbilevel.problems._losses import Loss

Columns = Callable[[], Iterator[tuple[slice, Array]]]


def leave_out(at: Features, outer: Loss) -> LeftOut:
    """Leave out every row; one target and several take different sums."""
    single = at.eta.shape[1] == 1
    return leave_out_single(at, outer) if single else leave_out_coupled(at, outer)


def gradient(
    left: RowTerms,
    pull: Array,
    columns: Columns,
    rows: slice | Array,
    whitened: tuple[Array, Array] | None,
) -> Array:
    """``dF/dv`` (p, t), whose sums over the targets are for variances that they share.

    Parameters
    ----------
    left : RowTerms
        What leaving out rows gave, or another function of the full fit.
    pull : ndarray of shape (p, t)
        ``u``.
    columns : callable
        Makes blocks of the columns of X.
    rows : slice or ndarray of int
        Rows of X that Z has.
    whitened : (index, scale) or None
        Which columns of X, times which numbers (r, 1), are the columns of Z; their
        part then needs no product with X.
    """
    out, rest = np.zeros(pull.shape), np.ones(len(pull), dtype=bool)
    if whitened is not None:
        index, scale = whitened
        linear = pull[index] * left.through
        out[index] = linear / scale + left.inside / scale**2
        rest[index] = False
    if not rest.any():
        return out
    for block, X in columns():
        used = np.flatnonzero(rest[block])
        if used.size:
            X = X[rows][:, used]
            index = used + block.start
            out[index] = pull[index] * (X.T @ left.row_grad) + left.square(X)
    return out
