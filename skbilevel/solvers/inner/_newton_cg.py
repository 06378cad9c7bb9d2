"""Newton's method with conjugate gradients: losses whose curvature varies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._datafit import DataFit, zeros
from skbilevel.problems._losses import facts_of
from skbilevel.problems._rows_datafit import RowCurvature, RowsDataFit
from skbilevel.problems._target_features import by_columns
from skbilevel.solvers._base import (
    Counts,
    InnerSolution,
    LinearSolution,
    check_requires,
)
from skbilevel.solvers.inner._curved_system import (
    CurvedSystem,
    Descent,
    Ridge,
    add,
    dot,
)

# A decrease below this share of the objective is rounding.
_ROUNDING = {4: 1e-6, 8: 1e-13}
_ARMIJO, _HALVINGS = 1e-4, 30
# A stage of a continuation: accuracy and most Newton steps.
_LOOSE, _FEW = 0.03, 8


@dataclass(frozen=True)
class NewtonCG:
    """Newton steps by preconditioned conjugate gradients, from the last solution.

    At least one step is made from any start: otherwise a small change of the
    strengths would leave the coefficients, and with them the outer loss, as they
    were, and an outer line search would see a flat function.

    Parameters
    ----------
    max_newton : int
        Most Newton steps of one solve.
    max_cg : int
        Most conjugate-gradient steps of one Newton step.
    max_adjoint : int
        Most conjugate-gradient steps of one solve with the Hessian.
    forcing : float
        Relative accuracy of a Newton step at first; it is tightened near the
        solution.
    continuation : float
        A solve without a start goes through strengths that are weakened by this
        factor at a time, from where penalty and curvature are alike.

    Notes
    -----
    Variances may be infinite (coefficients without penalty) or zero. The state is the
    coefficients. ``tol`` is the preconditioned norm of the gradient per root of the
    weight: its square is about twice the distance to the minimum in nats per row.
    Where classes are coupled, coefficients without penalty sum to zero over them.
    Memory is eight (p x t) arrays.
    """

    max_newton: int = 60
    max_cg: int = 200
    max_adjoint: int = 500
    forcing: float = 0.3
    continuation: float = 10.0
    requires = frozenset({"rows", "twice_differentiable"})

    def solve(
        self, fit: DataFit, v: Array, state: Any = None, *, tol: float = 1e-8
    ) -> InnerSolution:
        """Solve at variances v of shape (p,), or (p, t): every target's own."""
        check_requires(self, fit)
        assert isinstance(fit, RowsDataFit)
        if fit.batch:
            raise ValueError("NewtonCG solves one data fit at a time, not a stack.")
        if state is not None:
            return self._descend(fit, v, np.asarray(state), tol, self.max_newton)
        W, counts = zeros(fit), Counts()
        for scale in self._scales(fit, v):
            part = self._descend(fit, scale * v, W, _LOOSE, _FEW)
            W, counts = part.W, counts + part.counts
        found = self._descend(fit, v, W, tol, self.max_newton)
        return replace(found, counts=counts + found.counts)

    def _scales(self, fit: RowsDataFit, v: Array) -> Array:
        """Factors of a cold start: weak strengths need too many steps from zero."""
        eta = fit.at(zeros(fit)).eta
        v = v if v.ndim == 1 else v.mean(axis=1)
        finite = np.isfinite(v)
        diagonal = fit.design.column_squares(RowCurvature.of(fit, eta).diagonal)
        size = diagonal[finite].mean(axis=1)
        total = float(size.sum())
        level = float(v[finite] @ size**2) / total if total > 0 else 0.0
        if level <= 1.0:
            return np.empty(0)
        steps = int(np.ceil(np.log(level) / np.log(self.continuation)))
        return np.asarray(self.continuation ** -np.arange(float(steps), 0.0, -1.0))

    def _descend(
        self, fit: RowsDataFit, v: Array, W: Array, tol: float, max_newton: int
    ) -> InnerSolution:
        at = Iterate.of(fit, v, W)
        root = np.sqrt(max(float(fit.weight_sum), 1e-300))
        decrement, n_hvp, n_newton = np.inf, 0, 0
        while True:
            curvature = RowCurvature.of(fit, at.eta)
            system = CurvedSystem.of(fit, curvature, at.ridge, self.max_adjoint)
            near = min(decrement, at.size(system.scale)) / root
            rtol = min(self.forcing, np.sqrt(near))
            found = system.descend(-at.grad, None, rtol, self.max_cg)
            old, at = at, at.moved(found)
            n_hvp, n_newton = n_hvp + found.n_iter, n_newton + 1
            decrement = at.size(system.scale)
            converged = decrement <= tol * root
            if converged or at is old or n_newton >= max_newton:
                break
        # The preconditioner may be that of the point before.
        system = replace(system, curvature=RowCurvature.of(fit, at.eta))
        products = (2 * n_hvp + 2 * n_newton + 2) * fit.n_targets
        counts = Counts(n_hvp=n_hvp, n_products=products)
        pull = -at.data_grad
        residual = at.ridge.restrict(-at.grad)
        solution = LinearSolution(at.W, pull, residual, converged, counts, n_newton)
        return InnerSolution(solution, system, at.W, counts)


