"""The only place that uses names which scikit-learn does not document."""

from __future__ import annotations

import copy
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_method_params,
    _check_sample_weight,
    _num_samples,
)

if TYPE_CHECKING:
    Method = TypeVar("Method", bound=Callable[..., Any])

    # scikit-learn has no types, and would take those of ``fit`` away.
    def _fit_context(
        *, prefer_skip_nested_validation: bool
    ) -> Callable[[Method], Method]: ...
else:
    from sklearn.base import _fit_context

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in before scikit-learn 1.9, where no estimator takes callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Nothing to clean up after."""
        return method


try:
    from sklearn.utils._array_api import (
        _is_numpy_namespace,
        _max_precision_float_dtype,
        check_same_namespace,
        get_namespace_and_device,
        indexing_dtype,
        move_to,
    )

    HAS_ARRAY_API = True
except ImportError:  # before scikit-learn 1.9
    HAS_ARRAY_API = False
    _is_numpy_namespace = _max_precision_float_dtype = None
    get_namespace_and_device = indexing_dtype = move_to = None

    def check_same_namespace(X: Any, estimator: Any, **names: str) -> None:
        """Every array is NumPy's there."""


def callbacks_of(estimator: Any) -> list[Any]:
    """What listens to an estimator; always nothing before scikit-learn 1.9."""
    return list(getattr(estimator, "_skl_callbacks", ()))


def takes_weights(scorer: Any) -> bool:
    """Whether ``sample_weight`` can be given to a scorer, and to each of several."""
    several = getattr(scorer, "_scorers", {"score": scorer}).values()
    return all(_takes_weights(getattr(each, "_score_func", each)) for each in several)


def with_labels(scorer: Any, labels: Any) -> Any:
    """A scorer of probabilities that knows all classes; others as they are.

    The rows to be scored need not have every class.
    """
    several = getattr(scorer, "_scorers", None)
    if several is not None:
        made = copy.copy(scorer)
        made._scorers = {
            name: with_labels(each, labels) for name, each in several.items()
        }
        return made
    metric = getattr(scorer, "_score_func", None)
    known = {} if metric is None else signature(metric).parameters
    if "labels" not in known or scorer._response_method == "predict":
        return scorer
    own = {"labels": labels}
    if "pos_label" in known and len(labels) == 2:
        own["pos_label"] = labels[1]
    made = copy.copy(scorer)
    made._kwargs = own | scorer._kwargs
    return made


def _takes_weights(metric: Callable[..., Any]) -> bool:
    known = signature(metric).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in known.values())
    return anything or "sample_weight" in known


def set_ridge_classes(model: Any, classes: Any) -> None:
    """Give a fitted ``RidgeClassifier`` labels of the dtype that ``classes`` has.

    Its own ``fit`` may change it. Below 1.8 ``classes_`` is a property.
    """
    model._label_binarizer.classes_ = classes
    if "classes_" in vars(model):
        model.classes_ = classes


def input_columns(transformer: Any) -> dict[str, list[int]]:
    """Places of the columns that each part of a fitted ColumnTransformer takes."""
    return dict(transformer._transformer_to_input_indices)
