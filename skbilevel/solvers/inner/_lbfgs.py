"""Limited-memory BFGS on the inner problem; its inverse Hessian outlives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._limited_memory import InverseHessian
from skbilevel.solvers._oracle_base import (
    Descent,
    check_positive,
    metric_norm,
    metric_of,
)

# Share of the predicted decrease that a step must bring, and trials until it does.
_ARMIJO, _TRIALS = 1e-4, 20
# Differences of values below this share of the value may be rounding.
_NOISE = 1e-10
# So many steps that change neither the value nor the smallest gradient are the last.
_ROUNDING, _STALLED = 4 * float(np.finfo(float).eps), 5
# Steps shorter than this, relative to w, change the gradient by little but rounding;
# aware pairs look at least so far ahead.
_LEAST_STEP, _LEAST_LOOK = 1e-11, 1e-6
# Bounds of a shortened step, relative to the one that failed.
_SHORTEST, _LONGEST = 0.1, 0.5


@dataclass(frozen=True)
class LBFGS:
    """``w <- w - t B g_w(theta, w)``, with B made of earlier steps.

    Every ``opa`` steps, and at the end, a pair is added that tells B about the
    direction in which a hypergradient will use it::

        e = B f_w(w),  scaled to the length of the last step
        y = g_w(theta, w + e) - g_w(theta, w)

    Parameters
    ----------
    memory : int
        Pairs of steps and changes of the gradient that are kept, from one theta to
        the next.
    opa : int
        Steps from one outer-problem-aware pair to the next; 0 makes none.
    scaled : bool
        Whether the first model ``gamma / M`` of B follows the newest step; otherwise
        gamma is 1. It never follows aware pairs: they look along weak curvature, and
        would make B too long everywhere else.
    correct : bool
        Whether pairs of an earlier theta are corrected by the change of the penalty,
        where the problem provides ``diagonal_penalty``: the correction is exact.
    max_iter : int
        Largest number of steps.

    Notes
    -----
    One gradient for a step, one more for every aware pair. M is the metric of the
    problem, so that the first step, and every step after a failed line search, is
    one of gradient descent in the metric. Near the solution, where values differ by
    rounding only, the line search compares slopes instead.

    References
    ----------
    Z. Ramzi, F. Mannel, S. Bai, J.-L. Starck, P. Ciuciu, T. Moreau (2022). SHINE:
    SHaring the INverse Estimate from the forward pass for bi-level optimization and
    implicit models. ICLR.

    W. Hager, H. Zhang (2005). A new conjugate gradient method with guaranteed descent
    and an efficient line search. SIAM J. Optim. 16.
    """

    memory: int = 30
    opa: int = 0
    scaled: bool = True
    correct: bool = True
    max_iter: int = 5000
    requires = frozenset[str]()
    provides = frozenset({"inverse_hessian"})

    def __post_init__(self) -> None:
        check_positive(self, "memory", "max_iter")

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
        """Descend from ``w`` with the pairs of ``memory``, an `InverseHessian`."""
        known = self._known(inner, memory, metric_of(inner, theta, w))
        run = _Run(inner, theta, w, known)
        aware = outer_grad if self.opa else None
        n_iter = last_look = 0
        while n_iter < self.max_iter and run.norm > threshold and run.step():
            n_iter += 1
            if aware is not None and n_iter % self.opa == 0:
                run.look_ahead(aware(run.w))
                last_look = n_iter
        if aware is not None and (n_iter == 0 or last_look < n_iter):
            run.look_ahead(aware(run.w))
        # Nothing but rounding is left where no step was found.
        converged = run.norm <= (10 * threshold if run.stuck else threshold)
        return Descent(run.w, run.point, converged, n_iter, run.inverse)

    def _known(self, inner: InnerProblem, memory: Any, metric: Array) -> InverseHessian:
        """The inverse to start from, moved to this theta."""
        if memory is None:
            return InverseHessian(metric, self.memory, self.scaled)
        known: InverseHessian = memory
        if self.correct and "diagonal_penalty" in inner.provides:
            known = known.shifted(metric - known.metric)
        return replace(known, metric=metric)


class _Run:
    """The variables of one call of `LBFGS.solve`."""

    def __init__(
        self, inner: InnerProblem, theta: Array, w: Array, inverse: InverseHessian
    ) -> None:
        self.inner, self.theta, self.w = inner, theta, w
        self.point, self.inverse = inner.at(theta, w), inverse
        self.norm = metric_norm(self.point.grad, inverse.metric)
        self.best, self.stalled, self.stuck = self.norm, 0, False

    def step(self) -> bool:
        """One step, by the inverse or by the metric alone; False if there is none."""
        if self.stalled >= _STALLED:
            self.stuck = True
            return False
        grad, metric = self.point.grad, self.inverse.metric
        moved = self._search(-self.inverse.apply(grad))
        if moved is None and self.inverse.pairs:
            moved = self._search(-grad / metric)
            if moved is not None:
                self.inverse = replace(self.inverse, pairs=())
        if moved is None:
            self.stuck = True
            return False
        w, point = moved
        s, gain = w - self.w, self.point.value - point.value
        if np.linalg.norm(s) > _LEAST_STEP * np.linalg.norm(w):
            self.inverse = self.inverse.push(s, point.grad - grad)
        self.norm = metric_norm(point.grad, metric)
        visible = gain > _ROUNDING * abs(self.point.value) or self.norm < self.best
        self.stalled = 0 if visible else self.stalled + 1
        self.best = min(self.best, self.norm)
        self.w, self.point = w, point
        return True

    def _search(self, step: Array) -> tuple[Array, InnerPoint] | None:
        """The first of ever shorter steps that decreases g enough."""
        w, point, slope = self.w, self.point, float(self.point.grad @ step)
        if not slope < 0.0:
            return None
        size = 1.0
        for _ in range(_TRIALS):
            trial = self.inner.at(self.theta, w + size * step)
            change = trial.value - point.value
            if change <= _ARMIJO * size * slope:
                return w + size * step, trial
            # Of a quadratic function this is the same condition, read off the slopes.
            unsure = change <= _NOISE * abs(point.value)
            if unsure and float(trial.grad @ step) <= (2 * _ARMIJO - 1) * slope:
                return w + size * step, trial
            lack = change - size * slope
            best = -0.5 * slope * size / lack if np.isfinite(lack) and lack > 0 else 0.0
            size *= min(max(best, _SHORTEST), _LONGEST)
        return None

    def look_ahead(self, outer_grad: Array) -> None:
        """Add a pair in the direction of the adjoint."""
        e, pairs = self.inverse.apply(outer_grad), self.inverse.pairs
        length = float(np.linalg.norm(e))
        last = float(np.linalg.norm(pairs[-1].s)) if pairs else 0.0
        wanted = max(last, _LEAST_LOOK * float(np.linalg.norm(self.w)))
        if not length > 0.0 or not wanted > 0.0:
            return
        e *= wanted / length
        change = self.inner.at(self.theta, self.w + e).grad - self.point.grad
        self.inverse = self.inverse.push(e, change, typical=False)
