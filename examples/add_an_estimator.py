"""A new estimator, robust regression, from the parts that the package's own have."""

from functools import partial
from numbers import Real
from typing import ClassVar

import numpy as np
from add_a_loss import PseudoHuberLoss, data
from sklearn.base import RegressorMixin
from sklearn.utils.estimator_checks import check_estimator

from skbilevel import BilevelRidgeCV
from skbilevel._sklearn_compat import Interval, _fit_context
from skbilevel.linear_model._base import (
    BilevelGeneralizedLinearModel,
    check_weight,
    linear_predictor,
)
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import GLMTarget, prepare_glm
from skbilevel.linear_model._scoring import nested_score


class BilevelPseudoHuberCV(RegressorMixin, BilevelGeneralizedLinearModel):
    """Robust linear regression with one tuned strength per feature.

    Parameters
    ----------
    delta : float, default=1.35
        Residuals beyond it, in units of the interquartile range of y, are outliers.
    hyperpenalty, cv, feature_groups :
        As for `BilevelRidgeCV`; an estimator of the package lists all parameters.
    """

    _parameter_constraints: ClassVar[dict] = {
        name: BilevelGeneralizedLinearModel._parameter_constraints[name]
        for name in ("hyperpenalty", "cv", "feature_groups")
    } | {"delta": [Interval(Real, 0, None, closed="neither")]}

    def __init__(
        self, *, delta=1.35, hyperpenalty="auto", cv=None, feature_groups=None
    ):
        super().__init__(
            hyperpenalty=hyperpenalty, cv=cv, feature_groups=feature_groups
        )
        self.delta = delta

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, **params):
        """Tune the strengths and fit the coefficients."""
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(self, X, y, sample_weight, params, resample):
        """Validate, prepare, tune, publish: the four moves of every door."""
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, y_numeric=True)
        y = np.asarray(y, dtype=np.float64)
        counts = RowCounts.of(check_weight(sample_weight, X))
        resampling = resample(X, y, sample_weight, params).among(counts)
        counted = counts.take(y)
        center, unit = scale_of(counted, counts.weight)
        loss = PseudoHuberLoss(self.delta * unit)
        # Searches start at zero, which is then the prediction of the median.
        offset = np.full((len(counted), 1), center)
        target = GLMTarget(counted[:, None], loss, loss, offset, level=center)
        free, groups = self._strength_columns(X, resampling)
        columns = (free, self.fit_intercept, groups is not None)
        data = prepare_glm(counts.take(X), target, counts, False, *columns)
        followed = self._followed(*given, partial(self._attributes, X.dtype))
        part = self._fit_part(data, groups, resampling, followed.parts[0])
        score = partial(nested_score, self, X, y, [part], sample_weight, params)
        return self._conclude(followed, [part], score)

    def _attributes(self, dtype, parts):
        """Fitted attributes from what a search has found, by now or at its end."""
        return {
            "coef_": parts[0].coef[0].astype(dtype),
            "intercept_": dtype.type(parts[0].intercept[0]),
            **self._search_attributes(parts),
        }

    def predict(self, X):
        """Predict targets."""
        return linear_predictor(self, X)


def scale_of(y, weight):
    """Weighted median and interquartile range; a weight counts as that many rows."""
    order = np.argsort(y, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    low, middle, high = y[order][np.searchsorted(share, (0.25, 0.5, 0.75))]
    return float(middle), float(high - low) or 1.0


def main():
    """Run scikit-learn's checks, and compare with ridge where targets are wild."""
    results = check_estimator(BilevelPseudoHuberCV(), on_fail=None, on_skip=None)
    failed = [each["check_name"] for each in results if each["status"] == "failed"]
    print(len(results), "checks, failed:", failed)
    X, y = data(300)
    truth = np.r_[2.0, -1.0, 0.5, np.zeros(5)]
    for model in (BilevelRidgeCV(), BilevelPseudoHuberCV()):
        error = abs(model.fit(X[:, 1:], y).coef_ - truth).max()
        print(f"{type(model).__name__:21} largest error of a coefficient {error:.2f}")


if __name__ == "__main__":
    main()
