"""Exact coefficients of a training set at any variances, primal or dual."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._glm_shared import at_strength, is_narrow
from skbilevel.problems import Loss, as_design
from skbilevel.problems._dense_spd import diagonal_of, factor_spd
from skbilevel.problems._kernel import Kernels
from skbilevel.problems._losses import facts_of
from skbilevel.problems._target_features import (
    Features,
    Scaled,
    by_columns,
    is_shared,
    prepend,
    pull,
    solve_transposed,
)
from skbilevel.solvers._whitened import minimize_whitened
from skbilevel.solvers._whitened_problem import Whitened, gram, is_dense
from skbilevel.solvers._whitened_stack import (
    WhitenedStack,
    minimize_alone,
    minimize_stack,
)

# Accuracy of candidates, as a share of the loss of a row, and of what is published.
_ROUGH, _FINE = 1e-5, 1e-14
# Accuracy that L-BFGS reaches before rounding stops it; Newton's method goes further.
_STACKED = 1e-10
# With so many rows for each column candidates are solved together.
_TOGETHER = 16
# Quasi-Newton steps after which Newton's method is asked.
_PATIENCE = 30
# Added to a kernel, relative to its mean diagonal, so that it has a factor.
_JITTER = 1e-12


@dataclass(frozen=True)
class State:
    """A solution that others start from: heads, predictions, and two sets of numbers.

    Coefficients are ``V X^T dual``, and those of the features that were solved for are
    ``T``.
    """

    head: Array
    eta: Array
    dual: Array
    T: Array


@dataclass(frozen=True)
class Null:
    """The unpenalized columns alone: predictions and mean loss."""

    eta: Array
    loss: float


@dataclass(frozen=True)
class TrainingProblem:
    """``sum_i s_i loss(o_i + e_i B + x_i W, y_i) + 0.5 sum_j |W_j|^2 / v_j``.

    Parameters
    ----------
    columns : ndarray or `DeviceArray` of shape (n, m + p)
        Unpenalized columns, then penalized ones; y, weight and offset lie where they
        do.
    free : ndarray of shape (n, m)
        The unpenalized columns, in memory.
    y, weight, offset : ndarray
        Targets (n, t), weights (n,) and offsets (n, t) or None.
    loss : Loss
        The loss.
    """

    columns: Array
    free: Array
    y: Array
    weight: Array
    offset: Array | None
    loss: Loss

    @cached_property
    def X(self) -> Array:
        """The penalized columns (n, p)."""
        return self.columns[:, self.n_free :]

    @property
    def n_free(self) -> int:
        """Number m of unpenalized columns."""
        return int(self.free.shape[1])

    @property
    def _alone(self) -> Whitened:
        """The unpenalized columns alone."""
        return self._whitened(self.columns[:, : self.n_free])

    def _whitened(self, Z: Features) -> Whitened:
        return Whitened(
            Z,
            self.n_free,
            self.y,
            self.weight,
            self.loss,
            self.offset,
        )

    @cached_property
    def null(self) -> Null:
        """The unpenalized columns alone."""
        found = minimize_whitened(self._alone, tol=1e-12)
        loss = self.weight @ self.loss.value(found.eta, self.y).sum(axis=1)
        # Targets that are all the same leave nothing to compare a loss with.
        near = abs(self.y - self.y[:1]) <= 1e-12 * abs(self.y[:1])
        same = self._in_nats or bool(near.all())
        least = 1e-10 * self.bend_at(found.eta) if same else 1e-300
        return Null(found.eta, max(float(loss / self.weight.sum()), least))

    @property
    def _in_nats(self) -> bool:
        return facts_of(self.loss).noise(self.y.shape[1]) is not None

    def bend_at(self, eta: Array) -> float:
        """Mean curvature; one for a log likelihood, whose unit is known."""
        if self._in_nats:
            return 1.0
        curvature = self.loss.curvature(eta, self.y).mean(axis=1)
        return float(self.weight @ curvature / self.weight.sum()) or 1.0

    def rotated(self) -> Whitened:
        """Columns of which no more are left than there are rows."""
        n, p = self.X.shape
        Z = self.columns
        if p > n:
            Z = np.hstack([self.free, self._in_fewer_columns])
        return self._whitened(Z)

    @cached_property
    def _in_fewer_columns(self) -> Array:
        """``Z`` with ``Z Z^T = X X^T``; a path and the solution at its end use it."""
        lam, U = np.linalg.eigh(self.kernels.plain)
        keep = lam > 1e-12 * max(float(lam[-1]), 1e-300)
        return np.asarray(U[:, keep] * np.sqrt(lam[keep]))

    def scale(self, rows: Whitened) -> float:
        """Largest eigenvalue of the Hessian of the loss at the null model."""
        d = self.weight * self.loss.curvature(self.null.eta, self.y).mean(axis=1)
        Z: Any = rows.Z
        Z = Z[:, rows.n_free :]
        mean = d @ Z / max(float(d.sum()), 1e-300) if rows.n_free else 0.0
        Z = np.sqrt(d)[:, None] * (Z - mean)
        return float(np.linalg.eigvalsh(Z.T @ Z)[-1]) if Z.shape[1] else 1.0

    @cached_property
    def kernels(self) -> Kernels:
        """Kernels of the rows, for more columns than rows."""
        return Kernels(as_design(self.X))

    @cached_property
    def largest_square(self) -> float:
        """Largest weighted squared norm of a column, in the unit of the loss."""
        square = float((self.weight @ self.X**2).max(initial=0.0))
        return square * self.bend_at(self.null.eta)

    def solve_shared(self, v: float, start: Array | None = None) -> State:
        """The solution at one variance for all columns."""
        rotated = self.rotated()
        # Rotations of other rows are other ones.
        if rotated.Z is not self.columns:
            start = None
        everything = np.arange(len(self.y))
        found = minimize_whitened(at_strength(rotated, everything, v), start, tol=1e-9)
        return self._state(found.T, found.eta)

    def _state(self, T: Array, eta: Array, Z: Array | None = None) -> State:
        """A solution; ``Z`` are factors of kernels.

        At the solution ``dual`` is minus the gradient of the rows. Short of it the
        coefficients of that gradient predict other rows than ``Z T``, by as much as the
        kernel amplifies its error, while those of ``Z^-T T`` predict the same.
        """
        m = self.n_free
        if Z is None:
            dual = -self.weight[:, None] * self.loss.grad(eta, self.y)
        else:
            dual = solve_transposed(Z, T[m:])
        return State(T[:m], eta, dual, T)

    def solve_together(self, v: Array, start: State) -> list[State]:
        """Rough solutions at variances (c, p), all at once from that of `solve_shared`.

        Newton's method goes on with what quasi-Newton steps do not finish.
        """
        scale = np.hstack([np.ones((len(v), self.n_free)), np.sqrt(v)])
        # Where one strength is that of all, working coefficients are those of columns.
        T = np.zeros_like(scale)
        np.divide(start.T[:, 0], scale, out=T, where=scale > 0.0)
        stack, T = self._stack(scale), T[:, None]
        # The last error of quasi-Newton steps is not squared, as that of Newton's is.
        tol, G = 0.1 * _ROUGH, self._gram(start)
        found = minimize_stack(stack, 1.0, T, tol=tol, gram=G, max_iter=_PATIENCE)
        out = []
        for each, own, eta in zip(v, found.T, found.eta, strict=True):
            state = self._state(np.ascontiguousarray(own.T), eta.T)
            if not found.converged:
                known = np.concatenate([state.head, self.coefficients(each, state)])
                state = self.solve(each, start, rough=True, known=known)
            out.append(state)
        return out

    def _stack(self, scale: Array) -> WhitenedStack:
        """Problems of one target that scale (c, m + p) the columns."""
        n, c = len(self.y), len(scale)
        y = np.broadcast_to(self.y.T, (c, 1, n))
        weight = np.broadcast_to(self.weight, (c, n))
        return WhitenedStack(
            self.columns, self.n_free, y, weight, self.loss, self.offset, scale
        )

    def _gram(self, state: State) -> Array:
        d = self.weight * self.loss.curvature(state.eta, self.y)[:, 0]
        return gram(self.columns, d)

    @property
    def pays_together(self) -> bool:
        """Whether Hessians of all candidates are small beside the rows.

        It does not depend on how many candidates there are, so that more of them leave
        the others as they are but for rounding and the last error.
        """
        n_rows = float(self.weight.sum())
        return self.y.shape[1] == 1 and _TOGETHER * self.columns.shape[1] <= n_rows

    def solve(
        self, v: Array, start: State, *, rough: bool, known: Array | None = None
    ) -> State:
        """The solution at variances (p,), or (p, t) of every class, from another one.

        At a solution ``T = Z^T dual``, whatever the variances are, which is what a
        start is made from. ``known`` are coefficients (m + p, t) of a rough solution,
        which are a better one.
        """
        problem = self._whitened(self._features(v))
        factors, Z = None, problem.Z
        if self.in_rows(len(_active(v))) and isinstance(Z, np.ndarray):
            factors = Z[..., self.n_free :]
        T = self._start(v, known)
        if T is None:
            T = pull(Z, start.dual)
            T[: len(start.head)] = start.head
        tol = _ROUGH if rough else _FINE
        narrow = is_narrow(self.y.shape[1], self.n_free)
        if narrow and is_shared(problem.Z) and not is_dense(problem):
            # Their last error is not squared, as that of Newton's steps is.
            found = minimize_alone(problem, T, max(0.1 * tol, _STACKED))
            if rough:
                return self._state(found.T, found.eta, factors)
            T = found.T
        found = minimize_whitened(problem, T, tol=tol)
        return self._state(found.T, found.eta, factors)

    def _start(self, v: Array, known: Array | None) -> Array | None:
        """Working coefficients from coefficients; None where they are not columns'."""
        active, own = _active(v), by_columns(v)[_active(v)]
        if known is None or self.in_rows(len(active)):
            return None
        head, w = np.split(known, [self.n_free])
        with np.errstate(divide="ignore", invalid="ignore"):
            T = np.where(own > 0.0, w[active] / np.sqrt(own), 0.0)
        return np.concatenate([head, T])

    def _features(self, v: Array) -> Features:
        """Free columns, and Z with ``Z Z^T = X diag(v) X^T``, as few as can be."""
        active = _active(v)
        if not self.in_rows(len(active)):
            scale = np.sqrt(by_columns(v)[active])
            scale = np.concatenate([np.ones((self.n_free, scale.shape[1])), scale])
            Z = Scaled(self._columns(active), scale)
            return Z if v.ndim > 1 or self.y.shape[1] == 1 else Z[0]
        roots = [_root(self._kernel(each)) for each in by_columns(v).T]
        return prepend(self.free, roots[0] if v.ndim == 1 else np.stack(roots))

    def _columns(self, active: Array) -> Array:
        if len(active) == self.X.shape[1]:
            return self.columns
        return self.columns[:, np.r_[: self.n_free, self.n_free + active]]

    def _kernel(self, v: Array) -> Array:
        """``X diag(v) X^T``; one that a criterion has used is not computed again."""
        active = np.flatnonzero(v)
        if len(active) == len(v):
            return self.kernels.at(v).copy()
        Z = self.X[:, active] * np.sqrt(v[active])
        return np.asarray(Z @ Z.T)

    def in_rows(self, p: int) -> bool:
        """Whether a matrix of rows takes the place of one of p columns.

        Rows count by weight where they are about as many as columns: repeating a row
        is then the same, digit by digit, as giving it a weight.
        """
        n = len(self.y)
        return p > n and (p > float(self.weight.sum()) or p > 2 * n)

    def coefficients(self, v: Array, state: State) -> Array:
        """Coefficients (p, t) of a solution."""
        active, own = _active(v), by_columns(v)
        out = np.zeros((len(v), self.y.shape[1]))
        if not self.in_rows(len(active)):
            T = state.T[self.n_free :]
            T = T if len(T) == len(active) else T[active]
            out[active] = np.sqrt(own[active]) * T
        else:
            out = own * (self.X.T @ state.dual)
        return out

    def head(self, w: Array, start: Array) -> tuple[Array, Array]:
        """Best coefficients (m, t) of the unpenalized columns, and predictions."""
        eta = self.X @ w
        if self.offset is not None:
            eta = eta + self.offset
        problem = replace(self._alone, offset=eta)
        found = minimize_whitened(problem, start, tol=1e-12)
        return found.T, found.eta

    def dual_gradient(self, w: Array, start: Array) -> Array:
        """``-X^T loss'`` at coefficients (p, t)."""
        _, eta = self.head(w, start)
        grad = self.weight[:, None] * self.loss.grad(eta, self.y)
        return np.asarray(-self.X.T @ grad)


def _active(v: Array) -> Array:
    """Columns that some target has."""
    return np.flatnonzero(by_columns(v).any(axis=1))


def _root(K: Array) -> Array:
    """Lower factor of a kernel, which is overwritten."""
    # A class without features has a kernel of zeros.
    diagonal_of(K)[...] += max(_JITTER * float(np.trace(K)) / len(K), 1e-300)
    return np.tril(factor_spd(K))
