"""BilevelElasticNetCV and BilevelLassoCV: strengths of an l1 part."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import ElasticNet, Lasso

from skbilevel._array_api import need_rows_in_memory
from skbilevel._mistakes import OF_NETS
from skbilevel._sklearn_compat import Interval, StrOptions
from skbilevel._typing import Array
from skbilevel.linear_model._base import linear_predictor
from skbilevel.linear_model._data import Prepared, with_net
from skbilevel.linear_model._export import plain_iterative
from skbilevel.linear_model._lazily import lazily
from skbilevel.linear_model._least_squares import BilevelRegressor
from skbilevel.linear_model._publish import Published

# Shares of the L1 norm that "tuned" tries.
_RATIOS = (0.1, 0.5, 0.9, 1.0)


class BilevelNetRegressor(BilevelRegressor):
    """Common part of the estimators with an l1 penalty; see the subclasses.

    Parameters
    ----------
    cv : None, int, splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled 5-fold.
        Strengths of a training set are tuned on folds inside: the other folds where cv
        is None or a number, folds that are drawn for a splitter. Otherwise it is the
        criterion itself; one split is a hold-out. There is no closed form: "loo",
        "gcv" and "reml" are refused.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients; many are exactly 0. float32 where X is.
    intercept_ : float
        Intercept.
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean squared error. It is optimistic by the choice among the candidates.

    Notes
    -----
    Put a scaler in front: a strength shared by all features, the start of every search,
    refers to the columns as they are. Below 20 rows the shared strength is used alone.

    References
    ----------
    Q. Bertrand et al., "Implicit differentiation for fast hyperparameter selection in
    non-smooth convex learning", JMLR 23, 2022 (derivatives on the active set).

    N. Meinshausen, "Relaxed lasso", Computational Statistics and Data Analysis 52,
    2007, and P. Buehlmann and L. Meier, "Discussion: One-step sparse estimates", Annals
    of Statistics 36, 2008 (adaptive refits, one of the families of candidates).
    """

    _elsewhere = OF_NETS
    # Strengths refer to the columns as they are, as in scikit-learn.
    _scales = False
    # The guard and the search have one solver, which works on the active columns.
    solver = "auto"
    n_jobs = 1

    # Names of criteria are refused with a sentence of their own.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        name: constraint
        for name, constraint in BilevelRegressor._parameter_constraints.items()
        if name not in ("solver", "n_jobs")
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        return tags

    def _ratios(self) -> Sequence[Array | float]:
        """Shares of the L1 norm, of which the best one is taken."""
        raise NotImplementedError

    def _validate(self, X: Any, y: Any, **kwargs: Any) -> tuple[Any, Any]:
        need_rows_in_memory(self, X, "coordinate descent is scikit-learn's")
        shape: tuple[int, ...] = getattr(y, "shape", ())
        if len(shape) == 2:
            self._searches(shape[1])
        return super()._validate(X, y, **kwargs)

    def _searches(self, n_targets: int) -> list[slice]:
        if n_targets > 1:
            raise ValueError(
                f"y has {n_targets} columns, and {type(self).__name__} predicts one "
                "target: fit one model for each, for example with "
                "sklearn.multioutput.MultiOutputRegressor."
            )
        return super()._searches(n_targets)

    @lazily
    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions, in the dtype of the coefficients where X has it too.
        """
        return linear_predictor(self, X)

    def _keep_uncertainty(self, parts: list[Published]) -> None:
        """None is kept; `_variances` says why."""

    def _variances(self, X: Any, constant: float) -> Array:
        raise ValueError(
            f"{type(self).__name__} has no standard errors: coefficients that an l1 "
            "penalty sets to zero have no normal distribution. BilevelRidgeCV has them."
        )

    def _penalized(self, data: Prepared) -> Prepared:
        return with_net(data, self._ratios())


