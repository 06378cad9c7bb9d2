"""Which metadata of ``fit`` and ``score`` go to the splitter and to the scorer."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.metrics import check_scoring

from skbilevel._sklearn_compat import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
    takes_weights,
)
from skbilevel.linear_model._cv import Resampling, read_resampling


class RoutingMixin:
    """Metadata routing of the estimators."""

    cv: Any
    scoring: Any

    # A name that is not in the signature of fit. Splitters ask for it by themselves;
    # ``set_fit_request(groups=True)`` asks for it where ``cv`` is a number or None,
    # which makes folds of whole groups of it.
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"groups": False}

    def _resampling(
        self, X: Any, y: Any, given: Any, params: dict[str, Any]
    ) -> Resampling:
        """Splits and groups from ``cv`` and the metadata of ``fit``."""
        params = {key: value for key, value in params.items() if value is not None}
        if not _routing_enabled():
            refuse_unrouted(params)
            return read_resampling(self, params, X, y, given)
        routed = route(self, "fit", given, params)
        if not hasattr(self.cv, "split"):
            own = {key: params[key] for key in ("groups",) if key in params}
            return read_resampling(self, own, X, y, given)
        split = dict(routed.splitter.split)
        if "groups" in params and "groups" not in split:
            raise TypeError(
                f"fit got groups, but cv={self.cv} does not ask for them: give a "
                "splitter of groups, or call its set_split_request(groups=True)."
            )
        return read_resampling(self, split, X, y, given)

    def get_metadata_routing(self) -> Any:
        """Metadata routing: weights for the fit and the scorer, groups to the splitter.

        Returns
        -------
        routing : MetadataRouter
            What ``fit`` and ``score`` pass on.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        splitter = self.cv if hasattr(self.cv, "split") else None
        given = self.scoring is not None
        scorer = check_scoring(self, scoring=self.scoring) if given else None
        return with_routes(router, splitter=splitter, scorer=scorer)


# Methods of an estimator, and what they call of those that it holds.
_ROUTES = {
    "estimator": [("fit", "fit")],
    "splitter": [("fit", "split")],
    "scorer": [("fit", "score"), ("score", "score")],
}


def with_routes(router: MetadataRouter, **held: Any) -> MetadataRouter:
    """The router with routes to an estimator, a splitter, a scorer; None has none."""
    for name, value in held.items():
        mapping = MethodMapping()
        for caller, callee in _ROUTES[name]:
            mapping.add(caller=caller, callee=callee)
        if value is not None:
            router.add(**{name: value}, method_mapping=mapping)
    return router


def refuse_unrouted(params: dict[str, Any]) -> None:
    """Raise where ``fit`` got metadata other than groups, without metadata routing."""
    unknown = sorted(set(params) - {"groups"})
    if unknown:
        raise ValueError(
            f"fit got metadata {unknown} that it cannot use; without metadata "
            "routing no more is passed on "
            "(sklearn.set_config(enable_metadata_routing=True))."
        )


def route(owner: Any, method: str, sample_weight: Any, params: dict[str, Any]) -> Any:
    """What each of the splitter and the scorer gets of the metadata of ``method``."""
    if "groups" in params:
        # Those that fit alone takes would be refused: nobody asks for them.
        known = owner.get_metadata_routing().consumes(method, params.keys())
        params = {k: v for k, v in params.items() if k in known or k != "groups"}
    return process_routing(owner, method, sample_weight=sample_weight, **params)


def scorer_params(
    owner: Any, method: str, sample_weight: Any, params: dict[str, Any]
) -> dict[str, Any]:
    """Metadata for the scorer of ``owner`` out of those that ``method`` got."""
    if _routing_enabled():
        return dict(route(owner, method, sample_weight, params).scorer.score)
    if sample_weight is None:
        return {}
    if method == "fit" and not takes_weights(
        check_scoring(owner, scoring=owner.scoring)
    ):
        return {}  # nobody asked for weighted scores, and some have no weights
    return {"sample_weight": sample_weight}


def refuse_score_params(owner: Any, params: dict[str, Any]) -> None:
    """Raise where ``score`` got metadata that nobody takes."""
    _raise_for_params(params, owner, "score")
    if params and owner.scoring is None:
        process_routing(owner, "score", **params)
