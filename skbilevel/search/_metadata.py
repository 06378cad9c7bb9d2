"""Which metadata of ``fit`` go to which step, the splitter and the scorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from skbilevel._sklearn_compat import _routing_enabled, process_routing

# What linear models here take beside X and y.
_OF_THE_LAST_STEP = ("sample_weight", "offset")


@dataclass(frozen=True)
class Metadata:
    """Metadata of one call of ``fit``.

    Parameters
    ----------
    estimator : dict
        For the estimator, as `fit` of a Pipeline would get them.
    split : dict
        For the splitter.
    score : dict
        For the scorer.
    """

    estimator: dict[str, Any]
    split: dict[str, Any]
    score: dict[str, Any]


def read_metadata(owner: Any, params: dict[str, Any]) -> Metadata:
    """Route the metadata of ``fit``; ``owner`` is the search."""
    params = {key: value for key, value in params.items() if value is not None}
    if _routing_enabled():
        routed = process_routing(owner, "fit", **params)
        split = routed.get("splitter", {"split": {}})["split"]
        return Metadata(
            dict(routed.estimator.fit), dict(split), dict(routed.scorer.score)
        )
    split = {key: params[key] for key in ("groups",) if key in params}
    rest = {key: value for key, value in params.items() if key not in split}
    # What `score` of an estimator takes, scorers of predictions do not.
    taken = _OF_THE_LAST_STEP if owner.scoring is None else ("sample_weight",)
    return Metadata(rest, split, {key: rest[key] for key in taken if key in rest})


def head_params(
    pipeline: Pipeline, params: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata for the transformers of a pipeline, and those for its last step."""
    name, last = pipeline.steps[-1]
    if _routing_enabled():
        own: set[str] = set()
        if len(pipeline.steps) > 1:
            own = _consumed(pipeline[:-1], "fit_transform", params)
        return _chosen(params, own), _chosen(params, _consumed(last, "fit", params))
    start = f"{name}__"
    inside = {key: value for key, value in params.items() if key in _OF_THE_LAST_STEP}
    for key, value in params.items():
        if key.startswith(start):
            inside[key.removeprefix(start)] = value
    rest = {
        key: value
        for key, value in params.items()
        if key not in _OF_THE_LAST_STEP and not key.startswith(start)
    }
    return rest, inside


def last_params(
    pipelines: tuple[Pipeline, ...], params: dict[str, Any]
) -> dict[str, Any]:
    """Metadata for the last step of the innermost pipeline."""
    for pipeline in pipelines:
        _, params = head_params(pipeline, params)
    return params


def _consumed(estimator: Any, method: str, params: dict[str, Any]) -> set[str]:
    routing = get_routing_for_object(estimator)
    return set(routing.consumes(method, params.keys()))


def _chosen(params: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: params[key] for key in params if key in keys}
