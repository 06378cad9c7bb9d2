"""What goes into a search for strengths, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._columns import Groups
from skbilevel.model_selection._outer_space import check_alpha_init
from skbilevel.model_selection._progress import Listener
from skbilevel.problems._moments import AugmentedRows


@record
class TuningOptions:
    """The estimator's parameters that the search depends on.

    ``by_target`` gives every target, a class for instance, strengths of its own; the
    ``listener`` is told what is done.
    """

    hyperpenalty: Any
    solver: Any
    alpha_init: Any
    alpha_bounds: Any
    tol: float
    max_iter: int
    metadata: Any
    groups: Groups | None
    seed: int
    n_jobs: int | None = None
    by_target: bool = False
    listener: Listener | None = None

    def start(self, rows: AugmentedRows) -> Array | None:
        """Strengths (p,) or (p, t) of the penalized columns that the user gave."""
        t = self.n_own(rows.n_targets)
        return check_alpha_init(self.alpha_init, rows.penalized, rows.X.shape[1], t)

    def widened(self, n_columns: int) -> TuningOptions:
        """The same for columns that only folds have behind the others."""
        groups = self.groups
        own = None if groups is None else groups.widened(n_columns)
        return replace(self, groups=own)

    @property
    def one_strength(self) -> bool:
        """Whether all penalized columns share one strength."""
        return self.groups is not None and len(self.groups.labels) == 1

    def n_own(self, n_targets: int) -> int:
        """Number of targets with strengths of their own; 1 where they share them."""
        return n_targets if self.by_target else 1

    def members(self, n_targets: int) -> Array | None:
        """Label of every strength, those of a feature's targets one after the other.

        None is one label each; labels of different targets differ.
        """
        if self.groups is None:
            return None
        t = self.n_own(n_targets)
        own = self.groups.members[:, None] * t + np.arange(t)
        return np.asarray(own.reshape(-1))


def candidate_table(
    family: Sequence[str],
    value: Array,
    score: Array,
    error: Array,
    weight: Array,
    alpha: Array,
) -> dict[str, Array]:
    """What is reported of c candidates, with strengths (c, p) or (c, p, t)."""
    return {
        "family": np.array(family),
        "value": value,
        "score": score,
        "standard_error": error,
        "kept": weight > 0,
        "weight": weight,
        "alpha": alpha,
    }


@record
class FoldModel:
    """A model of one fold.

    Parameters
    ----------
    held_out : ndarray of int
        Rows it was not fitted on.
    coef : ndarray of shape (n_free + p, t)
        Coefficients, those of unpenalized columns first.
    rows : AugmentedRows
        All rows, with the columns of the fold.
    """

    held_out: Array
    coef: Array
    rows: AugmentedRows


@record
class Tried:
    """Shared strengths that a search evaluated.

    Parameters
    ----------
    v : ndarray of shape (c,)
        Variances, increasing; the one that was chosen is among them.
    chosen : int
        Its place.
    models : callable
        From a place to the models of the folds.
    """

    v: Array
    chosen: int
    models: Callable[[int], list[FoldModel]]


@record
class Tuned:
    """Strengths, coefficients at them, and what is reported of the search.

    Parameters
    ----------
    v : ndarray of shape (p,) or (p, t)
        Variances of the penalized columns.
    coef : ndarray of shape (n_free + p, t)
        Coefficients, those of unpenalized columns first.
    score : float
        Negative mean squared error that the search saw last, in user units.
    n_iter : int
        Outer steps.
    history, hyperpenalty : dict of ndarray
        Published as they are.
    folds : list of FoldModel
        Models that were fitted without some rows.
    edge : {-1, 0, 1}
        Where the shared strength ended.
    left_out : callable or None
        Computes targets (n, t), in user units, of every row predicted from the other
        rows; takes the place of ``folds`` for criteria in closed form.
    tried : Tried or None
        Shared strengths that were evaluated, where one is all that was searched.
    share : int
        Place of the share of the L1 norm among those that were tried.
    moment : ndarray of shape (width, width) or None
        Moment of all rows, where the search has taken it.
    """

    v: Array
    coef: Array
    score: float
    n_iter: int
    history: dict[str, Array]
    hyperpenalty: dict[str, Array]
    folds: list[FoldModel]
    edge: int
    left_out: Callable[[], Array] | None = None
    tried: Tried | None = None
    share: int = 0
    moment: Array | None = None
