"""SRKCD: stabilized Runge-Kutta-Chebyshev descent, with batches or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem
from skbilevel.solvers._batch_metric import batch_metric
from skbilevel.solvers._batches import Batches, count_batches
from skbilevel.solvers._chebyshev import ChebyshevStages
from skbilevel.solvers._oracle_base import (
    Descent,
    check_positive,
    metric_norm,
    metric_of,
)


@dataclass(frozen=True)
class SRKCD:
    """Steps of several gradients of one batch that are stable far beyond ``2 / L``.

    ::

        w <- Y_s of the Chebyshev recurrence on Y' = -M_b^-1 grad_S(Y) from Y_0 = w,
        step_k = step * (1 + w0) / w1 / (1 + decay * epochs done)

    The same batch S is used in all s stages. See `ChebyshevStages` for the recurrence;
    M_b bounds the Hessians of batches, so that the limit of stability is
    ``(1 + w0) / w1``, about ``2 s^2``: s times further per gradient than one gradient
    step.

    Parameters
    ----------
    n_stages : int
        s, gradients per step.
    damping : float
        Keeps all but the flattest directions strictly inside the stable region.
    batch_size : int or None
        Rows of a batch; None takes all rows in every step.
    step : float
        Fraction of the limit of stability.
    decay : float
        With batches, steps shrink as ``1 / (1 + decay * epochs)``; without, never.
    n_passes : float or None
        Budget of passes over the rows; None goes on until the gradient is small enough.
    max_passes : float
        Largest number of passes without a budget.

    Notes
    -----
    The usual damping of 0.05 is that of time integration: steep directions shrink by
    only 5 % per step. To solve a problem with all rows, 2 takes far fewer gradients:
    the factor is then below 0.3 wherever the curvature, in the metric, exceeds about
    ``1 / s^2``.

    Without batches it converges linearly; with them the error falls as one over the
    number of steps, as that of stochastic gradients does. The full gradient is looked
    at once in s epochs then, which have read every row s times each.

    References
    ----------
    T. Stillfjord, M. Williamson (2023). SRKCD: a stabilized Runge-Kutta method for
    stochastic optimization. J. Comput. Appl. Math. 417.
    """

    n_stages: int = 5
    damping: float = 0.05
    batch_size: int | None = None
    step: float = 0.9
    decay: float = 1.0
    n_passes: float | None = None
    max_passes: float = 5000.0
    requires = frozenset[str]()
    provides = frozenset[str]()

    def __post_init__(self) -> None:
        check_positive(self, "n_stages", "batch_size", "step", "n_passes", "max_passes")

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
        bound = metric_of(inner, theta, w)
        count = count_batches(inner.n_rows, self.batch_size)
        batches, single = Batches(inner.n_rows, count, rng), count == 1
        metric = bound
        if not single:
            metric = batch_metric(inner, theta, w, batches, every=True)
        fixed = self.n_passes is not None
        budget = self.max_passes if self.n_passes is None else self.n_passes
        scheme = ChebyshevStages(self.n_stages, self.damping)
        spent, n_iter = 0.0, 0
        point = inner.at(theta, w)
        while spent < budget:
            if not fixed and n_iter % count == 0:
                # Free without batches: it is the first stage of the next step.
                spent += 0.0 if single else 1.0
                if metric_norm(point.grad, bound) <= threshold:
                    return Descent(w, point, True, n_iter)
            part = batches.of(inner, batches.draw())
            first = point if single else part.at(theta, w)
            alpha = self.step * scheme.limit
            alpha /= 1.0 if single else 1.0 + self.decay * n_iter / count

            def slope(y: Array, part: InnerProblem = part) -> Array:
                return np.asarray(part.at(theta, y).grad / metric)

            w = scheme.step(slope, w, alpha, first.grad / metric)
            point = inner.at(theta, w)
            spent += self.n_stages / count
            n_iter += 1
        done = fixed or metric_norm(point.grad, bound) <= threshold
        return Descent(w, point, done, n_iter)
