"""Terms of several columns: coefficients that vary smoothly, and interactions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from skbilevel._sklearn_compat import Interval
from skbilevel._typing import Array
from skbilevel.preprocessing._penalized_splines import SplineColumns
from skbilevel.preprocessing._smooth_term import WIGGLY, SmoothTerm, TermOptions


@dataclass(frozen=True)
class Line:
    """A column of X as it is, divided by its size."""

    place: int
    size: float

    def columns(self, X: Array) -> Array:
        """The column (n, 1) of rows."""
        return X[:, self.place, None].astype(np.float64) / self.size


@dataclass(frozen=True)
class ProductTerm:
    """Products of the columns of two factors, minus their means.

    Parameters
    ----------
    first : SmoothTerm
        A factor.
    second : SmoothTerm or Line
        The other one.
    alone : bool
        Whether the columns of the second factor alone stand in front.
    parts : tuple of str
        What each column is.
    mean : ndarray of shape (k,)
        Means of the products over the rows of ``fit``.
    """

    first: SmoothTerm
    second: SmoothTerm | Line
    alone: bool
    parts: tuple[str, ...]
    mean: Array | float = 0.0

    @property
    def places(self) -> tuple[int, ...]:
        """The columns of X that it is made of."""
        return self.first.place, self.second.place

    def centred(self, X: Array) -> ProductTerm:
        """The term with the means over these rows."""
        return replace(self, mean=self.columns(X).mean(axis=0))

    def columns(self, X: Array) -> Array:
        """The columns (n, k) of rows."""
        left, right = self.first.columns(X), self.second.columns(X)
        if self.alone:
            left = np.hstack([np.ones((len(X), 1)), left])
        made = (left[:, :, None] * right[:, None, :]).reshape(len(X), -1)
        return np.asarray(made - self.mean)


class VaryingCoefficients(SplineColumns):
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
        **SplineColumns._parameter_constraints,
        "period": [Interval(Real, 0, None, closed="neither"), None],
    }
    _least_features = 2

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

    def _learn(self, X: Array, options: TermOptions) -> list[ProductTerm]:
        curve = SmoothTerm.of(X, 0, options)
        sizes = np.sqrt(np.mean(X.astype(np.float64) ** 2, axis=0))
        lines = [Line(j, float(sizes[j]) or 1.0) for j in range(1, X.shape[1])]
        parts = ("constant", *curve.parts)
        return [ProductTerm(curve, each, True, parts).centred(X) for each in lines]


class TensorSplines(SplineColumns):
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

    _least_features = 2

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

    def _learn(self, X: Array, options: TermOptions) -> list[ProductTerm]:
        curves = [SmoothTerm.of(X, j, options) for j in range(X.shape[1])]
        return [
            ProductTerm(
                a, b, False, tuple(_part(p, q) for p in a.parts for q in b.parts)
            ).centred(X)
            for a, b in combinations(curves, 2)
        ]


def _part(first: str, second: str) -> str:
    """What a product of two parts is."""
    if first == WIGGLY:
        return WIGGLY if second == WIGGLY else f"{WIGGLY} first"
    return f"{WIGGLY} second" if second == WIGGLY else "linear"
