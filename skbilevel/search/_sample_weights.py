"""SampleWeightsCV: weights of rows, learned from rows that are trusted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted

from skbilevel._mistakes import ExplainedParameters
from skbilevel._sklearn_compat import (
    HasMethods,
    StrOptions,
    _check_method_params,
    _fit_context,
    _routing_enabled,
    _safe_indexing,
    process_routing,
)
from skbilevel._sparse import canonical
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.linear_model._base import check_weight, seed_of
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._draft import Draft
from skbilevel.linear_model._routing import refuse_unrouted, with_routes
from skbilevel.model_selection._flipped_labels import learn_flips
from skbilevel.model_selection._row_weights import (
    RowWeights,
    TrustedTasks,
    indicators,
    learn_row_weights,
)
from skbilevel.search._chain import Chain
from skbilevel.search._features import scattered
from skbilevel.search._refitted import RefittedMixin, indexed, refitted_has
from skbilevel.search._trusted import (
    judging_parts,
    label_codes,
    ordering_folds,
    split_by_cv,
    split_by_mask,
    trusted_mask,
)
from skbilevel.search._weight_model import (
    WeightTarget,
    check_takes_weights,
    weighed_design,
    with_strength,
)

_ELSEWHERE = {
    "trusted": "the mask goes to fit(X, y, trusted=...)",
    "labels": "labels of rows go to fit(X, y, labels=...)",
    "groups": "labels of rows that stay together go to fit(X, y, groups=...)",
    "sample_weight": "weights that are known go to fit(X, y, sample_weight=...)",
    **dict.fromkeys(("alpha", "C"), "it is learned with the weights; leave it out"),
}


class SampleWeightsCV(
    RefittedMixin, MetaEstimatorMixin, Versioned, ExplainedParameters, BaseEstimator
):
    """Learn weights of rows from trusted rows, and refit any estimator with them.

    Put it around an estimator where some labels are wrong, or some sources of rows
    worse than others, and where some rows can be trusted. Unless a rate of flipped
    labels gives the weights (below), losses ``l_i`` of a linear model (log or squared
    loss) teach weights ``s_i`` and one strength ``a``, near ``a_0`` of equal ones::

        min over s, a of    mean over trusted rows j of  l_j(w(s, a))
                            + factor * (variance of log s + 0.1 * (log a - log a_0)^2)
        w(s, a) = argmin_w  sum_i s_i l_i(w) / sum_i s_i + 0.5 a |w|^2

    by the hypergradient: one adjoint solve gives ``d/ds_i`` for all rows. Then it fits
    the estimator, of whatever kind, with ``sample_weight_``.

    So many weights would overfit few trusted rows. With two classes and a mask of
    trusted rows a weight is the probability that a label is right ("flips"), up to a
    factor, under one rate of *flipped* labels; folds of all rows choose the strength,
    trusted rows the rate. Elsewhere log weights are a piecewise linear function with
    five values of a row's *agreement* with the others, the rank of its loss under
    models that have not seen it; a hyperpenalty pulls them to equal ones. Trusted rows
    that had no part in learning judge; equal weights stay unless a gain is sure.

    Parameters
    ----------
    estimator : estimator or Pipeline
        What is refitted; ``fit`` of its last step takes ``sample_weight``. The strength
        of a last step `Ridge`, or `LogisticRegression` with an L2 penalty, is the one
        that was learned; other estimators are fitted as they are. Transformers of a
        Pipeline are fitted once, without weights, on the rows whose weight is not 0.
    by : {"auto", "flips", "agreement", "label", "row"}, default="auto"
        What has a weight: "label" every label of ``labels``, "row" every row by itself,
        "flips" and "agreement" see above. "auto" is "label" where ``fit`` is given
        labels, "flips" for two classes and a mask, and "agreement" elsewhere.
    cv : None, int, splitter or iterable, default=None
        Where ``fit`` is given no mask, validation rows of these splits are trusted, and
        their training rows are weighed; None is 3 folds. Wrong labels are among the
        judges then: it serves sources of different quality, not flipped labels.
    refit : bool, default=True
        Whether the estimator is refitted; False leaves it at weights and a ranking.
    random_state : int, RandomState or None, default=None
        Seeds the folds. None is a fixed seed: fits are deterministic.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Learned weights times those that were given. Weights that were learned are at
        most one, which is that of trusted rows.
    row_loss_ : ndarray of shape (n_samples,)
        Loss of every row that was weighed under a model, with these weights, that has
        not seen it; in units of its mean for a regression. NaN for trusted rows of a
        mask, and rows of weight zero.
    ranking_ : ndarray of int of shape (n_weighed,)
        Rows that were weighed, the most suspicious first: by falling ``row_loss_``.
    alpha_ : float
        Strength that was learned, in the unit of `Ridge`: it stands beside the sum over
        rows of weighted losses. ``C`` of `LogisticRegression` is its inverse.
    hyperpenalty_ : dict of ndarray
        Candidates: ``factor`` of the hyperpenalty (infinite for equal weights) or
        ``rate`` of flipped labels, ``gain`` on trusted rows over equal weights and
        ``sure_gain``, by which the guard chose.
    best_index_ : int
        The chosen one; 0 are equal weights.
    labels_ : ndarray of shape (n_labels,)
        Labels of the rows that were weighed; only with labels.
    label_weight_ : ndarray of shape (n_labels,)
        Their weights, the largest of them one; only with labels.
    best_estimator_ : estimator
        The refitted estimator; only with ``refit``, as are the next three.
    n_features_in_ : int
        Number of features of X.
    classes_ : ndarray of shape (n_classes,)
        Labels of classes; only of classifiers.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only where X has them.

    See Also
    --------
    BilevelLogisticCV : Strengths of features in place of weights of rows.
    BilevelSearchCV : Strengths of the last step of a pipeline.

    Notes
    -----
    The loss is divided by the sum of weights. Divided by the number of rows it would
    shrink beside the penalty where weights fall, and leaving out wrong rows would be
    punished by stronger regularization.

    The guard asks for two standard errors: with fewer than about 50 trusted rows it
    often keeps equal weights where others would have been better. It is a linear model
    that finds the weights; what it cannot fit looks suspicious. A ``class_weight`` of
    the estimator counts in the refit alone.

    References
    ----------
    L. Franceschi, M. Donini, P. Frasconi, M. Pontil, "Forward and reverse
    gradient-based hyperparameter optimization", ICML 2017 (data hyper-cleaning).

    M. Ren, W. Zeng, B. Yang, R. Urtasun, "Learning to reweight examples for robust deep
    learning", ICML 2018 (one weight per row by the gradient on trusted rows).

    J. Shu et al., "Meta-Weight-Net: learning an explicit mapping for sample weighting",
    NeurIPS 2019 (weights as a function of the loss).

    Examples
    --------
    A third of the labels is flipped; one row in ten is known to be right.

    >>> import numpy as np
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skbilevel import SampleWeightsCV
    >>> X, y = make_classification(
    ...     600, 8, n_informative=4, n_clusters_per_class=1, class_sep=2.0,
    ...     random_state=0,
    ... )
    >>> rng = np.random.default_rng(0)
    >>> trusted = rng.random(600) < 0.1
    >>> wrong = ~trusted & (rng.random(600) < 0.33)
    >>> given = np.where(wrong, 1 - y, y)
    >>> model = SampleWeightsCV(LogisticRegression()).fit(X, given, trusted=trusted)
    >>> weight = model.sample_weight_
    >>> bool(weight[wrong].mean() < 0.5 * weight[~wrong].mean())
    True
    >>> bool(wrong[model.ranking_[:100]].mean() > 0.9)
    True
    """

    _doc_link_module = "skbilevel"
    _elsewhere = _ELSEWHERE
    _unnamed = "trusted"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit"])],
        "by": [StrOptions({"auto", "agreement", "flips", "label", "row"})],
        "cv": ["cv_object"],
        "refit": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        by: str = "auto",
        cv: Any = None,
        refit: bool = True,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output, tags.target_tags.single_output = False, True
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        trusted: Any = None,
        labels: Any = None,
        **params: Any,
    ) -> SampleWeightsCV:
        """Learn the weights, and refit the estimator with them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes. The last one gets numbers, dense or sparse.
        y : array-like of shape (n_samples,)
            Class labels of a classifier, numbers elsewhere.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights that are known; an integer weight counts as that many rows, a weight
            of zero as none. Learned weights multiply them.
        trusted : array-like of bool of shape (n_samples,), default=None
            Mask of the rows whose targets are right. They judge, and have the largest
            weight in the refit; the weights of the others are learned. None takes the
            validation rows of ``cv``.
        labels : array-like of shape (n_samples,), default=None
            Source, annotator or batch of every row: one weight per label.
        **params : dict
            ``groups`` for a splitter. Under metadata routing, what was requested.

        Returns
        -------
        self : SampleWeightsCV
            The fitted estimator.

        Raises
        ------
        TypeError
            If the last step takes no ``sample_weight``.
        ValueError
            If the data or a parameter cannot be used; the message names it.
        """
        draft = Draft(self)
        draft.model._fit(X, y, sample_weight, trusted, labels, params)
        draft.publish()
        return self

    def _fit(
        self, X: Any, y: Any, given: Any, trusted: Any, labels: Any, params: Any
    ) -> None:
        X, y = indexed(self, X, y, "its derivatives are taken on the processor")
        chain = Chain.of(self.estimator)
        check_takes_weights(chain.last)
        y = column_or_1d(y, warn=True)
        own, split_params = self._routed(params)
        weight = check_weight(given, X)
        if len(weight) < 2:
            raise ValueError(f"{len(weight)} sample is given, and 2 are needed.")
        counts = RowCounts.of(weight)
        rows = counts.index
        # Rows of weight zero are seen by no transformer.
        heads, features = chain.fit_transform(
            _safe_indexing(X, rows),
            _safe_indexing(y, rows),
            _check_method_params(X, own, rows),
        )
        columns = canonical(
            check_array(
                features,
                accept_sparse=("csr", "csc"),
                dtype=[np.float64, np.float32],
                ensure_min_samples=2,
                estimator=self,
            )
        )
        if len(rows) < len(y):
            columns = scattered([columns], [rows], len(y))
        prior = np.zeros(len(y))
        prior[counts.index] = counts.weight
        target = WeightTarget.of(y, is_classifier(self.estimator), prior)
        splits, seed = self._splits(X, y, trusted, target, prior > 0, split_params)
        tasks = TrustedTasks(
            weighed_design(columns, prior, chain.last),
            target.Y,
            prior,
            target.loss,
            splits,
            ordering_folds(splits, target.codes, seed),
            judging_parts(splits, target.codes, seed),
            int(getattr(chain.last, "fit_intercept", True)),
        )
        by = self._weighed_by(labels, trusted, target)
        names, basis = self._basis(by, labels, tasks)
        with one_blas_thread():
            flips = by == "flips"
            found = learn_flips(tasks) if flips else learn_row_weights(tasks, basis)
        self._publish(found, weight, names)
        if self.refit:
            last = with_strength(clone(chain.last), self.alpha_)
            last.fit(features, y[rows], sample_weight=self.sample_weight_[rows])
            self._set_best(chain.assemble(heads, last))

    def _routed(self, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metadata of the estimator and of the splitter."""
        if not _routing_enabled():
            refuse_unrouted(params)
            return {}, params
        routed = process_routing(self, "fit", **params)
        split = routed.get("splitter", {"split": {}})["split"]
        return dict(routed.estimator.fit), dict(split)

    def _splits(
        self,
        X: Any,
        y: Any,
        trusted: Any,
        target: WeightTarget,
        counted: Array,
        params: Any,
    ) -> tuple[list[tuple[Array, Array]], int]:
        """Rows to weigh and rows that judge, and a seed for what is drawn."""
        seed = seed_of(self.random_state)
        if trusted is None:
            cv = 3 if self.cv is None else self.cv
            codes = target.codes
            return split_by_cv(cv, X, y, codes, counted, seed, params), seed
        splits = split_by_mask(trusted_mask(trusted, len(y)), counted)
        target.check_trusted(splits[0][1])
        return splits, seed

    def _weighed_by(self, labels: Any, trusted: Any, target: WeightTarget) -> str:
        """What has a weight."""
        two = target.classes is not None and len(target.classes) == 2
        masked, by = two and trusted is not None, self.by
        if by == "auto":
            by = "flips" if masked else "agreement"
            by = by if labels is None else "label"
        if by == "flips" and not masked:
            raise ValueError(
                "by='flips' needs two classes, and trusted rows: fit(X, y, "
                "trusted=...); by='agreement' does without."
            )
        if (by == "label") != (labels is not None):
            raise ValueError(
                f"by={self.by!r}, but labels are "
                f"{'missing' if labels is None else 'given'}: by='label' needs "
                "fit(X, y, labels=...), one for every row, and nothing else takes them."
            )
        return by

    def _basis(self, by: str, labels: Any, tasks: TrustedTasks) -> tuple[Any, Any]:
        """Labels and the columns whose combination the weights are."""
        n = len(tasks.weight)
        if by in ("agreement", "flips"):
            return None, None
        if by == "label":
            names, codes = label_codes(labels, n, tasks.weighted)
            return names, indicators(codes)
        codes = np.full(n, -1)
        codes[tasks.weighted] = np.arange(len(tasks.weighted))
        return None, indicators(codes)

    def _publish(self, found: RowWeights, weight: Array, names: Any) -> None:
        self.sample_weight_ = weight * found.factors
        self.row_loss_ = found.losses
        known = np.flatnonzero(np.isfinite(found.losses))
        self.ranking_ = known[np.argsort(-found.losses[known], kind="stable")]
        self.alpha_ = float(found.alpha * self.sample_weight_.sum())
        self.hyperpenalty_ = found.path
        self.best_index_ = found.chosen
        if names is not None:
            self.labels_ = names
            u = found.theta[1:]
            self.label_weight_ = np.exp(u - u.max())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "sample_weight_")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score predictions as the estimator does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.
        y : array-like of shape (n_samples,)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Greater is better.
        """
        refitted_has("fit")(self)
        check_is_fitted(self)
        more = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(self.best_estimator_.score(X, y, **more))

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata routing: weights, mask and labels for itself, the rest below.

        Returns
        -------
        routing : MetadataRouter
            What ``fit`` passes on to the estimator and to the splitter.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        splitter = self.cv if hasattr(self.cv, "split") else None
        return with_routes(router, estimator=self.estimator, splitter=splitter)
