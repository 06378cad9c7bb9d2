"""Terms of several columns: coefficients that vary smoothly, and interactions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skbilevel._sklearn_compat import (
    Interval,
    _check_feature_names_in,
    _fit_context,
)
from skbilevel._typing import Array
from skbilevel.preprocessing._penalized_splines import SplineColumns
from skbilevel.preprocessing._smooth_term import WIGGLY, SmoothTerm, TermOptions


@dataclass(frozen=True)
class ProductTerm:
    """Columns that are products of the columns of two factors.

    Parameters
    ----------
    places : tuple of int
        The two columns of X.
    parts : tuple of str
        What each column is.
    mean : ndarray of shape (k,)
        Means of the products over the rows of ``fit``.
    """

    places: tuple[int, int]
    parts: tuple[str, ...]
    mean: Array


class SplineProducts(SplineColumns):
    """What both transformers share; a subclass says which columns are multiplied."""

    _least_features = 2
    _terms: list[ProductTerm]
    n_features_in_: int

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Any:
        """Choose knots, and learn the columns of every term.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, in two columns at least.
        y : None
            Not used.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If ``penalty_order`` is above ``degree``, or a ``period`` has too few knots.
        """
        X = self._checked(X, reset=True)
        self._learn(X)
        self._terms = []
        for places in self._pairs():
            made, parts = self._product(X, places)
            self._terms.append(ProductTerm(places, parts, made.mean(axis=0)))
        self.parts_ = np.concatenate([term.parts for term in self._terms])
        return self

    def transform(self, X: Any) -> Array:
        """Make the columns of all terms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers.

        Returns
        -------
        columns : ndarray of shape (n_samples, n_features_out)
            Of float32 where X is, else of float64; their means over the rows of
            `fit` are 0.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        made = [self._product(X, each.places)[0] - each.mean for each in self._terms]
        return np.concatenate(made, axis=1).astype(X.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns: ``hour:temperature_wiggly0``.

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
            first, second = (names[j] for j in term.places)
            counts: dict[str, int] = {}
            for part in term.parts:
                k = counts[part] = counts.get(part, -1) + 1
                made.append(f"{first}:{second}_{part.replace(' ', '_')}{k}")
        return np.array(made, dtype=object)

    def _learn(self, X: Array) -> None:
        """Learn the curves of single columns."""
        raise NotImplementedError

    def _pairs(self) -> list[tuple[int, int]]:
        """Which columns are multiplied."""
        raise NotImplementedError

    def _product(
        self, X: Array, places: tuple[int, int]
    ) -> tuple[Array, tuple[str, ...]]:
        """Columns of a pair, not yet centred, and what they are."""
        raise NotImplementedError


class VaryingCoefficients(SplineProducts):
    r"""Coefficients that vary smoothly: a curve of one column times each of the others.

    Of columns ``(x, z, ...)`` it makes the terms :math:`f(x)\, z` (Hastie and
    Tibshirani 1993): the effect of ``z`` depends on ``x``. The columns are z alone, the
    *constant* part of the coefficient, z times the *linear* column of
    `PenalizedSplines`, and z times its *wiggly* ones, whose ridge penalty is the
    roughness of f. So with strengths for each part a coefficient can become a line, a
    constant, or vanish. Each z is divided by its root mean square.

    Parameters
    ----------
    n_knots : int, default=8
        Knots of the first column, at most as many as it has distinct values.
    degree : int, default=3
        Degree of the polynomials between knots.
    penalty_order : {1, 2, 3}, default=2
        Order of the differences that are penalized.
    knots : {"quantile", "uniform"}, default="quantile"
        Where the knots are.
    period : float or None, default=None
        The period of the first column; the curve has no linear part then.
    extrapolation : {"linear", "constant"}, default="linear"
        How the coefficient goes on beyond the values of `fit`.

    Attributes
    ----------
    parts_ : ndarray of str of shape (n_features_out,)
        What every column made is: "constant", "linear", "quadratic" or "wiggly".
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has any that are strings.

    See Also
    --------
    TensorSplines : Interactions without a column that is linear.
    skbilevel.make_additive : Takes such terms by ``varying``.

    References
    ----------
    T. Hastie and R. Tibshirani, "Varying-coefficient models", Journal of the Royal
    Statistical Society B 55, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import BilevelRidgeCV
    >>> from skbilevel.preprocessing import VaryingCoefficients
    >>> rng = np.random.default_rng(0)
    >>> X = np.c_[rng.uniform(0, 6, 300), rng.standard_normal(300)]
    >>> y = np.sin(X[:, 0]) * X[:, 1] + 0.1 * rng.standard_normal(300)
    >>> varying = VaryingCoefficients().fit(X)
    >>> bool(BilevelRidgeCV().fit(varying.transform(X), y).score(
    ...     varying.transform(X), y) > 0.95)
    True
    >>> varying.get_feature_names_out()[:3]
    array(['x0:x1_constant0', 'x0:x1_linear0', 'x0:x1_wiggly0'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SplineProducts._parameter_constraints,
        "period": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        n_knots: int = 8,
        *,
        degree: int = 3,
        penalty_order: int = 2,
        knots: str = "quantile",
        period: float | None = None,
        extrapolation: str = "linear",
    ) -> None:
        self.n_knots = n_knots
        self.degree = degree
        self.penalty_order = penalty_order
        self.knots = knots
        self.period = period
        self.extrapolation = extrapolation

    def _learn(self, X: Array) -> None:
        self._curve = SmoothTerm.of(X[:, 0], TermOptions.of(self))
        square = np.sqrt(np.mean(X.astype(np.float64) ** 2, axis=0))
        self._size = np.where(square > 0.0, square, 1.0)

    def _pairs(self) -> list[tuple[int, int]]:
        return [(0, j) for j in range(1, self.n_features_in_)]

    def _product(
        self, X: Array, places: tuple[int, int]
    ) -> tuple[Array, tuple[str, ...]]:
        z = X[:, places[1], None] / self._size[places[1]]
        made = np.concatenate([z, z * self._curve.columns(X[:, 0])], axis=1)
        return made, ("constant", *self._curve.parts)


class TensorSplines(SplineProducts):
    r"""Smooth interactions of pairs of columns, without their main effects.

    Columns are products of those that `PenalizedSplines` makes of both columns of a
    pair. In these the variance and the roughness of each column are diagonal at once
    (the basis of Demmler and Reinsch), and so are those of the products: a surface
    :math:`\sum_{ab} c_{ab} f_a(x) g_b(z)` has the roughness :math:`\sum_{ab} c_{ab}^2
    d_a` along x. A penalty with two strengths, :math:`\lambda_x d_a + \lambda_z e_b`,
    is diagonal, too, but no multiple of one strength, which is what a ridge learns. So
    the surface is divided as in Wood, Scheipl and Faraway (2013): *linear* in both,
    *wiggly first* (a bend along x times a line along z), *wiggly second*, and *wiggly*
    in both, each with a ridge of its own. The bends along one column have two
    strengths, one for each direction; those along both have one, in units of
    :math:`d_a e_b`.

    The main effects are terms of their own: `PenalizedSplines` of the same columns.

    Parameters
    ----------
    n_knots : int, default=5
        Knots of each column, at most as many as it has distinct values. Six columns of
        each make 36 of a pair.
    degree : int, default=3
        Degree of the polynomials between knots.
    penalty_order : {1, 2, 3}, default=2
        Order of the differences that are penalized.
    knots : {"quantile", "uniform"}, default="quantile"
        Where the knots are.
    extrapolation : {"linear", "constant"}, default="constant"
        How curves go on beyond the values of `fit`: products of lines grow fast.

    Attributes
    ----------
    parts_ : ndarray of str of shape (n_features_out,)
        "linear", "wiggly first", "wiggly second" or "wiggly".
    n_features_in_ : int
        Number of features seen during `fit`; every pair of them is a term.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has any that are strings.

    See Also
    --------
    VaryingCoefficients : Interactions with a column that is linear.
    skbilevel.make_additive : Takes such terms by ``interactions``.

    References
    ----------
    S. N. Wood, F. Scheipl and J. J. Faraway, "Straightforward intermediate rank tensor
    product smoothing in mixed models", Statistics and Computing 23, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel.preprocessing import TensorSplines
    >>> X = np.random.default_rng(0).uniform(size=(100, 2))
    >>> tensor = TensorSplines(3).fit(X)
    >>> tensor.transform(X).shape
    (100, 16)
    >>> [str(part) for part in np.unique(tensor.parts_)]
    ['linear', 'wiggly', 'wiggly first', 'wiggly second']
    """

    def __init__(
        self,
        n_knots: int = 5,
        *,
        degree: int = 3,
        penalty_order: int = 2,
        knots: str = "quantile",
        extrapolation: str = "constant",
    ) -> None:
        self.n_knots = n_knots
        self.degree = degree
        self.penalty_order = penalty_order
        self.knots = knots
        self.extrapolation = extrapolation

    def _learn(self, X: Array) -> None:
        options = TermOptions.of(self)
        self._curves = [SmoothTerm.of(x, options) for x in X.T]

    def _pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.n_features_in_), 2))

    def _product(
        self, X: Array, places: tuple[int, int]
    ) -> tuple[Array, tuple[str, ...]]:
        first, second = (self._curves[j] for j in places)
        left, right = first.columns(X[:, places[0]]), second.columns(X[:, places[1]])
        made = (left[:, :, None] * right[:, None, :]).reshape(len(X), -1)
        parts = [_part(a, b) for a in first.parts for b in second.parts]
        return made, tuple(parts)


def _part(first: str, second: str) -> str:
    """What a product of two parts is."""
    if first == WIGGLY:
        return WIGGLY if second == WIGGLY else f"{WIGGLY} first"
    return f"{WIGGLY} second" if second == WIGGLY else "linear"
