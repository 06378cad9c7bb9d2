"""Which metadata of a pipeline go to its transformers, and which to its last step."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from skbilevel._sklearn_compat import _routing_enabled, process_routing

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
    inside = {key: value for key, value in params.items() if key in OF_THE_LAST_STEP}
    for key, value in params.items():
        if key.startswith(start):
            inside[key.removeprefix(start)] = value
    rest = {
        key: value
        for key, value in params.items()
        if key not in OF_THE_LAST_STEP and not key.startswith(start)
    }
    return rest, inside


def last_params(
    pipelines: tuple[Pipeline, ...], params: dict[str, Any]
) -> dict[str, Any]:
    """Metadata for the last step of the innermost pipeline."""
    for pipeline in pipelines:
        _, params = head_params(pipeline, params)
    return params
