"""BilevelSearchCV: the strengths of the last step of a pipeline."""

from __future__ import annotations

import time
from copy import deepcopy
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.metrics import check_scoring
from sklearn.utils import get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skbilevel._sklearn_compat import (
    HasMethods,
    MetadataRouter,
    MethodMapping,
    _fit_context,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from skbilevel._typing import Array
from skbilevel.search._chain import Chain
from skbilevel.search._fold_scores import FoldScores, asks_predictions_only
from skbilevel.search._last_step import LastStep
from skbilevel.search._metadata import read_metadata
from skbilevel.search._results import Candidates, results_table, score_candidates
from skbilevel.search._tuned_chain import TunedChain, tune_chain


def _refitted_has(name: str) -> Any:
    """Whether the refitted estimator has a method, and why not."""

    def check(self: Any) -> bool:
        if not self.refit:
            raise AttributeError(
                f"This {type(self).__name__} was made with refit={self.refit}: {name} "
                "needs the estimator that is refitted with the best strengths."
            )
        getattr(getattr(self, "best_estimator_", self.estimator), name)
        return True

    return check


class BilevelSearchCV(MetaEstimatorMixin, BaseEstimator):
    """docstring"""

    _doc_link_module = "skbilevel"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit"])],
        "scoring": [str, callable, list, tuple, dict, None],
        "n_jobs": [Integral, None],
        "refit": ["boolean", str],
        "cv": ["cv_object"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: bool | str = True,
        cv: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.cv = cv
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        sub = get_tags(self.estimator)
        tags.estimator_type = sub.estimator_type
        tags.classifier_tags = deepcopy(sub.classifier_tags)
        tags.regressor_tags = deepcopy(sub.regressor_tags)
        tags.target_tags = deepcopy(sub.target_tags)
        tags.input_tags.sparse = sub.input_tags.sparse
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> BilevelSearchCV:
        """Search the strengths, and refit the estimator with the best ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes: an array, a sparse matrix, a data frame, a list
            of texts.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        **params : dict
            ``groups`` for the splitter; ``sample_weight`` (and ``offset``) for the last
            step and the scorer; ``<step>__<name>`` for a step of a pipeline. Under
            metadata routing, what was requested.

        Returns
        -------
        self : BilevelSearchCV
            The fitted search.

        Raises
        ------
        TypeError
            If the last step is no estimator that can be tuned.
        ValueError
            If the data or a parameter cannot be used; the message names it.
        """
        chain = Chain.of(self.estimator)
        step = LastStep.of(chain.last, self.cv, self.n_jobs, self.verbose)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        metric = self._metric()
        X, y = indexable(X, y)
        metadata = read_metadata(self, params)
        tuned = tune_chain(chain, step, X, y, metadata)
        scores = FoldScores(
            tuned, scorer, asks_predictions_only(self.scoring), X, y, metadata.score
        )
        found = score_candidates(step, tuned.parts, scores)
        self._set_results(tuned, found, scorer, metric)
        if self.refit:
            start = time.perf_counter()
            value = found.values[found.chosen]
            self.best_estimator_ = tuned.refitted(y, value)
            self.refit_time_ = tuned.seconds[0] + time.perf_counter() - start
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _set_results(
        self, tuned: TunedChain, found: Candidates, scorer: Any, metric: str
    ) -> None:
        for name in ("best_estimator_", "refit_time_", "feature_names_in_"):
            if hasattr(self, name):  # of an earlier fit
                delattr(self, name)
        name = f"{tuned.chain.prefix}{tuned.step.parameter or 'alpha'}"
        self.cv_results_ = results_table(found, name, tuned)
        self.best_index_ = found.chosen
        self.best_params_ = self.cv_results_["params"][found.chosen]
        mean = self.cv_results_[f"mean_test_{metric}"]
        self.best_score_ = float(mean[found.chosen])
        self.n_splits_ = len(found.scores[0])
        self.multimetric_ = self._several()
        self.scorer_ = scorer

    def _several(self) -> bool:
        return isinstance(self.scoring, list | tuple | dict)

    def _metric(self) -> str:
        """The name of the score that ``best_score_`` is."""
        if not self._several():
            return "score"
        names = list(self.scoring)
        if isinstance(self.refit, str) and self.refit in names:
            return self.refit
        if self.refit:
            raise ValueError(
                f"With several scores refit={self.refit!r} has to be the name of the "
                f"one that best_score_ and score report, one of {names}, or False."
            )
        return str(names[0])

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Score predictions by ``scoring``, or as the estimator does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            True targets.
        **params : dict
            Metadata for the scorer, under metadata routing.

        Returns
        -------
        score : float
            Greater is better; with several scores the one that ``refit`` names.
        """
        _refitted_has("fit")(self)
        check_is_fitted(self)
        _raise_for_params(params, self, "score")
        routed = {}
        if _routing_enabled():
            routed = dict(process_routing(self, "score", **params).scorer.score)
        found = self.scorer_(self.best_estimator_, X, y, **routed)
        return float(found[self.refit] if self.multimetric_ else found)

    @available_if(_refitted_has("predict"))
    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Those of ``best_estimator_``.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.predict(X))

    @available_if(_refitted_has("predict_proba"))
    def predict_proba(self, X: Any) -> Array:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples, n_classes)
            Those of ``best_estimator_``.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.predict_proba(X))

    @available_if(_refitted_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithms of the probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples, n_classes)
            Those of ``best_estimator_``.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.predict_log_proba(X))

    @available_if(_refitted_has("decision_function"))
    def decision_function(self, X: Any) -> Array:
        """Linear predictions of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Those of ``best_estimator_``.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.decision_function(X))

    @available_if(_refitted_has("transform"))
    def transform(self, X: Any) -> Array:
        """Transform by the refitted estimator, where its last step does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples, n_outputs)
            Those of ``best_estimator_``.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.transform(X))

    @property
    def n_features_in_(self) -> int:
        """Number of features of X; only with ``refit``."""
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"{type(self).__name__} has no n_features_in_: it is not fitted, or "
                f"was fitted with refit={self.refit}."
            )
        return int(self.best_estimator_.n_features_in_)

    @property
    def classes_(self) -> Array:
        """Class labels; only with ``refit``, and of classifiers."""
        _refitted_has("classes_")(self)
        return np.asarray(self.best_estimator_.classes_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_")

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata routing: to the estimator, the splitter and the scorer.

        Returns
        -------
        routing : MetadataRouter
            What ``fit`` and ``score`` pass on.
        """
        router = MetadataRouter(owner=self).add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )
        cv = self.cv
        if cv is None:
            cv = getattr(Chain.of(self.estimator).last, "cv", None)
        if hasattr(cv, "split"):
            router.add(
                splitter=cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
        router.add(
            scorer=check_scoring(self.estimator, scoring=self.scoring),
            method_mapping=MethodMapping()
            .add(caller="fit", callee="score")
            .add(caller="score", callee="score"),
        )
        return router
