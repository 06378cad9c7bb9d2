"""Bounded quasi-Newton with evaluations only as accurate as progress needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from skbilevel._typing import Array
from skbilevel.solvers._base import OuterResult, Status, stationarity
from skbilevel.solvers.outer._search import BoxOptimizer, Search


@dataclass(frozen=True)
class LBFGSB(BoxOptimizer):
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

    def _run(self, search: Search) -> OuterResult:
        return _Descents(self, search).run()


class _Descents:
    """Runs of L-BFGS-B in one call of `LBFGSB.minimize`, and their accuracy."""

    def __init__(self, options: LBFGSB, search: Search) -> None:
        self.options, self.search = options, search
        self.inner_tol = options.accuracy[0]

    def run(self) -> OuterResult:
        search, tight = self.search, self.options.accuracy[1]
        search.start(self.inner_tol)
        self.first_norm = search.norm
        self._sharpen()
        status, restarts = search.status(), 0
        while status is None:
            status = self._descend()
            # Evaluations that are too loose fail a line search, or look flat.
            failed = status in (Status.LINE_SEARCH, Status.FLAT)
            if failed and restarts < self.options.max_restarts:
                restarts += 1
                if self.inner_tol > tight:
                    self.inner_tol, status = tight, None
        return search.result(status)

    def _descend(self) -> Status:
        """One run of L-BFGS-B from the best point."""
        search = self.search
        free = stationarity(search.theta, search.grad, search.bounds)
        length = float(np.linalg.norm(free))
        scale = self.options.first_step / max(length, 1e-3 * search.size)
        # The first evaluation is at the start, where value and gradient are known.
        start = search.theta, search.value, search.grad
        known = [] if search.n_iter else [start]

        def scaled(theta: Array) -> tuple[float, Array]:
            if known and np.array_equal(known[0][0], theta):
                self.last = known.pop()
            else:
                self.last = (theta.copy(), *search.evaluate(theta, self.inner_tol))
            _, value, grad = self.last
            if value == np.inf:
                # A line search needs numbers: a rise as large as the fall that was
                # expected makes it come nearer.
                value = search.value + abs(search.grad @ (theta - search.theta))
                grad = np.zeros_like(theta)
            return scale * value, scale * grad

        def callback(intermediate_result: object) -> None:
            search.move(*self.last)
            search.note(self.inner_tol)
            self._sharpen()
            if search.status() is not None:
                raise StopIteration

        outcome = minimize(
            scaled,
            search.theta,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack(search.bounds, axis=1),
            callback=callback,
            options={
                "maxcor": self.options.memory,
                "maxiter": max(search.max_iter - search.n_iter, 1),
                "maxfun": 20 * search.max_iter + 100,
                "ftol": 1e-14,
                "gtol": 0.0,
            },
        )
        ended = Status.FLAT if outcome.success else Status.LINE_SEARCH
        return search.status() or ended

    def _sharpen(self) -> None:
        """Never looser than before: the objective must not change back."""
        options, first = self.options, self.first_norm
        loose, tight = options.accuracy
        wanted = tight
        if first > 0:
            wanted = options.accuracy_ratio * self.search.norm / first
        self.inner_tol = min(self.inner_tol, max(tight, min(loose, wanted)))
