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
from dataclasses import replace
from functools import cached_property

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._losses import CurvedLoss, Loss
from skbilevel.problems._target_features import Features as TargetFeatures
from skbilevel.problems._target_features import (
    by_target,
    is_shared,
    predict,
    pull,
    take_rows,
)

# A row that determines a prediction alone has no prediction without it.
LEAST_FREEDOM = 1e-10
# Predictions are moved no farther: a Newton step that long predicts nothing.
LONGEST = 30.0


@record
class Features:
    """The full fit in whitened features.

    Parameters
    ----------
    Z : ndarray of shape (n, r), (t, n, r) or Scaled
        Features, the unpenalized ones first; shared by the targets, or of each its
        own.
    inverse : ndarray of shape (r t, r t)
        Inverse of the Hessian in them.
    eta : ndarray of shape (n, t)
        Predictions at the solution.
    y, weight : ndarray of shape (n, t) and (n,)
        Targets and weights.
    loss : CurvedLoss
        The loss inside.
    """

    Z: TargetFeatures
    inverse: Array
    eta: Array
    y: Array
    weight: Array
    loss: CurvedLoss

    @cached_property
    def row_grad(self) -> Array:
        """``r``."""
        return np.asarray(self.weight[:, None] * self.loss.grad(self.eta, self.y))

    @cached_property
    def curvature(self) -> Array:
        """``C`` as blocks (n, t, t)."""
        apply = self.loss.second_derivative(self.eta, self.y)
        units = np.eye(self.eta.shape[1])
        blocks = [apply(np.broadcast_to(e, self.eta.shape)) for e in units]
        return np.asarray(self.weight[:, None, None] * np.stack(blocks, axis=-1))

    def third(self, U: Array, V: Array) -> Array:
        """``K[U, V]`` for U and V of shape (n, t)."""
        apply = self.loss.third_derivative(self.eta, self.y)
        return np.asarray(self.weight[:, None] * apply(U, V))

    def take(self, rows: slice) -> Features:
        """Some of the rows, with the Hessian of all of them."""
        Z, eta, y = take_rows(self.Z, rows), self.eta[rows], self.y[rows]
        return replace(self, Z=Z, eta=eta, y=y, weight=self.weight[rows])

    def through(self, a: Array) -> tuple[Array, Array]:
        """``H^-1 Z^T a`` of shape (r, t), and ``a - C G a``."""
        through = (self.inverse @ pull(self.Z, a).reshape(-1)).reshape(-1, a.shape[1])
        return through, a - apply_blocks(self.curvature, predict(self.Z, through))


@record
class RowTerms:
    """A function of the full fit, and what its gradient in the variances is made of.

    Parameters
    ----------
    value : float
        The function.
    row_grad : ndarray of shape (n, t)
        ``a - C G a``: what the coefficients' dependence on the variances contributes.
    square : callable
        The terms (b, t) of the second sum of the criterion's module from blocks of
        columns (n, b) of X.
    through : ndarray of shape (r, t)
        ``H^-1 Z^T a``.
    inside : ndarray of shape (r, t)
        What ``square`` of the columns of Z would be, times their penalty: 1 but for
        unpenalized ones.
    """

    value: float
    row_grad: Array
    square: Callable[[Array], Array]
    through: Array
    inside: Array


@record
class LeftOut(RowTerms):
    """What leaving out each row gives; ``value`` is the weighted sum of outer losses.

    Parameters
    ----------
    eta : ndarray of shape (n, t)
        Predictions of every row without it.
    jacobian : callable or None
        Derivative (n, b) of ``eta`` in the variances of blocks of columns (n, b),
        given their ``u`` (b,); without the third derivative. One target only.
    """

    eta: Array
    jacobian: Callable[[Array, Array], Array] | None = None


