"""Step sizes in theta from what was seen, pass by pass."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array

# Directions below this share of the largest one are rounding; what such a component
# would move is bounded by ``reach`` all the same.
_SMALLEST = 1e-12

# A step size shrinks by this factor where the mean direction of a pass differs from the
# last one by such a share of the larger.
_SHRINK, _TURN = 0.5, 0.3


class OuterSteps:
    """Step sizes that fit any units of the objective, for each component of theta.

    Time runs in passes, since a mean of directions over a pass has little noise. For
    the first ``warm_up`` passes theta stays where it is and w and q catch up. Then each
    component would move by ``reach`` in a pass. Later step sizes follow the curvature
    that the means (theta_j, D_j) of two passes in a row show, without a decay::

        gamma_j <- min(g_j gamma_j, |dtheta_j| / (2 |dD_j|))

    with ``g_j = sqrt(1 + r_j)`` and r_j the last ratio of step sizes: gradient descent
    without descent, a pass in the place of an iteration. But w and q lag behind theta,
    and directions show too little curvature at first: where the means of two passes
    differ by more than 0.3 of the larger one, g_j is 0.5. With a decay, step sizes
    follow the size of all directions so far::

        gamma_j = reach k^-decay / rms_j,   k passes since the warm-up

    Gradients in logarithms of strengths differ by powers of ten between features; one
    step size for all of them would wait for the smallest.

    Parameters
    ----------
    reach : float
        Move of a component in the first pass, in units of theta; no later pass moves
        one by more than twice as much.
    decay : float or None
        Exponent; None follows the curvature.
    warm_up : int
        Passes without steps; the first one always is.
    shared : bool
        Whether all components share one step size, as in the papers: absolute values
        above become Euclidean norms.

    References
    ----------
    Y. Malitsky, K. Mishchenko (2020). Adaptive gradient descent without descent. ICML.
    """

    def __init__(
        self, reach: float, decay: float | None, warm_up: int, shared: bool
    ) -> None:
        self.reach, self.decay, self.shared = reach, decay, shared
        # Steps are made of what a pass has shown.
        self.warm_up = max(warm_up, 1)
        self.gamma: Array | float = 0.0
        self._ratio: Array | float = 0.0
        self._passes, self._squares = 0, np.zeros(1)
        self._last: tuple[Array, Array] | None = None

    def step(self, direction: Array, share: float) -> Array:
        """What to subtract from theta for a step that is a share of a pass."""
        limit = 2.0 * share * self.reach
        return np.clip(share * self.gamma * direction, -limit, limit)

    def after_pass(self, theta: Array, direction: Array) -> None:
        """Look at the means over a pass."""
        self._passes += 1
        k = self._passes - self.warm_up + 1
        if k < 1:
            return
        size = self._size(direction)
        if self.decay is not None:
            self._squares = self._squares + size**2
            rms = np.sqrt(self._squares / k)
            self.gamma = float(k) ** -self.decay * self._reaching(rms)
        elif self._last is None or not np.all(self.gamma):
            self.gamma = self._reaching(size)
        else:
            self._follow(theta - self._last[0], direction)
            # What is cut off at `reach` in every step need not grow without end.
            self.gamma = np.minimum(self.gamma, self._reaching(size) / _SMALLEST)
        self._last = theta, direction

    def _reaching(self, size: Array) -> Array:
        """Step sizes that move components of these directions by ``reach``."""
        floor = _SMALLEST * float(size.max(initial=0.0))
        if not floor > 0.0:
            return np.zeros_like(size)
        return np.asarray(self.reach / np.maximum(size, floor))

    def _size(self, vector: Array) -> Array:
        if not self.shared:
            return np.abs(vector)
        return np.full_like(vector, np.linalg.norm(vector))

    def _follow(self, moved: Array, direction: Array) -> None:
        assert self._last is not None
        before = self._last[1]
        # What did not move, at a bound, tells nothing.
        changed = self._size(np.where(moved, direction - before, 0.0))
        moved = self._size(moved)
        gamma = np.sqrt(1.0 + self._ratio) * self.gamma
        largest = np.maximum(self._size(direction), self._size(before))
        gamma = np.where(changed > _TURN * largest, _SHRINK * self.gamma, gamma)
        known = changed > 0.0
        slope = 0.5 * moved / np.where(known, changed, 1.0)
        new = np.where(known, np.minimum(gamma, slope), gamma)
        new = np.where(new > 0.0, new, self.gamma)
        self._ratio, self.gamma = new / self.gamma, new
