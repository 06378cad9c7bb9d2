"""Few evaluations of an expensive objective, many of a cheap one that resembles it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import (
    IterInfo,
    Objective,
    OnIter,
    OuterOptimizer,
    OuterResult,
    Status,
    Trace,
)
from skbilevel.solvers.outer._lbfgsb import stationarity_norm

# A round that does not reduce the projected gradient by this factor is the last.
_LEAST_PROGRESS = 0.5


@dataclass(frozen=True)
class Surrogate:
    """Minimizes an objective through corrected copies of a cheap one.

    Every round minimizes, on the box, ``cheap(theta) + c . theta`` with ``c`` the
    difference of both gradients at the best point so far: the sum has the value of
    the cheap function and the slope of the true one. The gradient then shrinks by the
    relative difference of the two curvatures per round, which is small where, for
    instance, leave-one-out is approached by generalized cross-validation. What is left
    at the end is done by the optimizer ``finish`` on the objective itself.

    Parameters
    ----------
    cheap : callable
        ``cheap(theta, tol) -> (value, grad)``.
    inner : OuterOptimizer
        Minimizes the corrected cheap objective.
    finish : OuterOptimizer
        Takes over where rounds no longer help.
    trust : float
        Rounds after the first search this far from the best point in every coordinate.
    max_rounds : int
        Largest number of rounds.
    """

    cheap: Objective
    inner: OuterOptimizer
    finish: OuterOptimizer
    trust: float = 1.0
    max_rounds: int = 6

    def minimize(
        self,
        objective: Objective,
        theta0: Array,
        bounds: tuple[Array, Array],
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        on_iter: OnIter | None = None,
    ) -> OuterResult:
        """Minimize; an iteration is an evaluation of the objective."""
        trace = Trace(on_iter)
        theta = self._round(theta0, np.zeros_like(theta0), bounds, 0.1 * tol, max_iter)
        value, grad = objective(theta, tol * 1e-3)
        size = abs(value) if value != 0.0 else 1.0
        norm = stationarity_norm(theta, grad, bounds)
        trace.add(value, norm, tol)
        stopped = trace.tell(len(trace), theta)
        for _ in range(min(self.max_rounds, max_iter - 1)):
            if norm <= tol * size or stopped:
                break
            correction = grad - self.cheap(theta, tol)[1]
            near = (
                np.maximum(bounds[0], theta - self.trust),
                np.minimum(bounds[1], theta + self.trust),
            )
            aim = 0.1 * tol * size
            trial = self._round(theta, correction, near, aim / size, max_iter)
            new_value, new_grad = objective(trial, tol * 1e-3)
            if new_value >= value:
                break
            before = norm
            theta, value, grad = trial, new_value, new_grad
            norm = stationarity_norm(theta, grad, bounds)
            trace.add(value, norm, tol)
            stopped = trace.tell(len(trace), theta)
            if norm > _LEAST_PROGRESS * before:
                break
        if norm <= tol * size or stopped or len(trace) >= max_iter:
            status = Status.CONVERGED if norm <= tol * size else Status.MAX_ITER
            status = Status.STOPPED if stopped else status
            history = trace.history()
            return OuterResult(theta, value, norm, status, len(trace), history)
        return self._finish(objective, theta, bounds, trace, tol, max_iter, on_iter)

    def _round(
        self,
        theta: Array,
        correction: Array,
        bounds: tuple[Array, Array],
        tol: float,
        max_iter: int,
    ) -> Array:
        """Minimum of the corrected cheap objective."""

        def corrected(x: Array, accuracy: float) -> tuple[float, Array]:
            value, grad = self.cheap(x, accuracy)
            return value + float(correction @ (x - theta)), grad + correction

        found = self.inner.minimize(
            corrected, theta, bounds, tol=tol, max_iter=max_iter
        )
        return found.theta

    def _finish(
        self,
        objective: Objective,
        theta: Array,
        bounds: tuple[Array, Array],
        trace: Trace,
        tol: float,
        max_iter: int,
        on_iter: OnIter | None,
    ) -> OuterResult:
        done, seconds = len(trace), trace.seconds

        def later(info: IterInfo) -> bool | None:
            if on_iter is None:
                return None
            n_iter, since = info.n_iter + done, info.seconds + seconds
            return on_iter(replace(info, n_iter=n_iter, seconds=since))

        rest = self.finish.minimize(
            objective, theta, bounds, tol=tol, max_iter=max_iter - done, on_iter=later
        )
        first, later_on = trace.history(), dict(rest.history)
        later_on["seconds"] = later_on["seconds"] + seconds
        history = {
            key: np.concatenate([first[key], later_on[key][1:]]) for key in first
        }
        return OuterResult(
            rest.theta,
            rest.value,
            rest.grad_norm,
            rest.status,
            done + rest.n_iter,
            history,
        )
