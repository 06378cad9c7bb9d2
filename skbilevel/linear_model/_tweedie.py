"""BilevelTweedieCV: tweedie regression with one tuned strength per feature."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.linear_model import TweedieRegressor

from skbilevel._sklearn_compat import Interval
from skbilevel.linear_model._export import plain_iterative
from skbilevel.linear_model._glm import BilevelLogLinearModel


class BilevelTweedieCV(BilevelLogLinearModel):
    """Tweedie regression with one tuned strength per feature.

    Put it where a grid search over `TweedieRegressor` stood: for amounts that are
    often zero, such as claims or rainfall. The variance is ``mu^r`` up to a factor,
    with ``r`` the ``power``. With ``mu_i = exp(o_i + b + x_i w)`` and offsets
    ``o_i``, zero where none are given, it minimizes the mean half deviance and a
    penalty, for ``1 < r < 2`` ::

        sum_i s_i d(y_i, mu_i) / sum_i s_i + 0.5 sum_j alpha_j w_j^2,
        d(y, mu) = y^(2-r) / ((1-r) (2-r)) - y mu^(1-r) / (1-r) + mu^(2-r) / (2-r)

    over ``w`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of the deviance of rows that were left out, which implicit
    differentiation of the minimizer gives. With the default ``hyperpenalty="auto"``
    a guard keeps many strengths from overfitting that deviance.

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    solver, scoring, alpha_init, alpha_bounds : ...
    power : float, default=1.5
        Power of the mean that the variance is, from 1 (Poisson) to 2 (Gamma).
    tol, max_iter, n_jobs, random_state, verbose : ...

    Attributes
    ----------
    coef_, intercept_, dispersion_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of TweedieRegressor; inf where a feature is removed, 0 where
        it is unpenalized. ``coef_`` is the solution at these strengths.
    group_alpha_, group_labels_, best_score_, n_iter_, history_, hyperpenalty_ : ...
    n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelPoissonCV : The same for ``power=1``.
    BilevelGammaCV : The same for ``power=2``.
    sklearn.linear_model.TweedieRegressor : One given strength for all features.

    Notes
    -----
    ...

    ``power`` lies in [1, 2]. Between 0 and 1 there is no such distribution, and
    below 1 and above 2 the deviance is not convex in the linear prediction, so that
    strengths would not determine one set of coefficients. At 0 it is the normal
    distribution with a log link; `BilevelRidgeCV` is that with the identity.

    References
    ----------
    ...

    B. Jorgensen, "Exponential dispersion models", Journal of the Royal Statistical
    Society B 49, 1987.

    Examples
    --------
    Every second of the amounts is a zero:

    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelTweedieCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> y = np.where(y > np.median(y), y, 0.0)
    >>> model = make_pipeline(StandardScaler(), BilevelTweedieCV()).fit(X, y)
    >>> model.score(X, y) > 0.2
    True
    >>> model[-1].alpha_.shape
    (10,)
    """

    power: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLogLinearModel._parameter_constraints,
        "power": [Interval(Real, 1, 2, closed="both")],
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
        power: float = 1.5,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    def _power(self) -> float:
        return float(self.power)

    def _plain_model(self) -> Any:
        return plain_iterative(self, TweedieRegressor(power=self.power, link="log"))
