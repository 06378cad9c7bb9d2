"""Training sets as the guard sees them: the same questions, primal or dual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    GramOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems._evidence import KernelEvidence, MomentEvidence
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import (
    AugmentedRows,
    CellMoments,
    RowMoments,
    Swept,
    scaled,
    sweep,
    sweep_map,
    unit_metric,
)
from skbilevel.problems._resampled import KernelHalves, MomentHalves
from skbilevel.problems._ridge import solve_kernel, solve_moments
from skbilevel.problems._spectrum import (
    SharedStrength,
    Spectrum,
    refine_minimum,
)
from skbilevel.solvers.outer._gauss_newton import Deviations, GaussNewton

# From this many rows per column on, leave-one-out and GCV choose the same shared
# strength, and GCV needs no pass over the rows.
_GCV_FROM = 20


class Trainer(Protocol):
    """F training sets of the same problem.

    ``weight`` (F,) are sums of row weights, ``variance`` (F,) total variances of the
    swept targets.
    """

    weight: Array
    variance: Array

    def shared(self, criterion: str) -> SharedStrength:
        """The best shared strengths."""

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss at ``log_v`` (F, p)."""

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """Variances (F, c, p) and coefficients (F, c, p, t)."""

    def solve(self, v: Array) -> Array:
        """Coefficients (F, c, p, t) at variances (F, c, p)."""

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients (F, c, n_free + p, t) with those of the free columns first."""

    def variances(self, v: Array) -> Array:
        """Variances (F, c, p) for the columns as they are."""


@dataclass(frozen=True)
class MomentTrainer:
    """Primal: Gram matrices of all sets at once."""

    rows: AugmentedRows
    sets: Sequence[TrainingSet]
    source: CellMoments | RowMoments

    @cached_property
    def _moment(self) -> Array:
        return self.source.sums([s.rows for s in self.sets])

    @cached_property
    def train(self) -> Swept:
        """Swept moments of the training sets."""
        weight = np.array([self.rows.weight[s.rows].sum() for s in self.sets])
        return scaled(self._sweep(self._moment, self._moment, weight), self.metric)

    @cached_property
    def metric(self) -> Array:
        """Factors (F, p) of the columns; variances refer to scaled columns."""
        weight = np.array([self.rows.weight[s.rows].sum() for s in self.sets])
        if not self.rows.standardize:
            return np.ones((len(self.sets), self.rows.n_penalized))
        plain = self._sweep(self._moment, self._moment, weight).gram
        square = np.diagonal(plain, axis1=-2, axis2=-1)
        return unit_metric(np.maximum(square, 0.0), weight[:, None])

    def _sweep(self, by: Array, moment: Array, weight: Array) -> Swept:
        rows = self.rows
        free = sweep_map(by, rows.n_free)
        return sweep(moment, rows.n_free, rows.n_penalized, weight, free)

    @property
    def weight(self) -> Array:
        """Sums of row weights."""
        return self.train.weight

    @property
    def variance(self) -> Array:
        """Total variance of the swept targets."""
        return np.asarray(self.train.yy.sum(axis=-1) / self.weight)

    @cached_property
    def _half_objective(self) -> MomentHalves:
        H = len(self.sets[0].halves)
        sums = self.source.sums([a for s in self.sets for a, _ in s.halves])
        train = sums.reshape(len(self.sets), H, *sums.shape[1:])
        valid = self._moment[:, None] - train
        weight = self.rows.weight
        sizes = np.array(
            [[(weight[a].sum(), weight[b].sum()) for a, b in s.halves] for s in self.sets]
        )
        scale = sizes[..., 1].sum(axis=1) * self.variance
        metric = self.metric[:, None]
        return MomentHalves(
            scaled(self._sweep(train, train, sizes[..., 0]), metric),
            scaled(self._sweep(train, valid, sizes[..., 1]), metric),
            np.where(scale > 0, scale, 1.0),
        )

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss."""
        return self._half_objective.at(log_v)

    def descend_evidence(
        self,
        theta: Array,
        lam: float,
        penalty: Deviations,
        strengths: Any,
        n_steps: int,
        bounds: tuple[Array, Array],
    ) -> Array:
        """Fisher-scoring steps on the evidence and its hyperpenalty."""
        evidence = MomentEvidence(self.train)

        def model(x: Array) -> Any:
            return strengths.pull_back(evidence.at(strengths.expand(x)))

        return GaussNewton().steps(
            model, theta, model(theta), lam, penalty, n_steps, bounds
        )[0]

    def shared(self, criterion: str) -> SharedStrength:
        """Best shared ``log v`` of every set."""
        lam, Q = np.linalg.eigh(self.train.gram)
        found = [
            self._shared_of(f, lam[f], Q[f], criterion) for f in range(len(self.sets))
        ]
        return SharedStrength.of(found)

    def _shared_of(
        self, f: int, lam: Array, Q: Array, criterion: str
    ) -> tuple[float, int, float]:
        keep = lam > 1e-12 * max(lam.max(initial=0.0), np.finfo(float).tiny)
        lam, Q = lam[keep], Q[:, keep]
        n, p = len(self.sets[f].rows), self.rows.n_penalized
        many = n >= _GCV_FROM * p and n >= 2000
        use_rows = criterion == "loo" and not many
        spectrum = self._spectrum(f, lam, Q, use_rows)
        grid = spectrum.grid()
        if self.sets[f].shared is not None and criterion == "loo":
            value = self._resampled_shared(f, grid)
        elif use_rows:
            value = spectrum.leave_one_out(grid)
        else:
            value = spectrum.gcv(grid)
        return *refine_minimum(grid, value), spectrum.ceiling()

    def _spectrum(self, f: int, lam: Array, Q: Array, use_rows: bool) -> Spectrum:
        train, rows = self.train, self.rows
        rotated = (Q.T @ train.cross[f]) / np.sqrt(lam)[:, None]
        left = y = base = None
        if use_rows:
            index = self.sets[f].rows
            root = np.sqrt(rows.weight[index])[:, None]
            E, p = rows.free_block(index), rows.n_penalized
            turn = self.metric[f][:, None] * Q / np.sqrt(lam)
            on_free, y_free = train.free[f][:, :p], train.free[f][:, p:]
            whole = np.concatenate([-on_free @ turn, turn])
            left = root * rows.predict(index, whole)
            y = root * (rows.targets(index) - E @ y_free)
            free = root * E
            base = _base_leverage(free)
        return Spectrum(
            lam,
            rotated,
            left,
            y,
            base,
            float(train.yy[f].sum()),
            float(train.weight[f]),
            rows.n_free,
        )

    def _resampled_shared(self, f: int, grid: Array) -> Array:
        pairs = self.sets[f].shared or ()
        sums = self.source.sums([a for a, _ in pairs])
        weight = np.array([self.rows.weight[a].sum() for a, _ in pairs])
        train = scaled(self._sweep(sums, sums, weight), self.metric[f])
        rest = self._moment[f] - sums
        valid = scaled(self._sweep(sums, rest, weight), self.metric[f])
        value = np.full(len(grid), valid.yy.sum())
        lam, Q = np.linalg.eigh(train.gram)
        for h in range(len(weight)):
            turn = Q[h]
            shrink = np.exp(grid)[None, :] / (
                1.0 + np.maximum(lam[h], 0.0)[:, None] * np.exp(grid)[None, :]
            )
            H = turn.T @ valid.gram[h] @ turn
            for a, b in zip(
                (turn.T @ train.cross[h]).T, (turn.T @ valid.cross[h]).T, strict=True
            ):
                w = shrink * a[:, None]
                value += (w * (H @ w)).sum(axis=0) - 2.0 * b @ w
        return value

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """The elastic-net path of every set as strengths."""
        out = []
        for f, weight in enumerate(self.weight):
            oracle = GramOracle(
                self.train.gram[f],
                self.train.cross[f],
                float(self.train.yy[f].sum()),
                float(weight),
            )
            grid = relative_grid(float(weight), self.rows.n_penalized, n_points)
            out.append(elastic_net_strengths(oracle, grid, ratio))
        return np.stack([v for v, _ in out]), np.stack([w for _, w in out])

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (F, c, p)."""
        return np.stack(
            [
                solve_moments(gram, cross, row)
                for gram, cross, row in zip(
                    self.train.gram, self.train.cross, v, strict=True
                )
            ]
        )

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (F, p, t)."""
        return np.asarray(self.train.cross - self.train.gram @ w)

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        free = self.train.free[:, None]
        p = self.rows.n_penalized
        w = self.metric[:, None, :, None] * w
        head = free[..., p:] - free[..., :p] @ w
        return np.concatenate([head, w], axis=-2)

    def variances(self, v: Array) -> Array:
        """Variances (F, c, p) for the columns as they are."""
        return np.asarray(v * self.metric[:, None] ** 2)


