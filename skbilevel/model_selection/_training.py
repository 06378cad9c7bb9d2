"""Training sets as the guard sees them: the same questions in every regime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._penalties import Penalty
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.solvers.outer._gauss_newton import DeviationPenalty


@record
class Likelihood:
    """What least squares on working responses stands for.

    Parameters
    ----------
    weight : float
        Sum of the row weights, without the curvatures that working weights contain.
    null : float
        Mean loss of the unpenalized columns alone, the unit of half-sampling losses.
    noise : float or None
        Variance of the working responses, None where the dispersion is not known.
    """

    weight: float
    null: float
    noise: float | None

    def counted(self, weight: Array) -> Array:
        """Sums of working weights as numbers of rows, in any unit of the targets."""
        return weight if self.noise is not None else np.array([self.weight])


class LogLinear(Protocol):
    """Log variances as a linear function of fewer numbers."""

    def expand(self, theta: Array) -> Array:
        """``log v`` (F, p) of ``theta`` (F, g)."""

    def reduce(self, grad: Array) -> Array:
        """Gradient (F, g) in ``theta`` from one (F, p) in ``log v``."""

    def pull_back(self, model: Any) -> Any:
        """A model in ``log v`` as one in ``theta``."""


class Trainer(Protocol):
    """F training sets of the same problem.

    ``weight`` (F,) are sums of row weights, ``variance`` (F,) total variances of the
    swept targets.
    """

    @property
    def rows(self) -> AugmentedRows:
        """The rows of the problem."""

    @property
    def sets(self) -> Sequence[TrainingSet]:
        """The training sets."""

    @property
    def penalty(self) -> Penalty:
        """The penalty at strengths of one."""

    @property
    def weight(self) -> Array:
        """Sums of row weights."""

    @property
    def variance(self) -> Array:
        """Total variances of the swept targets."""

    def shared(self, criterion: str) -> SharedOptimum:
        """The best shared strengths."""

    def halves(self, log_v: Array) -> Any:
        """Model of the half-sampling loss at ``log_v`` (F, p)."""

    def half(self, h: int, log_v: Array, share: float) -> Any:
        """Model of the loss of one half, relative to ``share`` of all."""

    def evidence_path(
        self,
        theta: Array,
        lambdas: Sequence[float],
        penalty: DeviationPenalty,
        expand: LogLinear,
        n_steps: int,
        bounds: tuple[Array, Array],
    ) -> list[Array]:
        """Steps on the evidence plus ``(lam / g) |R theta|^2``, on from lam to lam."""

    def dual_gradient(self, w: Array) -> Array:
        """``u = X^T (y - X W)`` for coefficients (F, p, t)."""

    def elastic_net(self, n_points: int, ratio: float) -> tuple[Array, Array]:
        """Variances (F, c, p) and coefficients (F, c, p, t)."""

    def refits(self, v: Array) -> tuple[Array, Array]:
        """One strength on every support of ``v`` (F, c, p), and coefficients."""

    def solve(self, v: Array) -> Array:
        """Coefficients (F, c, p, t) at variances (F, c, p)."""

    def full_coefficients(self, w: Array) -> Array:
        """Coefficients (F, c, n_free + p, t) with those of the free columns first."""

    def variances(self, v: Array) -> Array:
        """Variances (F, c, p) for the columns as they are."""