class BilevelElasticNetCV(BilevelNetRegressor):
    """Elastic net with one tuned strength per feature.

    Put it where `ElasticNetCV` stood. It minimizes, S being the sum of the weights ::

        1 / (2 S) sum_i s_i (y_i - b - x_i w)^2
            + sum_j alpha_j (l_j |w_j| + 0.5 (1 - l_j) w_j^2)

    over ``w`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of a validation loss: on the active columns the minimizer is a smooth
    function of them. With the default ``hyperpenalty="auto"`` a guard keeps many
    strengths from overfitting that loss; its first candidate is the elastic net of one
    strength, as ElasticNetCV would choose it.

    Parameters
    ----------
    l1_ratio : float, array-like of shape (n_features,) or "tuned", default="tuned"
        The shares ``l_j`` of the l1 norm, above 0 and at most 1: one for all features,
        or one each, which may be equal within groups of features. "tuned" takes, in
        every training set, the one of .1, .5, .9 and 1 that predicts its folds best at
        a shared strength.
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    scoring, alpha_init, alpha_bounds, tol, max_iter, random_state, verbose : ...

    Attributes
    ----------
    coef_, intercept_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of ElasticNet; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the solution at these strengths and ``l1_ratio_``.
    l1_ratio_ : float or ndarray of shape (n_features,)
        The shares of the l1 norm.
    group_alpha_, group_labels_, best_score_ : ...
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelLassoCV : The same without an l2 part.
    BilevelRidgeCV : The same without an l1 part.
    sklearn.linear_model.ElasticNetCV : One strength for all features, from a grid.

    Notes
    -----
    ...

    As in ElasticNet, a share below 1 depends on the unit of y: its l1 part has that of
    ``w``, its l2 part that of ``w ** 2``. Scale y as well where shares are tuned.

    References
    ----------
    ...

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skbilevel import BilevelElasticNetCV
    >>> X, y = make_regression(100, 30, n_informative=5, noise=10.0, random_state=0)
    >>> model = BilevelElasticNetCV().fit(X, y)
    >>> model.l1_ratio_
    1.0
    """

    l1_ratio_: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelNetRegressor._parameter_constraints,
        "l1_ratio": [
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"tuned"}),
            "array-like",
        ],
    }

    def __init__(
        self,
        *,
        l1_ratio: Any = "tuned",
        fit_intercept: bool = True,
        feature_groups: Any = None,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        scoring: Any = None,
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    def _ratios(self) -> Sequence[Array | float]:
        if isinstance(self.l1_ratio, str):
            return _RATIOS
        if np.ndim(self.l1_ratio) == 0:
            return [float(self.l1_ratio)]
        shares = np.asarray(self.l1_ratio, dtype=np.float64)
        if shares.shape != (self.n_features_in_,):
            raise ValueError(
                f"l1_ratio has shape {shares.shape}, but X has {self.n_features_in_} "
                "features: give one number, one per feature, or 'tuned'."
            )
        if not ((shares > 0) & (shares <= 1)).all():
            raise ValueError(
                "l1_ratio must be above 0 and at most 1 for every feature; without an "
                "l1 part use BilevelRidgeCV."
            )
        return [shares]

    def _search_attributes(self, parts: list[Published]) -> dict[str, Any]:
        share = self._ratios()[parts[0].share]
        return {**super()._search_attributes(parts), "l1_ratio_": share}

    def _plain_model(self) -> Any:
        # The share of a clone is the mean of those of the features.
        share = float(np.mean(self.l1_ratio_))
        return plain_iterative(self, ElasticNet(), l1_ratio=share)


class BilevelLassoCV(BilevelNetRegressor):
    """Lasso with one tuned strength per feature.

    Put it where `LassoCV` stood. It minimizes, S being the sum of the weights ::

        1 / (2 S) sum_i s_i (y_i - b - x_i w)^2 + sum_j alpha_j |w_j|

    over ``w`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of a validation loss: on the active columns the minimizer is a smooth
    function of them. With the default ``hyperpenalty="auto"`` a guard keeps many
    strengths from overfitting that loss; its first candidate is the lasso of one
    strength, as LassoCV would choose it.

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    scoring, alpha_init, alpha_bounds, tol, max_iter, random_state, verbose : ...

    Attributes
    ----------
    coef_, intercept_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of Lasso; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the solution at these strengths.
    group_alpha_, group_labels_, best_score_ : ...
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelElasticNetCV : The same with an l2 part.
    BilevelRidgeCV : One l2 strength per feature, which removes features, too.
    sklearn.linear_model.LassoCV : One strength for all features, from a grid.

    Notes
    -----
    ...

    References
    ----------
    ...

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skbilevel import BilevelLassoCV
    >>> X, y = make_regression(100, 30, n_informative=5, noise=10.0, random_state=0)
    >>> model = BilevelLassoCV().fit(X, y)
    >>> int((model.coef_ != 0).sum()) < 15
    True
    """

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        feature_groups: Any = None,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        scoring: Any = None,
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    def _ratios(self) -> Sequence[Array | float]:
        return [1.0]

    def _plain_model(self) -> Any:
        return plain_iterative(self, Lasso())
