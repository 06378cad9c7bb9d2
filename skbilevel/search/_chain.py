"""A pipeline as transformers in front of a linear model, and the metadata of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from skbilevel._records import record
from skbilevel._sklearn_compat import _routing_enabled, process_routing
from skbilevel._typing import Array

# What linear models here take beside X and y.
OF_THE_LAST_STEP = ("sample_weight", "offset")


def head_params(
    pipeline: Pipeline, params: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata for the transformers of a pipeline, and those for its last step."""
    name = pipeline.steps[-1][0]
    if _routing_enabled():
        if not params:
            return {}, {}
        # Raises what fit of the pipeline would, where a step was not asked.
        routed = process_routing(pipeline, "fit", **params)
        own = {}
        if len(pipeline.steps) > 1:
            head = get_routing_for_object(pipeline[:-1])
            known = head.consumes("fit_transform", params.keys())
            own = {key: params[key] for key in params if key in known}
        return own, dict(routed[name].fit)
    start = f"{name}__"
    rest, inside = {}, {}
    for key, value in params.items():
        if key.startswith(start):
            inside[key.removeprefix(start)] = value
        elif key in OF_THE_LAST_STEP:
            inside.setdefault(key, value)
        else:
            rest[key] = value
    return rest, inside


def last_params(
    pipelines: tuple[Pipeline, ...], params: dict[str, Any]
) -> dict[str, Any]:
    """Metadata for the last step of the innermost pipeline."""
    for pipeline in pipelines:
        _, params = head_params(pipeline, params)
    return params


# Fitted transformers, one pipeline for every level; None where a level has none.
Heads = list[Pipeline | None]


@record
class Chain:
    """Transformers, and the estimator they prepare features for.

    Parameters
    ----------
    pipelines : tuple of Pipeline
        From outside to inside: each is the last step of the one before.
    last : estimator
        The last step of the innermost pipeline.
    """

    pipelines: tuple[Pipeline, ...]
    last: BaseEstimator

    @classmethod
    def of(cls, estimator: Any) -> Chain:
        """Take an estimator apart; nothing is cloned."""
        pipelines = []
        while isinstance(estimator, Pipeline):
            if not estimator.steps:
                raise ValueError("estimator is a Pipeline without steps.")
            pipelines.append(estimator)
            estimator = estimator.steps[-1][1]
        return cls(tuple(pipelines), estimator)

    @property
    def prefix(self) -> str:
        """What stands before a parameter of the last step."""
        return "".join(f"{each.steps[-1][0]}__" for each in self.pipelines)

    @property
    def transforms(self) -> bool:
        """Whether there are transformers at all."""
        return any(_has_head(each) for each in self.pipelines)

    def fit_transform(
        self, X: Any, y: Any, params: dict[str, Any]
    ) -> tuple[Heads, Any]:
        """Fitted clones of the transformers, and the features they make."""
        heads: Heads = []
        for pipeline in self.pipelines:
            own, params = head_params(pipeline, params)
            head = None
            if _has_head(pipeline):
                head = clone(pipeline[:-1])
                # A slice forgets it.
                head.set_params(transform_input=pipeline.transform_input)
                X = head.fit_transform(X, y, **own)
            heads.append(head)
        return heads, X

    def assemble(self, heads: Heads, last: Any) -> Any:
        """The whole estimator from fitted parts."""
        for pipeline, head in zip(self.pipelines[::-1], heads[::-1], strict=True):
            name = pipeline.steps[-1][0]
            whole = clone(pipeline)
            whole.steps = [*([] if head is None else head.steps), (name, last)]
            last = whole
        return last


def in_one(heads: Heads) -> Pipeline:
    """The fitted transformers of all levels as one Pipeline."""
    known = [head for head in heads if head is not None]
    if len(known) == 1:
        return known[0]
    return Pipeline([(f"level{k}", head) for k, head in enumerate(known)])


def transform(heads: Heads, X: Any) -> Any:
    """The features of new rows."""
    # Step by step: a Pipeline asks its last step, here a transformer that may have
    # learned nothing, whether it is fitted.
    for head in heads:
        for _, step in () if head is None else head.steps:
            X = X if step in (None, "passthrough") else step.transform(X)
    return X


def feature_names(heads: Heads, X: Any) -> Array | None:
    """Names of the columns that fitted transformers made; None if they have none."""
    if hasattr(X, "columns"):
        return np.asarray(X.columns, dtype=object)
    names = None
    try:
        for head in heads:
            names = names if head is None else head.get_feature_names_out(names)
    # What a transformer without names raises depends on its author.
    except (AttributeError, NotFittedError, TypeError, ValueError):
        return None
    return None if names is None else np.asarray(names, dtype=object)


def _has_head(pipeline: Pipeline) -> bool:
    return len(pipeline.steps) > 1
