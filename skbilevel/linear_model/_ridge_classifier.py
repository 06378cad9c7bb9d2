"""BilevelRidgeClassifierCV: BilevelRidgeCV on class indicators."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._sklearn_compat import StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._base import (
    BilevelLinearModel,
    ScoringMixin,
    check_weight,
    linear_prediction,
)


class BilevelRidgeClassifierCV(ScoringMixin, ClassifierMixin, BilevelLinearModel):
    """Classifier by ridge regression on class indicators, strengths tuned."""

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **params: Any
    ) -> BilevelRidgeClassifierCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; float32 and float64 are kept, other numbers become float64.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows.
        **params : dict
            ``groups`` for the splitter; anything else needs metadata routing.

        Returns
        -------
        self : BilevelRidgeClassifierCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        """
        X, y = self._validate(X, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "y holds one class only; a classifier needs samples of at least 2 "
                "classes."
            )
        weight = check_weight(sample_weight, X)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, y)
        resampling = self._resampling(X, y, weight, sample_weight, params)
        part = self._fit_part(X, _indicators(codes), weight, resampling)
        dtype = X.dtype
        self.coef_ = part.coef.astype(dtype)
        self.intercept_ = part.intercept.astype(dtype)
        self._set_search_attributes([part])
        if self.scoring is not None:
            self.best_score_ = self._nested_score(X, y, [part], sample_weight, params)
        return self

    def decision_function(self, X: Any) -> Array:
        """Fitted class indicators, -1 to 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Positive for the second class; the largest one wins otherwise.
        """
        check_is_fitted(self)
        X = validate_data(
            self,
            X,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            reset=False,
        )
        scores = linear_prediction(X, self.coef_, self.intercept_)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.asarray(self.classes_[(scores > 0).astype(int)])
        return np.asarray(self.classes_[scores.argmax(axis=1)])


def _indicators(codes: Array) -> Array:
    """Columns of -1 and 1, one for two classes."""
    n_classes = int(codes.max()) + 1
    if n_classes == 2:
        return np.where(codes[:, None] == 1, 1.0, -1.0)
    return np.where(codes[:, None] == np.arange(n_classes), 1.0, -1.0)
