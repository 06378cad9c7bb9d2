"""FractionalSparseRegressor: exactly k features."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import need_rows_in_memory
from skbilevel._mistakes import ExplainedParameters
from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._sparse import canonical
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel._warn import warn_user
from skbilevel.exceptions import DataWarning
from skbilevel.fractional._selection import METHODS, Selection, sizes_for
from skbilevel.fractional._supports import ScaledRows
from skbilevel.linear_model import BilevelRidgeCV
from skbilevel.linear_model._base import check_weight, linear_predictor, seed_of
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._cv import Resampling, read_resampling
from skbilevel.linear_model._draft import Draft
from skbilevel.linear_model._lazily import lazily
from skbilevel.model_selection._plan import MIN_ROWS
from skbilevel.model_selection._resampling import Pair, fold_labels, leave_one_unit_out
from skbilevel.solvers import RatioStatus


class FractionalSparseRegressor(
    Versioned, ExplainedParameters, SelectorMixin, RegressorMixin, BaseEstimator
):
    """Best-subset regression: exactly k features, found in the best of several ways.

    Nested cross-validation chooses the number of features k, where it is not given,
    and how they are found: by the lasso, by orthogonal matching pursuit, by exchanging
    features of these two while that lowers the squared error, or by minimizing ::

        (0.5 |y - Z w|^2 + alpha |w|_1) / (alpha |w|_top-k)

    over ``w`` with proximal coordinate descent (PCD). ``Z`` are the centred columns,
    scaled to one length, and ``|w|_top-k`` is the sum of the k largest ``|w_j|``: where
    w has no more than k coefficients the penalty costs nothing. This ratio stretches
    coefficients, so only its k features are used: a `BilevelRidgeCV` is fitted on them.

    Parameters
    ----------
    n_features_to_select : int or None, default=None
        The number k. None chooses among 1, 2, 3, 4, 6, 9, ... up to 50 and to a quarter
        of the rows; PCD then takes part at the best k of the others and the two beside.
    method : {"auto", "lasso", "omp", "pcd", "exchange"}, default="auto"
        How the features are found; "auto" chooses by cross-validation, and prefers
        "exchange" unless another way is better by two standard errors. "lasso" takes
        the k largest coefficients at the point of the lasso's path where four times as
        many features are active.
    alpha : "auto" or float, default="auto"
        Strength of the ratio, as a share of the largest ``|Z^T y|``; "auto" is 0.1.
        Refused where ``method`` does not minimize the ratio.
    fit_intercept : bool, default=True
        Whether an unpenalized intercept is fitted.
    cv : None, int, splitter or iterable, default=None
        Folds of the choice, and of the model on the chosen features; None is 5.
    tol : float, default=1e-5
        PCD ends where no coordinate lowers the ratio by more than this share.
    max_iter : int, default=4000
        Largest number of its steps.
    random_state : int, RandomState or None, default=None
        Seeds the folds. None is a fixed seed: fits are deterministic.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients; exactly 0 for all but k features. float32 where X is.
    intercept_ : float
        Intercept.
    support_ : ndarray of shape (n_features,), dtype bool
        The k features.
    n_features_ : int
        Their number.
    method_ : str
        How they were found.
    objective_ : float
        The ratio where PCD ended; nan where another way was chosen.
    n_iter_ : int
        Steps of PCD; 1 where another way was chosen.
    candidates_ : dict of ndarray
        ``method``, ``n_features`` and ``score`` (minus the held-out mean squared error,
        nan where there was nothing to choose) of all candidates.
    estimator_ : BilevelRidgeCV
        The model of the chosen features.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

    See Also
    --------
    BilevelRidgeCV : Strengths in place of a number of features; usually more accurate.
    sklearn.linear_model.OrthogonalMatchingPursuitCV : One of the ways.
    sklearn.linear_model.LassoCV : Another one; with more features than are named here.

    Notes
    -----
    Columns are scaled for the selection alone, and coefficients are in units of X. The
    guarantee is that of cross-validation: the way with the least held-out error is
    taken, with the error of that estimate. Where there is little signal the ratio is
    the worst of them.

    References
    ----------
    G. Yuan, "Coordinate descent methods for fractional minimization", ICML 2023 (the
    ratio and PCD; the choice, the start and the model on the features are ours).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skbilevel import FractionalSparseRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = FractionalSparseRegressor(n_features_to_select=3).fit(X, y)
    >>> model.get_feature_names_out().tolist()
    ['bmi', 'bp', 's5']
    """

    _doc_link_module = "skbilevel"
    _elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("k", "n_features", "n_nonzero_coefs", "support_size"),
            "n_features_to_select is the number of features",
        ),
        "sample_weight": "weights go to fit(X, y, sample_weight=...)",
        "groups": "labels of rows go to fit(X, y, groups=...)",
    }
    _unnamed: ClassVar[str] = "k"
    coef_: Array
    intercept_: float
    support_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_features_to_select": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({"auto", *METHODS})],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_features_to_select: int | None = None,
        *,
        method: str = "auto",
        alpha: Any = "auto",
        fit_intercept: bool = True,
        cv: Any = None,
        tol: float = 1e-5,
        max_iter: int = 4000,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None
    ) -> FractionalSparseRegressor:
        """Choose the features and fit their coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; float32 and float64 are kept, other numbers become float64.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows.
        groups : array-like of shape (n_samples,), default=None
            Labels of rows that belong together, for folds of whole groups.

        Returns
        -------
        self : FractionalSparseRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        """
        draft = Draft(self)
        draft.model._fit(X, y, sample_weight, groups)
        draft.publish()
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> None:
        """What `fit` does, on a copy that an interrupt leaves behind."""
        if self.alpha != "auto" and self.method in ("lasso", "omp", "exchange"):
            raise ValueError(
                f"alpha={self.alpha} is the strength of the ratio, which "
                f"method={self.method!r} does not minimize: leave it out, or give "
                "method='pcd' or 'auto'."
            )
        need_rows_in_memory(self, X, "its columns are those of NumPy")
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
            y_numeric=True,
        )
        counts = RowCounts.of(check_weight(sample_weight, X))
        model = self._ridge(float(counts.weight.sum()))
        given = {} if groups is None else {"groups": groups}
        resampling = read_resampling(model, given, X, y, sample_weight)
        splits = self._splits(resampling.among(counts), len(counts.weight))
        kept = canonical(X).tocsr() if sparse.issparse(X) else X
        rows, target = counts.take(kept), counts.take(np.asarray(y, dtype=np.float64))
        with one_blas_thread():
            # A power of two, so that squares of huge targets stay finite.
            unit = float(
                np.exp2(np.round(np.log2(np.abs(target).max(initial=0.0) or 1)))
            )
            support = self._select(rows, target / unit, counts.weight, splits)
        with np.errstate(over="ignore"):
            self.candidates_["score"] *= np.float64(unit) ** 2
        # Warnings about strengths name parameters that are not those of this estimator.
        silent = replace(resampling, told_of_edges=False)
        model._fit(kept[:, support], y, sample_weight, given, lambda *_: silent)
        self.estimator_ = model
        self.coef_ = np.zeros(X.shape[1], dtype=X.dtype)
        self.coef_[support] = model.coef_
        self.intercept_ = model.intercept_
        self.support_ = np.isin(np.arange(X.shape[1]), support)
        self.n_features_ = len(support)

    def _ridge(self, n_rows: float) -> BilevelRidgeCV:
        """The model of the chosen features; of few rows with one strength for all."""
        return BilevelRidgeCV(
            fit_intercept=self.fit_intercept,
            feature_groups="shared" if n_rows < MIN_ROWS else None,
            cv=self.cv,
            random_state=self.random_state,
        )

    def _splits(self, resampling: Resampling, n: int) -> list[Pair]:
        """Pairs of training and held-out rows."""
        if resampling.criterion != "folds":
            raise ValueError(
                "cv=LeaveOneOut() would select features once for every row: give cv a "
                "number of folds."
            )
        if resampling.splits is not None:
            return resampling.splits
        draw = np.random.default_rng(seed_of(self.random_state))
        label = fold_labels(n, min(resampling.n_folds, n), draw)
        return leave_one_unit_out(np.arange(n), label)

    def _select(self, X: Any, y: Array, weight: Array, splits: list[Pair]) -> Array:
        """Places of the chosen features; sets what is told of the choice."""
        n, p = float(weight.sum()), X.shape[1]
        wanted = self.n_features_to_select
        if wanted is not None and wanted > p:
            warn_user(
                f"n_features_to_select={wanted} is more than the {p} features of X: "
                "all of them are taken.",
                DataWarning,
            )
        sizes = sizes_for(n, p) if wanted is None else [min(int(wanted), p)]
        methods = METHODS if self.method == "auto" else (self.method,)
        alpha = None if self.alpha == "auto" else float(self.alpha)
        # There is one way to take all features.
        methods = methods[:1] if sizes == [p] else methods
        search = Selection(methods, sizes, alpha, self.tol, self.max_iter)
        method, size, self.candidates_ = search.choose(
            X, y, weight, splits, self.fit_intercept
        )
        rows = ScaledRows.of(X, y, weight, self.fit_intercept)
        last = replace(search, methods=(method,), sizes=[size])
        _, _, support, end = next(last.supports(rows.moments))
        if end is not None and end.status is RatioStatus.MAX_ITER:
            warn_user(
                f"PCD stopped after max_iter={self.max_iter} steps, where one more "
                f"would lower the ratio by a share of {end.gap:.1e}: increase max_iter "
                "or tol.",
                ConvergenceWarning,
            )
        self.method_ = method
        self.objective_ = np.nan if end is None else end.value
        self.n_iter_ = 1 if end is None else max(1, end.n_iter)
        return support

    def _get_support_mask(self) -> Array:
        check_is_fitted(self)
        return self.support_

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
            Predictions.
        """
        return linear_predictor(self, X)
