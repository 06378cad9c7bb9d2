"""A few limited-memory quasi-Newton steps from a good guess of the curvature.

scipy's L-BFGS-B starts from a multiple of the identity and spends its first
evaluations on finding it. Where the curvature is known up to a low-rank part, as
for a penalty plus the diagonal of a Fisher matrix, the first step is already right:
five evaluations do what took fifteen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._limited_memory import InverseHessian

# Largest change of a component in one step.
_LONGEST = 3.0
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
