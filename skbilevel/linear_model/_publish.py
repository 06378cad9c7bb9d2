"""From a search result in working units to fitted attributes in user units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._options import Tuned


@dataclass(frozen=True)
class Published:
    """Attributes of one set of strengths.

    Parameters
    ----------
    coef : ndarray of shape (t, m)
        Coefficients of all columns.
    intercept : ndarray of shape (t,)
        Intercepts.
    alpha : ndarray of shape (m,) or (t, m)
        Strengths in the units of the estimator.
    group_alpha : ndarray of shape (g,) or (t, g), or None
        Strengths by label.
    group_labels : ndarray of shape (g,) or None
        The labels.
    score : float
        Nested score.
    n_iter : int
        Outer steps.
    history, hyperpenalty : dict of ndarray
        Reports of the search.
    folds : list of (rows, coef, intercept)
        Models of the nested folds.
    positive : ndarray of int
        Rows of positive weight.
    left_out : callable or None
        Computes targets of every row predicted from the other rows.
    edge : {-1, 0, 1}
        Where the shared strength ended.
    """

    coef: Array
    intercept: Array
    alpha: Array
    group_alpha: Array | None
    group_labels: Array | None
    score: float
    n_iter: int
    history: dict[str, Array]
    hyperpenalty: dict[str, Array]
    folds: list[tuple[Array, Array, Array]]
    positive: Array
    left_out: Callable[[], Array] | None
    edge: int = 0


def publish_attributes(
    data: Prepared, tuned: Tuned, groups: Groups | None
) -> Published:
    """All attributes in the user's units."""
    coef, intercept = data.coefficients(tuned.coef)
    alpha = data.strengths(tuned.v)
    group_alpha = labels = None
    if groups is not None:
        first = np.unique(groups.members, return_index=True)[1]
        group_alpha = alpha[..., data.rows.penalized][..., first]
        labels = groups.labels
    report = dict(tuned.hyperpenalty)
    # Candidates (c, p), or (c, p, t) where every target has its own.
    alpha_of = report["alpha"] / data.alpha_unit
    report["alpha"] = alpha_of if alpha_of.ndim == 2 else alpha_of.swapaxes(1, 2)
    folds = [(index, *data.coefficients(c)) for index, c in tuned.folds]
    return Published(
        coef,
        intercept,
        alpha,
        group_alpha,
        labels,
        tuned.score,
        tuned.n_iter,
        tuned.history,
        report,
        folds,
        data.positive,
        tuned.left_out,
        tuned.edge,
    )
