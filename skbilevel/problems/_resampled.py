"""Validation loss of ridge over resampled halves, with its Gauss-Newton model.

For pairs (T, V) of training and validation rows and prior variances ``v``::

    F(v) = sum_h |e_h|^2 / scale,   e_h = sqrt(s_V) (y_V - X_V w_h(v))

    d e_h / d log v = -X_V (I - S_h G_T) diag(w_h),   S_h = (G_T + diag(1/v))^-1

In the coordinates of the prior, with ``d = sqrt(v)``, ``K = I + d G_T d`` and
``omega = K^-1 d C_T`` (so ``w = d omega``), no term is divided by ``v``::

    J^T J = [K^-1 (d G_V d) K^-1] * (omega omega^T)
    J^T e = -omega * [K^-1 d (C_V - G_V w)]

Both are sums over halves and targets; the products ``*`` are elementwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import linalg

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import QuadraticDataFit
from skbilevel.problems._dense_spd import inverse_and_logdet, preconditioned
from skbilevel.problems._kernel import KernelRows, KernelSet, dual_factor

# From this many columns on a batch of matrices no longer fits into the cache.
_BATCH_BELOW = 64


@record
class LeastSquaresModel:
    """Value, gradient and curvature model in ``log v`` of F objectives at once.

    ``F(log v + d) ~ value + grad . d + d . product(d)``; ``normal`` (F, p, p) is the
    matrix of ``product`` where it is formed, None where only products are.
    """

    value: Array
    grad: Array
    product: Callable[[Array], Array]
    normal: Array | None

    @classmethod
    def of(cls, value: Array, grad: Array, normal: Array) -> LeastSquaresModel:
        """A model whose matrix is formed."""
        return cls(value, grad, lambda x: (normal @ x[..., None])[..., 0], normal)

    def choose(self, take: Array, other: LeastSquaresModel) -> LeastSquaresModel:
        """The other model where ``take`` (F,) is true, this one elsewhere."""
        if self.normal is None or other.normal is None:
            return other if take.all() else self
        return LeastSquaresModel.of(
            np.where(take, other.value, self.value),
            np.where(take[:, None], other.grad, self.grad),
            np.where(take[:, None, None], other.normal, self.normal),
        )

    def pull_back(self, A: Array) -> LeastSquaresModel:
        """The same objective in ``theta``, with ``log v = offset + A theta``.

        ``A`` has shape (F, p, g) or (p, g).
        """
        At = np.swapaxes(A, -1, -2)
        grad = (At @ self.grad[..., None])[..., 0]
        if self.normal is not None:
            return LeastSquaresModel.of(self.value, grad, At @ self.normal @ A)

        def product(x: Array) -> Array:
            inner = self.product((A @ x[..., None])[..., 0])
            return np.asarray((At @ inner[..., None])[..., 0])

        return LeastSquaresModel(self.value, grad, product, None)


@record
class MomentHalves:
    """Halves given by moments: arrays (F, H, ...) for F training sets at once.

    Parameters
    ----------
    train, valid : QuadraticDataFit
        Moments of the training and validation rows of every half.
    scale : ndarray of shape (F,)
        Divides the sums of squares.

    Notes
    -----
    Cost of one evaluation: one inverse and two products of (p, p) matrices a half.
    """

    train: QuadraticDataFit
    valid: QuadraticDataFit
    scale: Array

    def only(self, h: int, share: float) -> MomentHalves:
        """One half, the loss relative to ``share`` of the scale."""
        train, valid = (m.take(np.s_[:, h : h + 1]) for m in (self.train, self.valid))
        return MomentHalves(train, valid, share * self.scale)

    def at(self, log_v: Array) -> LeastSquaresModel:
        """Model at ``log_v`` of shape (F, p)."""
        d = np.exp(0.5 * log_v)
        F, H, p, _ = self.train.gram.shape
        value, grad, normal = np.zeros(F), np.zeros((F, p)), np.zeros((F, p, p))
        # Small matrices in one batch, large ones one by one: they stay in the cache.
        step = H if p < _BATCH_BELOW else 1
        sets = (
            [slice(0, F)] if p < _BATCH_BELOW else [slice(f, f + 1) for f in range(F)]
        )
        for f in sets:
            for h in range(0, H, step):
                part = (f, slice(h, h + step))
                pair = self.train.take(part), self.valid.take(part)
                terms = _terms(*pair, d[f, None])
                value[f] += terms[0]
                grad[f] += terms[1]
                normal[f] += terms[2]
        value /= self.scale
        grad *= -2.0 / self.scale[:, None]
        normal /= self.scale[:, None, None]
        return LeastSquaresModel.of(value, grad, normal)


def _terms(
    train: QuadraticDataFit, valid: QuadraticDataFit, d: Array
) -> tuple[Array, Array, Array]:
    """Sums over some halves of ``|e|^2``, ``-J^T e`` and ``J^T J``."""
    inverse = inverse_and_logdet(preconditioned(train.gram, d))[0]
    omega = inverse @ (d[..., None] * train.cross)
    w = d[..., None] * omega
    grad_w = valid.cross - valid.gram @ w
    fit = (w * (valid.cross + grad_w)).sum(axis=-2)
    value = (valid.yy - fit).sum(axis=(-1, -2))
    pull = inverse @ (d[..., None] * grad_w)
    grad = (omega * pull).sum(axis=(1, 3))
    inner = inverse @ (d[..., :, None] * valid.gram * d[..., None, :])
    outer = omega @ np.swapaxes(omega, -1, -2)
    return value, grad, np.einsum("fhij,fhij->fij", inner @ inverse, outer)


@record
class KernelHalves:
    """Halves of one training set given by rows, for p > n: never a (p, p) matrix.

    ``J`` is applied through ``X`` and (n, n) kernels:
    ``J d = -[x_V - K_VT Q x_T]`` with ``x = X (w * d)`` and
    ``Q = sqrt(s) (I + sqrt(s) K_TT sqrt(s))^-1 sqrt(s)``.
    """

    rows: KernelRows
    pairs: Sequence[tuple[Array, Array]]
    scale: float

    def only(self, h: int, share: float) -> KernelHalves:
        """One half, the loss relative to ``share`` of the scale."""
        return replace(self, pairs=self.pairs[h : h + 1], scale=share * self.scale)

    def at(self, log_v: Array) -> LeastSquaresModel:
        """Model at ``log_v`` of shape (1, p)."""
        v = np.exp(log_v[0])
        kernel = self.rows.kernel(v)
        halves = [
            _KernelHalf.at(KernelSet(self.rows, train), kernel, valid)
            for train, valid in self.pairs
        ]
        n, t = self.rows.rows.n_rows, self.rows.rows.n_targets
        H = len(halves)
        lifted = np.zeros((n, H, 2 * t))
        for h, half in enumerate(halves):
            half.lift_dual(lifted[:, h, :t])
            half.lift(half.residual, lifted[:, h, t:])
        back = self.rows.rmatvec(lifted.reshape(n, -1)).reshape(-1, H, 2 * t)
        w = v[:, None, None] * back[..., :t]
        value = sum(float((half.residual**2).sum()) for half in halves) / self.scale
        grad = -2.0 * (w * back[..., t:]).sum(axis=(1, 2)) / self.scale

        def product(x: Array) -> Array:
            eta = self.rows.matvec((w * x[0][:, None, None]).reshape(len(v), -1))
            eta = eta.reshape(n, H, t)
            out = np.zeros((n, H, t))
            for h, half in enumerate(halves):
                half.lift(half.project(eta[:, h]), out[:, h])
            down = self.rows.rmatvec(out.reshape(n, -1)).reshape(-1, H, t)
            return np.asarray((w * down).sum(axis=(1, 2)) / self.scale)[None]

        return LeastSquaresModel(np.array([value]), grad[None], product, None)


@record
class _KernelHalf:
    """One half at one ``v``: factor, dual coefficients, validation residual."""

    train: KernelSet
    valid: Array
    cross: Array
    factor: tuple[Array, bool]
    dual: Array
    residual: Array

    @classmethod
    def at(cls, train: KernelSet, kernel: Array, valid: Array) -> _KernelHalf:
        block = train.center(kernel, np.r_[train.index, valid])
        m, root = len(train.index), train.rows.root_weight[valid]
        factor, _ = dual_factor(block[:m], train.root)
        cross = root[:, None] * block[m:] * train.root
        scaled = linalg.cho_solve(factor, train.y, check_finite=False)
        residual = train.swept(train.rows.y, valid) - cross @ scaled
        dual = train.root[:, None] * scaled
        return cls(train, valid, cross, factor, dual, residual)

    def lift_dual(self, out: Array) -> None:
        """Row coefficients ``a`` such that ``w = v * X^T a``."""
        out[self.train.index] = self.dual
        self.train.lift(out)

    def project(self, eta: Array) -> Array:
        """``x_V - K_VT Q x_T`` of swept rows, times the root of the weights."""
        own = self.train.swept(eta)
        inner = linalg.cho_solve(self.factor, own, check_finite=False)
        return np.asarray(self.train.swept(eta, self.valid) - self.cross @ inner)

    def lift(self, r: Array, out: Array) -> None:
        """The transpose of `project`, written to the rows of ``out``."""
        inner = linalg.cho_solve(self.factor, self.cross.T @ r, check_finite=False)
        out[self.valid] = self.train.rows.root_weight[self.valid][:, None] * r
        out[self.train.index] = -self.train.root[:, None] * inner
        self.train.lift(out)
