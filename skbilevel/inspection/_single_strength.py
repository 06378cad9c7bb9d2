"""The same estimator with one strength for all features."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from skbilevel.inspection._fitted import unwrap

# What cannot go with one strength for all, or says how many of them are found.
_SINGLE = {
    "feature_groups": "shared",
    "feature_metadata": None,
    "alpha_init": None,
    "alpha_per_class": False,
    "alpha_per_target": False,
    "solver": "auto",
}


def fit_single_strength(
    estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]
) -> Any:
    """Fit the last step again, with one strength, on the data it has seen.

    Parameters
    ----------
    estimator : estimator
        The fitted model, or what it stands in.
    X, y : array-like
        Rows and targets as they went into ``estimator``.
    fit_params : dict
        Passed to the fit.
    """
    if X is None or y is None:
        raise ValueError(
            "Pass the X and y that the estimator was fitted on, from which the model "
            "with a single strength is made, or a fitted reference."
        )
    model, before = unwrap(estimator)
    model = clone(model)
    names = model.get_params(deep=False)
    if "feature_groups" not in names:
        raise ValueError(
            f"{type(model).__name__} has no feature_groups, so its single-strength "
            "form is not known; pass a fitted reference."
        )
    model.set_params(**{k: v for k, v in _SINGLE.items() if k in names})
    if isinstance(names.get("hyperpenalty"), tuple):
        model.set_params(hyperpenalty=None)
    for steps in before:
        X = steps.transform(X)
    return model.fit(X, y, **fit_params)