@record
class Iterate:
    """Coefficients, their predictions, and what is made from them when asked for.

    Parameters
    ----------
    fit : RowsDataFit
        Rows of the training set.
    ridge : Ridge
        The penalty.
    W : ndarray of shape (p, t)
        Coefficients, in the precision of products with the rows.
    eta : ndarray of shape (n, t)
        Predictions.
    """

    fit: RowsDataFit
    ridge: Ridge
    W: Array
    eta: Array

    @classmethod
    def of(cls, fit: RowsDataFit, v: Array, W: Array) -> Iterate:
        """At coefficients ``W``; one product with the rows."""
        eta = fit.predict(W)
        ridge = Ridge.of(by_columns(v), eta.dtype)
        W = ridge.restrict(np.array(W, dtype=eta.dtype, order="C"))
        return cls(fit, ridge, W, eta)

    @cached_property
    def value(self) -> float:
        """The objective, summed in double precision."""
        return self._data_value(self.eta) + self.ridge.value(self.W)

    def _data_value(self, eta: Array) -> float:
        loss = self.fit.loss.value(eta, self.fit.target).sum(axis=1)
        return float(self.fit.weight @ loss)

    @cached_property
    def data_grad(self) -> Array:
        """Gradient of the data fit."""
        grad = self.fit.loss.grad(self.eta, self.fit.target)
        return self.fit.pull(self.fit.weight[:, None] * grad)

    @cached_property
    def grad(self) -> Array:
        """Gradient of the objective; zero where ``v = 0``."""
        grad = self.ridge.inverse * self.W
        grad += self.data_grad
        return self.ridge.restrict(grad)

    def size(self, scale: Array) -> float:
        """Norm of the gradient under a preconditioner."""
        return float(np.sqrt(max(dot(self.grad, scale * self.grad), 0.0)))

    def moved(self, found: Descent) -> Iterate:
        """Along a direction as far as the objective drops; itself if it never does."""
        d, image = self._gauge(found.x), found.image
        slope = dot(self.grad, d)
        cross, square = self.ridge.inner(self.W, d), self.ridge.value(d)
        noise = _ROUNDING[self.W.itemsize] * max(abs(self.value), 1e-300)
        penalty = self.ridge.value(self.W)

        def value_at(step: float) -> tuple[float, Array]:
            eta = self.eta + step * image
            value = self._data_value(eta) + penalty + step * (cross + step * square)
            return value, eta

        step = 1.0
        value, eta = value_at(step)
        for _ in range(_HALVINGS):
            # Values cost no product with the rows: far beyond the region where the
            # curvature holds, half a step is often better than one that just passes.
            half, half_eta = value_at(0.5 * step)
            enough = value <= self.value + _ARMIJO * step * slope + noise
            if enough and not half < value:
                W = self.W.copy()
                add(W, step, d)
                new = Iterate(self.fit, self.ridge, W, eta)
                # A cached property of a frozen value may be filled in advance.
                new.__dict__["value"] = value
                return new
            step, value, eta = 0.5 * step, half, half_eta
        return self

    def _gauge(self, d: Array) -> Array:
        """Free coefficients sum to zero over coupled classes: no prediction moves."""
        free = self.ridge.free
        if len(free) and facts_of(self.fit.loss).coupled:
            d[free] -= d[free].mean(axis=1, keepdims=True)
        return d
