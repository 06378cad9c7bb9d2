"""What rows leave open about coefficients at given strengths: their covariance.

Rows are ``z = (e, x)``, unpenalized columns in front, with weights ``W`` (that of the
row times the curvature of its loss) and variances ``v = 1 / alpha``. Then ::

    C = (Z^T W Z + diag(0, 1 / v))^-1

is the covariance of the coefficients over the dispersion: of their posterior, if
``N(0, dispersion v_j)`` are priors of them (Wahba 1983, Silverman 1985). The
unpenalized columns are swept out, ``x~ = x - M^T e``, and with ``D = diag(sqrt v)`` ::

    z^T C z = e^T (E^T W E)^+ e + x~^T S x~
    S = D (I + D X~^T W X~ D)^-1 D                            for p <= n
    S = D^2 - D^2 X~^T (W^-1 + X~ D^2 X~^T)^-1 X~ D^2         for p > n
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import factor_spd, inverse_of_lower, preconditioned
from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._moments import AugmentedRows, sweep, sweep_map
from skbilevel.problems._sweep import RANK

# Pseudo-rows of coupled classes that are held at once, in numbers.
_BLOCK = 1 << 22


def row_forms(Z: Array, C: Array) -> Array:
    """``z_i^T C z_i`` of every row, for a symmetric C."""
    return np.asarray(np.einsum("ij,jk,ik->i", Z, C, Z))


@record
class Covariance:
    """The covariance C of coefficients, as what its quadratic forms need.

    Parameters
    ----------
    free_half : ndarray of shape (m, m)
        ``|F e|^2`` is what is not known of the unpenalized columns.
    free_map : ndarray of shape (m, k)
        ``M``: the penalized columns regressed on them.
    root : ndarray of shape (k,)
        Square roots of the variances, all positive.
    half : ndarray of shape (r, k)
        ``H``: the form of x~ is ``|H x~|^2``, or ``|D x~|^2 - |H x~|^2`` in the dual.
    dual : bool
        Which of the two.
    df : float
        Effective degrees of freedom of the model, the unpenalized ones included.
    """

    free_half: Array
    free_map: Array
    root: Array
    half: Array
    dual: bool
    df: float

    @classmethod
    def of(cls, rows: AugmentedRows, v: Array) -> Covariance:
        """At positive variances (k,) of the penalized columns of weighted rows."""
        rows = replace(rows, y=np.empty((rows.n_rows, 0)), y_shift=np.empty(0))
        if rows.n_rows < rows.n_penalized:
            return _from_kernel(rows, v)
        every = np.arange(rows.n_rows)
        return cls.from_moment(rows.moment(every), rows.n_free, np.sqrt(v))

    @classmethod
    def from_moment(cls, moment: Array, n_free: int, root: Array) -> Covariance:
        """From ``sum_i w_i z_i z_i^T``, for rows that nobody reads, too."""
        free = sweep_map(moment, n_free)
        swept = sweep(moment, n_free, len(root), np.empty(0), free)
        L = factor_spd(preconditioned(swept.gram, root))
        inverse = inverse_of_lower(L)
        rank, free_half = _half_of_inverse(moment[:n_free, :n_free])
        df = rank + len(root) - float((inverse**2).sum())
        return cls(free_half, free, root, inverse * root, False, df)

    def variances(self, E: Array, X: Any) -> Array:
        """``z^T C z`` of contrasts: E (n, m) and X (n, k), dense or sparse."""
        out = np.asarray(((E @ self.free_half.T) ** 2).sum(axis=1))
        moved = E @ self.free_map
        inner = X @ self.half.T - moved @ self.half.T
        inner = np.asarray((np.asarray(inner) ** 2).sum(axis=1))
        if not self.dual:
            return np.asarray(out + inner)
        X = X.toarray() if sparse.issparse(X) else X
        prior = (((X - moved) * self.root) ** 2).sum(axis=1)
        return np.asarray(out + np.maximum(prior - inner, 0.0))


def _from_kernel(rows: AugmentedRows, v: Array) -> Covariance:
    """From rows that are fewer than columns."""
    seen = KernelRows.of(rows)
    every, root, E = KernelSet(seen, np.arange(rows.n_rows)), np.sqrt(v), seen.free
    (L, _), _ = every.factor(seen.kernel(v))
    inverse = inverse_of_lower(L)
    X = seen.X.toarray() if sparse.issparse(seen.X) else np.asarray(seen.X)
    free, swept = every.sweep @ X, every.swept(X)
    gram = (E * rows.weight[:, None]).T @ E
    rank, free_half = _half_of_inverse(gram)
    df = rank + rows.n_rows - float((inverse**2).sum())
    return Covariance(free_half, free, root, (inverse @ swept) * v, True, df)


def _half_of_inverse(gram: Array) -> tuple[int, Array]:
    """Rank, and F with ``F^T F = gram^+``, for columns that may be collinear."""
    size = np.sqrt(np.maximum(np.diagonal(gram), 0.0))
    size = np.where(size > 0.0, size, 1.0)
    values, turn = np.linalg.eigh(gram / size / size[:, None])
    known = values > RANK**2 * max(1.0, values.max(initial=0.0))
    inverse = np.where(known, 1.0 / np.sqrt(np.where(known, values, 1.0)), 0.0)
    return int(known.sum()), inverse[:, None] * turn.T / size


@record
class CoupledCovariance:
    """The covariance of the coefficients of classes with a softmax.

    The second derivative of a row is ``sum_a u_a u_a^T`` over the classes a, with
    ``u_a = sqrt(p_a) (delta_a - p)`` times the row. So classes are pseudo-rows of one
    model with a block of columns for each class. A constant that all classes share
    changes no probability: unpenalized columns have one block less, in an orthonormal
    basis of what is left.

    Parameters
    ----------
    stacked : Covariance
        Of that model.
    kept : ndarray of bool, shape (k, c)
        Which columns each class has.
    """

    stacked: Covariance
    kept: Array

    @classmethod
    def of(cls, rows: AugmentedRows, v: Array, P: Array) -> CoupledCovariance:
        """At variances (k, c) and probabilities (n, c)."""
        c, k, m = P.shape[1], rows.n_penalized, rows.n_free
        kept = v > 0.0
        Q = _orthonormal(c)
        root = np.sqrt(v.T[kept.T])
        n_free, width = m * (c - 1), m * (c - 1) + len(root)
        if rows.n_rows * c >= len(root):
            moment = _folded(_class_moments(rows, P, width), Q, m, kept)
            return cls(Covariance.from_moment(moment, n_free, root), kept)
        index, parts = np.arange(rows.n_rows), []
        E, X = rows.free_block(index), rows.penalized_block(index, np.arange(k))
        weight = np.sqrt(rows.weight[:, None] * P)
        for a in range(c):
            U = weight[:, a, None] * (np.eye(c)[a] - P)
            parts.append(_stacked(U @ Q, U, E, X, kept))
        block = np.concatenate(parts)
        pseudo = AugmentedRows(
            block,
            np.empty((len(block), 0)),
            np.ones(len(block)),
            np.arange(n_free),
            np.arange(n_free, width),
            False,
            np.zeros(width),
            np.empty(0),
        )
        return cls(Covariance.of(pseudo, root**2), kept)

    def variances(self, E: Array, X: Any) -> Array:
        """``z^T C z`` of contrasts, (n, c): each class with the columns of all."""
        c = self.kept.shape[1]
        Q, n_free = _orthonormal(c), E.shape[1] * (c - 1)
        X = X.toarray() if sparse.issparse(X) else X
        out = np.empty((len(E), c))
        for a in range(c):
            own = np.eye(c)[a]
            made = _stacked(
                np.tile(Q[a], (len(E), 1)), np.tile(own, (len(E), 1)), E, X, self.kept
            )
            out[:, a] = self.stacked.variances(made[:, :n_free], made[:, n_free:])
        return out


def _class_moments(rows: AugmentedRows, P: Array, width: int) -> Array:
    """``sum_i s_i p_a (delta_ab - p_b) z z^T`` (c, c, m + k, m + k) of classes a, b."""
    c, d = P.shape[1], rows.n_free + rows.n_penalized
    out = np.zeros((c, c, d, d))
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, rows.n_rows, step):
        index = np.arange(start, min(start + step, rows.n_rows))
        X = rows.penalized_block(index, np.arange(rows.n_penalized))
        Z = np.hstack([rows.free_block(index), X])
        for a in range(c):
            own = rows.weight[index] * P[index, a]
            for b in range(a + 1):
                out[a, b] += (Z.T * (own * (float(a == b) - P[index, b]))) @ Z
    for a in range(c):
        out[:a, a] = out[a, :a]
    return out


def _folded(H: Array, Q: Array, m: int, kept: Array) -> Array:
    """The moment of the stacked model: free columns by ``Q``, others that are kept."""
    k, c = kept.shape
    n_free = m * (c - 1)
    free = np.einsum("ai,bj,abef->iejf", Q, Q, H[..., :m, :m]).reshape(n_free, n_free)
    cross = np.einsum("ai,abef->iebf", Q, H[..., :m, m:]).reshape(n_free, c * k)
    own = H[..., m:, m:].transpose(0, 2, 1, 3).reshape(c * k, c * k)
    used = np.flatnonzero(kept.T)
    cross = cross[:, used]
    return np.block([[free, cross], [cross.T, own[np.ix_(used, used)]]])


def _orthonormal(c: int) -> Array:
    """Orthonormal columns (c, c - 1) that are orthogonal to a constant."""
    return np.asarray(np.linalg.qr(np.eye(c) - 1.0 / c)[0][:, : c - 1])


def _stacked(free: Array, own: Array, E: Array, X: Array, kept: Array) -> Array:
    """Rows of the stacked model: blocks of E times ``free``, and of X times ``own``."""
    blocks: Iterator[Array] = (E * each[:, None] for each in free.T)
    rest = (
        X[:, mask] * each[:, None] for each, mask in zip(own.T, kept.T, strict=True)
    )
    return np.concatenate([*blocks, *rest], axis=1)
