"""DPLogistic: logistic regression whose coefficients may be published."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin

from skbilevel._sklearn_compat import StrOptions
from skbilevel._typing import Array
from skbilevel.linear_model._class_scores import ClassProbabilitiesMixin
from skbilevel.linear_model._dp_base import PrivateLinearModel
from skbilevel.privacy._bounds import Box
from skbilevel.privacy._fit import PrivateFit
from skbilevel.problems import LogisticLoss


class DPLogistic(ClassProbabilitiesMixin, ClassifierMixin, PrivateLinearModel):
    """Logistic regression of two classes whose coefficients may be published.

    It minimizes, over rows that are clipped to public bounds, ::

        sum_i log(1 + exp(-s_i (b + x_i w))) + 0.5 sum_j alpha_j w_j^2,   s_i = 1 or -1

    from noisy sums over rows alone. All that a fit publishes is (epsilon, delta)-
    differentially private for the replacement of one row, the number of rows being
    public.

    Parameters
    ----------
    epsilon, delta, feature_bounds : ...
    classes : pair, default=(0, 1)
        The two labels, the second one being the one whose probability is modelled. They
        are not read from ``y``, which would tell whether a class occurs.
    row_norm, scale : ...
    alpha : "auto", float or array-like of shape (n_features,), default="auto"
        Strengths, 1 / C of `LogisticRegression`. "auto" is 0: noisy gradients that are
        few do not overfit.
    fit_intercept : ...
    solver : {"auto", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"}, \
            default="auto"
        What is released: second moments for the metric and the start of few gradients
        ("auto"); derivatives of one coefficient after the other, for few columns of
        very different scale; gradients of all rows; gradients of Poisson batches.
    n_passes, clip, accountant, random_state : ...

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features)
        Coefficients of the features in their own units.
    intercept_ : ndarray of shape (1,)
        Intercept.
    classes_ : ndarray of shape (2,)
        The parameter ``classes``.
    alpha_, epsilon_, delta_, mu_, privacy_ledger_ : ...
    privacy_statement_, n_features_in_, feature_names_in_ : ...

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

    _loss = LogisticLoss()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateLinearModel._parameter_constraints,
        "classes": ["array-like"],
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
        clip: float = 1.0,
        accountant: str = "exact",
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        # On a handful of rows noise is all there is to see.
        tags.classifier_tags.poor_score = True
        return tags

    def _publish(self, found: PrivateFit, delta: float, unit: Array) -> None:
        super()._publish(found, delta, unit)
        self.classes_ = self._two_classes()
        self.coef_, self.intercept_ = self.coef_[None], np.array([self.intercept_])

    def _two_classes(self) -> Array:
        classes = np.asarray(self.classes)
        if classes.shape != (2,) or classes[0] == classes[1]:
            raise ValueError(f"classes={self.classes!r} must be two different labels.")
        return classes

    def _in_units(self, y: Array) -> tuple[Array, Box]:
        """One for the second class, zero for the first; log odds have no bounds."""
        classes, y = self._two_classes(), np.asarray(y)
        second = y == classes[1]
        if not (second | (y == classes[0])).all():
            raise ValueError(
                "Unknown label type: y has labels that are not in classes="
                f"{tuple(classes.tolist())}. Only binary classification is supported, "
                "and the two labels are a parameter: set classes to them."
            )
        return second.astype(float), Box(np.array(-1.0), np.array(1.0), False)

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
