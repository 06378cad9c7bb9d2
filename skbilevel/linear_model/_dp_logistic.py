"""DPLogistic: logistic regression whose coefficients may be published."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy import special
from sklearn.base import ClassifierMixin

from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._dp_base import PrivateLinearModel
from skbilevel.problems import LogisticLoss


class DPLogistic(ClassifierMixin, PrivateLinearModel):
    """Logistic regression of two classes whose coefficients may be published.

    It minimizes, over rows that are clipped to public bounds, ::

        sum_i log(1 + exp(-s_i (b + x_i w))) + 0.5 sum_j alpha_j w_j^2,   s_i = 1 or -1

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
    classes : pair, default=(0, 1)
        The two labels, the second one being the one whose probability is modelled. They
        are not read from ``y``, which would tell whether a class occurs.
    row_norm : "auto" or float, default="auto"
        Largest norm of a row once its columns are in units of the bounds, and so at
        most 1; rows that are longer are shortened in ``fit``. "auto" is the root of the
        number of features. Of the columns that one-hot encoding makes of a category one
        is 1: with k categories and m other columns sqrt(k + m) is a bound, too.
    scale : bool, default=True
        Whether 15 % of the budget buys noisy moments of the columns, which give them
        comparable scales (``"dp-cd"`` takes steps and clips from them).
    alpha : "auto", float or array-like of shape (n_features,), default="auto"
        Strengths, 1 / C of `LogisticRegression`. "auto" is 0: noisy gradients that are
        few do not overfit.
    fit_intercept : bool, default=True
        Whether there is an intercept. It is a constant column of the rows and costs no
        release of its own.
    solver : {"auto", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}, \
            default="auto"
        What is released: second moments for the metric and the start of few gradients
        ("auto"); derivatives of one coefficient after the other, for few columns of
        very different scale; gradients of all rows; gradients of Poisson batches.
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
    coef_ : ndarray of shape (1, n_features)
        Coefficients of the features in their own units.
    intercept_ : ndarray of shape (1,)
        Intercept.
    classes_ : ndarray of shape (2,)
        The parameter ``classes``.
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
    DPRidge : Targets that are numbers.
    BilevelLogisticCV : Without privacy, with tuned strengths.

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
    >>> from skbilevel import DPLogistic
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (5000, 3))
    >>> y = (X @ [4.0, -2.0, 0.0] + rng.logistic(size=5000) > 0).astype(int)
    >>> model = DPLogistic(epsilon=1.0, random_state=0).fit(X, y)
    >>> print(f"epsilon {model.epsilon_:.3f}, accuracy {model.score(X, y):.2f}")
    epsilon 1.000, accuracy 0.84
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateLinearModel._parameter_constraints,
        "classes": ["array-like"],
        "alpha": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
        "solver": [StrOptions({"auto", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"})],
        "accountant": [StrOptions({"exact", "last-iterate"})],
    }

    def __init__(
        self,
        epsilon: float = 1.0,
        delta: float | None = None,
        *,
        feature_bounds: Any = (-1.0, 1.0),
        classes: Any = (0, 1),
        row_norm: Any = "auto",
        scale: bool = True,
        alpha: Any = "auto",
        fit_intercept: bool = True,
        solver: str = "auto",
        n_passes: Any = "auto",
        accountant: str = "exact",
        random_state: Any = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.feature_bounds = feature_bounds
        self.classes = classes
        self.row_norm = row_norm
        self.scale = scale
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.n_passes = n_passes
        self.accountant = accountant
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        # On a handful of rows noise is all there is to see.
        tags.classifier_tags.poor_score = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, **refused: Any) -> DPLogistic:
        """Fit the coefficients and write the ledger.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; a sparse X needs bounds that contain 0, and stays sparse.
        y : array-like of shape (n_samples,)
            Labels, each of them one of ``classes``.
        **refused : dict
            ``sample_weight`` and other things that would break the guarantee; giving
            any raises with the reason.

        Returns
        -------
        self : DPLogistic
            The fitted estimator.

        Raises
        ------
        TypeError
            If ``sample_weight`` or anything else is given.
        ValueError
            If data or a parameter cannot be used. That an error was raised is a bit
            about the rows which the guarantee does not cover: clean them before.
        """
        X, y = self._validate(X, y, refused)
        classes = self._two_classes()
        y = self._second(y, classes)
        found, coef = self._fit_privately(X, y, LogisticLoss())
        self.classes_ = classes
        self.coef_ = coef[None]
        self.intercept_ = np.zeros(1)
        if self.fit_intercept:
            self.intercept_ += found.intercept - self._box().centre @ coef
        return self

    def _two_classes(self) -> Array:
        classes = np.asarray(self.classes)
        if classes.shape != (2,) or classes[0] == classes[1]:
            raise ValueError(f"classes={self.classes!r} must be two different labels.")
        return classes

    def _second(self, y: Any, classes: Array) -> Array:
        """One for the second class, zero for the first."""
        y = np.asarray(y)
        second = y == classes[1]
        if not (second | (y == classes[0])).all():
            raise ValueError(
                "Unknown label type: y has labels that are not in classes="
                f"{tuple(classes.tolist())}. Only binary classification is supported, "
                "and the two labels are a parameter: set classes to them."
            )
        return np.asarray(second, dtype=float)

    def decision_function(self, X: Any) -> Array:
        """Log odds of the second class; features are clipped to their bounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Positive for the second class.
        """
        return np.asarray(self._linear_predictor(X)[:, 0])

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
        second = (self.decision_function(X) > 0).astype(int)
        return np.asarray(self.classes_[second])

    def predict_proba(self, X: Any) -> Array:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
            In the order of ``classes_``; the sum of a row is 1.
        """
        scores = self.decision_function(X)
        return np.column_stack([special.expit(-scores), special.expit(scores)])

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithms of the probabilities, without rounding them to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, 2)
            In the order of ``classes_``.
        """
        scores = self.decision_function(X)
        return np.column_stack([special.log_expit(-scores), special.log_expit(scores)])
