"""From a search result in working units to fitted attributes in user units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._options import FoldModel, Tuned
from skbilevel.linear_model._uncertainty import Uncertainty


@record
class PublishedFold:
    """A model of a nested fold: coefficients (t, m) and intercepts (t,).

    ``held_out`` are the rows of the user that it was not fitted on, ``rows`` are their
    places in the features ``X`` of the fold.
    """

    held_out: Array
    coef: Array
    intercept: Array
    X: Any
    rows: Array


@record
class PublishedTried:
    """Shared strengths ``alpha`` (c,) that were evaluated, and the models at them."""

    alpha: Array
    chosen: int
    models: Callable[[int], list[PublishedFold]]


@record
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
    folds : list of PublishedFold
        Models of the nested folds.
    index : ndarray of int
        Rows of positive weight among those of the user.
    left_out : callable or None
        Computes targets of each of them predicted from the others.
    tried : PublishedTried or None
        Shared strengths that were evaluated, where one is all that was searched.
    edge : {-1, 0, 1}
        Where the shared strength ended.
    uncertainty : callable or None
        Computes the covariance of the coefficients.
    share : int
        Place of the share of the L1 norm among those that were tried.
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
    folds: list[PublishedFold]
    index: Array
    left_out: Callable[[], Array] | None
    tried: PublishedTried | None
    edge: int = 0
    uncertainty: Callable[..., Uncertainty | None] | None = None
    share: int = 0


def _uncertainty(
    data: Prepared, tuned: Tuned, times: float = 1.0
) -> Uncertainty | None:
    return Uncertainty.of(data, tuned.v, tuned.coef, times, tuned.moment)


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
        _folds(data, tuned.folds),
        data.counts.index,
        tuned.left_out,
        _tried(data, tuned),
        tuned.edge,
        None if data.net else partial(_uncertainty, data, tuned),
        tuned.share,
    )


def _folds(data: Prepared, models: list[FoldModel]) -> list[PublishedFold]:
    return [
        PublishedFold(
            data.counts.index[each.held_out],
            *replace(data, rows=each.rows).coefficients(each.coef),
            each.rows.X,
            each.held_out,
        )
        for each in models
    ]


def _tried(data: Prepared, tuned: Tuned) -> PublishedTried | None:
    tried = tuned.tried
    if tried is None:
        return None
    with np.errstate(divide="ignore"):
        alpha = 1.0 / tried.v / data.alpha_unit
    return PublishedTried(alpha, tried.chosen, lambda k: _folds(data, tried.models(k)))
