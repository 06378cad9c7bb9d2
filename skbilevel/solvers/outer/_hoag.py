"""HOAG: gradient steps in theta with approximate gradients that get more accurate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import Objective, OnIter, OuterResult, Status, Trace
from skbilevel.solvers.outer._lbfgsb import stationarity, stationarity_norm

# Shares of L |step|^2, the gain along a straight line. Half is sure where L bounds
# the curvature and gradients are exact; less allows for gradients that are too long.
_SURE, _EASY = 0.1, 0.75
# Evaluations in a row that may bring nothing until theta itself is evaluated again,
# and until the search ends.
_DOUBT, _GIVE_UP = 4, 40


@dataclass(frozen=True)
class HOAG:
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
        """Minimize; an iteration is an evaluation after the first."""
        search = _Search(self, objective, bounds, tol, on_iter)
        theta = np.clip(np.asarray(theta0, dtype=float), *bounds)
        status = search.start(theta)
        while status is None:
            if search.n_iter >= max_iter:
                status = Status.MAX_ITER
                break
            search.step()
            stop = search.trace.tell(search.n_iter, search.theta)
            status = Status.STOPPED if stop else search.status()
        return search.result(status)


class _Search:
    """The variables of one call of `HOAG.minimize`."""

    def __init__(
        self,
        options: HOAG,
        objective: Objective,
        bounds: tuple[Array, Array],
        tol: float,
        on_iter: OnIter | None,
    ) -> None:
        self.options, self.objective = options, objective
        self.bounds, self.tol = bounds, tol
        self.eps = self.known = options.tolerance
        self.first = 0.0
        self.rejected, self.trace = 0, Trace(on_iter)

    @property
    def n_iter(self) -> int:
        """Evaluations after the first."""
        return len(self.trace) - 1

    def start(self, theta: Array) -> Status | None:
        """Evaluate the first point."""
        if self.options.weakest is not None:
            self.first = self.options.weakest(theta)
        value, grad = self._evaluate(theta)
        self.size = abs(value) if value != 0.0 else 1.0
        self._move(theta, value, grad)
        self.L = 0.0
        self._note(self.eps)
        return self.status()

    def step(self) -> None:
        """One evaluation: of a trial, or of theta where its value is in doubt."""
        small = self.norm <= self.tol * self.size
        if small or self.rejected % _DOUBT == _DOUBT - 1:
            self.eps = min(self.eps, self._final) if small else self.eps
            self.rejected += not small
            self._move(self.theta, *self._evaluate(self.theta))
            self._note(self.eps)
            return
        if not self.L > 0.0:
            free = stationarity(self.theta, self.grad, self.bounds)
            self.L = float(np.linalg.norm(free)) / np.sqrt(len(free))
        trial = np.clip(self.theta - self.grad / self.L, *self.bounds)
        delta = float(np.linalg.norm(trial - self.theta))
        value, grad = self._evaluate(trial)
        used, C = self.eps, self.options.slack
        slack = self.size * (C * used + (C + 1.0) * self.known * delta)
        gain = self.value - value + slack
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
        self._note(used)

    def _evaluate(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at the tolerance of now."""
        eps = self.eps
        if self.options.weakest is not None:
            eps *= min(1.0, self.options.weakest(theta) / self.first)
        return self.objective(theta, max(eps, self.options.floor))

    def _move(self, theta: Array, value: float, grad: Array) -> None:
        self.theta, self.value, self.grad, self.known = theta, value, grad, self.eps
        self.norm = stationarity_norm(theta, grad, self.bounds)

    @property
    def _final(self) -> float:
        """Tolerance of a gradient that may end the search."""
        return max(self.tol, self.options.floor)

    def _note(self, eps: float) -> None:
        self.trace.add(self.value, self.norm, eps)

    def status(self) -> Status | None:
        """Why to stop here; None to go on."""
        if self.norm <= self.tol * self.size and self.known <= self._final:
            return Status.CONVERGED
        return Status.LINE_SEARCH if self.rejected >= _GIVE_UP else None

    def result(self, status: Status) -> OuterResult:
        """The last theta, and the accepted value after every evaluation."""
        history = self.trace.history()
        return OuterResult(
            self.theta, self.value, self.norm, status, self.n_iter, history
        )
