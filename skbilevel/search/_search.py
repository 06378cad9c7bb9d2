"""BilevelSearchCV: the strengths of the last step of a pipeline."""

from __future__ import annotations

import time
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.metrics import check_scoring
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted

from skbilevel._mistakes import OF_SEARCH, ExplainedParameters
from skbilevel._sklearn_compat import (
    CallbackSupportMixin,
    HasMethods,
    MetadataRouter,
    _fit_context,
    _raise_for_params,
    _routing_enabled,
    callbacks_of,
    process_routing,
)
from skbilevel._versions import Versioned
from skbilevel.linear_model._draft import Draft
from skbilevel.linear_model._routing import with_routes
from skbilevel.linear_model._scoring import warn_failed
from skbilevel.search._chain import Chain
from skbilevel.search._fold_scores import FoldScores, asks_predictions_only
from skbilevel.search._last_step import LastStep
from skbilevel.search._metadata import has_splitter, read_metadata, splitter_of
from skbilevel.search._refitted import RefittedMixin, indexed, refitted_has
from skbilevel.search._results import Candidates, results_table, score_candidates
from skbilevel.search._tuned_chain import TunedChain, tune_chain


class BilevelSearchCV(
    RefittedMixin,
    MetaEstimatorMixin,
    CallbackSupportMixin,
    Versioned,
    ExplainedParameters,
    BaseEstimator,
):
    """Search the strengths of the last step of a pipeline by their gradient.

    Put it where `GridSearchCV` stood, without the grid. The estimator, usually a
    Pipeline, ends with a linear model. Its transformers ``T_k`` are fitted again on
    the training rows of every fold k, so that nothing of a validation row leaks into
    its features, and the folds together are one bilevel problem ::

        min_alpha  sum_k L_k(w_k(alpha))
        w_k(alpha) = argmin_w  loss_k(T_k(X) w) + 0.5 sum_j alpha_j w_j^2

    with the validation loss ``L_k`` and the training loss of fold k. It is searched
    along the gradient in ``alpha`` that implicit differentiation gives, which takes a
    few evaluations where a grid takes one fit per fold and point. Where it is one
    strength, a coarse scan over all decades finds the lowest basin first.

    Parameters
    ----------
    estimator : estimator or Pipeline
        The last step, also of a Pipeline in a Pipeline, is an estimator of this
        package: its strengths, one per feature or group, are tuned as it says, guard
        and all; or scikit-learn's `Ridge`, `RidgeClassifier`, `LogisticRegression`
        with an L2 penalty, `PoissonRegressor` or `GammaRegressor`: its one ``alpha`` or
        ``C`` is, on the validation loss of the folds.
    scoring : str, callable, list, tuple, dict or None, default=None
        Scores to report, as in `GridSearchCV`; None is the estimator's own. What is
        optimized is always the loss of the model. A callable ``f(estimator, X, y)``
        is given the pipelines of the folds.
    n_jobs : int or None, default=None
        Threads over parts that are independent of each other; None leaves it to the
        last step's own ``n_jobs``.
    refit : bool or str, default=True
        Whether ``best_estimator_`` is kept; with several scores, the name of the one
        that ``best_score_`` and `score` report.
    cv : None, int, splitter or iterable, default=None
        Folds; None leaves it to the last step's own ``cv``. Numbers are folds that are
        shuffled, and share out classes evenly.
    verbose : int, default=0
        Positive values print one line per step of the search; 0 leaves it to the last
        step's own ``verbose``.

    Attributes
    ----------
    best_estimator_ : estimator
        Refitted on all rows; only with ``refit``, as are the next three. A last step of
        scikit-learn has the solution that was scored, however loose its own ``tol``
        and ``max_iter`` are; a clone that is fitted again has what they give.
    refit_time_ : float
        Seconds that this took.
    n_features_in_ : int
        Number of features of X.
    classes_ : ndarray of shape (n_classes,)
        Labels; only of classifiers.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only where X has them.
    best_params_ : dict
        ``{"ridge__alpha": 3.2}``, ready for ``set_params``; for estimators of this
        package, which have no such parameter, the array ``alpha_`` (it prints its ends
        only).
    best_score_ : float
        Mean score of the folds at the best strengths, which were chosen by these folds:
        `cross_val_score` of the search is the honest score of the whole procedure.
    best_index_ : int
        Their row in ``cv_results_``. It has the lowest loss, and not always the
        highest score.
    cv_results_ : dict of ndarray
        The strengths that the search tried, or the ten nearest to the best one, in the
        form of `GridSearchCV`; `pandas.DataFrame` takes it. Where losses are not
        squared, a rough look over the decades comes first and is left out. Estimators
        of this package and closed forms have one row. A time of a fit is that of the
        fold's transformers and an even share of the joint search.
    n_splits_ : int
        Number of folds that were scored.
    scorer_ : callable
        Computes the scores.
    multimetric_ : bool
        Whether there are several.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Any estimator, every point of a grid.
    skbilevel.BilevelRidgeCV : The same without transformers inside the folds.

    Notes
    -----
    Columns need not be the same in all folds. Where one strength per column is tuned on
    all of them together (``hyperpenalty=None``), or an option of the last step is an
    array over columns, they are matched by the names that ``get_feature_names_out``
    gives: a column that a fold lacks is zero there; one that only a fold has is
    refused, unless ``feature_groups`` is a callable, such as
    `skbilevel.original_columns`, that gives it a label.

    Under the guard of this package's estimators, every training set, the full one among
    them, tunes its candidates on splits inside it, of features that its transformers
    made of all its rows. The folds choose among the candidates and score them on rows
    that nothing has seen. Behind transformers that learn much from the targets, such as
    `SelectKBest` of many columns, such splits ask for too weak strengths: multiples of
    the shared one are candidates as well, but not for large sparse data.

    Callbacks of scikit-learn 1.9 that are set on a search watch the search of the last
    step. A search that is interrupted by the keyboard keeps a ``best_estimator_`` with
    the best strengths so far, and raises KeyboardInterrupt again.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    F. Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import SplineTransformer
    >>> from skbilevel import BilevelRidgeCV, BilevelSearchCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = BilevelSearchCV(make_pipeline(SplineTransformer(), Ridge())).fit(X, y)
    >>> sorted(search.best_params_)
    ['ridge__alpha']
    >>> own = BilevelSearchCV(make_pipeline(SplineTransformer(), BilevelRidgeCV()))
    >>> own.fit(X, y).best_estimator_[-1].alpha_.shape
    (70,)
    """

    _doc_link_module = "skbilevel"
    _elsewhere = OF_SEARCH
    _unnamed = "param_grid"

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
        self._keep(locals())

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> BilevelSearchCV:
        """Search the strengths, and refit the estimator with the best ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes: an array, a sparse matrix, a data frame, a list
            of texts.
        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        **params : dict
            ``groups`` for the splitter, or for folds of whole groups where ``cv`` is
            None or a number; ``sample_weight`` (and ``offset``) for the last step and
            the scorer; ``<step>__<name>`` for a step of a pipeline. Under metadata
            routing, what was requested.

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
        why_numpy = "tables of the folds are made by SciPy and NumPy"
        X, y = indexed(self, X, y, why_numpy)
        chain = Chain.of(self.estimator)
        step = LastStep.of(chain.last, self.cv, self.n_jobs, self.verbose)
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        if self._several():
            self._metric(list(self.scoring))
        if np.ndim(y) == 2 and not _takes_columns(get_tags(self.estimator)):
            y = column_or_1d(y, warn=True)
        metadata = read_metadata(self, params)
        if callbacks := callbacks_of(self):
            step.tuner.set_callbacks(*callbacks, *callbacks_of(step.tuner))
        tuned = tune_chain(chain, step, X, y, metadata)
        draft = Draft(self)
        try:
            draft.model._finish(tuned, scorer)
        except KeyboardInterrupt:
            if hasattr(draft.model, "best_estimator_"):
                draft.publish()
            raise
        draft.publish()
        return self

    def _finish(self, tuned: TunedChain, scorer: Any) -> None:
        """Score what was tuned, and refit."""
        step = tuned.step
        self.scorer_, self.multimetric_ = scorer, self._several()
        scores = FoldScores(tuned, scorer, asks_predictions_only(self.scoring))
        try:
            if tuned.interrupt is not None:
                raise tuned.interrupt
            found = score_candidates(step, tuned.parts, scores)
            warn_failed(scores.failed, self.scoring)
        except KeyboardInterrupt:
            if self.refit:
                self._set_best(tuned.refitted(step.found()))
            raise
        names = list(found.scores[0][0])
        # A callable may turn out to give several.
        self.multimetric_ = self._several() or names != ["score"]
        self._set_results(tuned, found, self._metric(names))
        if self.refit:
            start = time.perf_counter()
            value = found.values[found.chosen]
            self._set_best(tuned.refitted(value))
            self.refit_time_ = tuned.seconds[0] + time.perf_counter() - start

    def _set_results(self, tuned: TunedChain, found: Candidates, metric: str) -> None:
        name = f"{tuned.chain.prefix}{tuned.step.parameter or 'alpha'}"
        self.cv_results_ = results_table(found, name, tuned)
        self.best_index_ = found.chosen
        self.best_params_ = self.cv_results_["params"][found.chosen]
        mean = self.cv_results_[f"mean_test_{metric}"]
        self.best_score_ = float(mean[found.chosen])
        self.n_splits_ = len(found.scores[0])

    def _several(self) -> bool:
        return isinstance(self.scoring, list | tuple | dict)

    def _metric(self, names: list[str]) -> str:
        """The name of the score that ``best_score_`` is."""
        if not self._several() and names == ["score"]:
            return "score"
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
            ``sample_weight``; under metadata routing, what the scorer asks for.

        Returns
        -------
        score : float
            Greater is better; with several scores the one that ``refit`` names.
        """
        refitted_has("fit")(self)
        check_is_fitted(self)
        if _routing_enabled():
            routed = dict(process_routing(self, "score", **params).scorer.score)
        else:
            routed = {k: params.pop(k) for k in ("sample_weight",) if k in params}
            _raise_for_params(params, self, "score")
        found = self.scorer_(self.best_estimator_, X, y, **routed)
        return float(found[self.refit] if self.multimetric_ else found)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_") or hasattr(self, "best_estimator_")

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata routing: to the estimator, the splitter and the scorer.

        Returns
        -------
        routing : MetadataRouter
            What ``fit`` and ``score`` pass on.
        """
        return with_routes(
            MetadataRouter(owner=self),
            estimator=self.estimator,
            splitter=splitter_of(self) if has_splitter(self) else None,
            scorer=check_scoring(self.estimator, scoring=self.scoring),
        )


def _takes_columns(tags: Any) -> bool:
    """Whether y may have several columns: targets, or labels of a classifier."""
    labels = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    return bool(tags.target_tags.multi_output or labels)
