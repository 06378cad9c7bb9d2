"""What searches on a box share: where they are, and why they end."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import (
    Objective,
    OnIter,
    OuterResult,
    Status,
    Trace,
    stationarity,
)


class Search:
    """The point that a search is at, and a line for every evaluation."""

    def __init__(
        self,
        objective: Objective,
        theta0: Array,
        bounds: tuple[Array, Array],
        tol: float,
        max_iter: int,
        on_iter: OnIter | None,
    ) -> None:
        self.objective, self.bounds, self.tol = objective, bounds, tol
        self.max_iter, self.on_iter, self.trace = max_iter, on_iter, Trace(on_iter)
        self.theta = np.clip(np.asarray(theta0, dtype=float), *bounds)
        self.stopped = False

    def start(self, accuracy: float) -> None:
        """Evaluate the first point; its value is the unit of tolerances."""
        value, grad = self.objective(self.theta, accuracy)
        self.size = abs(value) if value != 0.0 else 1.0
        self.move(self.theta, value, grad)
        self.trace.add(value, self.norm, accuracy)

    def evaluate(self, theta: Array, accuracy: float) -> tuple[float, Array]:
        """Value and gradient; where one is not finite the value is infinite."""
        value, grad = self.objective(theta, accuracy)
        known = np.isfinite(value) and np.isfinite(grad).all()
        return value if known else np.inf, grad

    def move(self, theta: Array, value: float, grad: Array) -> None:
        """Go to a point that was evaluated."""
        self.theta, self.value, self.grad = theta, value, grad
        free = stationarity(theta, grad, self.bounds)
        self.norm = float(np.abs(free).max(initial=0.0))

    def note(self, accuracy: float) -> None:
        """Write a line and show it to who may stop the search."""
        self.trace.add(self.value, self.norm, accuracy)
        self.stopped = self.trace.tell(self.n_iter, self.theta)

    @property
    def n_iter(self) -> int:
        """Lines after the first."""
        return len(self.trace) - 1

    @property
    def small(self) -> bool:
        """Whether the gradient is as small as is wanted."""
        return self.norm <= self.tol * self.size

    def status(self, accurate: bool = True) -> Status | None:
        """Why to stop here, if the gradient is accurate; None to go on."""
        if self.stopped:
            return Status.STOPPED
        if self.small and accurate:
            return Status.CONVERGED
        return Status.MAX_ITER if self.n_iter >= self.max_iter else None

    def result(self, status: Status) -> OuterResult:
        """Where the search has ended."""
        history = self.trace.history()
        return OuterResult(
            self.theta, self.value, self.norm, status, self.n_iter, history
        )


class BoxOptimizer:
    """An outer optimizer whose steps are those of its `_run`."""

    def _run(self, search: Search) -> OuterResult:
        raise NotImplementedError

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
        return self._run(Search(objective, theta0, bounds, tol, max_iter, on_iter))
