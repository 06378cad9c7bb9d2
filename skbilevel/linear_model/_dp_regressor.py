"""What the private estimators of numbers have in common: bounds of the targets."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin

from skbilevel._records import record
from skbilevel._sklearn_compat import _fit_context
from skbilevel._typing import Array
from skbilevel.linear_model._dp_base import PrivateLinearModel, pair_of_bounds
from skbilevel.problems import SquaredLoss


@record
class TargetBox:
    """Bounds of the targets, and the units in which they are in [-1, 1]."""

    low: float
    high: float
    centre: float

    @classmethod
    def of(cls, bounds: Any, centred: bool) -> TargetBox:
        """From the parameter; without an intercept zero stays zero."""
        low, high = map(float, pair_of_bounds("target_bounds", bounds, None))
        return cls(low, high, (low + high) / 2.0 if centred else 0.0)

    @property
    def half(self) -> float:
        """What becomes one."""
        return max(self.high - self.centre, self.centre - self.low)

    def clip(self, y: Array) -> Array:
        """Targets inside of the bounds."""
        return np.clip(y, self.low, self.high)

    def units(self, y: Array) -> Array:
        """Clipped targets in units of the bounds."""
        return (self.clip(y) - self.centre) / self.half


class PrivateRegressor(RegressorMixin, PrivateLinearModel):
    """Squared loss of targets that are clipped to public bounds."""

    target_bounds: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrivateLinearModel._parameter_constraints,
        "target_bounds": [tuple, list],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # On a handful of rows noise is all there is to see.
        tags.regressor_tags.poor_score = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, **refused: Any) -> Self:
        """Fit the coefficients and write the ledger.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; a sparse X needs bounds that contain 0, and stays sparse.
        y : array-like of shape (n_samples,), default=None
            Targets.
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
        X, y = self._validate(X, y, refused, y_numeric=True)
        targets = TargetBox.of(self.target_bounds, self.fit_intercept)
        found, coef = self._fit_privately(
            X, targets.units(y), SquaredLoss(), targets.half, self._members()
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

    def _members(self) -> Array | None:
        """Labels of features, from 0 on, that share a strength; None without any."""
        return None
