"""Gradient descent and Newton's method for inner problems known through oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._adjoint_system import hessian_of, solve_by_cg, solve_dense
from skbilevel.solvers._oracle_base import (
    Descent,
    check_positive,
    metric_norm,
    metric_of,
)


@dataclass(frozen=True)
class GradientDescent:
    """``w <- w - step * M(theta)^-1 g_w(theta, w)``.

    Parameters
    ----------
    n_iter : int or None
        Budget of steps (the T of the literature); None goes on until the gradient is
        small enough.
    step : float
        Fraction of the inverse metric, below 2. 1 is the exact Lipschitz step.
    keep : bool
        Whether to keep the iterates, for `Unrolled`.
    max_iter : int
        Largest number of steps without a budget.

    Notes
    -----
    One gradient per step. The metric is that of the problem where it provides
    ``smoothness``: for linear models ``L + alpha_j``, so that strong penalties do not
    shorten the steps of other features. Elsewhere Hessian products at the start measure
    it.
    """

    n_iter: int | None = None
    step: float = 1.0
    keep: bool = False
    max_iter: int = 20_000
    requires = frozenset[str]()

    def __post_init__(self) -> None:
        check_positive(self, "n_iter", "step", "max_iter")

    @property
    def provides(self) -> frozenset[str]:
        """The trajectory, if it is kept; descents side by side, if all are as long."""
        words = {"trajectory": self.keep, "many_thetas": self.n_iter is not None}
        return frozenset(word for word, given in words.items() if given)

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
        path = [w]
        budget = self.max_iter if self.n_iter is None else self.n_iter
        converged = self.n_iter is not None
        n_iter = 0
        while n_iter < budget:
            if self.n_iter is None and metric_norm(point.grad, metric) <= threshold:
                converged = True
                break
            w = w - self.step * point.grad / metric
            point = inner.at(theta, w)
            n_iter += 1
            if self.keep:
                path.append(w)
        steps = metric / self.step
        trajectory = tuple(path) if self.keep else ()
        return Descent(w, point, converged, n_iter, None, trajectory, steps)

    def solve_many(self, inner: InnerProblem, thetas: Array, w: Array) -> Array:
        """Ends of the descents from ``w`` at every theta; rows as in ``thetas``."""
        assert self.n_iter is not None
        metric = np.stack([metric_of(inner, theta, w) for theta in thetas])
        ws = np.broadcast_to(w, metric.shape)
        for _ in range(self.n_iter):
            grads = inner.grad_many(thetas, ws)  # type: ignore[attr-defined]
            ws = ws - self.step * grads / metric
        return np.asarray(ws)


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