def leave_out_single(at: Features, outer: Loss) -> LeftOut:
    """One target: every block is a number."""
    Z, c, r = np.asarray(at.Z), at.curvature[:, 0, 0], at.row_grad[:, 0]
    ZS = Z @ at.inverse
    h = np.einsum("ij,ij->i", ZS, Z)
    D = np.maximum(1.0 - c * h, LEAST_FREEDOM)
    delta = r * h / D
    short = np.abs(delta) <= LONGEST
    delta = np.clip(delta, -LONGEST, LONGEST)
    eta = at.eta + delta[:, None]
    value = float(at.weight @ outer.value(eta, at.y)[:, 0])
    f = at.weight * outer.grad(eta, at.y)[:, 0]
    phi, rho = np.where(short, f / D, f), np.where(short, r / D, 0.0)
    Q = (ZS * (phi * rho)[:, None]).T @ ZS
    bend = np.where(short, h * phi * delta, 0.0) - np.einsum("ij,ij->i", Z @ Q, Z)
    a = phi[:, None] + at.third(bend[:, None], np.ones_like(eta))
    through, row_grad = at.through(a)
    # N^T Z = Z H^-1 P with P the diagonal of the penalty, for any Z.
    inside = ((phi * rho) @ ZS**2)[:, None]

    slope = np.where(short, 1.0 / D, 1.0)[:, None]
    bow = np.where(short, r / D**2, 0.0)[:, None]

    def turned(X: Array) -> Array:
        return np.asarray(X - ZS @ (Z.T @ (c[:, None] * X)))

    def square(X: Array) -> Array:
        return np.asarray(((phi * rho) @ turned(X) ** 2)[:, None])

    def jacobian(X: Array, u: Array) -> Array:
        XN = turned(X)
        return np.asarray(XN * (slope * u + bow * XN))

    return LeftOut(value, row_grad, square, through, inside, eta, jacobian)


# Matrices of the classes, one for each row, are made in blocks of this size.
_BLOCK_BYTES = 1 << 25


def leave_out_coupled(at: Features, outer: Loss) -> LeftOut:
    """Several classes, rows and columns in blocks; see the criterion's module."""
    (n, r), t = at.Z.shape[-2:], at.eta.shape[1]
    parts = [_Part.of(at.take(rows), outer) for rows in slices_of(n, 8 * r * t * t)]
    all_of = _Part.joined(parts)
    # Sphi and Srho have n r t numbers each, Q the size of the Hessian.
    Q = all_of.Sphi.reshape(n, -1).T @ all_of.Srho.reshape(n, -1)
    through, row_grad = at.through(all_of.a - contracted(at, Q))
    inside = np.einsum("ijc,ijc->jc", all_of.Sphi, all_of.Srho)

    def square(X: Array) -> Array:
        out = np.empty((X.shape[1], t))
        for columns in slices_of(X.shape[1], 8 * t * max(4 * n, r * t)):
            out[columns] = all_of.square(at, X[:, columns])
        return out

    return LeftOut(all_of.value, row_grad, square, through, inside, all_of.eta)


@record
class _Part:
    """Some rows left out; names as in the criterion's module, ``Sphi = H^-1 Z phi``."""

    eta: Array
    value: float
    a: Array
    phi: Array
    rho: Array
    Sphi: Array
    Srho: Array

    @classmethod
    def of(cls, at: Features, outer: Loss) -> _Part:
        """Rows of which the blocks of ``Z H^-1`` fit in memory."""
        C, r = at.curvature, at.row_grad
        ZS, B = blocks_of(at.Z, at.inverse, r.shape[1])
        M = np.linalg.inv(np.eye(r.shape[1]) - (1.0 - LEAST_FREEDOM) * (B @ C))
        delta = apply_blocks(M @ B, r)
        short = np.abs(delta).max(axis=1, keepdims=True) <= LONGEST
        delta = np.clip(delta, -LONGEST, LONGEST)
        eta = at.eta + delta
        value = float(at.weight @ outer.value(eta, at.y).sum(axis=1))
        f = at.weight[:, None] * outer.grad(eta, at.y)
        phi = np.where(short, apply_blocks(M.transpose(0, 2, 1), f), f)
        rho = np.where(short, r + apply_blocks(C, delta), 0.0)
        a = phi + np.where(short, at.third(apply_blocks(B, phi), delta), 0.0)
        Sphi, Srho = (_weighted(ZS, each) for each in (phi, rho))
        return cls(eta, value, a, phi, rho, Sphi, Srho)

    @classmethod
    def joined(cls, parts: list[_Part]) -> _Part:
        """All rows."""
        names = ("eta", "a", "phi", "rho", "Sphi", "Srho")
        stacked = {k: np.concatenate([getattr(p, k) for p in parts]) for k in names}
        return cls(value=sum(part.value for part in parts), **stacked)

    def square(self, at: Features, X: Array) -> Array:
        """``sum_i [X^T N e_i phi_i]_jt [X^T N e_i rho_i]_jt`` of some columns."""
        K = crossed(X, at.curvature, at.Z)
        left = X[:, :, None] * self.phi[:, None, :] - _through(K, self.Sphi)
        right = X[:, :, None] * self.rho[:, None, :] - _through(K, self.Srho)
        return np.asarray(np.einsum("ijc,ijc->jc", left, right))


