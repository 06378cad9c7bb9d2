"""The dual regime: a training set of fewer rows than columns, through its kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import KernelOracle
from skbilevel.model_selection._held_out_moments import HeldOutColumns
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._refits import positive
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.model_selection._strengths import Bounds, Strengths
from skbilevel.model_selection._training import LeastSquaresTrainer, Likelihood
from skbilevel.problems._evidence import KernelEvidence
from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._resampled import KernelHalves
from skbilevel.problems._ridge import solve_kernel
from skbilevel.problems._spectrum import (
    SharedOptimum,
    Spectrum,
    base_leverage,
    shared_by,
)
from skbilevel.solvers.outer._gauss_newton import descend


@dataclass(frozen=True)
class KernelTrainer(LeastSquaresTrainer):
    """Dual: one training set of fewer rows than columns."""

    kernel_rows: KernelRows
    set: TrainingSet
    likelihood: Likelihood | None = None

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

    @property
    def sets(self) -> list[TrainingSet]:
        """The training set, as a list."""
        return [self.set]

    @cached_property
    def weight(self) -> Array:
        """Sum of the row weights."""
        return np.array([self.kernel_rows.weight_of(self.set.rows)])

    @cached_property
    def _train(self) -> KernelSet:
        return KernelSet(self.kernel_rows, self.set.rows)

    def _variance(self) -> Array:
        return np.asarray((self._train.y**2).sum())

    @cached_property
    def _half_objective(self) -> KernelHalves:
        weight = sum(self.kernel_rows.weight_of(b) for _, b in self.set.halves)
        scale = weight * float(self.variance[0])
        return KernelHalves(
            self.kernel_rows, self.set.halves, scale if scale > 0 else 1.0
        )

    def evidence_path(
        self, recipe: Recipe, strengths: Strengths, theta: Array, bounds: Bounds
    ) -> list[Array]:
        """Bounded quasi-Newton steps: no (p, p) matrix exists here."""
        evaluate = self._evidence(strengths)
        penalty = strengths.deviations(self.rows.n_penalized)
        box, path = (bounds[0][0], bounds[1][0]), []
        n_steps = recipe.evidence_steps
        for lam in recipe.evidence:
            weight = lam / theta.shape[-1]

            def objective(x: Array, weight: float = weight) -> tuple[float, Array]:
                value, grad, _ = evaluate(x)
                deviation = penalty.project(x[None])[0]
                return (
                    value + weight * float(deviation @ deviation),
                    grad + 2.0 * weight * deviation,
                )

            curvature = abs(evaluate(theta[0])[2]) + 2.0 * weight
            theta = descend(objective, theta[0], curvature, n_steps, box)[None]
            path.append(theta)
        return path

    def _evidence(
        self, strengths: Strengths
    ) -> Callable[[Array], tuple[float, Array, Array]]:
        """Value, gradient and curvature in ``theta``; no point is evaluated twice."""
        evidence = KernelEvidence(self._train)
        if self.likelihood is not None:
            given = self.likelihood
            evidence = replace(evidence, noise=given.noise, unit=given.weight)
        known: dict[bytes, tuple[float, Array, Array]] = {}

        def evaluate(x: Array) -> tuple[float, Array, Array]:
            key = x.tobytes()
            if key not in known:
                log_v = strengths.expand(x[None])[0]
                at = evidence.point(np.exp(log_v))
                pair = at.grad, at.diagonal
                both = (strengths.reduce(each[None])[0] for each in pair)
                known[key] = (at.value, *both)
            return known[key]

        return evaluate

    def _plain_kernel(self) -> Array:
        """Kernel of all rows where all variances are one."""
        return self.kernel_rows.kernel(np.ones(self.rows.n_penalized))

    def shared(self, criterion: str) -> SharedOptimum:
        """Best shared ``log v``."""
        train, root = self._train, self._train.root
        K = root[:, None] * train.center(self._plain_kernel()) * root
        lam, U = np.linalg.eigh(K)
        lam, U = positive(lam, U)
        spectrum = Spectrum(
            lam,
            U.T @ self._train.y,
            U,
            self._train.y,
            base_leverage(root[:, None] * train.free),
            float((self._train.y**2).sum()),
            float(self.weight[0]),
            self.rows.n_free,
        )
        weight, resampled = self.rows.weight[self.set.rows], None
        if self.set.shared is not None:
            pairs, resampled = self.set.shared, self._resampled_shared
            weight = np.array([self.kernel_rows.weight_of(b) for _, b in pairs])
        return SharedOptimum.of([shared_by(spectrum, criterion, weight, resampled)])

    def _resampled_shared(self, grid: Array) -> Array:
        rows, pairs = self.kernel_rows, self.set.shared or ()
        value = np.zeros((len(pairs), len(grid)))
        for h, (index, valid) in enumerate(pairs):
            train, m = KernelSet(rows, index), len(index)
            block = train.center(self._plain_kernel(), np.r_[index, valid])
            lam, U = np.linalg.eigh(train.root[:, None] * block[:m] * train.root)
            y_valid = train.swept(rows.y, valid)
            cross = (rows.root_weight[valid][:, None] * block[m:] * train.root) @ U
            c = np.exp(grid)[None, :]
            shrink = c / (1.0 + np.maximum(lam, 0.0)[:, None] * c)
            for a, b in zip((U.T @ train.y).T, y_valid.T, strict=True):
                residual = b[:, None] - cross @ (shrink * a[:, None])
                value[h] += (residual**2).sum(axis=0)
        return value

    def oracle(self, f: int = 0) -> KernelOracle:
        """Least squares on the set, for coordinate descent."""
        return KernelOracle(self._train)

    def held_out(self, valid: Array) -> HeldOutColumns:
        """Errors on rows outside of the set, which its coefficients predict."""
        return HeldOutColumns(self._train, valid)

    def solve(self, v: Array) -> Array:
        """Coefficients at variances (1, c, p)."""
        return solve_kernel(self._train, v[0])[None]

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (1, p, t)."""
        return self.oracle().gradient(np.arange(w.shape[1]), w[0])[None]

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients with those of the free columns in front."""
        rows, train = self.kernel_rows, self.set.rows
        _, c, p, t = w.shape
        fitted = rows.matvec(np.moveaxis(w[0], 0, 1).reshape(p, -1))
        fitted = fitted[train].reshape(len(train), c, t)
        residual = rows.y[train][:, None] - fitted
        head = np.tensordot(self._train.sweep, residual, axes=1)
        w = rows.metric[:, None] * w
        return np.concatenate([np.moveaxis(head, 0, 1)[None], w], axis=-2)

    def variances(self, v: Array) -> Array:
        """Variances (1, c, p) for the columns as they are."""
        return np.asarray(v * self.kernel_rows.metric**2)
