"""From rows and splits to the criterion that strengths are tuned on.

Strengths refer to the full data. A fold, or a single hold-out, is a training set
solved at strengths moved to its weight (`transfer`: units of the mean loss) and a
validation set; the criterion pools the validation rows. Leave-one-out and GCV see
the strengths of the full data as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._resampling import Pair
from skbilevel.problems import (
    BilevelProblem,
    Criterion,
    CriterionProblem,
    Hyperpenalty,
    Parametrization,
    Task,
)
from skbilevel.problems._moments import AugmentedRows

# From these sizes on GCV finds most of the way for the criterion that is asked for.
_GUIDED_FROM, _GUIDED_ROWS = 150, 4.0


@dataclass(frozen=True)
class OuterVector:
    """How the outer vector gives strengths, its box, and what is added to the loss.

    ``per_fold`` replaces the parametrization in the folds, where strengths depend on
    training rows.
    """

    parametrization: Parametrization
    bounds: tuple[Array, Array]
    hyperpenalty: Hyperpenalty | None = None
    per_fold: tuple[Parametrization, ...] | None = None

    def folds(self, tasks: Sequence[Task]) -> BilevelProblem:
        """The problem of these tasks, one for each fold or one stack of all."""
        own = self.per_fold
        if own is not None:
            each = [own] if tasks[0].inner.batch else [(one,) for one in own]
            pairs = zip(tasks, each, strict=True)
            tasks = [replace(task, parametrization=par) for task, par in pairs]
        return BilevelProblem(
            tuple(tasks), self.parametrization, self.bounds, self.hyperpenalty
        )

    def closed(self, criterion: Criterion) -> CriterionProblem:
        """The problem of a criterion in closed form."""
        return CriterionProblem(
            criterion, self.parametrization, self.bounds, self.hyperpenalty
        )


class Source(Protocol):
    """A criterion waiting for its outer vector, and coefficients at given variances.

    ``metric`` (p,) scales the columns; variances ``v`` refer to scaled columns.
    """

    @property
    def rows(self) -> AugmentedRows:
        """The rows."""

    @property
    def metric(self) -> Array:
        """Scales of the columns."""

    @property
    def trace(self) -> float:
        """Trace of the Gram matrix of the full data."""

    @property
    def null_loss(self) -> float:
        """Mean loss of the unpenalized columns alone, on the full data."""

    def problem(self, outer: OuterVector) -> BilevelProblem | CriterionProblem:
        """The problem to solve."""

    def coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> Array:
        """Coefficients (n_free + p, t) on the full data, free columns first.

        ``states`` of the tasks of `problem` may serve as a start.
        """

    def fold_coefficients(self, v: Array, states: tuple[Any, ...] = ()) -> list[Array]:
        """The same for every training set."""

    def guide(self) -> Criterion | None:
        """A cheap criterion with almost the same minimum, where there is one."""

    def thinned(self, chosen: Array) -> Source:
        """The same criterion on some rows, where that costs less."""


def splits_among(splits: Sequence[Pair], chosen: Array, n_rows: int) -> list[Pair]:
    """Splits of all rows as splits of some of them."""
    place = np.full(n_rows, -1)
    place[chosen] = np.arange(len(chosen))
    kept = [(place[a], place[b]) for a, b in splits]
    return [(a[a >= 0], b[b >= 0]) for a, b in kept]


def is_guided(rows: AugmentedRows) -> bool:
    """Whether rows are so many that GCV and the criterion have close minima."""
    p, weight = rows.n_penalized, float(rows.weight.sum())
    return p >= _GUIDED_FROM and min(weight, rows.n_rows) >= _GUIDED_ROWS * p
