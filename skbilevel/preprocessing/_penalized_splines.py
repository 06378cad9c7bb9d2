"""PenalizedSplines: columns whose ridge penalty is the roughness of a curve."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import need_rows_in_memory
from skbilevel._sklearn_compat import (
    Interval,
    StrOptions,
    _check_feature_names_in,
    _fit_context,
)
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.preprocessing._smooth_term import WIGGLY, SmoothTerm, TermOptions


class SplineColumns(Versioned, TransformerMixin, BaseEstimator):
    """What transformers that make splines share; a subclass learns its terms.

    A term has ``places`` of the columns that it is made of, ``parts`` that say what its
    own columns are, and ``columns`` that makes them of the rows of X.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_knots": [Interval(Integral, 2, None, closed="left")],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "penalty_order": [Interval(Integral, 1, 3, closed="both")],
        "knots": [StrOptions({"quantile", "uniform"})],
        "extrapolation": [StrOptions({"linear", "constant"})],
    }

    _least_features = 1
    _terms: list[Any]

    def _learn(self, X: Array, options: TermOptions) -> list[Any]:
        """The terms of checked rows."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Choose knots, and learn the columns of every term.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers; NaN only with ``missing="indicator"``.
        y : None
            Not used.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If ``penalty_order`` is above ``degree``, or ``degree`` not below
            ``n_knots`` where there is a ``period``.
        """
        options = TermOptions.of(self)
        self._terms = self._learn(self._checked(X, reset=True), options)
        self.parts_ = np.concatenate([term.parts for term in self._terms])
        return self

    def transform(self, X: Any) -> Array:
        """Make the columns of all terms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers; NaN only with ``missing="indicator"``. Where `fit` saw none of a
            column, a missing value counts as the mean of its curve.

        Returns
        -------
        columns : ndarray of shape (n_samples, n_features_out)
            Of float32 where X is, else of float64; the means of all but indicators
            over the rows of `fit` are 0.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        out = np.empty((len(X), len(self.parts_)), dtype=X.dtype)
        start = 0
        for term in self._terms:
            stop = start + len(term.parts)
            out[:, start:stop] = term.columns(X)
            start = stop
        return out

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns: ``age_linear``, ``age_wiggly0``, ``a:b_wiggly0``.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            Names of the columns of X; None takes those that `fit` saw.

        Returns
        -------
        names : ndarray of str objects of shape (n_features_out,)
            Of every column made.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        made = []
        for term in self._terms:
            start = ":".join(names[j] for j in term.places)
            counts: dict[str, int] = {}
            for part in term.parts:
                k = counts[part] = counts.get(part, -1) + 1
                number = k if part == WIGGLY or len(term.places) > 1 else ""
                made.append(f"{start}_{part.replace(' ', '_')}{number}")
        return np.array(made, dtype=object)

    @property
    def _takes_missing(self) -> bool:
        return getattr(self, "missing", "error") == "indicator"

    def _checked(self, X: Any, reset: bool) -> Array:
        need_rows_in_memory(self, X, "the basis is made by SciPy")
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2 if reset else 1,
            ensure_min_features=self._least_features if reset else 1,
            ensure_all_finite="allow-nan",
        )
        if not self._takes_missing and np.isnan(X).any():
            mark = "set missing='indicator', or " if hasattr(self, "missing") else ""
            raise ValueError(
                f"Input X of {type(self).__name__} contains NaN: {mark}put an imputer "
                "in front. In make_additive, smooth=PenalizedSplines("
                "missing='indicator') marks missing values of plain curves."
            )
        return X

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class PenalizedSplines(SplineColumns):
    r"""P-splines: columns become smooth curves whose roughness a ridge penalizes.

    A curve :math:`f = \sum_j a_j B_j` of B-splines is as smooth as the differences of
    neighbouring coefficients are small. Penalized regression splines minimize

    .. math:: \sum_i (y_i - f(x_i))^2 + \lambda \lVert D a \rVert^2

    with a matrix D of differences of order ``penalty_order``. The columns that this
    transformer makes are such that :math:`\lambda \lVert D a \rVert^2` is
    ``alpha * sum(coef ** 2)`` over the *wiggly* ones, where
    ``alpha = lambda * roughness_unit_``. So ridge regression, and every other model
    with a ridge penalty, fits penalized splines. What D leaves alone, a straight line
    for differences of second order, is a column of its own in front of these, the
    *linear* part. With a strength for each part a curve can become a line, or vanish.

    Columns of a term have mean 0 and are orthogonal to each other over the rows of
    `fit`. The linear column has variance 1, and the variances of the wiggly ones add up
    to 1: one strength for all terms is a sensible start.

    Parameters
    ----------
    n_knots : int, default=12
        Knots of each column, from its smallest to its largest value, at most as many as
        it has distinct values. Of a column with two values the linear part is left.
    degree : int, default=3
        Degree of the polynomials between knots.
    penalty_order : {1, 2, 3}, default=2
        Order of the differences, at most ``degree``. Order 1 pulls curves to constants
        and has no linear part, 2 pulls them to lines, 3 to parabolas (a *quadratic*
        column stands behind the linear one).
    knots : {"quantile", "uniform"}, default="quantile"
        Where the knots are: at quantiles of the distinct values, or equally far apart.
    period : float or None, default=None
        The period of all columns, 24 for hours of the day: the curve and its first
        ``degree - 1`` derivatives agree at the ends. Knots are uniform then, and there
        is no linear part.
    extrapolation : {"linear", "constant"}, default="linear"
        How curves go on beyond the values of `fit`. Periodic ones need none.
    missing : {"error", "indicator"}, default="error"
        What to do with NaN: refuse it, or set the term to its mean, 0, and add a column
        that is 1 where the value is missing, behind the columns of the term. There is
        one where `fit` has seen missing values.

    Attributes
    ----------
    parts_ : ndarray of str of shape (n_features_out,)
        What every column made is: "linear", "quadratic", "wiggly" or "missing".
    knots_ : list of ndarray
        Knots of every column.
    roughness_unit_ : ndarray of shape (n_features,)
        Strength of the wiggly columns that is a penalty of :math:`\lambda = 1`.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has any that are strings.

    See Also
    --------
    skbilevel.terms_of : Labels of the columns for ``feature_groups``.
    skbilevel.make_additive : A whole additive model in one line.

    Notes
    -----
    B-splines are those of :class:`sklearn.preprocessing.SplineTransformer`. On uniform
    knots D holds plain differences [1]_. On others it holds those that vanish for
    polynomials in x [2]_, with rows of the same length: roughness is measured by the
    distance of the knots nearby, so that a curve may bend more where rows are dense.
    The wiggly columns are the eigenvectors of roughness against variance (the basis of
    Demmler and Reinsch), the smoothest first. They are dense by nature: no column is
    zero at any value. Beside many categories put them into a `ColumnTransformer`, which
    returns a sparse matrix where that is smaller.

    References
    ----------
    .. [1] Eilers and Marx, Flexible smoothing with B-splines and penalties, Statistical
       Science 11 (1996), 89-121.
    .. [2] Li and Cao, General P-splines for non-uniform B-splines, arXiv:2201.06808.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbilevel.preprocessing import PenalizedSplines
    >>> x = np.linspace(0, 6, 100)[:, None]
    >>> curve = make_pipeline(PenalizedSplines(), Ridge(0.1)).fit(x, np.sin(x[:, 0]))
    >>> bool(abs(curve.predict(x) - np.sin(x[:, 0])).max() < 0.05)
    True
    >>> PenalizedSplines(n_knots=4).fit(x).get_feature_names_out()
    array(['x0_linear', 'x0_wiggly0', 'x0_wiggly1', 'x0_wiggly2', 'x0_wiggly3'],
          dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SplineColumns._parameter_constraints,
        "period": [Interval(Real, 0, None, closed="neither"), None],
        "missing": [StrOptions({"error", "indicator"})],
    }

    def __init__(
        self,
        n_knots: int = 12,
        *,
        degree: int = 3,
        penalty_order: int = 2,
        knots: str = "quantile",
        period: float | None = None,
        extrapolation: str = "linear",
        missing: str = "error",
    ) -> None:
        self.n_knots = n_knots
        self.degree = degree
        self.penalty_order = penalty_order
        self.knots = knots
        self.period = period
        self.extrapolation = extrapolation
        self.missing = missing

    def _learn(self, X: Array, options: TermOptions) -> list[SmoothTerm]:
        terms = [SmoothTerm.of(X, j, options) for j in range(X.shape[1])]
        self.knots_ = [term.knots for term in terms]
        self.roughness_unit_ = np.array([term.unit for term in terms])
        return terms
