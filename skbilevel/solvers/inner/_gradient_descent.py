"""Gradient descent on the inner problem with steps from its smoothness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem
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
