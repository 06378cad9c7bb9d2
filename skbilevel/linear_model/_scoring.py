"""What ``scoring`` reports: of new rows, and of the rows that folds leave out."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from skbilevel._sklearn_compat import _routing_enabled, process_routing
from skbilevel._typing import Array
from skbilevel.linear_model._publish import Published


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
        if self.scoring is None:
            default: float = super().score(X, y, sample_weight=sample_weight)  # type: ignore[misc]
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
    if _routing_enabled():
        routed = process_routing(owner, "score", sample_weight=sample_weight, **params)
        return float(scorer(model, X, y, **routed.scorer.score))
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return float(scorer(model, X, y, **weights))


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
    score_params = {}
    if _routing_enabled():
        routed = process_routing(owner, "fit", sample_weight=sample_weight, **params)
        score_params = dict(routed.scorer.score)
    elif sample_weight is not None:
        score_params = {"sample_weight": np.asarray(sample_weight)}
    if parts[0].left_out is not None:
        return _left_out_score(owner, scorer, X, y, parts, score_params)
    if not parts[0].folds:
        return np.nan  # the fit was stopped before a fold was done
    scores = []
    for fold in zip(*[part.folds for part in parts], strict=True):
        index = fold[0][0]
        model = _without_names(owner)
        coef = np.concatenate([coef for _, coef, _ in fold])
        intercept = np.concatenate([intercept for _, _, intercept in fold])
        flat = np.ndim(owner.coef_) == 1
        model.coef_ = coef[0] if flat else coef
        model.intercept_ = intercept[0] if flat else intercept
        if offset is not None:
            model = model._at_offset(offset[index])
        taken = {key: np.asarray(value)[index] for key, value in score_params.items()}
        scores.append(_score_fold(scorer, model, X[index], y[index], taken))
    return float(np.mean(scores))


def _without_names(owner: Any) -> Any:
    """A copy that predicts from an array, as X is inside fit, without a warning."""
    model = copy.copy(owner)
    vars(model).pop("feature_names_in_", None)
    return model


def _score_fold(
    scorer: Any, model: Any, X: Any, y: Array, params: dict[str, Array]
) -> float:
    """The score of one fold; NaN and a warning where it lacks a class.

    Some scores cannot be computed then, which is no reason to lose the fit.
    """
    try:
        return float(scorer(model, X, y, **params))
    except ValueError as error:
        if not hasattr(model, "classes_") or len(np.unique(y)) == len(model.classes_):
            raise
        warnings.warn(
            f"best_score_ is NaN: scoring={model.scoring!r} failed on a fold that has "
            f"no row of some class ({error}). Give a cv with fewer, stratified folds, "
            "or another scoring.",
            UserWarning,
            stacklevel=4,
        )
        return np.nan


def _left_out_score(
    owner: Any,
    scorer: Any,
    X: Any,
    y: Array,
    parts: list[Published],
    params: dict[str, Any],
) -> float:
    """The user's score of predictions of every row from the other rows."""
    columns = [part.left_out() for part in parts if part.left_out is not None]
    predicted, index = np.hstack(columns), parts[0].positive
    predicted = predicted[index, 0] if predicted.shape[1] == 1 else predicted[index]
    model = _without_names(owner)

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
    taken = {key: np.asarray(value)[index] for key, value in params.items()}
    return float(scorer(model, X[index], y[index], **taken))
