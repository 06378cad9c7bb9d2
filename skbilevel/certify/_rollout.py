"""The cost of a controller, and its gradient, along simulated trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._dynamics import Dynamics, Rule, runge_kutta
from skbilevel.certify._polynomials import evaluator


@dataclass(frozen=True)
class Rollout:
    """Mean cost over starts, the integral of a running cost up to a horizon.

    ::

        J(theta) = 1/m sum_i  integral from 0 to T of  l(x_i(t), s, theta) dt

    States, their sensitivities in theta and the cost are integrated together by the
    method of Runge and Kutta: the gradient is that of the number returned.

    Parameters
    ----------
    dynamics : Dynamics
        The system.
    cost : callable
        ``cost(x, theta, s)``, a polynomial, as for the rule of `Dynamics`.
    starts : array-like of shape (m, n_states)
        States at time zero.
    horizon : float
        T.
    n_steps : int
        Steps of equal length.
    where : float, default=0.5
        Where in their ranges the uncertain numbers are, from 0 to 1.

    Examples
    --------
    >>> from skbilevel.certify import Dynamics, Rollout
    >>> decay = Dynamics(lambda x, theta, s: [-theta[0] * x[0]], 1, 1)
    >>> cost = Rollout(decay, lambda x, theta, s: x[0] ** 2, [[1.0]], 1.0, 50)
    >>> value, grad = cost([1.0])
    >>> round(value, 4), grad.round(4)
    (0.4323, array([-0.297]))
    """

    dynamics: Dynamics
    cost: Rule
    starts: Any
    horizon: float
    n_steps: int
    where: float = 0.5

    @cached_property
    def _compiled(self) -> Callable[[Array], Array]:
        """Rates and cost, then their derivatives in every variable."""
        values = [*self.dynamics.rates, self.dynamics.polynomial(self.cost)]
        n = self.dynamics.n_known + self.dynamics.n_theta
        return evaluator([*values, *(v.diff(j) for v in values for j in range(n))])

    def __call__(self, theta: Any) -> tuple[float, Array]:
        """Return J and its gradient; infinity and zero where a trajectory overflows."""
        theta = np.asarray(theta, dtype=float)
        starts = np.atleast_2d(np.asarray(self.starts, dtype=float))
        n, d = self.dynamics.n_states, self.dynamics.n_theta
        # A row of states and the cost, with derivatives in theta as further columns.
        begin = np.zeros((len(starts), n + 1, 1 + d))
        begin[:, :n, 0] = starts
        step = self.horizon / self.n_steps
        with np.errstate(over="ignore", invalid="ignore"):
            path = runge_kutta(
                lambda y: self._rates(theta, y), begin, step, self.n_steps
            )
        mean = path[-1, :, n].mean(axis=0)
        if not np.isfinite(mean).all():
            return np.inf, np.zeros(d)
        return float(mean[0]), mean[1:]

    def _rates(self, theta: Array, y: Array) -> Array:
        n, known = self.dynamics.n_states, self.dynamics.n_known
        x = y[:, :n, 0]
        numbers = self._compiled(self.dynamics.point(theta, x, self.where))
        slopes = numbers[:, n + 1 :].reshape(len(x), n + 1, -1)
        by_state = slopes[:, :, :n].copy()
        for i, parameter in enumerate(self.dynamics.parameters):
            moved = parameter.slopes(x, self.where)
            by_state += slopes[:, :, n + i, None] * moved[:, None, :]
        by_theta = by_state @ y[:, :n, 1:] + slopes[:, :, known:]
        return np.concatenate([numbers[:, : n + 1, None], by_theta], axis=2)
