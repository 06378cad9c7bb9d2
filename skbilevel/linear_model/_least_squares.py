"""Regressors with a squared loss: one door, whatever their penalty."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from skbilevel._sklearn_compat import _fit_context
from skbilevel._threads import map_threads, n_threads
from skbilevel.blocks import RowBlocks
from skbilevel.linear_model._base import BilevelLinearModel, check_weight, seed_of
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared, prepare
from skbilevel.linear_model._first_look import warn_of_constant
from skbilevel.linear_model._following import FollowedFit, FollowedPart
from skbilevel.linear_model._parts_apart import can_go_apart, fit_apart
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._scoring import ScoringMixin, nested_score


class BilevelRegressor(ScoringMixin, RegressorMixin, BilevelLinearModel):
    """Linear regression by least squares with tuned strengths; see the subclasses."""

    # Whether y may have several columns, and whether a strength that uneven columns
    # share refers to scaled ones.
    _multi_output = False
    _scales = True

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any
    ) -> Self:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; None where X is a `RowBlocks`, which holds them.
        sample_weight : ...
        **params : ...

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ...
        """
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any], resample: Any
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, multi_output=self._multi_output, y_numeric=True)
        counts = RowCounts.of(check_weight(sample_weight, X))
        Y = counts.take(np.asarray(y, dtype=np.float64).reshape(len(y), -1))
        warn_of_constant(Y)
        resampling = resample(X, y, sample_weight, params).among(counts)
        columns = self._searches(Y.shape[1])
        attributes = partial(self._attributes, X.dtype, y.ndim == 1)
        fit = self._followed(*given, attributes, len(columns))
        free, groups = self._strength_columns(X, resampling)
        own = (free, self.fit_intercept, groups is not None or not self._scales)
        taken = counts.take(X)

        def make(c: slice) -> Prepared:
            return self._penalized(prepare(taken, Y[:, c], counts, *own))

        parts = None
        if len(columns) > 1 and can_go_apart(self, resampling, X):
            parts = fit_apart(self, taken, Y, (counts, own, groups, resampling))
        if parts is None:
            parts = self._fit_parts(make, groups, resampling, columns, fit)
        score = partial(nested_score, self, X, y, parts, sample_weight, params)
        return self._conclude(fit, parts, score)

    def _searches(self, n_targets: int) -> list[slice]:
        """Targets of every search; one search for all of them by default."""
        return [slice(None)]

    def _penalized(self, data: Prepared) -> Prepared:
        """The rows, with what the penalty has to know of them."""
        return data

    def _fit_parts(
        self,
        make: Callable[[slice], Prepared],
        groups: Groups | None,
        resampling: Resampling,
        columns: list[slice],
        fit: FollowedFit,
    ) -> list[Published]:
        """One set of strengths per part of the targets, in parallel."""

        def fit_targets(columns: slice, part: FollowedPart) -> Published:
            return self._fit_part(make(columns), groups, resampling, part)

        tasks = [*zip(columns, fit.parts, strict=True)]
        if len(columns) > 1 and n_threads(self.n_jobs) > 1:
            try:
                return map_threads(fit_targets, tasks, self.n_jobs)
            except KeyboardInterrupt as stop:
                fit.interrupted(stop)
        known = [part.published() for part in fit.parts]
        return [
            fit_targets(*task) if part is None else part
            for task, part in zip(tasks, known, strict=True)
        ]

    def _fit_blocks(self, blocks: RowBlocks) -> list[Published]:
        # Loaded for blocks alone.
        from skbilevel.linear_model._block_data import TargetCode
        from skbilevel.linear_model._block_fit import (
            BlockReader,
            check_numbers,
            check_parameters,
        )

        criterion = check_parameters(self)
        reader = BlockReader(self, blocks, seed_of(self.random_state))
        look = reader.look()
        check_numbers(look)
        y_origin = look.y_mean * float(self.fit_intercept)
        targets = np.arange(look.n_targets)
        columns = self._searches(look.n_targets)
        attributes = partial(self._attributes, look.dtype, look.flat)
        fit = self._followed(blocks, None, {}, attributes, len(columns))
        read = reader.read(look, "numbers", y_origin, fit)
        warn_of_constant(np.stack([read.sums.low, read.sums.high]))
        resampling = read.resampling(criterion)
        free, groups = self._strength_columns(look.columns, resampling)

        def make(c: slice) -> Prepared:
            code = TargetCode(targets[c], y_origin)
            data = read.prepared(code, free, groups is not None or not self._scales)
            return self._penalized(data)

        parts = self._fit_parts(make, groups, resampling, columns, fit)
        return self._conclude(fit, parts, lambda: np.nan)

    def _attributes(
        self, dtype: Any, flat: bool, parts: list[Published]
    ) -> dict[str, Any]:
        coef = np.concatenate([part.coef for part in parts])
        intercept: Any = np.concatenate([part.intercept for part in parts])
        if not self.fit_intercept:
            intercept = 0.0
        else:
            intercept = dtype.type(intercept[0]) if flat else intercept.astype(dtype)
        return {
            "coef_": (coef[0] if flat else coef).astype(dtype),
            "intercept_": intercept,
            **self._search_attributes(parts),
        }
