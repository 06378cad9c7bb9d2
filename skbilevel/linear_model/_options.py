"""What goes into a search for strengths, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skbilevel._typing import Array
from skbilevel.linear_model._columns import Groups


@dataclass(frozen=True)
class TuningOptions:
    """The estimator's parameters that the search depends on."""

    hyperpenalty: Any
    solver: Any
    alpha_init: Any
    alpha_bounds: Any
    tol: float
    max_iter: int
    metadata: Any
    groups: Groups | None
    seed: int
    verbose: int
    n_jobs: int | None = None


@dataclass(frozen=True)
class Tuned:
    """Strengths, coefficients at them, and what is reported of the search.

    Parameters
    ----------
    v : ndarray of shape (p,)
        Variances of the penalized columns.
    coef : ndarray of shape (n_free + p, t)
        Coefficients, those of unpenalized columns first.
    score : float
        Negative mean squared error that the search saw last, in user units.
    n_iter : int
        Outer steps.
    history, hyperpenalty : dict of ndarray
        Published as they are.
    folds : list of (rows, coef)
        Held-out rows and the coefficients fitted without them.
    edge : {-1, 0, 1}
        Where the shared strength ended.
    left_out : callable or None
        Computes targets (n, t), in user units, of every row predicted from the other
        rows; takes the place of ``folds`` for criteria in closed form.
    """

    v: Array
    coef: Array
    score: float
    n_iter: int
    history: dict[str, Array]
    hyperpenalty: dict[str, Array]
    folds: list[tuple[Array, Array]]
    edge: int
    left_out: Callable[[], Array] | None = None
