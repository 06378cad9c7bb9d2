"""BilevelGammaCV: gamma regression with one tuned strength per feature."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import GammaRegressor

from skbilevel.linear_model._export import plain_iterative
from skbilevel.linear_model._glm import BilevelLogLinearModel


class BilevelGammaCV(BilevelLogLinearModel):
    """Gamma regression with one tuned strength per feature.

    Put it where a grid search over `GammaRegressor` stood: for positive amounts whose
    standard deviation grows with their mean. With ``mu_i = exp(o_i + b + x_i w)`` and
    offsets ``o_i``, zero where none are given, it minimizes the mean half deviance
    and a penalty ::

        sum_i s_i (log(mu_i / y_i) + y_i / mu_i - 1) / sum_i s_i
            + 0.5 sum_j alpha_j w_j^2

    over ``w`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of the deviance of rows that were left out, which implicit
    differentiation of the minimizer gives. With the default ``hyperpenalty="auto"``
    a guard keeps many strengths from overfitting that deviance.

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    solver, scoring, alpha_init, alpha_bounds, tol, max_iter, n_jobs, random_state : ...
    verbose : ...

    Attributes
    ----------
    coef_, intercept_, dispersion_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of GammaRegressor; inf where a feature is removed, 0 where
        it is unpenalized. ``coef_`` is the solution at these strengths.
    group_alpha_, group_labels_, best_score_, n_iter_, history_, hyperpenalty_ : ...
    n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelPoissonCV : The same for counts.
    BilevelTweedieCV : The same for amounts with zeros.
    sklearn.linear_model.GammaRegressor : One given strength for all features.

    Notes
    -----
    ...

    References
    ----------
    ...

    P. McCullagh and J. A. Nelder, "Generalized linear models", 1989 (deviances).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelGammaCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelGammaCV()).fit(X, y)
    >>> model.score(X, y) > 0.4
    True
    >>> model[-1].alpha_.shape
    (10,)
    """

    def _power(self) -> float:
        return 2.0

    def _plain_model(self) -> Any:
        return plain_iterative(self, GammaRegressor())
