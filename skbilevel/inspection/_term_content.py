"""What each term of an additive model adds to predictions, from a fitted model."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbilevel._sklearn_compat import _safe_indexing
from skbilevel._typing import Array
from skbilevel.inspection._fitted import output_names, unwrap
from skbilevel.preprocessing._original_columns import original_columns, sources_of


def contributions(
    estimator: Any, X: Any, target: int, with_stds: bool
) -> dict[str, Any]:
    """What the terms of one output add on the rows of a table.

    Under the names that they have in `TermsDisplay`.
    """
    model, before = unwrap(estimator)
    check_is_fitted(model)
    if not before or not hasattr(model, "coef_"):
        raise ValueError(
            "TermsDisplay takes a fitted pipeline, or a search over one, whose "
            f"last step is a linear model, got {type(estimator).__name__}: make "
            "one by make_additive."
        )
    coef = np.atleast_2d(getattr(model, "centre_", model.coef_))
    if not 0 <= target < len(coef):
        raise ValueError(
            f"target={target}, but the model has {len(coef)} set(s) of coefficients."
        )
    whole = Pipeline([(f"level{k}", each) for k, each in enumerate(before)])
    made = whole.transform(X)
    made = made if sparse.issparse(made) else np.asarray(made)
    sources, _ = sources_of(whole)
    labels = original_columns(whole)
    keys = list(dict.fromkeys(each.columns for each in sources))
    effects, names, values, stds = [], [], [], []
    for key in keys:
        own = np.array([each.columns == key for each in sources])
        part = made[:, np.flatnonzero(own)] @ coef[target, own]
        stds.append(_std(model, made, own, target) if with_stds else None)
        effects.append(part - part.mean())
        names.append(labels[own][0])
        values.append(_column(X, key))
    known = [each for each in stds if each is not None]
    return {
        "effects": np.column_stack(effects),
        "values": values,
        "term_names": np.array(names),
        "scale": _scale_of(model, len(coef), target),
        "stds": np.column_stack(known) if known else None,
    }


def _std(model: Any, made: Any, own: Array, target: int) -> Array | None:
    """Of the sum of some columns around its mean; None where it is not known."""
    if not hasattr(model, "contrast_std"):
        return None
    places = np.flatnonzero(own)
    part = made[:, places]
    part = part.toarray() if sparse.issparse(part) else part
    n, width = part.shape
    index = (np.repeat(np.arange(n), width), np.tile(places, n))
    part = np.asarray(part - part.mean(axis=0), dtype=np.float64)
    contrasts = sparse.coo_array((part.ravel(), index), shape=made.shape).tocsr()
    try:
        std = model.contrast_std(contrasts)
    except ValueError:  # too large a fit
        return None
    return std if std.ndim == 1 else std[:, target]


def _column(X: Any, key: frozenset[int]) -> Array | None:
    """Values of a column of the table, or of two numbers; None where there are more."""
    made = [np.asarray(_safe_indexing(X, j, axis=1)) for j in sorted(key)[:3]]
    if len(made) == 1:
        return made[0]
    numbers = all(each.dtype.kind in "biuf" for each in made)
    return np.column_stack(made).astype(float) if numbers and len(made) == 2 else None


def _scale_of(model: Any, n_outputs: int, target: int) -> str:
    """What contributions add to."""
    name = output_names(model, n_outputs)[target] if n_outputs > 1 else ""
    if hasattr(model, "predict_proba"):
        return f"score of {name}" if name else "log odds"
    if hasattr(model, "decision_function"):
        return f"score of {name}" if name else "score"
    if "offset" in signature(model.predict).parameters:
        return "logarithm of the mean"
    return name or "prediction"
