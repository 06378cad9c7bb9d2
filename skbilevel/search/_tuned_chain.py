"""Transformers and a last step, tuned together."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from skbilevel._records import record
from skbilevel._sklearn_compat import _check_method_params, _num_samples, _safe_indexing
from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._cv import Resampling, read_resampling
from skbilevel.linear_model._publish import Published, PublishedFold
from skbilevel.search._chain import Chain, Heads, feature_names, last_params
from skbilevel.search._features import FittedFold, PipelineFeatures
from skbilevel.search._last_step import LastStep, check_classes
from skbilevel.search._metadata import Metadata
from skbilevel.search._penalized_intercept import (
    WithConstant,
    take_constant,
    with_constant,
    without_constant,
)


@record
class TunedChain:
    """A chain whose last step was tuned.

    Parameters
    ----------
    chain : Chain
        The transformers and the last step, as they were given.
    X, y : array-like
        Rows that have a weight, before the transformers.
    step : LastStep
        The last step; its tuner is fitted.
    heads : list
        Transformers that are fitted on all rows.
    metadata : Metadata
        What goes to whom.
    features : PipelineFeatures or None
        The transformers of the folds; None where there are none.
    parts : list of Published
        What the search found.
    seconds : tuple of float
        Of fitting the transformers on all rows, and of the search beside that.
    interrupt : KeyboardInterrupt or None
        What ended the search early; ``parts`` are empty then.
    """

    chain: Chain
    X: Any
    y: Any
    metadata: Metadata
    step: LastStep
    heads: Heads
    features: PipelineFeatures | None
    parts: list[Published]
    seconds: tuple[float, float]
    interrupt: KeyboardInterrupt | None = None

    def fitted_folds(self, folds: list[PublishedFold]) -> list[FittedFold | None]:
        """The transformers of folds; None where there are none."""
        if self.features is None:
            return [None] * len(folds)
        return [*self.features.of_folds(each.held_out for each in folds)]

    @property
    def transformer_seconds(self) -> Array:
        """Seconds of fitting the transformers of every fold."""
        known = self.fitted_folds(self.parts[0].folds)
        return np.array([each.seconds if each else 0.0 for each in known] or [0.0])

    def refitted(self, value: Any) -> Any:
        """The whole estimator, fitted on all rows at a value of the parameter."""
        return self.chain.assemble(self.heads, self.step.fitted(value))


def tune_chain(
    chain: Chain, step: LastStep, X: Any, y: Any, metadata: Metadata
) -> TunedChain:
    """Fit the transformers, and search the strengths of the last step."""
    own = last_params(chain.pipelines, metadata.estimator)
    # An estimator of this package may ask for groups where no splitter does.
    groups = {key: own.pop(key) for key in ("groups",) if key in own}
    _check_taken(step, own)
    check_classes(step.given, y)
    weight = own.get("sample_weight")
    resampling = read_resampling(step.tuner, groups | metadata.split, X, y, weight)
    counts = _rows_with_weight(weight, _num_samples(X))
    if counts is not None:
        rows = counts.index
        own = _check_method_params(X, own, rows)
        metadata = metadata.at(X, rows)
        resampling = resampling.among(counts)
        X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
    start = time.perf_counter()
    heads, inside = chain.fit_transform(X, y, metadata.estimator)
    fitted = time.perf_counter()
    features = None
    if chain.transforms:
        names = None if step.shared else feature_names(heads, inside)
        width, params = int(inside.shape[1]), metadata.estimator
        features = PipelineFeatures(chain, heads, X, y, params, width, names, step)
    # A grid search says nothing of the ends of its grid either, and a plain last step
    # has no limits that could be changed.
    told = step.parameter is None
    resampling = replace(resampling, features=features, told_of_edges=told)
    parts: list[Published] = []
    interrupt = None
    try:
        parts = _search(step, inside, y, own, resampling)
    except KeyboardInterrupt as stop:
        if not hasattr(step.tuner, "coef_"):
            raise  # before the first strengths
        interrupt = stop
    seconds = fitted - start, time.perf_counter() - fitted
    return TunedChain(
        chain, X, y, metadata, step, heads, features, parts, seconds, interrupt
    )


def _rows_with_weight(weight: Any, n_rows: int) -> RowCounts | None:
    """Rows that count; None where all do, or where there is something to complain of.

    The others are removed: transformers would learn from them.
    """
    if weight is None or np.shape(weight) != (n_rows,):
        return None
    weight = np.asarray(weight)
    index = np.flatnonzero(weight)
    if len(index) in (0, n_rows):
        return None
    return RowCounts(index, weight[index], 1.0, n_rows)


def _check_taken(step: LastStep, params: dict[str, Any]) -> None:
    """Raise before the search where the last step does not take its metadata."""
    unknown = sorted(name for name in params if not has_fit_parameter(step.given, name))
    if unknown:
        raise ValueError(
            f"fit got metadata {unknown} that {type(step.given).__name__} does not "
            "take."
        )


def _search(
    step: LastStep, X: Any, y: Any, params: dict[str, Any], resampling: Resampling
) -> list[Published]:
    tuner, params = step.tuner, dict(params)
    tuner._validate_params()
    weight = params.pop("sample_weight", None)
    offset = {"offset": params.pop("offset")} if "offset" in params else {}
    size, given = step.constant, X
    if size is not None:
        X = with_constant(X, size)
        if resampling.features is not None:
            features = WithConstant(resampling.features, size)
            resampling = replace(resampling, features=features)
    try:
        found: list[Published] = tuner._fit(
            X, y, weight, {}, lambda *_: resampling, **offset
        )
    finally:
        if size is not None and hasattr(tuner, "coef_"):
            take_constant(tuner, given, size)
    return found if size is None else [without_constant(p, size) for p in found]
