"""How a budget is divided among releases."""

from __future__ import annotations

import math
from dataclasses import replace

from skbilevel._records import record
from skbilevel.privacy._accounting import gdp_mu


@record
class Budget:
    """An (epsilon, delta) guarantee, as squares of mu that add up to one.

    Parameters
    ----------
    epsilon, delta : float
        The guarantee; an infinite epsilon asks for no noise.
    left : float, default=1.0
        Share that is not spent yet.
    """

    epsilon: float
    delta: float
    left: float = 1.0

    @property
    def free(self) -> bool:
        """Whether there is no noise at all."""
        return math.isinf(self.epsilon)

    def multiplier(self, share: float, count: int = 1) -> float:
        """Noise of ``count`` releases, in sensitivities, that take a share together."""
        if self.free:
            return 0.0
        return math.sqrt(count / share) / gdp_mu(self.epsilon, self.delta)

    def without(self, share: float) -> Budget:
        """The budget after a share of the whole was spent."""
        return replace(self, left=self.left - share)
