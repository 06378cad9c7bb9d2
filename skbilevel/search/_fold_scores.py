"""Scores of the models of the folds, by the scorer of a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._sklearn_compat import _check_method_params, _num_samples, _safe_indexing
from skbilevel.linear_model._publish import PublishedFold
from skbilevel.linear_model._scoring import left_out_score, models_of_folds, score_fold
from skbilevel.search._chain import Heads, last_params
from skbilevel.search._features import FittedFold
from skbilevel.search._tuned_chain import TunedChain


@record
class FoldScores:
    """Scores by name of every fold.

    Parameters
    ----------
    tuned : TunedChain
        Folds are copies of its fitted last step with coefficients of their own.
    scorer : callable
        Returns a number, or a dict of numbers.
    plain : bool
        Whether the scorer knows an estimator by its predictions alone, and features
        that exist already may be given to it.
    failed : list of ValueError
        Scores of folds that could not be computed.
    """

    tuned: TunedChain
    scorer: Any
    plain: bool
    failed: list[ValueError] = field(default_factory=list)

    def __call__(self, parts: list[list[PublishedFold]]) -> list[dict[str, float]]:
        """One dict of scores for every fold."""
        tuner, tuned = self.tuned.step.tuner, self.tuned
        own = last_params(tuned.chain.pipelines, tuned.metadata.estimator)
        offset = np.asarray(own["offset"]) if "offset" in own else None
        out, fitted = [], tuned.fitted_folds(parts[0])
        models = models_of_folds(tuner, parts, offset)
        for (model, features, index), head in zip(models, fitted, strict=True):
            rows = features if self.plain else _safe_indexing(tuned.X, index)
            model = model if self.plain else self._whole(model, head)
            params = _check_method_params(tuned.X, tuned.metadata.score, index)
            y = _safe_indexing(self._targets, index)
            out.append(score_fold(self.scorer, model, rows, y, params, self.failed))
        # Nothing where a callback stopped the search before a fold was done.
        return _by_name(out or [np.nan], getattr(self.scorer, "_scorers", ["score"]))

    @cached_property
    def _targets(self) -> Any:
        """Targets as scorers take them: few take a sparse matrix of labels."""
        y = self.tuned.y
        return y.toarray() if sparse.issparse(y) else y

    def left_out(self) -> list[dict[str, float]]:
        """One dict: every row predicted from the others, in closed form."""
        tuned = self.tuned
        nothing, y = np.empty((_num_samples(tuned.X), 0)), np.asarray(self._targets)
        tuner, params = tuned.step.tuner, tuned.metadata.score
        args = (tuner, self.scorer, nothing, y, tuned.parts, params)
        return _by_name([left_out_score(*args)], ["score"])

    def _whole(self, model: Any, fitted: FittedFold | None) -> Any:
        """The pipeline of a fold."""
        chain = self.tuned.chain
        heads: Heads = [None] * len(chain.pipelines)
        names = known = getattr(self.tuned.step.tuner, "feature_names_in_", None)
        if fitted is not None:
            heads, names = fitted.heads, fitted.names
            # Zero columns were there for other folds.
            model.coef_ = model.coef_[..., fitted.columns]
            model.n_features_in_ = len(fitted.columns)
        if known is not None and names is not None:
            model.feature_names_in_ = names
        return chain.assemble(heads, model)


def _by_name(found: list[Any], names: Iterable[str]) -> list[dict[str, float]]:
    """Numbers, dicts of numbers, or NaN for a whole dict, as dicts.

    ``names`` are those of the scores if no dict tells.
    """
    names = next((list(each) for each in found if isinstance(each, dict)), names)
    every = [
        each if isinstance(each, dict) else dict.fromkeys(names, each) for each in found
    ]
    return [{name: float(value) for name, value in each.items()} for each in every]


def asks_predictions_only(scoring: Any) -> bool:
    """Whether scorers are scikit-learn's own, which know predictions alone."""
    if isinstance(scoring, dict):
        scoring = list(scoring.values())
    if isinstance(scoring, Iterable) and not isinstance(scoring, str):
        return all(asks_predictions_only(each) for each in scoring)
    return (
        scoring is None or isinstance(scoring, str) or hasattr(scoring, "_score_func")
    )
