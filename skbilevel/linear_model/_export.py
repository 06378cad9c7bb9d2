"""Plain scikit-learn models that predict what a fitted estimator predicts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import Pipeline

from skbilevel._array_api import copied, on_host
from skbilevel._sklearn_compat import set_ridge_classes
from skbilevel._typing import Array

# Stands for an infinite strength where scikit-learn wants a finite one.
_STRONGEST = 1e100


def to_sklearn(model: Any) -> Any:
    """Return a plain fitted scikit-learn model with the same predictions.

    Nothing is fitted again. The coefficients are those at many strengths, of which
    ``alpha`` or ``C`` of the plain model shows the geometric mean: a clone of it that
    is fitted again has one strength for all features and is another model. The
    strengths themselves are in its attribute ``alpha_``. Tools that know only
    scikit-learn, for persistence or for conversion to another format, can work with
    what is returned.

    Parameters
    ----------
    model : estimator, Pipeline or BilevelSearchCV
        A fitted estimator of this package, a fitted Pipeline whose last step is one, or
        a fitted search.

    Returns
    -------
    plain : estimator or Pipeline
        What the method ``to_sklearn`` of an estimator returns; of a Pipeline, one with
        the same fitted transformers and a plain last step. ``model`` is left as it was;
        the transformers are shared, not copied.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If the model, or the last step, is none of this package.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelRidgeCV, to_sklearn
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelRidgeCV()).fit(X, y)
    >>> plain = to_sklearn(model)
    >>> type(plain[-1])
    <class 'sklearn.linear_model._ridge.Ridge'>
    >>> bool((plain.predict(X) == model.predict(X)).all())
    True
    """
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        # A shallow copy keeps whatever else the pipeline holds, in any release.
        plain = copy.copy(model)
        plain.steps = [*model.steps[:-1], (name, to_sklearn(last))]
        return plain
    if not hasattr(model, "to_sklearn"):
        raise TypeError(
            "to_sklearn takes an estimator of skbilevel or a Pipeline that ends with "
            f"one, got {type(model).__name__}."
        )
    return model.to_sklearn()


def plain_ridge(model: Any) -> Ridge:
    """The ``Ridge`` of a regressor."""
    plain = Ridge().fit(*_placeholder([1.0]))
    alpha: Any = _typical(model.alpha_)
    if model.alpha_.ndim == 2:  # Ridge takes a strength of every target
        alpha = np.array([_typical(each) for each in on_host(model.alpha_)])
    return _transfer(model, plain, alpha=alpha)


def plain_ridge_classifier(model: Any) -> RidgeClassifier:
    """The ``RidgeClassifier`` of a classifier on indicators."""
    classes = on_host(model.classes_)
    X, labels = _placeholder(classes)
    if model.y_type_ != "classes":
        labels = labels[:, None] == classes
        labels = sparse.csr_matrix(labels) if model.y_type_ == "sparse" else labels
    plain = RidgeClassifier().fit(X, labels)
    set_ridge_classes(plain, copied(model.classes_))
    alpha = _typical(model.alpha_)
    return _transfer(model, plain, alpha=alpha, class_weight=model.class_weight)


def plain_logistic(model: Any) -> LogisticRegression:
    """The ``LogisticRegression`` of a classifier with probabilities."""
    plain = LogisticRegression().fit(*_placeholder(on_host(model.classes_)))
    plain.classes_ = copied(model.classes_)
    plain.n_iter_ = np.array([model.n_iter_], dtype=np.int32)
    strength = _typical(model.alpha_)
    C = 1.0 / strength if strength > 0 else np.inf
    return _transfer(model, plain, C=C, class_weight=model.class_weight)


def plain_iterative(model: Any, plain: Any, **params: Any) -> Any:
    """``plain``, a regressor of scikit-learn that counts steps, as if fitted."""
    plain.fit(*_placeholder([1.0, 2.0]))
    plain.n_iter_ = model.n_iter_
    return _transfer(model, plain, alpha=_typical(model.alpha_), **params)


def _placeholder(labels: Any) -> tuple[Array, Array]:
    """Two rows per label that tell nothing.

    scikit-learn's own ``fit`` on them makes the private attributes of its models,
    whose names are its own business; everything learned is then replaced.
    """
    y = np.repeat(labels, 2)
    return np.zeros((len(y), 1)), y


def _transfer(model: Any, plain: Any, **params: Any) -> Any:
    """Give ``plain`` what was learned, and the parameters that a refit would use."""
    plain.set_params(fit_intercept=model.fit_intercept, **params)
    plain.coef_ = copied(model.coef_)
    plain.intercept_ = copy.copy(model.intercept_)
    plain.n_features_in_ = model.n_features_in_
    if hasattr(model, "feature_names_in_"):
        plain.feature_names_in_ = model.feature_names_in_.copy()
    return plain


def _typical(strengths: Array) -> float:
    """Geometric mean of the finite positive strengths: one number for them all."""
    strengths = on_host(strengths)
    kept = strengths[np.isfinite(strengths) & (strengths > 0)]
    if len(kept):
        return float(np.exp(np.log(kept).mean()))
    return _STRONGEST if np.isinf(strengths).any() else 0.0
