"""DPRidge: ridge regression whose coefficients may be published."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._dp_base import PrivateLinearModel, TargetBox
from skbilevel.problems import SquaredLoss


class DPRidge(RegressorMixin, PrivateLinearModel):
    """Ridge regression whose coefficients may be published.

    It minimizes, over rows and targets that are clipped to public bounds, ::

        0.5 sum_i (y_i - b - x_i w)^2 + 0.5 sum_j alpha_j w_j^2

    from noisy sums over rows alone. All that a fit publishes is (epsilon, delta)-
    differentially private for the replacement of one row, the number of rows being
    public.

    Parameters
    ----------
    epsilon : float, default=1.0
        How much the odds of any outcome may change when one row is replaced. inf adds
        no noise and guarantees nothing.
    delta : float or None, default=None
        Probability with which the bound may fail, below one over the number of rows.
        None is the smaller of 1e-6 and one over the square of the number of rows.
    feature_bounds : pair (low, high), default=(-1.0, 1.0)
        Numbers, or arrays of shape (n_features,), chosen **without looking at the
        rows**. Features are clipped to them, in ``fit`` and where the model
        predicts: a value outside counts as the bound.
    target_bounds : pair (low, high), default=(-1.0, 1.0)
        The same for the targets: those outside are clipped to them, in ``fit`` and in
        what ``predict`` returns.
    row_norm : "auto" or float, default="auto"
        Largest norm of a row once its columns are in units of the bounds, and so at
        most 1; rows that are longer are shortened in ``fit``. "auto" is the root of the
        number of features. Of the columns that one-hot encoding makes of a category one
        is 1: with k categories and m other columns sqrt(k + m) is a bound, too.
    scale : bool, default=True
        Whether 15 % of the budget buys noisy moments of the columns, which give them
        comparable scales (``"dp-cd"`` takes steps and clips from them).
    alpha : "auto", "tuned", float or array-like of shape (n_features,), default="auto"
        Strengths in units of `Ridge`. "auto" is what the noise can do to second
        moments, and 0 where gradients are all that a solver releases. "tuned" maximizes
        the evidence of one strength per feature or group on the noisy moments, which
        costs no privacy: it is a function of what was released anyway.
    feature_groups : None, "shared" or array-like of shape (n_features,), default=None
        Which features share a strength where ``alpha="tuned"``: None is one for each,
        "shared" one for all, an array one for each label.
    fit_intercept : bool, default=True
        Whether there is an intercept. It is a constant column of the rows and costs no
        release of its own.
    solver : {"auto", "moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}, \
            default="auto"
        What is released: second moments in one go; moments for the metric and the start
        of few gradients ("auto"); derivatives of one coefficient after the other, for
        few columns of very different scale; gradients of all rows; gradients of Poisson
        batches. With ``alpha="tuned"`` "auto" is "moments".
    n_passes : "auto" or int, default="auto"
        Steps of "preconditioned" (10) and "dp-gd" (50), passes of "dp-cd" (at most 200)
        and "dp-sgd" (20). It must not be chosen by looking at results on these rows.
    accountant : {"exact", "last-iterate"}, default="exact"
        "last-iterate" counts what the last of many "dp-gd" steps reveals, all others
        kept secret. It needs a positive ``alpha``, which then penalizes the intercept
        as well, and pays where alpha times the number of steps is large.
    random_state : int, RandomState or None, default=None
        For tests only: **whoever knows the seed knows the noise**. None draws every bit
        of noise from the operating system.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients of the features in their own units.
    intercept_ : float
        Intercept.
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of ``alpha``; a function of the noisy releases.
    epsilon_ : float
        Epsilon of everything that is published here.
    delta_ : float
        Its delta.
    mu_ : float
        Its Gaussian-DP parameter; NaN for "dp-sgd", which is counted by Renyi bounds.
    privacy_ledger_ : PrivacyLedger
        What was released, with sensitivity and noise.
    privacy_statement_ : str
        The guarantee in plain sentences.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

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

    _best: ClassVar[str] = "preconditioned"
    _l1: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateLinearModel._parameter_constraints,
        "target_bounds": [tuple, list],
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
        accountant: str = "exact",
        random_state: Any = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.feature_bounds = feature_bounds
        self.target_bounds = target_bounds
        self.row_norm = row_norm
        self.scale = scale
        self.alpha = alpha
        self.feature_groups = feature_groups
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.n_passes = n_passes
        self.accountant = accountant
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # On a handful of rows noise is all there is to see.
        tags.regressor_tags.poor_score = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, **refused: Any) -> DPRidge:
        """Fit the coefficients and write the ledger.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; a sparse X needs bounds that contain 0, and stays sparse.
        y : array-like of shape (n_samples,)
            Targets.
        **refused : dict
            ``sample_weight`` and other things that would break the guarantee; giving
            any raises with the reason.

        Returns
        -------
        self : DPRidge
            The fitted estimator.

        Raises
        ------
        TypeError
            If ``sample_weight`` or anything else is given.
        ValueError
            If data or a parameter cannot be used. That an error was raised is a bit
            about the rows which the guarantee does not cover: clean them before.
        """
        X, y = self._validate(X, y, refused, y_numeric=True)
        targets = TargetBox.of(self.target_bounds, self.fit_intercept)
        members = self._members()
        found, coef = self._fit_privately(
            X, targets.units(y), SquaredLoss(), targets.half, members
        )
        self.coef_ = coef
        self.intercept_ = 0.0
        if self.fit_intercept:
            intercept = targets.centre + targets.half * found.intercept
            self.intercept_ = float(intercept - self._box().centre @ coef)
        return self

    def predict(self, X: Any) -> Array:
        """Predict targets: features and predictions are clipped to their bounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions.
        """
        out = self._linear_predictor(X)
        return TargetBox.of(self.target_bounds, self.fit_intercept).clip(out)

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
        if isinstance(self.feature_groups, str):
            return np.zeros(self.n_features_in_, dtype=int)
        labels = np.asarray(self.feature_groups)
        if labels.shape != (self.n_features_in_,):
            raise ValueError(
                f"feature_groups has shape {labels.shape}, but X has "
                f"{self.n_features_in_} features."
            )
        return np.unique(labels, return_inverse=True)[1]
