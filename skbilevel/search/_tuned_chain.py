"""Transformers and a last step, tuned together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from skbilevel._typing import Array
from skbilevel.linear_model._cv import Resampling, read_resampling
from skbilevel.linear_model._publish import Published
from skbilevel.search._chain import Chain, Heads, feature_names
from skbilevel.search._features import PipelineFeatures
from skbilevel.search._last_step import LastStep
from skbilevel.search._metadata import Metadata
from skbilevel.search._step_params import last_params


@dataclass(frozen=True)
class TunedChain:
    """A chain whose last step was tuned.

    Parameters
    ----------
    chain : Chain
        The transformers and the last step, as they were given.
    step : LastStep
        The last step; its tuner is fitted.
    heads : list
        Transformers that are fitted on all rows.
    inside : array-like
        The features that they made.
    last_params : dict
        Metadata for the last step.
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
    step: LastStep
    heads: Heads
    inside: Any
    last_params: dict[str, Any]
    features: PipelineFeatures | None
    parts: list[Published]
    seconds: tuple[float, float]
    interrupt: KeyboardInterrupt | None = None

    @property
    def transformer_seconds(self) -> Array:
        """Seconds of fitting the transformers of every fold."""
        folds = self.parts[0].folds
        if self.features is None or not folds:
            return np.zeros(max(1, len(folds)))
        known = self.features.of_folds(each.held_out for each in folds)
        return np.array([each.seconds for each in known])

    def refitted(self, y: Any, value: Any) -> Any:
        """The whole estimator, fitted on all rows at a value of the parameter."""
        last: Any = self.step.tuner
        if self.step.parameter is not None:
            last = self.step.at(value).fit(self.inside, y, **self.last_params)
        return self.chain.assemble(self.heads, last)


def tune_chain(
    chain: Chain, step: LastStep, X: Any, y: Any, metadata: Metadata
) -> TunedChain:
    """Fit the transformers, and search the strengths of the last step."""
    own = last_params(chain.pipelines, metadata.estimator)
    # An estimator of this package may ask for groups where no splitter does.
    groups = {key: own.pop(key) for key in ("groups",) if key in own}
    _check_taken(step, own)
    resampling = read_resampling(step.tuner.cv, groups | metadata.split, X, y)
    start = time.perf_counter()
    heads, inside = chain.fit_transform(X, y, metadata.estimator)
    fitted = time.perf_counter()
    features = None
    if chain.transforms:
        features = PipelineFeatures(
            chain,
            X,
            y,
            metadata.estimator,
            int(inside.shape[1]),
            None if step.padded else feature_names(heads, inside),
            step.aligned,
            step.padded,
        )
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
        chain, step, heads, inside, own, features, parts, seconds, interrupt
    )


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
    return tuner._fit(X, y, weight, {}, lambda *_: resampling, **offset)
