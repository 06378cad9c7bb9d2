"""BilevelRidgeCV: ridge regression with tuned strengths."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, overload

import numpy as np
from sklearn.base import MultiOutputMixin

from skbilevel._typing import Array
from skbilevel.linear_model._base import linear_predictor
from skbilevel.linear_model._export import plain_ridge
from skbilevel.linear_model._lazily import lazily
from skbilevel.linear_model._least_squares import BilevelRegressor
from skbilevel.linear_model._uncertainty import beside


class BilevelRidgeCV(MultiOutputMixin, BilevelRegressor):
    """Ridge regression with one tuned strength per feature.

    Put it where `RidgeCV` or a grid search over `Ridge` stood. It minimizes ::

        0.5 sum_i s_i |y_i - b - x_i W|^2 + 0.5 sum_j alpha_j |W_j|^2

    over ``W`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of a validation loss, which implicit differentiation of the minimizer
    gives. With the default ``hyperpenalty="auto"`` a guard keeps many strengths from
    overfitting that loss.

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    solver, scoring, alpha_init, alpha_bounds : ...
    alpha_per_target : bool, default=False
        With several targets: one set of strengths per target instead of a shared one.
    tol, max_iter : ...
    n_jobs : int or None, default=None
        How many targets with strengths of their own (``alpha_per_target``) run side by
        side: in threads, or, without callbacks and ``verbose``, in the processes of a
        backend that ``joblib.parallel_config`` has chosen (loky, Dask, Ray), to which
        X is sent once. Otherwise threads over the training sets of the guard, where
        they are worked on one by one (more columns than rows), and over the folds where
        ``hyperpenalty`` is not "auto" and they are not solved as one stack. None is
        one, or what ``joblib.parallel_config`` says.
    random_state, verbose : ...

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients; exactly 0 for removed features. float32 where X is.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    alpha_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Strengths in units of Ridge; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the ridge solution at these strengths.
    group_alpha_, group_labels_ : ...
    noise_variance_ : float or ndarray of shape (n_targets,)
        Variance of the target around its mean, for a row of weight one: the weighted
        sum of squared residuals over the sum of the weights less the effective degrees
        of freedom. Not set where the fit is too large (see `contrast_std`).
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean squared error averaged over targets. It is optimistic by
        the choice among the candidates.
        With ``cv="reml"`` it is minus the likelihood as a variance, in squared units
        of the target.
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelRidgeClassifierCV : The same for classes.
    sklearn.linear_model.RidgeCV : One strength for all features, from a grid.
    sklearn.linear_model.ARDRegression : Strengths from the evidence, no validation.

    Notes
    -----
    ...

    With ``alpha_per_target=True`` and several targets, ``history_`` and
    ``hyperpenalty_`` are lists with one entry per target.

    References
    ----------
    ...

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelRidgeCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelRidgeCV()).fit(X, y)
    >>> print(f"{model.score(X, y):.2f}")
    0.51
    >>> model[-1].alpha_.shape
    (10,)
    """

    alpha_per_target: bool
    noise_variance_: Any
    _dispersion_name = "noise_variance_"
    _multi_output = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelRegressor._parameter_constraints,
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
        self._keep(locals())

    def _searches(self, n_targets: int) -> list[slice]:
        if not self.alpha_per_target or n_targets == 1:
            return [slice(None)]
        return [slice(k, k + 1) for k in range(n_targets)]

    @overload
    def predict(self, X: Any, return_std: Literal[False] = False) -> Array: ...

    @overload
    def predict(self, X: Any, return_std: Literal[True]) -> tuple[Array, Array]: ...

    @lazily
    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether the standard deviations of the predictions are returned, too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the dtype of the coefficients where X has it too.
        y_std : ndarray of the same shape
            Standard deviations of a new row around them: of the noise,
            ``noise_variance_``, and of what is not known of the coefficients at the
            published strengths; see `contrast_std`. Only with ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is asked of a fit that was too large to keep the
            covariance.
        """
        mean = linear_predictor(self, X)
        if not return_std:
            return mean
        variance = self._variances(X, 1.0) + self.noise_variance_
        return mean, beside(np.sqrt(variance).reshape(mean.shape), X)

    def _plain_model(self) -> Any:
        return plain_ridge(self)
