"""Few evaluations of an expensive objective, many of a cheap one that resembles it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import (
    IterInfo,
    Objective,
    OnIter,
    OuterOptimizer,
    OuterResult,
    Status,
)
from skbilevel.solvers.outer._lbfgsb import stationarity

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
        theta = self._round(theta0, np.zeros_like(theta0), bounds, 0.1 * tol, max_iter)
        value, grad = objective(theta, tol * 1e-3)
        size = abs(value) if value != 0.0 else 1.0
        norm = _norm(theta, grad, bounds)
        trace = [(value, norm, tol)]
        stopped = _tell(on_iter, trace, theta)
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
            norm = _norm(theta, grad, bounds)
            trace.append((value, norm, tol))
            stopped = _tell(on_iter, trace, theta)
            if norm > _LEAST_PROGRESS * before:
                break
        if norm <= tol * size or stopped or len(trace) >= max_iter:
            status = Status.CONVERGED if norm <= tol * size else Status.MAX_ITER
            status = Status.STOPPED if stopped else status
            history = _history(trace)
            return OuterResult(theta, value, norm, status, len(trace), history)
        return self._finish(
            objective, theta, bounds, trace, size, tol, max_iter, on_iter
        )

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
        trace: list[tuple[float, float, float]],
        size: float,
        tol: float,
        max_iter: int,
        on_iter: OnIter | None,
    ) -> OuterResult:
        done = len(trace)

        def later(info: IterInfo) -> bool | None:
            if on_iter is None:
                return None
            moved = IterInfo(
                info.n_iter + done, info.theta, info.value, info.grad_norm, info.tol
            )
            return on_iter(moved)

        rest = self.finish.minimize(
            objective, theta, bounds, tol=tol, max_iter=max_iter - done, on_iter=later
        )
        first = _history(trace)
        history = {
            key: np.concatenate([first[key], rest.history[key][1:]]) for key in first
        }
        return OuterResult(
            rest.theta,
            rest.value,
            rest.grad_norm,
            rest.status,
            done + rest.n_iter,
            history,
        )


def _norm(theta: Array, grad: Array, bounds: tuple[Array, Array]) -> float:
    return float(np.abs(stationarity(theta, grad, bounds)).max(initial=0.0))


def _tell(
    on_iter: OnIter | None, trace: list[tuple[float, float, float]], theta: Array
) -> bool:
    if on_iter is None:
        return False
    value, norm, tol = trace[-1]
    return bool(on_iter(IterInfo(len(trace), theta, value, norm, tol)))


def _history(trace: list[tuple[float, float, float]]) -> dict[str, Array]:
    columns = np.array(trace, dtype=float).reshape(-1, 3).T
    return dict(zip(("value", "grad_norm", "tol"), columns, strict=True))
