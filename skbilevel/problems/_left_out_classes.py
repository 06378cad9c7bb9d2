"""Leaving out rows where the targets of a row are coupled, as classes are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._left_out import LEAST_FREEDOM, LONGEST, Features, LeftOut
from skbilevel.problems._losses import Loss
from skbilevel.problems._target_features import Features as TargetFeatures
from skbilevel.problems._target_features import by_target, is_shared, predict, pull

# Matrices of the classes, one for each row, are made in blocks of this size.
_BLOCK_BYTES = 1 << 25


def leave_out_coupled(at: Features, outer: Loss) -> LeftOut:
    """Several classes, rows and columns in blocks; see the criterion's module."""
    (n, r), t = at.Z.shape[-2:], at.eta.shape[1]
    parts = [_Part.of(at.take(rows), outer) for rows in slices_of(n, 8 * r * t * t)]
    all_of = _Part.joined(parts)
    # Sphi and Srho have n r t numbers each, Q the size of the Hessian.
    Q = all_of.Sphi.reshape(n, -1).T @ all_of.Srho.reshape(n, -1)
    a = all_of.a - contracted(at, Q)
    through = (at.inverse @ pull(at.Z, a).reshape(-1)).reshape(r, t)
    row_grad = a - apply_blocks(at.curvature, predict(at.Z, through))
    inside = np.einsum("ijc,ijc->jc", all_of.Sphi, all_of.Srho)

    def square(X: Array) -> Array:
        out = np.empty((X.shape[1], t))
        for columns in slices_of(X.shape[1], 8 * t * max(4 * n, r * t)):
            out[columns] = all_of.square(at, X[:, columns])
        return out

    return LeftOut(all_of.value, row_grad, square, through, inside, all_of.eta)


@dataclass(frozen=True)
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
