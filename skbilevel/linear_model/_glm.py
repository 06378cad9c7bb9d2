"""What the estimators of counts and amounts share: log link, offset, deviances, D2."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from skbilevel._array_api import by_rows, given_on_host, on_host
from skbilevel._sklearn_compat import _fit_context, _routing_enabled
from skbilevel._typing import Array
from skbilevel.linear_model._base import (
    BilevelGeneralizedLinearModel,
    check_weight,
    linear_predictor,
)
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import GLMTarget, prepare_glm
from skbilevel.linear_model._first_look import warn_of_constant
from skbilevel.linear_model._lazily import lazily, loaded
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._routing import refuse_score_params
from skbilevel.linear_model._scoring import nested_score, user_score
from skbilevel.linear_model._uncertainty import beside
from skbilevel.problems import GammaLoss, Loss, PoissonLoss, TweedieLoss

if TYPE_CHECKING:
    from skbilevel.model_selection._block_glm import AllRows, RowPart

# No exposures are that many powers of e apart.
_LARGEST_SPAN = 100.0


def half_deviance(power: float) -> Loss:
    """The loss for a variance that is this power of the mean."""
    if power == 1.0:
        return PoissonLoss()
    return GammaLoss() if power == 2.0 else TweedieLoss(power)


def check_targets(y: Array, power: float) -> None:
    """Raise where a target is impossible."""
    smallest = float(y.min())
    if smallest < 0.0:
        raise ValueError(
            f"y holds negative values, the smallest is {smallest:g}; the loss is for "
            "counts and amounts, which cannot be negative."
        )
    if power >= 2.0 and smallest == 0.0:
        raise ValueError(
            f"y holds {np.count_nonzero(y == 0.0)} zeros, and the Gamma deviance is "
            "for positive amounts only; BilevelTweedieCV takes zeros."
        )


def best_level(power: float, y: Array, weight: Array, offset: Array | None) -> float:
    """Where the derivative along a common shift is zero; a ratio of two sums.

    It is minus infinity where all targets are zero.
    """
    offset = np.zeros(len(y)) if offset is None else offset
    largest = offset.max()
    above = weight @ (y * np.exp((1.0 - power) * (offset - largest)))
    below = weight @ np.exp((2.0 - power) * (offset - largest))
    with np.errstate(divide="ignore"):
        return float(np.log(above / below) - largest)


def explained_deviance(
    power: float, y: Array, eta: Array, weight: Array, offset: Array | None
) -> float:
    """Share of the deviance that is explained."""
    seen = weight > 0
    y, eta, weight = y[seen], eta[seen], weight[seen]
    offset = None if offset is None else offset[seen]
    loss, level = half_deviance(power), best_level(power, y, weight, offset)
    null = np.full(len(y), level) if offset is None else level + offset
    explained = weight @ loss.value(eta, y) / weight.sum()
    total = 0.0
    if np.isfinite(level):
        total = weight @ loss.value(null, y) / weight.sum()
    # As R2 of a constant target: there is nothing to explain but rounding, whose unit
    # is that of the deviance.
    mean = float(weight @ y / weight.sum())
    unit = mean ** (2.0 - power) if mean > 0 else 1.0
    if total <= 1e-13 * unit:
        return float(explained <= 1e-10 * unit)
    return float(1.0 - explained / total)


class BilevelLogLinearModel(RegressorMixin, BilevelGeneralizedLinearModel):
    """Common part of the estimators with a log link; see the subclasses.

    Parameters
    ----------
    cv : None, int, "loo", "reml", splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled 5-fold, twice
        below 1000 rows; another splitter is used once, and again with another seed
        if it takes one; "loo" is as None, but for one shared strength, which it
        chooses alone. Otherwise it is the criterion itself: folds, a hold-out where
        there is one split, or, for "loo", approximate leave-one-out by one Newton
        step from the full fit. "reml" is the restricted likelihood, without the guard.
    scoring : str, callable or None, default=None
        Reporting only: `score` and ``best_score_`` use it. What is optimized is
        always the deviance.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients; exactly 0 for removed features. float32 where X is.
    intercept_ : float
        Intercept.
    dispersion_ : float
        Variance of a target of weight one over the power of its mean that the family
        has: Pearson's statistic over the sum of the weights less the effective degrees
        of freedom. Not set where the fit is too large (see `contrast_std`).
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean half deviance. It is optimistic by the choice among the candidates.
    """

    intercept_: float
    dispersion_: float
    _dispersion_name = "dispersion_"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def _power(self) -> float:
        """Power of the mean that the variance is."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        offset: Any = None,
        **params: Any,
    ) -> Self:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,)
            Targets; which values they can have depends on the loss. None where X is a
            `RowBlocks`, which holds them.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, for rates the exposure. An integer weight counts as
            that many rows, a weight of zero as none. Of weights whose mean is below one
            only ratios matter.
        offset : array-like of shape (n_samples,), default=None
            Added to the linear predictions, for counts the logarithm of the exposure.
        **params : ...

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ...
        """
        self._fit(X, y, sample_weight, params, self._resampling, offset=offset)
        return self

    def _fit_copy(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        params: dict[str, Any],
        resample: Any,
        offset: Any = None,
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight, "offset": offset})
        X, y = self._validate(X, y, y_numeric=True)
        y = np.asarray(y, dtype=np.float64)
        counts = RowCounts.of(check_weight(sample_weight, X))
        check_targets(counts.take(y), self._power())
        offset = check_offset(offset, X.shape[0])
        counted = counts.take(y)
        if offset is None or not counted.any():
            warn_of_constant(counted)
        if offset is not None and _routing_enabled():
            params["offset"] = offset  # for a scorer or a splitter that asks for it
        resampling = resample(X, y, sample_weight, params).among(counts)
        target = self._target(counts.take(y), counts.weight, counts.take(offset))
        free, groups = self._strength_columns(X, resampling)
        columns = (free, self.fit_intercept, groups is not None)
        data = prepare_glm(counts.take(X), target, counts, True, *columns)
        fit = self._followed(*given, partial(self._attributes, X.dtype))
        part = self._fit_part(data, groups, resampling, fit.parts[0])
        more = (sample_weight, params, offset)
        score = partial(nested_score, self, X, y, [part], *more)
        return self._conclude(fit, [part], score)

    def _check_part(self, part: RowPart) -> None:
        check_targets(np.array([part.low]), self._power())

    def _all_rows(self, part: RowPart) -> AllRows:
        from skbilevel.model_selection._block_glm import AllRows

        return AllRows(half_deviance(self._power()), mean_loss=True)

    def _attributes(self, dtype: Any, parts: list[Published]) -> dict[str, Any]:
        return {
            "coef_": parts[0].coef[0].astype(dtype),
            "intercept_": dtype.type(parts[0].intercept[0]),
            **self._search_attributes(parts),
        }

    def _target(self, y: Array, weight: Array, offset: Array | None) -> GLMTarget:
        """Targets whose linear predictions are counted from the best constant."""
        power, level = self._power(), 0.0
        loss = half_deviance(power)
        if offset is not None and np.ptp(offset) > _LARGEST_SPAN:
            raise ValueError(
                f"offset spans {np.ptp(offset):g}, and means differ by a "
                "factor of exp of that; give the logarithm of the exposure."
            )
        if self.fit_intercept:
            level = best_level(power, y, weight, offset)
            level = level if np.isfinite(level) else 0.0
            # Searches start at zero, which is then a model without features.
            offset = np.full(len(y), level) if offset is None else offset + level
        shifts = None if offset is None else offset[:, None]
        return GLMTarget(y[:, None], loss, loss, shifts, level=level)

    @overload
    def predict(
        self, X: Any, offset: Any = None, return_std: Literal[False] = False
    ) -> Array: ...

    @overload
    def predict(
        self, X: Any, offset: Any = None, *, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...

    @lazily
    def predict(
        self, X: Any, offset: Any = None, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict means, ``exp(offset + X coef + intercept)``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        offset : array-like of shape (n_samples,), default=None
            Added to the linear predictions.
        return_std : bool, default=False
            Whether the standard deviations of the predictions are returned, too.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions, in the dtype of the coefficients where X has it too.
        y_std : ndarray of shape (n_samples,)
            Standard deviations of a new row of weight one around them,
            ``sqrt(dispersion_ * y^power + y^2 * s^2)`` with the power of the variance
            function (1 for counts, 2 for amounts) and the standard deviation s of the
            logarithm of the mean; see `contrast_std`. Only with ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is asked of a fit that was too large to keep the
            covariance.
        """
        mean = by_rows(self._response, self._linear_predictor(X, offset))
        if not return_std:
            return mean
        here = np.asarray(on_host(mean), dtype=np.float64)
        unknown = here**2 * self._variances(X, 1.0)[:, 0]
        std = np.sqrt(self.dispersion_ * here ** self._power() + unknown)
        return mean, beside(std, X)

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        offset: Any = None,
        **params: Any,
    ) -> float:
        """Score predictions: D2, or ``scoring`` where it was given.

        D2 is the fraction of the deviance explained, 1 for perfect predictions and 0
        for the best constant (times ``exp(offset)``).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.
        offset : array-like of shape (n_samples,), default=None
            Added to the linear predictions.
        **params : dict
            Metadata for the scorer, under metadata routing.

        Returns
        -------
        score : float
            Greater is better.
        """
        refuse_score_params(self, params)
        if self.scoring is not None:
            model = self if offset is None else self._at_offset(offset)
            if offset is not None and _routing_enabled():
                params["offset"] = offset
            return user_score(self, model, X, y, sample_weight, params)
        made = self._linear_predictor(X, offset)
        made, y, sample_weight, offset = loaded(made, y, sample_weight, offset)
        eta = np.asarray(on_host(made), dtype=np.float64)
        y = given_on_host(y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.shape != eta.shape:
            raise ValueError(f"y has shape {y.shape}, but X has {len(eta)} rows.")
        check_targets(y, self._power())
        weight = np.ones(len(y))
        if sample_weight is not None:
            weight = check_weight(sample_weight, eta)
        offset = check_offset(offset, len(y))
        return explained_deviance(self._power(), y, eta, weight, offset)

    @lazily
    def _linear_predictor(self, X: Any, offset: Any) -> Array:
        eta = linear_predictor(self, X)
        if offset is None:
            return eta
        offset = check_offset(offset, eta.shape[0])
        return by_rows(lambda eta: eta + offset.astype(eta.dtype), eta)

    def _response(self, eta: Array) -> Array:
        # The largest number in place of overflow.
        limit = np.log(np.finfo(eta.dtype).max) - 1.0
        return np.exp(np.minimum(eta, eta.dtype.type(limit)))

    def _at_offset(self, offset: Any) -> Self:
        """A copy that adds given offsets, for scorers, which know of none."""
        model = copy.copy(self)
        model.predict = partial(self.predict, offset=offset)  # type: ignore[method-assign, assignment]
        return model


def check_offset(offset: Any, n_rows: int) -> Array | None:
    """Offsets as finite numbers, one per row."""
    if offset is None:
        return None
    offset = check_array(
        given_on_host(offset),
        ensure_2d=False,
        dtype=np.float64,
        input_name="offset",
        copy=False,
    )
    if offset.shape != (n_rows,):
        raise ValueError(f"offset has shape {offset.shape}, but X has {n_rows} rows.")
    return np.asarray(offset)
