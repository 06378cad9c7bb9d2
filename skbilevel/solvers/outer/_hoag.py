"""HOAG: gradient steps in theta with approximate gradients that get more accurate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import OuterResult, Status, stationarity
from skbilevel.solvers.outer._search import BoxOptimizer, Search

# Shares of L |step|^2, the gain along a straight line. Half is sure where L bounds
# the curvature and gradients are exact; less allows for gradients that are too long.
_SURE, _EASY = 0.1, 0.75
# Evaluations in a row that may bring nothing until theta itself is evaluated again,
# and until the search ends.
_DOUBT, _GIVE_UP = 4, 40


@dataclass(frozen=True)
class HOAG(BoxOptimizer):
    """Projected gradient steps of length 1/L under a schedule of tolerances.

    ::

        trial  = clip(theta - F'(theta) / L),    delta = |trial - theta|
        slack  = |F(theta_0)| (C eps_k + (C + 1) eps_{k-1} delta)
        accept if F(trial) <= F(theta) - 0.1 L delta^2 + slack,   eps <- decrease eps
            and L <- grow L if F(trial) <= F(theta) - 0.75 L delta^2 + slack
        reject otherwise:  theta stays,  L <- 2 L,  eps <- eps / 2

    The first L is ``|F'(theta_0)| / sqrt(d)``: a first step of 1 in a typical
    component of theta, which is a logarithm for strengths.

    Parameters
    ----------
    tolerance : float
        First tolerance eps of inner and adjoint solves.
    decrease : float
        Its factor for every accepted step: 0.9 is HOAG's, 0.78 that of the experiments
        with SHINE.
    floor : float
        Smallest tolerance.
    slack : float
        C above: how much of a tolerance an increase of the value may be.
    grow : float
        Factor of L after a step along which the objective bent by at most half of it.
    weakest : callable or None
        ``weakest(theta)``, the smallest strength: tolerances are multiplied by its
        ratio to that at the start, where it is below one.

    Notes
    -----
    The rule is that of the paper's code with these repairs. A step is subtracted once.
    One that does not gain is taken back; the code kept all that raised the value by
    less than a fifth. L shrinks after 3/4 of the gain along a straight line: a convex
    function never gains all of it, so that with small tolerances steps could only get
    shorter. Steps are cut at the box before they are judged. Tolerances are relative
    to the first value, so that units of the loss do not matter. After several
    rejections in a row theta is evaluated again at the tighter tolerance, since its
    value may have been too low by error. A gradient that looks small enough is
    computed again at ``tol`` before the search ends.

    With `DoubleLoop` an inner descent ends where the gradient, in the norm of the
    inverse metric, is below eps times that of the first start. HOAG's own rule takes
    Euclidean norms, and multiplies by the ratio of the smallest strength to the first
    one, so that the error of w follows the schedule even as strengths get weaker. An
    optimizer does not know strengths: ``weakest`` tells them. It then sharpens the
    adjoint solves as well, which in HOAG keep to eps.

    References
    ----------
    F. Pedregosa (2016). Hyperparameter optimization with approximate gradient. ICML.
    """

    tolerance: float = 1e-3
    decrease: float = 0.9
    floor: float = 1e-12
    slack: float = 0.25
    grow: float = 0.8
    weakest: Callable[[Array], float] | None = None

    def _run(self, search: Search) -> OuterResult:
        schedule = _Schedule(self, search)
        status = schedule.start()
        while status is None:
            schedule.step()
            status = schedule.status()
        return search.result(status)


class _Schedule:
    """Tolerances and L in one call of `HOAG.minimize`."""

    def __init__(self, options: HOAG, search: Search) -> None:
        self.options, self.search = options, search
        self.eps = self.known = options.tolerance
        self.first = options.weakest(search.theta) if options.weakest else 0.0
        self.rejected, self.L = 0, 0.0

    def start(self) -> Status | None:
        """Evaluate the first point."""
        self.search.start(self._sharpened(self.search.theta))
        return self.status()

    def step(self) -> None:
        """One evaluation: of a trial, or of theta where its value is in doubt."""
        search, used = self.search, self.eps
        if search.small or self.rejected % _DOUBT == _DOUBT - 1:
            if search.small:
                self.eps = used = min(used, self._final)
            else:
                self.rejected += 1
            self._move(search.theta, *self._evaluate(search.theta))
        else:
            self._try()
        search.note(used)

    def _try(self) -> None:
        """A step of length 1/L, taken or not."""
        search, used, C = self.search, self.eps, self.options.slack
        if not self.L > 0.0:
            free = stationarity(search.theta, search.grad, search.bounds)
            self.L = float(np.linalg.norm(free)) / np.sqrt(len(free))
        trial = np.clip(search.theta - search.grad / self.L, *search.bounds)
        delta = float(np.linalg.norm(trial - search.theta))
        value, grad = self._evaluate(trial)
        slack = search.size * (C * used + (C + 1.0) * self.known * delta)
        gain = search.value - value + slack
        if gain >= _SURE * self.L * delta**2:
            self._move(trial, value, grad)
            self.rejected = 0
            self.eps = max(self.options.floor, self.options.decrease * used)
            if gain >= _EASY * self.L * delta**2:
                self.L *= self.options.grow
        else:
            self.rejected += 1
            self.L *= 2.0
            self.eps = max(self.options.floor, 0.5 * used)

    def _evaluate(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at the tolerance of now."""
        return self.search.evaluate(theta, self._sharpened(theta))

    def _sharpened(self, theta: Array) -> float:
        """The tolerance of now, tighter where strengths are weak."""
        eps, weakest = self.eps, self.options.weakest
        if weakest is not None:
            eps *= min(1.0, weakest(theta) / self.first)
        return max(eps, self.options.floor)

    def _move(self, theta: Array, value: float, grad: Array) -> None:
        self.search.move(theta, value, grad)
        self.known = self.eps

    @property
    def _final(self) -> float:
        """Tolerance of a gradient that may end the search."""
        return max(self.search.tol, self.options.floor)

    def status(self) -> Status | None:
        """Why to stop here; None to go on."""
        lost = Status.LINE_SEARCH if self.rejected >= _GIVE_UP else None
        return self.search.status(self.known <= self._final) or lost