def slices_of(n: int, nbytes: int) -> Iterator[slice]:
    """Slices of n items, each of which takes so many bytes."""
    step = max(1, _BLOCK_BYTES // max(nbytes, 1))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def apply_blocks(blocks: Array, D: Array) -> Array:
    """(n, t, t) times (n, t)."""
    return np.asarray((blocks @ D[:, :, None])[:, :, 0])


def blocks_of(Z: TargetFeatures, S: Array, t: int) -> tuple[Array, Array]:
    """Rows of ``Z S`` as (n, t, r, t), and the diagonal blocks of ``Z S Z^T``."""
    n, r = Z.shape[-2:]
    if isinstance(Z, np.ndarray) and is_shared(Z):
        ZS = (Z @ S.reshape(r, t * r * t)).reshape(n, t, r, t)
        return ZS, np.einsum("ickd,ik->icd", ZS, Z)
    blocks = S.reshape(r, t, r * t).swapaxes(0, 1)
    ZS = np.stack([own @ block for own, block in zip(Z, blocks, strict=True)], axis=1)
    ZS = ZS.reshape(n, t, r, t)
    B = [np.einsum("ick,ik->ic", ZS[..., d], own) for d, own in enumerate(Z)]
    return ZS, np.stack(B, axis=-1)


def _weighted(ZS: Array, D: Array) -> Array:
    """``sum_c D_ic ZS_ic``, shape (n, r, t)."""
    n, t, r, _ = ZS.shape
    return np.asarray((D[:, None, :] @ ZS.reshape(n, t, r * t)).reshape(n, r, t))


def contracted(at: Features, Q: Array) -> Array:
    """Third derivatives of every row, contracted with the blocks of ``Z Q Z^T``."""
    (n, r), t = at.Z.shape[-2:], at.eta.shape[1]
    out = np.empty((n, t))
    for rows in slices_of(n, 8 * r * t * t):
        part = at.take(rows)
        omega = blocks_of(part.Z, Q, t)[1]
        units = (np.broadcast_to(e, part.eta.shape) for e in np.eye(t))
        out[rows] = sum(part.third(e, omega[:, c]) for c, e in enumerate(units))
    return out


def crossed(X: Array, C: Array, Z: TargetFeatures) -> Array:
    """``X^T C Z`` as (b, t, r, t)."""
    t = C.shape[1]
    out = np.empty((X.shape[1], t, Z.shape[-1], t))
    for c in range(t):
        for d, own in enumerate(by_target(Z, t)):
            out[:, c, :, d] = (X * C[:, c, d, None]).T @ own
    return out


def _through(K: Array, S: Array) -> Array:
    """``K S_i`` of every row, shape (n, b, t)."""
    b, t = K.shape[:2]
    flat = S.reshape(len(S), -1) @ K.reshape(b * t, -1).T
    return np.asarray(flat.reshape(len(S), b, t))


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
