"""Steps of the guard: damped Gauss-Newton, or a few of a quasi-Newton method.

Gauss-Newton steps are on a sum of squares plus a penalty on deviations. For training
sets f = 1..F at once, in strengths ``theta`` of shape (F, g)::

    F(theta) + (lam / g) |R theta|^2,     R = I - Z (Z^T Z)^-1 Z^T

``Z`` spans the directions that are not penalized: the common level of all log
strengths, or a function of feature metadata. A step solves, with the Gauss-Newton
matrix ``N`` of F and damping ``mu``::

    (N + (lam / g) R + mu I) step = -(grad F + 2 (lam / g) R theta) / 2

No component of it is longer than ``_LONGEST``, and it is kept only where the penalized
value drops, so the sets never see each other.

Quasi-Newton steps start from a guess of the curvature. scipy's L-BFGS-B starts from a
multiple of the identity and spends its first evaluations on finding it. Where the
curvature is known up to a low-rank part, as for a penalty plus the diagonal of a Fisher
matrix, the first step is already right: five evaluations do what took fifteen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of, solve_spd
from skbilevel.solvers._limited_memory import InverseHessian
from skbilevel.solvers._pcg import coupled_gradients

# ``mu`` relative to ``lam / g``, and the largest change of a component in one step.
_DAMPING, _LONGEST = 0.1, 3.0
# Accuracy and steps where the matrix is only known through products.
_CG_TOL, _CG_ITER = 1e-2, 50


@record
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


def gauss_newton_path(
    model: Callable[[Array], Any],
    theta: Array,
    lambdas: Sequence[float],
    penalty: DeviationPenalty,
    n_steps: int,
    bounds: tuple[Array, Array],
) -> list[Array]:
    """``theta`` after ``n_steps`` steps at every ``lam``, each on from the one before.

    ``model`` is evaluated once a step, never twice at a place.
    """
    path = []
    point = model(theta) if len(lambdas) else None
    for lam in lambdas:
        for _ in range(n_steps):
            theta, point = _step(model, theta, point, lam, penalty, bounds)
        path.append(theta)
    return path


def _step(
    model: Callable[[Array], Any],
    theta: Array,
    point: Any,
    lam: float,
    penalty: DeviationPenalty,
    bounds: tuple[Array, Array],
) -> tuple[Array, Any]:
    """The point after a step, and the model there."""
    weight = lam / theta.shape[-1]
    deviation = penalty.project(theta)
    rhs = -(0.5 * point.grad + weight * deviation)
    step = np.clip(_solve(point, rhs, weight, penalty), -_LONGEST, _LONGEST)
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


def _solve(point: Any, rhs: Array, weight: float, penalty: DeviationPenalty) -> Array:
    damping = _DAMPING * weight
    if point.normal is not None:
        system = point.normal + weight * penalty.matrix()
        diagonal_of(system)[...] += damping
        return solve_spd(system, rhs)

    def product(x: Array) -> Array:
        out = point.product(x) + weight * penalty.project(x) + damping * x
        return np.asarray(out)

    step, _, _ = coupled_gradients(
        product, rhs, lambda r: r, tol=_CG_TOL, max_iter=_CG_ITER
    )
    return step


# Share of the predicted decrease that a step must bring, and evaluations in a row that
# may fail before the descent ends.
_ARMIJO, _TRIALS = 1e-4, 4

Objective = Callable[[Array], tuple[float, Array]]


def descend(
    objective: Objective,
    x: Array,
    curvature: Array,
    n_steps: int,
    bounds: tuple[Array, Array],
) -> Array:
    """Take ``n_steps`` steps; ``curvature`` is the diagonal of the first model."""
    value, grad = objective(x)
    inverse = InverseHessian(curvature, memory=n_steps, scaled=False)
    for _ in range(n_steps):
        step = np.clip(-inverse.apply(grad), -_LONGEST, _LONGEST)
        found = _backtrack(objective, x, value, grad, step, bounds)
        if found is None:
            break
        trial, value, new_grad = found
        inverse = inverse.push(trial - x, new_grad - grad)
        x, grad = trial, new_grad
    return x


def _backtrack(
    objective: Objective,
    x: Array,
    value: float,
    grad: Array,
    step: Array,
    bounds: tuple[Array, Array],
) -> tuple[Array, float, Array] | None:
    for k in range(_TRIALS):
        trial = np.clip(x + step / 4.0**k, *bounds)
        predicted = float(grad @ (trial - x))
        if not predicted < 0:
            return None
        new_value, new_grad = objective(trial)
        if new_value <= value + _ARMIJO * predicted:
            return trial, new_value, new_grad
    return None
