"""Damped Gauss-Newton steps on a sum of squares plus a penalty on deviations.

For training sets f = 1..F at once, in strengths ``theta`` of shape (F, g)::

    F(theta) + (lam / g) |R theta|^2,     R = I - Z (Z^T Z)^-1 Z^T

``Z`` spans the directions that are not penalized: the common level of all log
strengths, or a function of feature metadata. A step solves, with the Gauss-Newton
matrix ``N`` of F and damping ``mu``::

    (N + (lam / g) R + mu I) step = -(grad F + 2 (lam / g) R theta) / 2

It is clipped to ``max_step`` and kept only where the penalized value drops, so the
sets never see each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array


@dataclass(frozen=True)
class DeviationPenalty:
    """The penalty ``(lam / g) |R theta|^2``; ``basis`` (F, g, q) is orthonormal."""

    basis: Array

    def project(self, theta: Array) -> Array:
        """``R theta``."""
        inner = np.swapaxes(self.basis, -1, -2) @ theta[..., None]
        return np.asarray(theta - (self.basis @ inner)[..., 0])

    def matrix(self) -> Array:
        """``R`` as (F, g, g)."""
        eye = np.eye(self.basis.shape[-2])
        return np.asarray(eye - self.basis @ np.swapaxes(self.basis, -1, -2))


@dataclass(frozen=True)
class GaussNewton:
    """Options of the step.

    Parameters
    ----------
    damping : float
        ``mu`` relative to ``lam / g``.
    max_step : float
        Largest change of a log strength in one step.
    cg_tol, cg_iter : float, int
        Accuracy where the matrix is only available through products.
    """

    damping: float = 0.1
    max_step: float = 3.0
    cg_tol: float = 1e-2
    cg_iter: int = 50

    def steps(
        self,
        model: Callable[[Array], Any],
        theta: Array,
        point: Any,
        lam: float,
        penalty: DeviationPenalty,
        n_steps: int,
        bounds: tuple[Array, Array],
    ) -> tuple[Array, Any]:
        """``n_steps`` steps from ``theta``; returns the new ``theta`` and model there.

        ``point`` is the model at ``theta``: it is evaluated once a step, never twice
        at a place.
        """
        for _ in range(n_steps):
            theta, point = self._step(model, theta, point, lam, penalty, bounds)
        return theta, point

    def _step(
        self,
        model: Callable[[Array], Any],
        theta: Array,
        point: Any,
        lam: float,
        penalty: DeviationPenalty,
        bounds: tuple[Array, Array],
    ) -> tuple[Array, Any]:
        weight = lam / theta.shape[-1]
        deviation = penalty.project(theta)
        rhs = -(0.5 * point.grad + weight * deviation)
        step = self._solve(point, rhs, weight, penalty)
        step = np.clip(step, -self.max_step, self.max_step)
        trial = np.clip(theta + step, *bounds)
        new = model(trial)
        old_value = point.value + weight * (deviation**2).sum(axis=-1)
        moved = penalty.project(trial)
        new_value = new.value + weight * (moved**2).sum(axis=-1)
        # Values are relative to the variance: below this a drop is rounding.
        better = new_value < old_value - 1e-12
        if better.all():
            return trial, new
        theta = np.where(better[:, None], trial, theta)
        return theta, point.choose(better, new)

    def _solve(
        self, point: Any, rhs: Array, weight: float, penalty: DeviationPenalty
    ) -> Array:
        damping = self.damping * weight
        if point.normal is not None:
            system = point.normal + weight * penalty.matrix()
            index = np.arange(rhs.shape[-1])
            system[..., index, index] += damping
            return np.asarray(np.linalg.solve(system, rhs[..., None])[..., 0])

        def product(x: Array) -> Array:
            return np.asarray(
                point.product(x) + weight * penalty.project(x) + damping * x
            )

        return _conjugate_gradient(product, rhs, self.cg_tol, self.cg_iter)


def _conjugate_gradient(
    product: Callable[[Array], Array], rhs: Array, tol: float, max_iter: int
) -> Array:
    """Plain conjugate gradients on arrays of shape (1, g)."""
    x = np.zeros_like(rhs)
    r = rhs.copy()
    d = r.copy()
    rho = start = float((r * r).sum())
    for _ in range(max_iter):
        if rho <= tol**2 * start or rho == 0.0:
            break
        q = product(d)
        step = rho / float((d * q).sum())
        x = x + step * d
        r = r - step * q
        rho_new = float((r * r).sum())
        d = r + (rho_new / rho) * d
        rho = rho_new
    return x