def _base_leverage(free: Array) -> Array:
    """Diagonal of the hat matrix of the root-weighted unpenalized columns."""
    if free.shape[1] == 0:
        return np.zeros(len(free))
    Q, R = np.linalg.qr(free)
    if abs(np.diag(R)).min() > 1e-10 * abs(R).max(initial=1.0):
        return np.asarray((Q**2).sum(axis=1))
    U, size, _ = np.linalg.svd(free, full_matrices=False)
    return np.asarray((U[:, size > 1e-12 * size.max()] ** 2).sum(axis=1))


@dataclass(frozen=True)
class KernelTrainer:
    """Dual: one training set of fewer rows than columns."""

    kernel_rows: KernelRows
    set: TrainingSet

    @classmethod
    def of(cls, kernel_rows: KernelRows, training: TrainingSet) -> KernelTrainer:
        """The trainer of one set, its columns standardized where the rows ask."""
        if kernel_rows.rows.standardize:
            kernel_rows = kernel_rows.standardized(training.rows)
        return cls(kernel_rows, training)

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""
        return self.kernel_rows.rows

    @cached_property
    def weight(self) -> Array:
        """Sum of the row weights."""
        return np.array([self.kernel_rows.weight_of(self.set.rows)])

    @cached_property
    def _sweep_train(self) -> Array:
        return self.kernel_rows.sweep_map(self.set.rows)

    @cached_property
    def _y(self) -> Array:
        """Swept, root-weighted targets."""
        rows, train = self.kernel_rows, self.set.rows
        y = rows.y[train] - rows.free[train] @ (self._sweep_train @ rows.y[train])
        return np.asarray(rows.root_weight[train][:, None] * y)

    @cached_property
    def variance(self) -> Array:
        """Total variance of the swept targets."""
        return np.asarray((self._y**2).sum() / self.weight)

    @cached_property
    def _half_objective(self) -> KernelHalves:
        weight = sum(self.kernel_rows.weight_of(b) for _, b in self.set.halves)
        scale = weight * float(self.variance[0])
        return KernelHalves(
            self.kernel_rows, self.set.halves, scale if scale > 0 else 1.0
        )

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss."""
        return self._half_objective.at(log_v)

    def descend_evidence(
        self,
        theta: Array,
        lam: float,
        penalty: Deviations,
        strengths: Any,
        n_steps: int,
        bounds: tuple[Array, Array],
    ) -> Array:
        """Bounded quasi-Newton steps: no (p, p) matrix exists here."""
        evidence = KernelEvidence(self.kernel_rows, self.set.rows)
        weight = lam / theta.shape[-1]

        def objective(x: Array) -> tuple[float, Array]:
            value, grad = evidence.value_and_grad(strengths.expand(x[None])[0])
            if strengths.A is not None:
                grad = strengths.A.T @ grad
            deviation = penalty.project(x[None])[0]
            return (
                value + weight * float(deviation @ deviation),
                grad + 2.0 * weight * deviation,
            )

        result = minimize(
            objective,
            theta[0],
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([bounds[0][0], bounds[1][0]], axis=1),
            options={"maxiter": 3 * n_steps},
        )
        return np.asarray(result.x)[None]

    @cached_property
    def _plain_kernel(self) -> Array:
        return self.kernel_rows.kernel(np.ones(self.rows.n_penalized))

    def _swept_kernel(self, train: Array, index: Array) -> Array:
        """Kernel of rows ``index`` (training rows first) against ``train``."""
        rows = self.kernel_rows
        return rows.center(
            self._plain_kernel[np.ix_(index, train)],
            rows.free[index],
            rows.sweep_map(train),
            rows.free[train],
        )

    def shared(self, criterion: str) -> SharedStrength:
        """Best shared ``log v``."""
        train = self.set.rows
        root = self.kernel_rows.root_weight[train]
        K = root[:, None] * self._swept_kernel(train, train) * root
        lam, U = np.linalg.eigh(K)
        keep = lam > 1e-12 * max(lam.max(initial=0.0), np.finfo(float).tiny)
        lam, U = lam[keep], U[:, keep]
        spectrum = Spectrum(
            lam,
            U.T @ self._y,
            U,
            self._y,
            _base_leverage(root[:, None] * self.kernel_rows.free[train]),
            float((self._y**2).sum()),
            float(self.weight[0]),
            self.rows.n_free,
        )
        grid = spectrum.grid()
        if criterion == "gcv":
            value = spectrum.gcv(grid)
        elif self.set.shared is not None:
            value = self._resampled_shared(grid)
        else:
            value = spectrum.leave_one_out(grid)
        return SharedStrength.of([(*refine_minimum(grid, value), spectrum.ceiling())])

    def _resampled_shared(self, grid: Array) -> Array:
        rows = self.kernel_rows
        value = np.zeros(len(grid))
        for train, valid in self.set.shared or ():
            block = self._swept_kernel(train, np.r_[train, valid])
            root, m = rows.root_weight[train], len(train)
            lam, U = np.linalg.eigh(root[:, None] * block[:m] * root)
            project = rows.sweep_map(train) @ rows.y[train]
            y_train = root[:, None] * (rows.y[train] - rows.free[train] @ project)
            y_valid = rows.y[valid] - rows.free[valid] @ project
            cross = (block[m:] * root) @ U
            weight = rows.rows.weight[valid][:, None]
            c = np.exp(grid)[None, :]
            shrink = c / (1.0 + np.maximum(lam, 0.0)[:, None] * c)
            for a, b in zip((U.T @ y_train).T, y_valid.T, strict=True):
                residual = b[:, None] - cross @ (shrink * a[:, None])
                value += (weight * residual**2).sum(axis=0)
        return value

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """The elastic-net path as strengths."""
        oracle = KernelOracle(self.kernel_rows, self.set.rows, self._sweep_train)
        grid = relative_grid(float(self.weight[0]), self.rows.n_penalized, n_points)
        v, w = elastic_net_strengths(oracle, grid, ratio)
        return v[None], w[None]

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (1, c, p)."""
        return solve_kernel(self.kernel_rows, self.set.rows, v[0])[None]

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (1, p, t)."""
        oracle = KernelOracle(self.kernel_rows, self.set.rows, self._sweep_train)
        return oracle.gradient(np.arange(w.shape[1]), w[0])[None]

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        rows, train = self.kernel_rows, self.set.rows
        _, c, p, t = w.shape
        fitted = rows.matvec(np.moveaxis(w[0], 0, 1).reshape(p, -1))
        fitted = fitted[train].reshape(len(train), c, t)
        residual = rows.y[train][:, None] - fitted
        head = np.tensordot(self._sweep_train, residual, axes=1)
        w = rows.metric[:, None] * w
        return np.concatenate([np.moveaxis(head, 0, 1)[None], w], axis=-2)

    def variances(self, v: Array) -> Array:
        """Variances (1, c, p) for the columns as they are."""
        return np.asarray(v * self.kernel_rows.metric**2)


class KernelOracle:
    """Coordinate-descent oracle on rows that are never gathered."""

    def __init__(self, rows: KernelRows, train: Array, sweep_train: Array) -> None:
        self._rows, self._train, self._sweep = rows, train, sweep_train
        self.weight = rows.weight_of(train)
        self._y = self._center(rows.y[train])
        self.yy = float((rows.rows.weight[train][:, None] * self._y**2).sum())
        self.cross = self._pull(self._y)

    def _center(self, block: Array) -> Array:
        return np.asarray(
            block - self._rows.free[self._train] @ (self._sweep @ block)
        )

    def _pull(self, residual: Array) -> Array:
        """``X^T S r`` for swept columns and a swept residual."""
        rows, train = self._rows, self._train
        r = rows.rows.weight[train][:, None] * residual
        full = np.zeros((rows.rows.n_rows, r.shape[1]))
        full[train] = r - self._sweep.T @ (rows.free[train].T @ r)
        return rows.rmatvec(full)

    def _columns(self, active: Array) -> Array:
        return self._center(self._rows.columns(active)[self._train])

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some columns."""
        block = self._columns(active)
        block = block * self._rows.root_weight[self._train][:, None]
        return np.asarray(block.T @ block)

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns."""
        full = np.zeros((self._rows.rows.n_penalized, w.shape[1]))
        full[active] = w
        fitted = self._rows.matvec(full)[self._train]
        return self._pull(self._y - self._center(fitted))
