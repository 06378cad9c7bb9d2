"""DPRidge: ridge regression whose coefficients may be published."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from skbilevel._sklearn_compat import Interval, StrOptions
from skbilevel._typing import Array
from skbilevel.linear_model._dp_base import PrivateRegressor


class DPRidge(PrivateRegressor):
    """Ridge regression whose coefficients may be published.

    It minimizes, over rows and targets that are clipped to public bounds, ::

        0.5 sum_i (y_i - b - x_i w)^2 + 0.5 sum_j alpha_j w_j^2

    from noisy sums over rows alone. All that a fit publishes is (epsilon, delta)-
    differentially private for the replacement of one row, the number of rows being
    public.

    Parameters
    ----------
    epsilon, delta, feature_bounds, target_bounds, row_norm, scale : ...
    alpha : "auto", "tuned", float or array-like of shape (n_features,), default="auto"
        Strengths in units of `Ridge`. "auto" is what the noise can do to second
        moments, and 0 where gradients are all that a solver releases. "tuned" maximizes
        the evidence of one strength per feature or group on the noisy moments, which
        costs no privacy: it is a function of what was released anyway.
    feature_groups : None, "shared" or array-like of shape (n_features,), default=None
        Which features share a strength where ``alpha="tuned"``: None is one for each,
        "shared" one for all, an array one for each label. Refused with another alpha.
    fit_intercept : ...
    solver : {"auto", "moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}, \
            default="auto"
        What is released: second moments in one go; moments for the metric and the start
        of few gradients ("auto"); derivatives of one coefficient after the other, for
        few columns of very different scale; gradients of all rows; gradients of Poisson
        batches. With ``alpha="tuned"`` "auto" is "moments".
    n_passes, clip, accountant, random_state : ...

    Attributes
    ----------
    coef_, intercept_, alpha_, epsilon_, delta_, mu_, privacy_ledger_ : ...
    privacy_statement_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    DPLasso : Few coefficients.
    DPLogistic : Two classes.
    BilevelRidgeCV : Without privacy, with tuned strengths.

    Notes
    -----
    Every fit on the same rows costs anew, and the epsilons of several fits roughly add
    up: a `GridSearchCV` over this estimator fits many times, and what it finds is
    private only at the sum over all fits, its scores not at all. A scaler in front
    learns from the rows without any noise; the bounds take its place.

    References
    ----------
    J. Dong, A. Roth and W. J. Su, "Gaussian differential privacy", Journal of the Royal
    Statistical Society B 84, 2022 (the accounting).

    P. Mangold, A. Bellet, J. Salmon and M. Tommasi, "Differentially private coordinate
    descent for composite empirical risk minimization", ICML 2022 (``"dp-cd"``).

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import DPRidge
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (5000, 3))
    >>> y = X @ [0.4, -0.3, 0.0] + 0.1 * rng.standard_normal(5000)
    >>> model = DPRidge(epsilon=1.0, random_state=0).fit(X, y)
    >>> model.coef_.round(1) + 0.0
    array([ 0.4, -0.3,  0. ])
    >>> print(f"epsilon {model.epsilon_:.3f}, R2 {model.score(X, y):.2f}")
    epsilon 1.000, R2 0.90
    >>> model.privacy_ledger_.shares().round(3)
    array([0.15 , 0.255, 0.595])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateRegressor._parameter_constraints,
        "alpha": [
            StrOptions({"auto", "tuned"}),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
        "feature_groups": [StrOptions({"shared"}), "array-like", None],
        "solver": [
            StrOptions(
                {"auto", "moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}
            )
        ],
        "accountant": [StrOptions({"exact", "last-iterate"})],
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
        feature_groups: Any = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        n_passes: Any = "auto",
        clip: float = 1.0,
        accountant: str = "exact",
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def _chosen_solver(self) -> str:
        if not (isinstance(self.alpha, str) and self.alpha == "tuned"):
            return super()._chosen_solver()
        if self.solver not in ("auto", "moments"):
            raise ValueError(
                "alpha='tuned' reads noisy second moments, which "
                f"solver={self.solver!r} does not release; give 'moments' or 'auto'."
            )
        return "moments"

    def _members(self) -> Array | None:
        """Labels of features, from 0 on, that share a tuned strength."""
        if self.feature_groups is None:
            return None
        if not (isinstance(self.alpha, str) and self.alpha == "tuned"):
            raise ValueError(
                "feature_groups= says which features share a tuned strength: give "
                "alpha='tuned', or leave feature_groups out."
            )
        if isinstance(self.feature_groups, str):
            return np.zeros(self.n_features_in_, dtype=int)
        labels = np.asarray(self.feature_groups)
        if labels.shape != (self.n_features_in_,):
            raise ValueError(
                f"feature_groups has shape {labels.shape}, but X has "
                f"{self.n_features_in_} features."
            )
        return np.unique(labels, return_inverse=True)[1]
