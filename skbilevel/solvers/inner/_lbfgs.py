"""Limited-memory BFGS on the inner problem; its inverse Hessian outlives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerPoint, InnerProblem
from skbilevel.solvers._limited_memory import InverseHessian
from skbilevel.solvers._oracle_base import Descent, metric_norm, metric_of

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

    Every ``opa`` steps, and once at the end, a pair is added that tells B about the
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
        Whether the first model ``gamma / M`` of B follows the newest pair; otherwise
        gamma is 1.
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
        inverse = self._known(inner, memory, metric_of(inner, theta, w))
        metric, point = inverse.metric, inner.at(theta, w)
        aware = outer_grad if self.opa else None
        empty = InverseHessian(metric, self.memory, self.scaled)
        best, stalled = np.inf, 0
        converged, n_iter, asked = False, 0, False
        while n_iter < self.max_iter:
            norm = metric_norm(point.grad, metric)
            if norm <= threshold:
                converged = True
                break
            stalled = 0 if norm < best else stalled + 1
            best = min(best, norm)
            moved = None
            if stalled < _STALLED:
                step = -inverse.apply(point.grad)
                moved = _line_search(inner, theta, w, point, step)
                if moved is None and inverse.pairs:
                    moved = _line_search(inner, theta, w, point, -point.grad / metric)
                    inverse = empty if moved is not None else inverse
            if moved is None:  # no decrease is left but rounding
                converged = norm <= 10 * threshold
                break
            new_w, new_point = moved
            if point.value - new_point.value > _ROUNDING * abs(point.value):
                stalled = 0
            s = new_w - w
            if np.linalg.norm(s) > _LEAST_STEP * np.linalg.norm(new_w):
                inverse = inverse.push(s, new_point.grad - point.grad)
            w, point, n_iter = new_w, new_point, n_iter + 1
            asked = aware is not None and n_iter % self.opa == 0
            if asked and aware is not None:
                inverse = _aware(inner, theta, w, point, inverse, aware(w))
        if aware is not None and not asked:
            inverse = _aware(inner, theta, w, point, inverse, aware(w))
        return Descent(w, point, converged, n_iter, inverse)

    def _known(self, inner: InnerProblem, memory: Any, metric: Array) -> InverseHessian:
        """The inverse to start from, moved to this theta."""
        if memory is None:
            return InverseHessian(metric, self.memory, self.scaled)
        known: InverseHessian = memory
        if self.correct and "diagonal_penalty" in inner.provides:
            known = known.shifted(metric - known.metric)
        return known.with_metric(metric)


def _aware(
    inner: InnerProblem,
    theta: Array,
    w: Array,
    point: InnerPoint,
    inverse: InverseHessian,
    outer_grad: Array,
) -> InverseHessian:
    """With a pair in the direction of the adjoint."""
    e = inverse.apply(outer_grad)
    length = float(np.linalg.norm(e))
    last = float(np.linalg.norm(inverse.pairs[-1].s)) if inverse.pairs else 0.0
    wanted = max(last, _LEAST_LOOK * float(np.linalg.norm(w)))
    if not length > 0.0 or not wanted > 0.0:
        return inverse
    e *= wanted / length
    change = inner.at(theta, w + e).grad - point.grad
    return inverse.push(e, change, typical=False)


def _line_search(
    inner: InnerProblem, theta: Array, w: Array, point: InnerPoint, step: Array
) -> tuple[Array, InnerPoint] | None:
    """The first of ever shorter steps that decreases g enough."""
    slope = float(point.grad @ step)
    if not slope < 0.0:
        return None
    size = 1.0
    for _ in range(_TRIALS):
        trial = inner.at(theta, w + size * step)
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
