"""BilevelRidgeCV: ridge regression with tuned strengths."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._sklearn_compat import _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._base import (
    BilevelLinearModel,
    Resampling,
    ScoringMixin,
    check_weight,
    linear_prediction,
)
from skbilevel.linear_model._publish import Published


class BilevelRidgeCV(
    ScoringMixin, MultiOutputMixin, RegressorMixin, BilevelLinearModel
):
    """Ridge regression with one tuned strength per feature.

    Put it where `RidgeCV` or a grid search over `Ridge` stood.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "alpha_per_target": ["boolean"],
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
        alpha_per_target: bool = False,
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
        self.alpha_per_target = alpha_per_target

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **params: Any
    ) -> BilevelRidgeCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; float32 and float64 are kept, other numbers become float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows.
        **params : dict
            ``groups`` for the splitter; anything else needs metadata routing.

        Returns
        -------
        self : BilevelRidgeCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        """
        X, y = self._validate(X, y, multi_output=True, y_numeric=True)
        weight = check_weight(sample_weight, X)
        Y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        resampling = self._resampling(X, y, weight, sample_weight, params)
        columns = [slice(k, k + 1) for k in range(Y.shape[1])]
        if not self.alpha_per_target or Y.shape[1] == 1:
            columns = [slice(None)]
        parts = self._fit_parts(X, Y, weight, resampling, columns)
        self._set_attributes(X, y, parts, sample_weight, params)
        return self

    def _fit_parts(
        self,
        X: Any,
        Y: Array,
        weight: Array,
        resampling: Resampling,
        columns: list[slice],
    ) -> list[Published]:
        """One set of strengths per part of the targets, in parallel."""
        if len(columns) == 1 or effective_n_jobs(self.n_jobs) == 1:
            return [self._fit_part(X, Y[:, c], weight, resampling) for c in columns]
        run = Parallel(n_jobs=self.n_jobs, prefer="threads")
        fit = delayed(self._fit_part)
        return list(run(fit(X, Y[:, c], weight, resampling) for c in columns))

    def _set_attributes(
        self,
        X: Any,
        y: Array,
        parts: list[Published],
        sample_weight: Any,
        params: dict[str, Any],
    ) -> None:
        dtype = X.dtype
        coef = np.concatenate([part.coef for part in parts])
        intercept = np.concatenate([part.intercept for part in parts])
        flat = y.ndim == 1
        self.coef_ = (coef[0] if flat else coef).astype(dtype)
        if not self.fit_intercept:
            self.intercept_: Any = 0.0
        else:
            self.intercept_ = (
                dtype.type(intercept[0]) if flat else intercept.astype(dtype)
            )
        self._set_search_attributes(parts)
        if self.scoring is not None:
            self.best_score_ = self._nested_score(X, y, parts, sample_weight, params)

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the dtype of the coefficients where X has it too.
        """
        check_is_fitted(self)
        X = validate_data(
            self,
            X,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            reset=False,
        )
        return linear_prediction(X, self.coef_, self.intercept_)
