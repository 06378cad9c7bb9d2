"""What pictures read from a fitted estimator: its last step, names, strengths."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbilevel._array_api import read_here
from skbilevel._label_functions import asks_for_transformer
from skbilevel._typing import Array


def last_step(estimator: Any) -> Any:
    """The fitted linear model inside of searches and pipelines."""
    return unwrap(estimator)[0]


def named_model(estimator: Any, feature_names: Any = None) -> tuple[Any, Array]:
    """The fitted linear model, and one name for each of its features.

    Names are the given ones, those that the model saw, those that the transformers
    before it make, or numbers, whichever comes first.
    """
    model, before = unwrap(estimator)
    check_is_fitted(model)
    if not hasattr(model, "coef_"):
        raise ValueError(
            f"{type(model).__name__} has no coef_: the picture is one of linear models."
        )
    p = np.shape(model.coef_)[-1]
    if feature_names is None:
        return model, _names_of(model, before, p)
    names = np.asarray(feature_names, dtype=object)
    if names.shape != (p,):
        raise ValueError(
            f"feature_names has shape {names.shape}, but the model has {p} features."
        )
    return model, names


def unwrap(estimator: Any) -> tuple[Any, list[Pipeline]]:
    """Innermost model, and pipelines of the steps before it, from outside inwards."""
    before = []
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                before.append(estimator[:-1])
            estimator = estimator[-1]
        else:
            return read_here(estimator), before


def _names_of(model: Any, before: list[Pipeline], p: int) -> Array:
    names = getattr(model, "feature_names_in_", None)
    if names is None and before:
        try:
            names = before[-1].get_feature_names_out()
        except (AttributeError, ValueError):  # a transformer that tells no names
            names = None
    task = getattr(model, "task", None)
    if names is not None and task is not None:  # the column has no coefficient
        kept = [name != task and j != task for j, name in enumerate(names)]
        names = np.asarray(names)[kept]
    if names is None or len(names) != p:
        names = [f"x{j}" for j in range(p)]
    return np.asarray(names, dtype=object)


def output_names(model: Any, n_rows: int) -> tuple[str, ...]:
    """What rows of ``coef_`` or ``alpha_`` stand for: classes, tasks or targets."""
    if n_rows == 1:
        return ("",)
    known = getattr(model, "tasks_", getattr(model, "classes_", ()))
    if len(known) == n_rows:
        return tuple(str(each) for each in known)
    return tuple(f"target {k}" for k in range(n_rows))


def strengths_of(model: Any) -> Array:
    """Strengths (k, p) of a model of this package, one row for all or for each."""
    if not hasattr(model, "alpha_") or np.ndim(model.alpha_) == 0:
        raise ValueError(
            f"{type(model).__name__} has no alpha_ with a strength per feature, as "
            "models of skbilevel that learn strengths have; pass one of them, or a "
            "pipeline or search that ends with one."
        )
    return np.atleast_2d(np.asarray(model.alpha_, dtype=float))


def labels_of(estimator: Any, feature_groups: Any, names: Array) -> Array | None:
    """Labels (p,) of features with these names, given or those of the last step."""
    model, before = unwrap(estimator)
    if feature_groups is None:
        own = getattr(model, "feature_groups", None)
        if own is None or isinstance(own, str):
            return None
        feature_groups = own
    if callable(feature_groups) and asks_for_transformer(feature_groups):
        if len(before) != 1:  # levels of pipelines name their own inputs
            return None
        feature_groups = feature_groups(transformer=before[0])
    elif callable(feature_groups):
        feature_groups = feature_groups(names)
    labels, p = np.asarray(feature_groups), len(names)
    if labels.shape != (p,):
        raise ValueError(
            f"feature_groups has shape {labels.shape}, but the model has {p} features."
        )
    return labels.astype(str)


def shared_strengths(model: Any, alpha: Array) -> Array | None:
    """The best shared strength of a guarded fit, in the shape of ``alpha`` (k, p).

    It depends on the feature where columns of very different scale were fitted, and
    is None where the search did not report it.
    """
    reports = getattr(model, "hyperpenalty_", None)
    if reports is None:
        return None
    reports = reports if isinstance(reports, list) else [reports]
    first = [each["alpha"][0] for each in reports if each["family"][0] == "shared"]
    if len(first) < len(reports):
        return None
    found = np.concatenate([np.atleast_2d(row) for row in first])
    penalized = (alpha > 0).any(axis=0)
    if found.shape[1] != penalized.sum():
        return None
    out = np.zeros((len(found), alpha.shape[1]))
    out[:, penalized] = found
    return np.broadcast_to(out, alpha.shape)


def single_strength(reference: Any) -> float:
    """A strength from a number, or from a fitted model that has one for all."""
    if isinstance(reference, Real):
        return float(reference)
    model = last_step(reference)
    for name, inverse in (("alpha_", 0), ("C_", 1), ("alpha", 0), ("C", 1)):
        if hasattr(model, name):
            values = np.unique(np.asarray(getattr(model, name), dtype=float))
            if len(values) == 1:
                return float(1.0 / values[0] if inverse else values[0])
            break
    raise ValueError(
        f"{type(model).__name__} does not have one strength for all features; give "
        "reference a number, or a model that has one (alpha or C)."
    )


def search_report(model: Any, name: str, target: int) -> tuple[dict[str, Any], int]:
    """One of the dictionaries of ``history_`` or ``hyperpenalty_``, and how many."""
    check_is_fitted(model)
    reports = getattr(model, name, None)
    if reports is None:
        raise ValueError(
            f"{type(model).__name__} has no {name}: the picture is one of the models "
            "Bilevel...CV, and of pipelines and searches that end with one."
        )
    if hasattr(model, "tasks_"):
        raise ValueError(
            f"{type(model).__name__} averages nothing and has no trace of gradients: "
            "it takes one of at most four strengths, whose scores are the table "
            "hyperpenalty_. DeviationsDisplay draws what was learned."
        )
    reports = reports if isinstance(reports, list) else [reports]
    if not 0 <= target < len(reports):
        raise ValueError(
            f"target={target}, but the model was tuned by {len(reports)} search(es)."
        )
    return reports[target], len(reports)
