"""BilevelRidgeClassifierCV: BilevelRidgeCV on class indicators."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin

from skbilevel._sklearn_compat import StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._base import BilevelLinearModel, check_weight
from skbilevel.linear_model._class_scores import ClassScoresMixin
from skbilevel.linear_model._classes import (
    class_factors,
    label_columns,
    read_labels,
)
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import prepare
from skbilevel.linear_model._export import plain_ridge_classifier
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._scoring import ScoringMixin, nested_score
from skbilevel.linear_model._tuning import tune


class BilevelRidgeClassifierCV(
    ScoringMixin, ClassScoresMixin, ClassifierMixin, BilevelLinearModel
):
    """Classifier by ridge regression on class indicators, strengths tuned.

    It stands beside `BilevelRidgeCV` as `RidgeClassifierCV` stands beside `RidgeCV`:
    targets are -1 and 1, one column for two classes and one per class otherwise, and
    the strengths are shared by the columns. Rows with several labels come as an
    indicator matrix, and every label is a column. With ``s_i`` the row weights it
    minimizes ::

        0.5 sum_i s_i |Y_i - b - x_i W|^2 + 0.5 sum_j alpha_j |W_j|^2

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether an unpenalized intercept is fitted.
    feature_groups : None, "shared", array-like or callable, default=None
        None tunes one strength per feature, "shared" one for all, an array of shape
        (n_features,) one per distinct label; a callable makes the labels from the names
        of the columns, or, in a BilevelSearchCV, `skbilevel.original_columns` from the
        transformers. Labels of rows are ``groups``, which goes to the splitter.
    feature_metadata : array-like, callable or None, default=None
        What is known about the features, Z of shape (n_features, q):
        ``log(1/alpha) = Z beta`` plus guarded free deviations. A callable
        ``f(X, y, sample_weight)`` that returns Z is evaluated on the training rows
        of every fold, so that nothing leaks.
    unpenalized : None, str, int or array-like, default=None
        Columns whose strength is 0: a boolean mask, indices or column names.
    hyperpenalty : "auto", None or tuple, default="auto"
        "auto" is the guard: candidates from several criteria are scored by nested
        cross-validation and averaged. None tunes the criterion of ``cv`` as it is;
        ``("smooth", value)`` adds ``value`` times the mean squared deviation of the
        log strengths from their mean, ``("sparse", value)`` a price on ``1/alpha``.
    cv : None, int, "loo", "gcv", "evidence", splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled 5-fold, twice
        below 1000 rows; another splitter is used once, and again with another seed
        if it takes one; "loo" and "gcv" choose the criterion of the shared strength
        while the nested folds stay. Otherwise it is the criterion itself; one split
        is a hold-out. "loo" leaves out a weighted row as a whole. "evidence" is
        the marginal likelihood, for ``hyperpenalty=None`` or a tuple.
    solver : str or solver value, default="auto"
        "auto" chooses by the rule of the user guide; "exact" forces factorizations,
        "amigo" warm-started conjugate gradients. A value is used as it is.
        The guard has a rule of its own and takes "auto" only.
        Algorithms of the literature ("saba", "hoag", ...; see :doc:`/solvers`)
        minimize the validation loss itself and need ``hyperpenalty=None``.
    scoring : str, callable or None, default=None
        Reporting only: `score` and ``best_score_`` use it. What is optimized is
        always the squared error.
    alpha_init : float, array-like of shape (n_features,) or None, default=None
        Start of the search in units of Ridge; None searches the best shared strength.
    alpha_bounds : tuple of two floats or None, default=None
        Box of the strengths in units of Ridge; None is wide and scale-free.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" gives all
        classes the same total weight; for an indicator matrix it is the only choice,
        and the product of what it gives in each column.
    tol : float, default=1e-4
        Tolerance of the outer problem where ``hyperpenalty`` is not "auto"; the guard
        takes a fixed number of steps.
    max_iter : int, default=100
        Largest number of outer iterations there.
    n_jobs : int or None, default=None
        Threads over the folds where ``hyperpenalty`` is not "auto" and they are not
        solved as one stack.
    random_state : int, RandomState or None, default=None
        Seeds folds and half-samples. None is a fixed seed: fits are deterministic.
    verbose : int, default=0
        Positive values print a line for every step: outer iterations, or what the guard
        has done.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of rows that have a weight; the numbers of the columns where ``y``
        is an indicator matrix.
    y_type_ : {"classes", "dense", "sparse"}
        Whether ``y`` held labels, or how an indicator matrix was given.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row for two classes; exactly 0 for removed features. float32
        where X is.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of Ridge; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the ridge solution at these strengths.
    group_alpha_ : ndarray of shape (n_groups,)
        Strengths by label; only with ``feature_groups``.
    group_labels_ : ndarray of shape (n_groups,)
        Their labels; only with ``feature_groups``. Labels that only unpenalized columns
        have are left out; "shared" is the label 0.
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean squared error of the indicators. It is optimistic by
        the choice among the candidates.
        With ``cv="evidence"`` it is minus the evidence as a variance, in squared units
        of the target.
    n_iter_ : int
        Outer steps.
    history_ : dict of ndarray
        Course of the search, ready to plot: ``value``, ``grad_norm``, ``tol`` and
        ``seconds`` since its start after every outer step. Under "auto" ``score`` and
        ``weight`` of every candidate, and the ``seconds`` after which it was scored.
    hyperpenalty_ : dict of ndarray
        What was chosen: family, value, nested score, standard error, weight and
        strengths of every candidate.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

    See Also
    --------
    BilevelRidgeCV : The same for numbers.
    sklearn.linear_model.RidgeClassifierCV : One strength for all features.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992 (the
    evidence, one of the criteria that candidates come from).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelRidgeClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelRidgeClassifierCV()).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        feature_groups: Any = None,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        solver: Any = "auto",
        scoring: Any = None,
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        class_weight: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            fit_intercept=fit_intercept,
            feature_groups=feature_groups,
            feature_metadata=feature_metadata,
            unpenalized=unpenalized,
            hyperpenalty=hyperpenalty,
            cv=cv,
            solver=solver,
            scoring=scoring,
            alpha_init=alpha_init,
            alpha_bounds=alpha_bounds,
            tol=tol,
            max_iter=max_iter,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **params: Any
    ) -> BilevelRidgeClassifierCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; float32 and float64 are kept, other numbers become float64.
        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_classes)
            Class labels of any type; or, where a row can have several or none, an
            indicator matrix of 0 and 1 with two columns or more.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows, a weight
            of zero as none. Of weights whose mean is below one only ratios matter.
        **params : dict
            ``groups`` for the splitter; where ``cv`` is None or a number, they make
            folds of whole groups, once. Anything else needs metadata routing.

        Returns
        -------
        self : BilevelRidgeClassifierCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        KeyboardInterrupt
            If the user interrupts the fit; the best strengths so far are published.
        """
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any], resample: Any
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, y_numeric=False, multi_output=True)
        y, kind = read_labels(y)
        weight = check_weight(sample_weight, X)
        counts = RowCounts.of(weight, class_factors(self.class_weight, y, weight))
        classes, present = label_columns(counts.take(y))
        resampling = resample(X, y, sample_weight, params).among(counts)
        target = np.where(present, 1.0, -1.0)
        make = partial(prepare, counts.take(X), target, counts)
        attributes = partial(self._attributes, X.dtype, classes, kind)
        fit = self._followed(*given, attributes)
        part = self._fit_part(X, make, tune, resampling, fit.parts[0])
        score = partial(nested_score, self, X, y, [part], sample_weight, params)
        return self._conclude(fit, [part], score)

    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or matrix of shape (n_samples, n_classes)
            Labels; where ``y`` was an indicator matrix, one of 0 and 1, sparse if that
            was.
        """
        if getattr(self, "y_type_", "classes") == "classes":
            return super().predict(X)
        present = np.asarray(self.decision_function(X) > 0, dtype=int)
        if self.y_type_ == "dense":
            return present
        labels: Any = sparse.csr_matrix(present)  # as RidgeClassifierCV does
        return labels

    def _plain_model(self) -> Any:
        return plain_ridge_classifier(self)

    def _attributes(
        self, dtype: Any, classes: Array, kind: str, parts: list[Published]
    ) -> dict[str, Any]:
        return {
            "classes_": classes,
            "y_type_": kind,
            "coef_": parts[0].coef.astype(dtype),
            "intercept_": parts[0].intercept.astype(dtype),
            **self._search_attributes(parts),
        }
