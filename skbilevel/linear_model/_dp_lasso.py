"""DPLasso: the lasso whose coefficients may be published."""

from __future__ import annotations

from typing import Any, ClassVar

from skbilevel._sklearn_compat import StrOptions
from skbilevel.linear_model._dp_base import PrivateRegressor


class DPLasso(PrivateRegressor):
    """The lasso whose coefficients may be published.

    It minimizes, over rows and targets that are clipped to public bounds, ::

        1 / (2 n) sum_i (y_i - b - x_i w)^2 + sum_j alpha_j |w_j|

    from noisy sums over rows alone. All that a fit publishes, the set of features that
    are left included, is (epsilon, delta)-differentially private for the replacement of
    one row, the number of rows being public.

    Parameters
    ----------
    epsilon, delta, feature_bounds, target_bounds, row_norm, scale : ...
    alpha : "auto", float or array-like of shape (n_features,), default="auto"
        Strengths in units of `Lasso`. "auto" is about the largest cross moment that a
        feature without any effect has, noise included; gradients of "dp-cd", "dp-gd"
        and "dp-sgd" do not tell it, and there "auto" is 0.
    fit_intercept : ...
    solver : {"auto", "moments", "dp-cd", "dp-gd", "dp-sgd"}, default="auto"
        What is released: second moments in one go ("auto"); derivatives of one
        coefficient after the other, for few columns of very different scale; gradients
        of all rows; gradients of Poisson batches.
    n_passes, clip, random_state : ...

    Attributes
    ----------
    coef_, intercept_, alpha_, epsilon_, delta_, mu_, privacy_ledger_ : ...
    privacy_statement_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    DPRidge : All coefficients, shrunk; predicts better where the noise is large.
    sklearn.linear_model.Lasso : Without privacy.

    Notes
    -----
    Every fit on the same rows costs anew, and the epsilons of several fits roughly add
    up: a `GridSearchCV` over this estimator fits many times, and what it finds is
    private only at the sum over all fits, its scores not at all. A scaler in front
    learns from the rows without any noise; the bounds take its place.

    References
    ----------
    P. Mangold, A. Bellet, J. Salmon and M. Tommasi, "Differentially private coordinate
    descent for composite empirical risk minimization", ICML 2022 (``"dp-cd"``).

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import DPLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (20_000, 5))
    >>> y = X @ [0.5, 0.0, 0.0, -0.4, 0.0] + 0.1 * rng.standard_normal(20_000)
    >>> model = DPLasso(epsilon=2.0, random_state=0).fit(X, y)
    >>> (model.coef_ != 0).tolist()
    [True, False, False, True, False]
    """

    _best: ClassVar[str] = "moments"
    _l1: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateRegressor._parameter_constraints,
        "solver": [StrOptions({"auto", "moments", "dp-cd", "dp-gd", "dp-sgd"})],
    }

    def __init__(
        self,
        epsilon: float = 1.0,
        delta: float | None = None,
        *,
        feature_bounds: Any = (-1.0, 1.0),
        target_bounds: Any = (-1.0, 1.0),
        row_norm: Any = "auto",
        scale: bool = True,
        alpha: Any = "auto",
        fit_intercept: bool = True,
        solver: str = "auto",
        n_passes: Any = "auto",
        clip: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())
