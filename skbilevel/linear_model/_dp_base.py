"""The door of the private estimators: public bounds, a budget, one private fit."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, is_regressor
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import need_rows_in_memory
from skbilevel._mistakes import OF_MODELS, ExplainedParameters
from skbilevel._sklearn_compat import Interval, StrOptions, _fit_context
from skbilevel._sparse import canonical
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.linear_model._base import seed_of
from skbilevel.linear_model._parameters import InheritedEntries
from skbilevel.privacy import PrivacyLedger
from skbilevel.privacy._bounds import Box, shrunk
from skbilevel.privacy._fit import PrivateFit, PrivatePlan, private_fit
from skbilevel.privacy._ledger import Budget
from skbilevel.privacy._noise import randomness
from skbilevel.privacy._statement import statement, statement_html
from skbilevel.problems import SquaredLoss

_LARGEST_DELTA = 1e-6
_AGAIN = (
    "every further look at the rows costs privacy that no ledger of this fit would "
    "count; leave it out, and fit once"
)
_REFUSED = {
    "sample_weight": (
        "a weight multiplies what one row can change, and the noise is for rows that "
        "count once; leave it out, or repeat no row and weight none"
    ),
    "warm_start": _AGAIN,
    "partial_fit": _AGAIN,
    "class_weight": (
        "weights of classes multiply what one row can change; leave it out, and move "
        "the threshold of decision_function"
    ),
    "tol": "stopping early would depend on the rows; n_passes sets the steps",
    "max_iter": "n_passes sets the number of steps, which must not depend on the rows",
    "cv": "folds look at the rows again; alpha='auto' needs no second look",
    "C": "give alpha = 1 / C",
}


class PrivateLinearModel(
    InheritedEntries, Versioned, ExplainedParameters, BaseEstimator
):
    """Common door of the private estimators.

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
    fit_intercept : bool, default=True
        Whether there is an intercept. It is a constant column of the rows and costs no
        release of its own.
    n_passes : "auto" or int, default="auto"
        Number of steps or passes of ``solver``; what one of them is, and how many
        "auto" makes, is in the table of :doc:`/user_guide/publishing`. "moments" has
        none, and refuses a number. It must not be chosen by looking at results on these
        rows.
    clip : float, default=1.0
        What one row adds to a derivative is clipped at this multiple of the solver's
        own level, which is in the same table: less is less noise and more bias.
        "moments" has no derivatives, and refuses another value. It must not be chosen
        by looking at results on these rows.
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
    """

    _doc_link_module = "skbilevel"
    _elsewhere: ClassVar[dict[str, str]] = OF_MODELS | _REFUSED
    _unnamed: ClassVar[str] = "C"
    # Of the subclass.
    _loss: ClassVar[Any]
    # What solver="auto" stands for.
    _best: ClassVar[str] = "preconditioned"
    _l1: ClassVar[bool] = False

    n_features_in_: int
    feature_names_in_: Array
    coef_: Array
    intercept_: Any
    privacy_ledger_: PrivacyLedger
    privacy_statement_: str
    delta_: float
    _seeded: bool

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "epsilon": [Interval(Real, 0, None, closed="right")],
        "delta": [Interval(Real, 0, 1, closed="neither"), None],
        "feature_bounds": [tuple, list],
        "row_norm": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "scale": ["boolean"],
        "alpha": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
            "array-like",
        ],
        "fit_intercept": ["boolean"],
        "n_passes": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "clip": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def partial_fit(self) -> Any:
        """Refused, with the reason."""
        raise AttributeError(f"{type(self).__name__} has no partial_fit: {_AGAIN}.")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, **refused: Any) -> Self:
        """Fit the coefficients and write the ledger.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; a sparse X needs bounds that contain 0, and stays sparse.
        y : array-like of shape (n_samples,), default=None
            Targets: numbers, or labels, each of them one of ``classes``.
        **refused : dict
            ``sample_weight`` and other things that would break the guarantee; giving
            any raises with the reason.

        Returns
        -------
        self : object
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
        y, targets = self._in_units(y)
        box, half, n = self._checked_box(X), float(targets.half), int(X.shape[0])
        unit = self._unit(box, n, half)
        plan, norm = self._plan(n, unit), math.sqrt(self.n_features_in_)
        if not isinstance(self.row_norm, str):
            norm = min(norm, float(self.row_norm))
        with one_blas_thread():
            rows = shrunk(box.units(X), norm)
            found = private_fit(rows, y, norm, plan, randomness(self._seed()))
        coef, intercept = found.coef * half / box.half, 0.0
        if self.fit_intercept:
            level = targets.centre + half * found.intercept
            intercept = float(level - box.centre @ coef)
        self.coef_, self.intercept_ = coef, intercept
        self._publish(found, plan.budget.delta, unit)
        return self

    def _in_units(self, y: Array) -> tuple[Array, Box]:
        """Targets in the units of the loss, and the bounds that these come from."""
        raise NotImplementedError

    def _validate(self, X: Any, y: Any, refused: dict[str, Any]) -> Any:
        """Data as arrays; the only errors that depend on values are scikit-learn's."""
        for name in refused:
            reason = self._elsewhere.get(name, "it is not a parameter of fit")
            raise TypeError(f"fit() does not take {name}: {reason}.")
        need_rows_in_memory(self, X, "the bound that noise hides is one of its sums")
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            dtype=np.float64,
            y_numeric=is_regressor(self),
        )
        return sparse.csr_array(canonical(X)) if sparse.issparse(X) else X, y

    def _checked_box(self, X: Any) -> Box:
        """Bounds of the features.

        Where they contain zero, zero stays zero, so that sparse columns stay sparse.
        Without an intercept, which could make up for a shift, it stays everywhere.
        """
        low, high = pair_of_bounds(
            "feature_bounds", self.feature_bounds, self.n_features_in_
        )
        box = Box(low, high, self.fit_intercept & ((low > 0.0) | (high < 0.0)))
        if sparse.issparse(X) and not box.has_zero.all():
            raise ValueError(
                "feature_bounds must contain 0 where X is sparse: the middle of other "
                "bounds would take the place of zeros, and nothing would stay sparse."
            )
        return box

    def _budget(self, n_rows: int) -> Budget:
        """Epsilon and delta; the default of delta depends on the number of rows."""
        delta = self.delta
        if delta is None:
            delta = min(_LARGEST_DELTA, 1.0 / n_rows**2)
        elif delta >= 1.0 / n_rows:
            raise ValueError(
                f"delta={delta} must be below 1 / n_samples = {1.0 / n_rows:.3g}: at "
                "that size publishing one row at random would count as private."
            )
        return Budget(float(self.epsilon), float(delta))

    def _strengths(self, unit: Array) -> Any:
        """``alpha`` in units of the bounds and of a sum over rows."""
        if isinstance(self.alpha, str):
            return self.alpha
        alpha = np.asarray(self.alpha, dtype=float)
        if alpha.shape not in ((), (self.n_features_in_,)):
            raise ValueError(
                f"alpha has shape {alpha.shape}; give one number, or one for each of "
                f"{self.n_features_in_} features."
            )
        if not (np.isfinite(alpha) & (alpha >= 0.0)).all():
            raise ValueError("alpha must be finite and not negative.")
        return alpha * unit

    def _unit(self, box: Box, n_rows: int, target_half: float) -> Array:
        """What ``alpha`` is multiplied with in units of the bounds."""
        if self._l1:
            return n_rows / (box.half * target_half)
        return 1.0 / box.half**2

    def _chosen_solver(self) -> str:
        return self._best if self.solver == "auto" else self.solver

    def _check_steps(self, solver: str) -> None:
        """Second moments are released in one go: no step is counted or clipped."""
        given = {"n_passes": self.n_passes != "auto", "clip": self.clip != 1.0}
        for name, is_given in given.items():
            if is_given and solver == "moments":
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect with "
                    "solver='moments', which takes no steps: leave it out, or give "
                    "another solver."
                )

    def _check_accountant(self, solver: str) -> bool:
        """Whether the last iterate alone is counted."""
        if getattr(self, "accountant", "exact") == "exact":
            return False
        if solver != "dp-gd" or isinstance(self.alpha, str):
            raise ValueError(
                "accountant='last-iterate' holds for full-batch steps of fixed length "
                "on a strongly convex objective: set solver='dp-gd' and alpha to a "
                "positive number."
            )
        if not np.min(self.alpha) > 0.0:
            raise ValueError("accountant='last-iterate' needs a positive alpha.")
        return True

    def _plan(self, n_rows: int, unit: Array) -> PrivatePlan:
        """How the fit is done, by the parameters and the number of rows alone."""
        budget, solver = self._budget(n_rows), self._chosen_solver()
        self._check_steps(solver)
        return PrivatePlan(
            self._loss,
            budget,
            solver,
            n_passes=None if isinstance(self.n_passes, str) else int(self.n_passes),
            intercept=self.fit_intercept,
            scale=self.scale,
            last_only=self._check_accountant(solver),
            penalty=self._strengths(unit),
            l1=self._l1,
            members=self._members(),
            clip=float(self.clip),
        )

    def _members(self) -> Array | None:
        """Labels of features, from 0 on, that share a strength; None without any."""
        return None

    def _publish(self, found: PrivateFit, delta: float, unit: Array) -> None:
        self.alpha_ = found.penalty / unit
        self.privacy_ledger_ = found.ledger
        self.delta_ = delta
        self.epsilon_ = found.ledger.epsilon(delta)
        self.mu_ = found.ledger.mu
        self._seeded = self.random_state is not None
        self.privacy_statement_ = statement(found.ledger, delta, self._seeded)

    def _seed(self) -> int | None:
        if self.random_state is None:
            return None
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return seed_of(self.random_state)

    def _linear_predictor(self, X: Any) -> Array:
        """Linear predictions of rows that are clipped to the bounds of the features."""
        check_is_fitted(self, "coef_")
        need_rows_in_memory(self, X, "its coefficients are")
        X = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=np.float64, reset=False
        )
        X = self._checked_box(X).clip(X)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def _repr_html_(self) -> str:
        """The view of scikit-learn; once fitted, the guarantee below it."""
        html = str(estimator_html_repr(self))
        if hasattr(self, "privacy_ledger_"):
            html += statement_html(self.privacy_ledger_, self.delta_, self._seeded)
        return html

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """The same for notebooks."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


class PrivateRegressor(RegressorMixin, PrivateLinearModel):
    """Squared loss of targets that are clipped to public bounds."""

    _loss = SquaredLoss()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateLinearModel._parameter_constraints,
        "target_bounds": [tuple, list],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # On a handful of rows noise is all there is to see.
        tags.regressor_tags.poor_score = True
        return tags

    def _target_box(self) -> Box:
        """Bounds of the targets; without an intercept zero stays zero."""
        low, high = pair_of_bounds("target_bounds", self.target_bounds, None)
        return Box(low, high, self.fit_intercept)

    def _in_units(self, y: Array) -> tuple[Array, Box]:
        box = self._target_box()
        return box.units(y), box

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
        return np.asarray(self._target_box().clip(self._linear_predictor(X)))


def pair_of_bounds(name: str, bounds: Any, size: int | None) -> tuple[Array, Array]:
    """Lower and upper bounds of shape (size,), or () where ``size`` is None."""
    shape = () if size is None else (size,)
    try:
        low, high = (np.asarray(each, dtype=float) for each in bounds)
        low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
    except (TypeError, ValueError):
        what = "two numbers" if size is None else f"two numbers or arrays ({size},)"
        raise ValueError(f"{name} must be a pair (low, high) of {what}.") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"{name} must be finite.")
    if not (low < high).all():
        raise ValueError(f"{name} must have low < high.")
    return low, high
