"""What all stochastic solvers have in common: steps, batches, budget, history."""

from __future__ import annotations

from dataclasses import dataclass

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._oracle_base import check_positive
from skbilevel.solvers.stochastic._run import Budget, StochasticRun
from skbilevel.solvers.stochastic._schedule import OuterSteps


@dataclass(frozen=True, kw_only=True)
class StochasticOptions:
    """Options of `SOBA`, `SABA` and `AmigoSGD`; see the first of them."""

    step: float = 0.5
    reach: float = 0.5
    batch_size: int | None = None
    max_passes: float = 200.0
    warm_up: int = 2
    shared_step: bool = False
    record_every: float = 5.0
    evaluate: bool = True
    requires = frozenset({"row_batches"})

    def __post_init__(self) -> None:
        check_positive(
            self, "step", "reach", "batch_size", "max_passes", "record_every"
        )

    @property
    def budget(self) -> Budget:
        """When to stop and what to write down."""
        return Budget(self.max_passes, self.record_every, self.evaluate)

    def begin(
        self,
        problem: OracleProblem,
        theta0: Array,
        random_state: int,
        decay: float | None,
    ) -> StochasticRun:
        """A run at its start; steps in theta adapt to the curvature without a decay."""
        rule = OuterSteps(
            self.reach, decay is None, decay or 0.0, self.warm_up, self.shared_step
        )
        return StochasticRun(problem, theta0, self.batch_size, rule, random_state)
