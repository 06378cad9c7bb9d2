"""Which metadata of ``fit`` go to which step, the splitter and the scorer."""

from __future__ import annotations

from typing import Any

from sklearn.metrics import check_scoring

from skbilevel._records import record
from skbilevel._sklearn_compat import (
    _check_method_params,
    _routing_enabled,
    process_routing,
    takes_weights,
)
from skbilevel._typing import Array
from skbilevel.search._chain import OF_THE_LAST_STEP, Chain


@record
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

    def at(self, X: Any, rows: Array) -> Metadata:
        """Those of some rows of X."""
        each = (self.estimator, self.split, self.score)
        return Metadata(*(_check_method_params(X, given, rows) for given in each))


def read_metadata(owner: Any, params: dict[str, Any]) -> Metadata:
    """Route the metadata of ``fit``; ``owner`` is the search."""
    params = {key: value for key, value in params.items() if value is not None}
    if _routing_enabled():
        return _routed(owner, params)
    split = {key: params[key] for key in ("groups",) if key in params}
    rest = {key: value for key, value in params.items() if key not in split}
    taken: tuple[str, ...] = OF_THE_LAST_STEP  # by `score` of an estimator
    if owner.scoring is not None:
        scorer = check_scoring(owner.estimator, scoring=owner.scoring)
        taken = ("sample_weight",) if takes_weights(scorer) else ()
    return Metadata(rest, split, {key: rest[key] for key in taken if key in rest})


def _routed(owner: Any, params: dict[str, Any]) -> Metadata:
    own: dict[str, Any] = {}
    known = owner.get_metadata_routing().consumes("fit", params.keys())
    if "groups" in params and "groups" not in known and not has_splitter(owner):
        own["groups"] = params.pop("groups")  # folds of whole groups
    routed = process_routing(owner, "fit", **params)
    split = own | dict(routed.get("splitter", {"split": {}})["split"])
    return Metadata(dict(routed.estimator.fit), split, dict(routed.scorer.score))


def splitter_of(owner: Any) -> Any:
    """What makes the folds: the ``cv`` of the search, or that of the last step."""
    cv = owner.cv
    return getattr(Chain.of(owner.estimator).last, "cv", None) if cv is None else cv


def has_splitter(owner: Any) -> bool:
    """Whether it is a splitter, which asks for metadata by itself."""
    return hasattr(splitter_of(owner), "split")
