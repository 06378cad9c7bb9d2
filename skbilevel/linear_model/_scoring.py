"""What ``scoring`` reports: of new rows, and of the rows that folds leave out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from skbilevel._array_api import on_host
from skbilevel._sklearn_compat import _check_method_params, with_labels
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.blocks._dask import is_dask
from skbilevel.linear_model._lazily import loaded, without_names
from skbilevel.linear_model._publish import Published, PublishedFold
from skbilevel.linear_model._routing import refuse_score_params, scorer_params


class ScoringMixin:
    """``score`` by the user's scorer; stands left of scikit-learn's own mixins."""

    scoring: Any

    def score(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> float:
        """Score predictions: R2 or accuracy, or ``scoring`` where it was given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        **params : dict
            Metadata for the scorer, under metadata routing.

        Returns
        -------
        score : float
            Greater is better.
        """
        refuse_score_params(self, params)
        if self.scoring is None:
            model: Any = self
            if is_dask(X):
                # Predictions come back, X stays where it is.
                made = model.predict(X)
                y, predicted, sample_weight = loaded(y, made, sample_weight)
                model = copy.copy(self)
                model.predict = lambda X: predicted
            default: float = super(ScoringMixin, model).score(  # type: ignore[misc]
                X, y, sample_weight=sample_weight
            )
            return float(default)
        return user_score(self, self, X, y, sample_weight, params)


def user_score(
    owner: Any,
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    params: dict[str, Any],
) -> float:
    """The score of ``model`` by the scorer of ``owner``."""
    scorer = check_scoring(owner, scoring=owner.scoring)
    routed = scorer_params(owner, "score", sample_weight, params)
    return float(scorer(model, X, y, **routed))


def nested_score(
    owner: Any,
    X: Any,
    y: Array,
    parts: list[Published],
    sample_weight: Any,
    params: dict[str, Any],
    offset: Array | None = None,
) -> float:
    """Mean over the folds of the user's score, on rows not trained on.

    Criteria in closed form have no folds: the score is then that of all rows of
    positive weight, each predicted from the others.
    """
    scorer = check_scoring(owner, scoring=owner.scoring)
    score_params = scorer_params(owner, "fit", sample_weight, params)
    if parts[0].left_out is not None:
        return float(left_out_score(owner, scorer, X, y, parts, score_params))
    folds = [part.folds for part in parts]
    if not folds[0]:
        return np.nan  # the fit was stopped before a fold was done
    failed: list[ValueError] = []
    scores = [
        score_fold(
            scorer,
            model,
            features,
            y[index],
            _check_method_params(X, score_params, index),
            failed,
        )
        for model, features, index in models_of_folds(owner, folds, offset)
    ]
    warn_failed(failed, owner.scoring)
    return float(np.mean(scores))


def models_of_folds(
    owner: Any, folds: list[list[PublishedFold]], offset: Array | None = None
) -> Iterator[tuple[Any, Any, Array]]:
    """Fitted models of the folds, rows that they were not fitted on, and which.

    ``folds`` holds a list for every part of the targets.
    """
    flat = np.ndim(owner.coef_) == 1
    for fold in zip(*folds, strict=True):
        X, index = on_host(fold[0].X[fold[0].rows]), fold[0].held_out
        model = without_names(owner)
        model.n_features_in_ = X.shape[1]
        coef = np.concatenate([each.coef for each in fold])
        intercept = np.concatenate([each.intercept for each in fold])
        model.coef_ = coef[0] if flat else coef
        model.intercept_ = intercept[0] if flat else intercept
        if offset is not None:
            model = model._at_offset(offset[index])
        yield model, X, index


def score_fold(
    scorer: Any,
    model: Any,
    X: Any,
    y: Any,
    params: dict[str, Any],
    failed: list[ValueError],
) -> Any:
    """What the scorer says of one fold; NaN where it lacks a class and a score fails.

    Some scores cannot be computed then, which is no reason to lose the fit. The error
    is added to ``failed``, of which `warn_failed` speaks once.
    """
    classes = getattr(model, "classes_", None)
    lacks = classes is not None and len(np.unique(y)) < len(classes)
    scorer = with_labels(scorer, classes) if lacks else scorer
    try:
        return scorer(model, X, y, **params)
    except ValueError as error:
        if not lacks:
            raise
        failed.append(error)
        return np.nan


def warn_failed(failed: list[ValueError], scoring: Any) -> None:
    """One warning of all scores that failed; ``scoring`` is what the user calls it."""
    if failed:
        warn_user(
            f"best_score_ is NaN: scoring={scoring!r} failed on a fold that has "
            f"no row of some class ({failed[0]}). Give a cv with fewer, stratified "
            "folds, or another scoring.",
            UserWarning,
        )


def left_out_score(
    owner: Any,
    scorer: Any,
    X: Any,
    y: Array,
    parts: list[Published],
    params: dict[str, Any],
) -> Any:
    """The user's score of predictions of every row from the other rows."""
    columns = [part.left_out() for part in parts if part.left_out is not None]
    predicted, index = np.hstack(columns), parts[0].index
    predicted = predicted[:, 0] if predicted.shape[1] == 1 else predicted
    model = without_names(owner)

    # The scorer asks an estimator; this one answers from what is known.
    def decision_function(X: Any) -> Array:
        return predicted

    def predict(X: Any) -> Array:
        flat = predicted if y.ndim == 1 else predicted.reshape(len(index), -1)
        return np.asarray(owner._response(flat))

    if hasattr(owner, "classes_"):
        model.decision_function = decision_function
    else:
        model.predict = predict
    taken = _check_method_params(X, params, index)
    return scorer(model, on_host(X[index]), y[index], **taken)
