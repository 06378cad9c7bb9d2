"""The stabilized Runge-Kutta-Chebyshev recurrence of first order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


@record
class ChebyshevStages:
    """One explicit step of s gradients that is stable for steps of about ``2 s^2 / L``.

    ::

        w0 = 1 + damping / s^2,   w1 = T_s(w0) / T_s'(w0),   b_j = 1 / T_j(w0)
        Y_1 = Y_0 - a (w1 / w0) f(Y_0)
        Y_j = (2 w0 b_j / b_{j-1}) Y_{j-1} - (b_j / b_{j-2}) Y_{j-2}
              - a (2 w1 b_j / b_{j-1}) f(Y_{j-1}),     j = 2..s

    On a quadratic with Hessian eigenvalue h a step of size a multiplies the error by
    ``R(a h) = T_s(w0 - w1 a h) / T_s(w0)``.

    Parameters
    ----------
    n_stages : int
        s; one gradient each.
    damping : float
        Positive values keep ``|R|`` below ``1 / T_s(w0) < 1`` away from zero.

    References
    ----------
    J. G. Verwer (1996). Explicit Runge-Kutta methods for parabolic partial differential
    equations. Applied Numerical Mathematics 22.
    """

    n_stages: int = 5
    damping: float = 0.05

    def __post_init__(self) -> None:
        if self.n_stages < 1 or not self.damping >= 0.0:
            raise ValueError(
                "n_stages must be at least 1 and damping at least 0, not "
                f"{self.n_stages} and {self.damping}."
            )

    @cached_property
    def w0(self) -> float:
        """Where the polynomials are centred."""
        return 1.0 + self.damping / self.n_stages**2

    @cached_property
    def _at_w0(self) -> tuple[Array, float]:
        """``T_0..T_s`` and ``T_s'`` at w0, by their recurrences."""
        T, slopes = [1.0, self.w0], [0.0, 1.0]
        for _ in range(self.n_stages - 1):
            slopes.append(2 * T[-1] + 2 * self.w0 * slopes[-1] - slopes[-2])
            T.append(2 * self.w0 * T[-1] - T[-2])
        return np.array(T), slopes[-1]

    @cached_property
    def w1(self) -> float:
        """What makes the step consistent: ``R'(0) = -1``."""
        T, slope = self._at_w0
        return float(T[-1] / slope)

    @property
    def stable(self) -> float:
        """Largest ``a h`` with ``|R| <= 1``: about ``(2 - 4 damping / 3) s^2``."""
        return 2.0 * self.w0 / self.w1

    @property
    def limit(self) -> float:
        """Largest ``a h`` that is damped; a little below `stable`."""
        return (1.0 + self.w0) / self.w1

    def step(
        self, slope: Callable[[Array], Array], y: Array, size: float, first: Array
    ) -> Array:
        """One step from y; ``first`` is ``slope(y)``, known to the caller."""
        T, _ = self._at_w0
        before, now = y, y - size * (self.w1 / self.w0) * first
        for j in range(2, self.n_stages + 1):
            down = T[j - 1] / T[j]
            after = (
                2 * self.w0 * down * now
                - (T[j - 2] / T[j]) * before
                - size * 2 * self.w1 * down * slope(now)
            )
            before, now = now, after
        return now
