"""BilevelLogisticCV: logistic regression with tuned strengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from skbilevel._sklearn_compat import StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._base import BilevelGeneralizedLinearModel, check_weight
from skbilevel.linear_model._class_scores import ClassProbabilitiesMixin
from skbilevel.linear_model._classes import (
    OUTER_LOSSES,
    ClassCounts,
    check_several,
    class_factors,
    class_target,
    factors_of_counts,
)
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import prepare_glm
from skbilevel.linear_model._export import plain_logistic
from skbilevel.linear_model._options import TuningOptions
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._scoring import ScoringMixin, nested_score
from skbilevel.problems import LogisticLoss, Loss, SoftmaxLoss

if TYPE_CHECKING:
    from skbilevel.model_selection._block_glm import AllRows, RowPart


class BilevelLogisticCV(
    ScoringMixin,
    ClassProbabilitiesMixin,
    ClassifierMixin,
    BilevelGeneralizedLinearModel,
):
    """Logistic regression with one tuned strength per feature.

    What is optimized is always the differentiable ``outer_loss`` of rows that were
    left out; ``scoring`` only reports. Put it where `LogisticRegressionCV` or a grid
    search over `LogisticRegression` stood. It minimizes, with probabilities ``p_i``
    from the linear predictions ``b + x_i W`` by the logistic function for two classes
    and by softmax for more, ::

        - sum_i s_i log p_i[y_i] + 0.5 sum_j alpha_j |W_j|^2

    over ``W`` and ``b``, and chooses the strengths ``alpha_j``, each shared by the
    classes (with ``alpha_per_class=True``: ``alpha_jc W_jc^2``), by following the
    gradient of the validation loss, which implicit differentiation of the minimizer
    gives. With the default ``hyperpenalty="auto"`` a guard keeps many strengths from
    overfitting that loss.

    Parameters
    ----------
    fit_intercept, feature_groups : ...
    alpha_per_class : bool, default=False
        Whether every class has strengths of its own: one for each feature and class,
        for each label of ``feature_groups`` and class, or, with
        ``feature_groups="shared"``, one for each class. Two classes have one set of
        coefficients, and of strengths.
    feature_metadata : array-like, callable or None, default=None
        What is known about the features, Z of shape (n_features, q):
        ``log(1/alpha) = Z beta`` plus guarded free deviations. A callable
        ``f(X, y, sample_weight)`` that returns Z is evaluated on the training rows
        of every fold, so that nothing leaks;
        its ``y`` are 0 and 1, or one column of indicators per class.
    unpenalized, hyperpenalty : ...
    cv : None, int, "loo", "reml", splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled,
        stratified 5-fold, twice below 1000 rows; another splitter is used once, and
        again with another seed if it takes one; "loo" is as None, but for one shared
        strength, which it chooses alone. Otherwise it is the criterion itself:
        stratified folds, a hold-out where there is one split, or, for "loo",
        approximate leave-one-out by one Newton step from the full fit. "reml" is the
        restricted likelihood, without the guard.
    solver : ...
    scoring : str, callable or None, default=None
        Reporting only: `score` and ``best_score_`` use it. What is optimized is
        always ``outer_loss``.
    outer_loss : {"log_loss", "brier", "zero_one", "hinge"}, default="log_loss"
        Validation loss. "brier" is the squared error of the probabilities,
        "zero_one" the probability of the wrong classes after log odds are doubled, a
        smooth stand-in for the error rate, "hinge" the squared hinge loss of the
        margins. The inner loss is the log loss with each of them.
    alpha_init : float, array-like or None, default=None
        Start of the search in units of ``alpha_``, one number, one per feature or of
        the shape of ``alpha_``; None searches the best shared strength.
    alpha_bounds : ...
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``; "balanced" gives
        every class the same sum of weights.
    tol, max_iter, n_jobs, random_state, verbose : ...

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the rows of positive weight.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; exactly 0 for removed features. float32 where X is.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; their sum over more than two classes is zero.
    alpha_ : ndarray of shape (n_features,)
        Strengths; inf where a feature is removed, 0 where it is unpenalized.
        ``coef_`` is the solution at these strengths. With ``alpha_per_class`` they have
        the shape of ``coef_``, and so have their inverses.
    C_ : ndarray of shape (n_features,)
        Their inverses in the units of LogisticRegression; 0 where a feature is
        removed, inf where it is unpenalized.
    group_alpha_ : ndarray of shape (n_groups,)
        Strengths by label; only with ``feature_groups``. With ``alpha_per_class`` one
        row for each row of ``coef_``.
    group_labels_ : ...
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean of ``outer_loss``. It is optimistic by the choice among the
        candidates.
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelRidgeClassifierCV : Ridge regression on class indicators, faster.
    sklearn.linear_model.LogisticRegressionCV : One strength for all features.

    Notes
    -----
    ...

    Where classes can be separated the strengths keep a floor: coefficients are
    finite, probabilities may round to 0 and 1. A class that a fold has no row of gets
    a small probability there, not zero.

    References
    ----------
    ...

    K. R. Rad and A. Maleki, "A scalable estimate of the out-of-sample prediction
    error via approximate leave-one-out cross-validation", Journal of the Royal
    Statistical Society B 82, 2020 (``cv="loo"``).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelLogisticCV
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelLogisticCV()).fit(X, y)
    >>> bool(model.score(X, y) > 0.98)
    True
    >>> model.predict_proba(X[:2]).round(1)
    array([[1., 0., 0.],
           [1., 0., 0.]])
    >>> model[-1].C_.shape
    (13,)
    """

    C_: Array
    outer_loss: str
    class_weight: Any
    alpha_per_class: bool

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelGeneralizedLinearModel._parameter_constraints,
        "outer_loss": [StrOptions(set(OUTER_LOSSES))],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "alpha_per_class": ["boolean"],
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        feature_groups: Any = None,
        alpha_per_class: bool = False,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        solver: Any = "auto",
        scoring: Any = None,
        outer_loss: str = "log_loss",
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        class_weight: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any
    ) -> BilevelLogisticCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,)
            Class labels of any type; None where X is a `RowBlocks`, which holds them.
        sample_weight : ...
        **params : ...

        Returns
        -------
        self : BilevelLogisticCV
            The fitted estimator.

        Raises
        ------
        ...
        """
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any], resample: Any
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, y_numeric=False)
        check_classification_targets(y)
        weight = check_weight(sample_weight, X)
        counts = RowCounts.of(weight, class_factors(self.class_weight, y, weight))
        self.classes_, target = class_target(counts.take(y), self.outer_loss)
        resampling = resample(X, y, sample_weight, params).among(counts)
        free, groups = self._strength_columns(X, resampling)
        columns = (free, self.fit_intercept, groups is not None)
        data = prepare_glm(counts.take(X), target, counts, False, *columns)
        fit = self._followed(*given, partial(self._attributes, X.dtype))
        part = self._fit_part(data, groups, resampling, fit.parts[0])
        score = partial(nested_score, self, X, y, [part], sample_weight, params)
        return self._conclude(fit, [part], score)

    def _count_of_blocks(self) -> Callable[[Array, Array], Any] | None:
        return ClassCounts.of

    def _check_part(self, part: RowPart) -> None:
        classes = part.counts.classes[0]
        check_several(classes)
        known = np.isin(classes, part.sample.parts["y"])
        if not known.all():
            raise ValueError(
                f"Class {classes[~known][:1].tolist()[0]!r} has no row among the "
                f"{len(part.sample.rank)} that strengths are tuned on: give the row "
                "blocks a larger tuning_rows, or leave such classes out."
            )

    def _all_rows(self, part: RowPart) -> AllRows:
        from skbilevel.model_selection._block_glm import AllRows

        factor = None
        if self.class_weight is not None:
            factor = factors_of_counts(self.class_weight, part.counts)
        loss: Loss = LogisticLoss() if len(self.classes_) == 2 else SoftmaxLoss()
        return AllRows(loss, self.classes_, factor)

    def _attributes(self, dtype: Any, parts: list[Published]) -> dict[str, Any]:
        part, found = parts[0], self._search_attributes(parts)
        if self.alpha_per_class:
            # Two classes have one set of coefficients, and of strengths.
            found["alpha_"] = found["alpha_"].reshape(part.coef.shape)
            if part.group_alpha is not None:
                found["group_alpha_"] = np.atleast_2d(part.group_alpha)
        with np.errstate(divide="ignore"):
            found["C_"] = 1.0 / found["alpha_"]
        return {
            "coef_": part.coef.astype(dtype),
            "intercept_": part.intercept.astype(dtype),
            **found,
        }

    def _tuning_options(self, groups: Groups | None) -> TuningOptions:
        options = super()._tuning_options(groups)
        return replace(options, by_target=self.alpha_per_class)

    def _plain_model(self) -> Any:
        return plain_logistic(self)
