"""Bounded quasi-Newton with evaluations only as accurate as progress needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from skbilevel._typing import Array
from skbilevel.solvers._base import Objective, OnIter, OuterResult, Status, Trace


@dataclass(frozen=True)
class LBFGSB:
    """L-BFGS-B on a box, in the manner of HOAG: accuracy follows the gradient.

    Parameters
    ----------
    memory : int
        Pairs of differences that are kept.
    first_step : float
        Euclidean length of the first step; the objective is scaled to it, since
        the first step of L-BFGS-B on a box is the gradient itself.
    accuracy : tuple of float
        Loosest and tightest tolerance asked of inner and adjoint solves.
    accuracy_ratio : float
        Their tolerance relative to the reduction of the projected gradient.
    max_restarts : int
        Restarts at the tightest accuracy after a line search has failed.
    """

    memory: int = 10
    first_step: float = 0.5
    accuracy: tuple[float, float] = (1e-2, 1e-8)
    accuracy_ratio: float = 1e-2
    max_restarts: int = 1

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
        """Minimize; tol bounds the projected gradient relative to the first value."""
        search = _Search(self, objective, bounds, tol, max_iter, on_iter)
        return search.run(np.clip(np.asarray(theta0, dtype=float), *bounds))


def stationarity(theta: Array, grad: Array, bounds: tuple[Array, Array]) -> Array:
    """Gradient without the components that push against a bound."""
    low, high = bounds
    blocked = ((theta <= low) & (grad > 0)) | ((theta >= high) & (grad < 0))
    return np.where(blocked, 0.0, grad)


def stationarity_norm(theta: Array, grad: Array, bounds: tuple[Array, Array]) -> float:
    """Its largest component."""
    return float(np.abs(stationarity(theta, grad, bounds)).max(initial=0.0))


class _Search:
    """The variables of one call of `LBFGSB.minimize`."""

    def __init__(
        self,
        options: LBFGSB,
        objective: Objective,
        bounds: tuple[Array, Array],
        tol: float,
        max_iter: int,
        on_iter: OnIter | None,
    ) -> None:
        self.options, self.objective, self.bounds = options, objective, bounds
        self.tol, self.max_iter = tol, max_iter
        self.inner_tol = options.accuracy[0]
        self.n_iter, self.stopped = 0, False
        self.trace = Trace(on_iter)

    def run(self, theta: Array) -> OuterResult:
        value, grad = self.objective(theta, self.inner_tol)
        self.size = abs(value) if value != 0.0 else 1.0
        self._record(theta, value, grad)
        self.first_norm = self.norm
        status = self._status(None)
        restarts = 0
        while status is None:
            status = self._descend()
            # Evaluations that are too loose fail a line search, or look flat.
            failed = status in (Status.LINE_SEARCH, Status.FLAT)
            if failed and restarts < self.options.max_restarts:
                restarts += 1
                if self.inner_tol > self.options.accuracy[1]:
                    self.inner_tol = self.options.accuracy[1]
                    status = None
        history = self.trace.history()
        return OuterResult(
            self.theta, self.value, self.norm, status, self.n_iter, history
        )

    def _descend(self) -> Status | None:
        """One run of L-BFGS-B from the best point."""
        theta0 = self.theta
        free = stationarity(theta0, self.grad, self.bounds)
        length = float(np.linalg.norm(free))
        scale = self.options.first_step / max(length, 1e-3 * self.size)
        # The first evaluation is at the start, where value and gradient are known.
        known = [(theta0, self.value, self.grad)] if not self.n_iter else []

        def scaled(theta: Array) -> tuple[float, Array]:
            if known and np.array_equal(known[0][0], theta):
                self.last = known.pop()
            else:
                self.last = (theta.copy(), *self.objective(theta, self.inner_tol))
            return scale * self.last[1], scale * self.last[2]

        def callback(intermediate_result: object) -> None:
            self.n_iter += 1
            self._record(*self.last)
            if self._status(None) is not None:
                raise StopIteration

        outcome = minimize(
            scaled,
            theta0,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack(self.bounds, axis=1),
            callback=callback,
            options={
                "maxcor": self.options.memory,
                "maxiter": max(self.max_iter - self.n_iter, 1),
                "maxfun": 20 * self.max_iter + 100,
                "ftol": 1e-14,
                "gtol": 0.0,
            },
        )
        return self._status(outcome)

    def _record(self, theta: Array, value: float, grad: Array) -> None:
        options = self.options
        self.theta, self.value, self.grad = theta, value, grad
        self.norm = stationarity_norm(theta, grad, self.bounds)
        self.trace.add(value, self.norm, self.inner_tol)
        first = getattr(self, "first_norm", self.norm)
        loose, tight = options.accuracy
        wanted = options.accuracy_ratio * self.norm / first if first > 0 else tight
        # Never looser than before: the objective must not change back.
        self.inner_tol = min(self.inner_tol, max(tight, min(loose, wanted)))
        if self.n_iter:
            self.stopped = self.trace.tell(self.n_iter, theta)

    def _status(self, outcome: object) -> Status | None:
        """Why to stop here; None to go on."""
        if self.norm <= self.tol * self.size:
            return Status.CONVERGED
        if self.stopped:
            return Status.STOPPED
        if self.n_iter >= self.max_iter:
            return Status.MAX_ITER
        if outcome is None:
            return None
        success = getattr(outcome, "success", False)
        return Status.FLAT if success else Status.LINE_SEARCH
