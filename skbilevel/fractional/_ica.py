"""FractionalICA: directions with heavy tails, by minimizing a ratio."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import need_rows_in_memory
from skbilevel._mistakes import ExplainedParameters
from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel._warn import warn_user
from skbilevel.linear_model._base import seed_of
from skbilevel.problems import FourthPowers, SquaredNorm
from skbilevel.solvers import RatioStatus, minimize_ratio

# Variances below this share of the largest are rounding.
_RANK = 1e-12


class FractionalICA(
    Versioned,
    ExplainedParameters,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Independent components with heavy tails, one after the other.

    Of whitened rows ``Z`` it looks for the directions that minimize ::

        |x|^2 / |Z x|_4^2

    which are those of the largest kurtosis, each orthogonal to the earlier ones. **Take
    scikit-learn's FastICA to separate sources.** This class repeats an experiment of
    the literature; see the notes for figures.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components; None takes as many as X has rank.
    solver : {"power", "fcd"}, default="power"
        "power" repeats ``x <- Z^T (Z x)^3``; "fcd" is fractional coordinate descent,
        whose steps are global along single coordinates.
    n_starts : int, default=20
        Random starts of every component; the best end is taken. "fcd" depends less on
        its start, so few are enough.
    tol : float, default=1e-8
        Share of the ratio below which a fall ends a search.
    max_iter : int, default=500
        Largest number of steps of "power", or of sweeps of "fcd".
    random_state : int, RandomState or None, default=None
        Seeds the starts. None is a fixed seed: fits are deterministic.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        From centred X to components of variance one.
    mixing_ : ndarray of shape (n_features, n_components)
        The way back.
    mean_ : ndarray of shape (n_features,)
        Means of the features.
    kurtosis_ : ndarray of shape (n_components,)
        Mean fourth power of the components; 3 is that of normal numbers.
    n_iter_ : int
        Steps or sweeps of the longest search.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn.decomposition.FastICA : For separating sources.
    skbilevel.solvers.minimize_ratio : For ratios of your own.

    Notes
    -----
    Sources whose tails are lighter than normal ones, uniform ones for instance, are not
    found. The Amari distance to the true sources and the time of FastICA are as good or
    better; `the page of the paper <papers/fractional.html>`_ has the figures.

    References
    ----------
    G. Yuan, "Coordinate descent methods for fractional minimization", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import FractionalICA
    >>> rng = np.random.default_rng(0)
    >>> sources = rng.laplace(size=(500, 2))
    >>> X = sources @ np.array([[1.0, 0.5], [0.3, 1.0]])
    >>> found = FractionalICA().fit_transform(X)
    >>> np.abs(np.corrcoef(found.T, sources.T)[:2, 2:]).max(axis=0).round(1)
    array([1., 1.])
    """

    _doc_link_module = "skbilevel"
    components_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions({"power", "fcd"})],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        solver: str = "power",
        n_starts: int = 20,
        tol: float = 1e-8,
        max_iter: int = 500,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> FractionalICA:
        """Find the components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        self : FractionalICA
            The fitted estimator.

        Raises
        ------
        ValueError
            If X is constant, or has a smaller rank than ``n_components``.
        """
        need_rows_in_memory(self, X, "its searches on the sphere are NumPy's")
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        mean = X.mean(axis=0, dtype=np.float64)
        U, size, V = np.linalg.svd(X - mean, full_matrices=False)
        rank = int((size > np.sqrt(_RANK) * size.max(initial=0.0)).sum())
        count = rank if self.n_components is None else int(self.n_components)
        if not 0 < count <= rank:
            raise ValueError(
                f"n_components={self.n_components}, but X has rank {rank} after its "
                "means are taken away: ask for no more components."
            )
        root = np.sqrt(len(X))
        Z, size = U[:, :rank] * root, size[:rank] / root
        with one_blas_thread():
            turn, self.n_iter_ = self._turn(Z, count)
        self.mean_ = mean.astype(X.dtype)
        self.components_ = (turn.T @ (V[:rank] / size[:, None])).astype(X.dtype)
        self.mixing_ = ((V[:rank].T * size) @ turn).astype(X.dtype)
        self.kurtosis_ = ((Z @ turn) ** 4).mean(axis=0)
        return self

    def _turn(self, Z: Array, count: int) -> tuple[Array, int]:
        """Orthonormal directions (r, count), and the longest search."""
        draw, rank = np.random.default_rng(seed_of(self.random_state)), Z.shape[1]
        free, found, longest, done = np.eye(rank), [], 1, True
        for _ in range(count):
            G, best = Z @ free, (np.inf, np.zeros(0))
            for x0 in draw.standard_normal((self.n_starts, G.shape[1])):
                value, x, n_iter, ended = self._search(G, x0)
                longest, done = max(longest, n_iter), done and ended
                best = min(best, (value, x), key=lambda end: end[0])
            direction = best[1] / np.linalg.norm(best[1])
            found.append(free @ direction)
            # What is orthogonal to it, as columns of a reflection.
            free = free @ np.linalg.qr(direction[:, None], mode="complete")[0][:, 1:]
        if not done:
            warn_user(
                f"A search for a component stopped after max_iter={self.max_iter} "
                "iterations; increase max_iter or tol.",
                ConvergenceWarning,
            )
        return np.array(found).T, longest

    def _search(self, G: Array, x: Array) -> tuple[float, Array, int, bool]:
        """Value, place, iterations, and whether the search came to its end."""
        if self.solver == "fcd" and len(x) > 1:
            end = minimize_ratio(
                SquaredNorm(), FourthPowers(G), x, tol=self.tol, max_iter=self.max_iter
            )
            n_iter = max(1, len(end.history) - 1)
            return end.value, end.x, n_iter, end.status is not RatioStatus.MAX_ITER
        return power(G, x, self.tol, self.max_iter)

    def transform(self, X: Any) -> Array:
        """Return the components of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Components, of variance one in the rows of fit.
        """
        check_is_fitted(self)
        need_rows_in_memory(self, X, "its components are")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return np.asarray((X - self.mean_) @ self.components_.T)

    def inverse_transform(self, X: Any) -> Array:
        """Return the rows of components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Components.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows; the parts that no component has are missing.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        return np.asarray(X @ self.mixing_.T + self.mean_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


def power(
    G: Any, x: Array, tol: float, max_iter: int
) -> tuple[float, Array, int, bool]:
    """``x <- G^T (G x)^3``, which never raises ``|x|^2 / |G x|_4^2``."""
    value = np.inf
    for n_iter in range(1, max_iter + 1):
        x = x / np.linalg.norm(x)
        b = G @ x
        before, value = value, 1.0 / float(np.sqrt((b**4).sum()))
        if before - value <= tol * value:
            return value, x, n_iter, True
        x = np.asarray(G.T @ b**3)
    return value, x / np.linalg.norm(x), max_iter, False
