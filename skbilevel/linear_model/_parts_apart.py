"""Targets with strengths of their own, each in a worker of the user's backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._sklearn_compat import callbacks_of
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._workers import has_workers, map_workers
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import prepare
from skbilevel.linear_model._publish import Published

# Weights, roles of the columns, labels of strengths, and folds: what is small.
Beside = tuple[Any, tuple[Any, ...], Any, Resampling]


def can_go_apart(model: Any, resampling: Resampling, X: Any) -> bool:
    """Whether nobody here has to hear of a part before it is done."""
    alone = not callbacks_of(model) and not model.verbose
    here = isinstance(X, np.ndarray) or sparse.issparse(X)
    return alone and here and resampling.features is None and has_workers(model.n_jobs)


def fit_apart(model: Any, X: Any, Y: Array, beside: Beside) -> list[Published]:
    """One set of strengths for each target, each found by a worker.

    X goes to every worker once, and never comes back.
    """
    items = [(Y[:, k : k + 1], model, beside) for k in range(Y.shape[1])]
    found = map_workers(_fit_one, X, items, model.n_jobs)
    return [_with_features(each, X) for each in found]


def _fit_one(X: Any, Y: Array, model: Any, beside: Beside) -> Published:
    """In a worker: one target, and what is small of the result."""
    counts, own, groups, resampling = beside
    followed = model._followed(X, Y, {}, lambda parts: {})
    data = prepare(X, Y, counts, *own)
    published = model._fit_part(data, groups, resampling, followed.parts[0])
    if published.left_out is not None:
        # A scorer alone asks for it.
        known = None if model.scoring is None else published.left_out()
        published = replace(published, left_out=Known(known))
    if published.uncertainty is not None:
        # What makes it holds the rows.
        with one_blas_thread():
            covariance = published.uncertainty()
        published = replace(published, uncertainty=Known(covariance))
    if published.tried is not None:
        models = [published.tried.models(k) for k in range(len(published.tried.alpha))]
        models = [[replace(fold, X=None) for fold in folds] for folds in models]
        tried = replace(published.tried, models=models.__getitem__)
        published = replace(published, tried=tried)
    return _with_features(published, None)


class Known:
    """A function whose value is known, whatever it is given."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, **given: Any) -> Any:
        """Return the value."""
        return self._value


def _with_features(published: Published, X: Any) -> Published:
    """The same with other features in the models of its folds."""
    tried = published.tried
    if tried is not None:
        models = tried.models
        tried = replace(
            tried, models=lambda k: [replace(fold, X=X) for fold in models(k)]
        )
    folds = [replace(fold, X=X) for fold in published.folds]
    return replace(published, folds=folds, tried=tried)
