"""DPLasso: the lasso whose coefficients may be published."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from sklearn.base import RegressorMixin

from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._dp_base import PrivateLinearModel, TargetBox
from skbilevel.problems import SquaredLoss


class DPLasso(RegressorMixin, PrivateLinearModel):
    """The lasso whose coefficients may be published.

    It minimizes, over rows and targets that are clipped to public bounds, ::

        1 / (2 n) sum_i (y_i - b - x_i w)^2 + sum_j alpha_j |w_j|

    from noisy sums over rows alone. All that a fit publishes, the set of features that
    are left included, is (epsilon, delta)-differentially private for the replacement of
    one row, the number of rows being public.

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
    alpha : "auto", float or array-like of shape (n_features,), default="auto"
        Strengths in units of `Lasso`. "auto" is about the largest cross moment that a
        feature without any effect has, noise included; gradients of "dp-cd", "dp-gd"
        and "dp-sgd" do not tell it, and there "auto" is 0.
    fit_intercept : bool, default=True
        Whether there is an intercept. It is a constant column of the rows and costs no
        release of its own.
    solver : {"auto", "moments", "dp-cd", "dp-gd", "dp-sgd"}, default="auto"
        What is released: second moments in one go ("auto"); derivatives of one
        coefficient after the other, for few columns of very different scale; gradients
        of all rows; gradients of Poisson batches.
    n_passes : "auto" or int, default="auto"
        Steps of "preconditioned" (10) and "dp-gd" (50), passes of "dp-cd" (at most 200)
        and "dp-sgd" (20). It must not be chosen by looking at results on these rows.
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
        **PrivateLinearModel._parameter_constraints,
        "target_bounds": [tuple, list],
        "alpha": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
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
        random_state: Any = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.feature_bounds = feature_bounds
        self.target_bounds = target_bounds
        self.row_norm = row_norm
        self.scale = scale
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.n_passes = n_passes
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # On a handful of rows noise is all there is to see.
        tags.regressor_tags.poor_score = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, **refused: Any) -> DPLasso:
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
        self : DPLasso
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
        found, coef = self._fit_privately(
            X, targets.units(y), SquaredLoss(), targets.half
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
