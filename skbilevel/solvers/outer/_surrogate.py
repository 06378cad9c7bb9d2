"""Few evaluations of an expensive objective, many of a cheap one that resembles it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import (
    IterInfo,
    Objective,
    OuterOptimizer,
    OuterResult,
    Status,
)
from skbilevel.solvers.outer._search import BoxOptimizer, Search

# A round that does not reduce the projected gradient by this factor is the last.
_LEAST_PROGRESS = 0.5


@dataclass(frozen=True)
class Surrogate(BoxOptimizer):
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

    def _run(self, search: Search) -> OuterResult:
        """An iteration is an evaluation of the objective, the first one as well."""
        trace, tol, (low, high) = search.trace, search.tol, search.bounds
        correction = np.zeros_like(search.theta)
        search.theta = self._round(search, correction, search.bounds)
        search.start(tol * 1e-3)
        search.stopped = trace.tell(len(trace), search.theta)
        for _ in range(min(self.max_rounds, search.max_iter - 1)):
            if search.small or search.stopped:
                break
            theta = search.theta
            correction = search.grad - self.cheap(theta, tol)[1]
            near = (
                np.maximum(low, theta - self.trust),
                np.minimum(high, theta + self.trust),
            )
            trial = self._round(search, correction, near)
            value, grad = search.evaluate(trial, tol * 1e-3)
            if value >= search.value:
                break
            before = search.norm
            search.move(trial, value, grad)
            trace.add(value, search.norm, tol * 1e-3)
            search.stopped = trace.tell(len(trace), trial)
            if search.norm > _LEAST_PROGRESS * before:
                break
        if search.small or search.stopped or len(trace) >= search.max_iter:
            status = search.status() or Status.MAX_ITER
            return replace(search.result(status), n_iter=len(trace))
        return self._finish(search)

    def _round(
        self, search: Search, correction: Array, bounds: tuple[Array, Array]
    ) -> Array:
        """Minimum of the corrected cheap objective."""
        start = search.theta

        def corrected(x: Array, accuracy: float) -> tuple[float, Array]:
            value, grad = self.cheap(x, accuracy)
            return value + float(correction @ (x - start)), grad + correction

        tol, max_iter = 0.1 * search.tol, search.max_iter
        return self.inner.minimize(
            corrected, start, bounds, tol=tol, max_iter=max_iter
        ).theta

    def _finish(self, search: Search) -> OuterResult:
        """The rest, by the optimizer for it; its lines follow those of the rounds."""
        done, seconds, on_iter = len(search.trace), search.trace.seconds, search.on_iter

        def later(info: IterInfo) -> bool | None:
            if on_iter is None:
                return None
            n_iter, since = info.n_iter + done, info.seconds + seconds
            return on_iter(replace(info, n_iter=n_iter, seconds=since))

        rest = self.finish.minimize(
            search.objective,
            search.theta,
            search.bounds,
            tol=search.tol,
            max_iter=search.max_iter - done,
            on_iter=later,
        )
        first, later_on = search.trace.history(), dict(rest.history)
        later_on["seconds"] = later_on["seconds"] + seconds
        history = {
            key: np.concatenate([first[key], later_on[key][1:]]) for key in first
        }
        return replace(rest, n_iter=done + rest.n_iter, history=history)
