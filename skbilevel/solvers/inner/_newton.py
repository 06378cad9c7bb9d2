"""Newton's method for inner problems known through oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._adjoint_system import hessian_of, solve_by_cg, solve_dense
from skbilevel.solvers._oracle_base import Descent, metric_norm, metric_of

# Share of the predicted decrease that a step must bring, and halvings until it does.
_ARMIJO, _HALVINGS = 1e-4, 40


@dataclass(frozen=True)
class Newton:
    """Newton's method with backtracking; exact in one step where g is quadratic.

    Parameters
    ----------
    linear_solver : {"auto", "direct", "cg"}
        Who solves for the steps; "auto" factors a Hessian that the problem provides,
        or one of at most ``dense_up_to`` columns.
    max_iter : int
        Largest number of steps.
    max_cg : int
        Largest number of conjugate-gradient steps for one of them.
    dense_up_to : int
        See ``linear_solver``.
    """

    linear_solver: str = "auto"
    max_iter: int = 100
    max_cg: int = 5000
    dense_up_to: int = 60
    requires = frozenset[str]()
    provides = frozenset[str]()

    def solve(
        self,
        inner: InnerProblem,
        theta: Array,
        w: Array,
        *,
        threshold: float,
        rng: np.random.Generator,
        memory: Any = None,
        outer_grad: Callable[[Array], Array] | None = None,
    ) -> Descent:
        """Descend from ``w``."""
        metric = metric_of(inner, theta, w)
        point = inner.at(theta, w)
        for n_iter in range(self.max_iter):
            norm = metric_norm(point.grad, metric)
            if norm <= threshold:
                return Descent(w, point, True, n_iter)
            step = self._step(inner, point, metric, min(0.1, 0.1 * threshold / norm))
            moved = _backtrack(inner, theta, w, point, step)
            if moved is None:  # no decrease is left but rounding
                return Descent(w, point, norm <= 10 * threshold, n_iter)
            w, point = moved
        done = metric_norm(point.grad, metric) <= threshold
        return Descent(w, point, done, self.max_iter)

    def _step(
        self, inner: InnerProblem, point: InnerPoint, metric: Array, tol: float
    ) -> Array:
        dense = "dense_hessian" in inner.provides
        direct = dense or len(metric) <= self.dense_up_to
        if self.linear_solver == "direct" or (self.linear_solver == "auto" and direct):
            return -solve_dense(hessian_of(point, len(metric), dense), point.grad)
        step, _ = solve_by_cg(
            point.hvp, -point.grad, None, metric, tol=tol, max_iter=self.max_cg
        )
        return step


def _backtrack(
    inner: InnerProblem, theta: Array, w: Array, point: InnerPoint, step: Array
) -> tuple[Array, InnerPoint] | None:
    """The first of the halved steps that decreases g enough."""
    slope = float(point.grad @ step)
    if not slope < 0.0:
        return None
    noise = 8 * np.finfo(float).eps * abs(point.value)
    for k in range(_HALVINGS):
        size = 0.5**k
        trial = inner.at(theta, w + size * step)
        if trial.value <= point.value + _ARMIJO * size * slope + noise:
            return w + size * step, trial
    return None
