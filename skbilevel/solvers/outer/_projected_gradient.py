"""Projected gradient descent in theta, with a fixed or an adaptive step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._base import OuterResult, Status
from skbilevel.solvers.outer._search import BoxOptimizer, Search

# State in, step out: from (theta, grad) and its memory.
Rule = Callable[[Array, Array], Array]

# Halvings of a step to where the objective is finite.
_HALVINGS = 30


class ByGradients(BoxOptimizer):
    """Steps of a rule that looks at gradients only; keeps the last theta."""

    accuracy: tuple[float, float]
    decrease: float

    def _rule(self) -> Rule:
        raise NotImplementedError

    def _run(self, search: Search) -> OuterResult:
        rule, accuracy = self._rule(), self.accuracy[0]
        final = max(search.tol, self.accuracy[1])
        search.start(accuracy)
        while (status := search.status(accuracy <= final)) is None:
            step = np.zeros_like(search.theta)
            if search.small:  # by a rough gradient, perhaps: look again
                accuracy = final
            else:
                step = rule(search.theta, search.grad)
                accuracy = max(self.accuracy[1], self.decrease * accuracy)
            for k in range(_HALVINGS):
                theta = np.clip(search.theta - step / 2.0**k, *search.bounds)
                value, grad = search.evaluate(theta, accuracy)
                if value < np.inf:
                    break
            else:
                return search.result(Status.LINE_SEARCH)
            search.move(theta, value, grad)
            search.note(accuracy)
        return search.result(status)


@dataclass(frozen=True)
class ProjectedGradient(ByGradients):
    """``theta <- clip(theta - gamma * F'(theta))``.

    Parameters
    ----------
    step : float or None
        gamma; None adapts it: from two gradients in a row as
        ``min(sqrt(1 + r) gamma, |dtheta| / (2 |dgrad|))`` with r the last ratio of
        steps, after a first step of length ``first_step``.
    first_step : float
        Length of the first adaptive step, in units of theta.
    accuracy : tuple of float
        First and last tolerance asked of inner and adjoint solves; it shrinks by
        ``decrease`` in every iteration. A gradient that looks small enough is computed
        again at ``tol`` before the search ends.
    decrease : float
        See ``accuracy``; 1 keeps the first one.

    References
    ----------
    Y. Malitsky, K. Mishchenko (2020). Adaptive gradient descent without descent. ICML.
    """

    step: float | None = None
    first_step: float = 0.5
    accuracy: tuple[float, float] = (1e-2, 1e-8)
    decrease: float = 0.9

    def _rule(self) -> Rule:
        step = self.step
        return self._adaptive() if step is None else lambda theta, grad: step * grad

    def _adaptive(self) -> Rule:
        known: dict[str, Array] = {}
        size = {"gamma": 0.0, "ratio": 0.0}

        def rule(theta: Array, grad: Array) -> Array:
            norm = float(np.linalg.norm(grad))
            if not known:
                gamma = self.first_step / norm if norm > 0 else 1.0
                size["ratio"] = 0.0
            else:
                moved = float(np.linalg.norm(theta - known["theta"]))
                changed = float(np.linalg.norm(grad - known["grad"]))
                gamma = np.sqrt(1.0 + size["ratio"]) * size["gamma"]
                if changed > 0.0:
                    gamma = min(gamma, 0.5 * moved / changed)
                gamma = gamma or size["gamma"]
                size["ratio"] = gamma / size["gamma"]
            size["gamma"] = gamma
            known["theta"], known["grad"] = theta.copy(), grad.copy()
            return np.asarray(gamma * grad)

        return rule


@dataclass(frozen=True)
class Adam(ByGradients):
    """Adam on theta, clipped to its box; no step size to scale with the loss.

    Parameters
    ----------
    step : float
        Largest change of a component in one iteration, about.
    beta : tuple of float
        Decay of the averages of gradients and of their squares.
    accuracy, decrease
        As for `ProjectedGradient`.

    References
    ----------
    D. P. Kingma, J. Ba (2015). Adam: a method for stochastic optimization. ICLR.
    """

    step: float = 0.1
    beta: tuple[float, float] = (0.9, 0.999)
    accuracy: tuple[float, float] = (1e-2, 1e-8)
    decrease: float = 0.9

    def _rule(self) -> Rule:
        first, second, count = np.zeros(1), np.zeros(1), 0
        b1, b2 = self.beta

        def rule(theta: Array, grad: Array) -> Array:
            nonlocal first, second, count
            count += 1
            first = b1 * first + (1 - b1) * grad
            second = b2 * second + (1 - b2) * grad**2
            scale = np.sqrt(second / (1 - b2**count))
            scale = np.where(scale > 0, scale, 1.0)
            return np.asarray(self.step * first / (1 - b1**count) / scale)

        return rule
