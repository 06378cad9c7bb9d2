"""What a search offers once its estimator is refitted with the best strengths."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skbilevel._array_api import need_rows_in_memory
from skbilevel._typing import Array
from skbilevel.linear_model._base import BilevelLinearModel
from skbilevel.linear_model._export import to_sklearn
from skbilevel.search._chain import Chain


def indexed(owner: Any, X: Any, y: Any, why_numpy: str) -> tuple[Any, Any]:
    """X and y of an estimator around others, of one length and ready to be sliced."""
    need_rows_in_memory(owner, X, why_numpy)
    if y is None:
        raise ValueError(
            f"{type(owner).__name__} requires y to be passed, but the target y is None."
        )
    X, y = indexable(X, y)
    return X, y


def refitted_has(name: str) -> Any:
    """Whether the refitted estimator has a method, and why not."""

    def check(self: Any) -> bool:
        if not self.refit:
            raise AttributeError(
                f"This {type(self).__name__} was made with refit={self.refit}: {name} "
                "needs the estimator that is refitted with the best strengths."
            )
        getattr(getattr(self, "best_estimator_", self.estimator), name)
        return True

    return check


def _of_best(name: str, summary: str, columns: str) -> Any:
    """A method that asks ``best_estimator_``, where that has one of this name."""

    def method(self, X: Any) -> Array:
        check_is_fitted(self)
        return np.asarray(getattr(self.best_estimator_, name)(X))

    method.__name__, method.__qualname__ = name, f"RefittedMixin.{name}"
    method.__doc__ = f"""{summary}

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, {columns})
            Those of ``best_estimator_``.
        """
    return available_if(refitted_has(name))(method)


class RefittedMixin:
    """Methods, tags and attributes of an estimator that is fitted inside."""

    estimator: Any
    refit: bool | str
    best_estimator_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        sub = get_tags(self.estimator)
        tags.estimator_type = sub.estimator_type
        tags.classifier_tags = deepcopy(sub.classifier_tags)
        tags.regressor_tags = deepcopy(sub.regressor_tags)
        tags.target_tags = deepcopy(sub.target_tags)
        tags.input_tags.sparse = sub.input_tags.sparse
        return tags

    def _set_best(self, estimator: Any) -> None:
        self.best_estimator_ = estimator
        if hasattr(estimator, "feature_names_in_"):
            self.feature_names_in_ = estimator.feature_names_in_

    @available_if(refitted_has("predict"))
    def predict(self, X: Any, **params: Any) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            What the first step takes.
        **params : dict
            For ``predict`` of the last step: ``return_std=True``, ``offset``.

        Returns
        -------
        values : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Those of ``best_estimator_``, with their standard deviations where
            ``return_std`` asks for these.
        """
        check_is_fitted(self)
        values = self.best_estimator_.predict(X, **params)
        # Labels of rows that have several may be sparse.
        as_it_is = sparse.issparse(values) or isinstance(values, tuple)
        return values if as_it_is else np.asarray(values)

    predict_proba = _of_best(
        "predict_proba", "Predict the probabilities of the classes.", "n_classes"
    )
    predict_log_proba = _of_best(
        "predict_log_proba", "Predict the logarithms of the probabilities.", "n_classes"
    )
    decision_function = _of_best(
        "decision_function", "Linear predictions of the classes.", "n_classes"
    )
    transform = _of_best(
        "transform",
        "Transform by the refitted estimator, where its last step does.",
        "n_outputs",
    )

    def to_sklearn(self) -> Any:
        """Return the refitted estimator as plain scikit-learn; nothing is fitted.

        Returns
        -------
        plain : estimator
            ``best_estimator_``, its last step replaced by `skbilevel.to_sklearn` of it
            where it is one of this package.

        Raises
        ------
        NotFittedError
            If this search is not fitted.
        """
        refitted_has("fit")(self)
        check_is_fitted(self)
        last = Chain.of(self.best_estimator_).last
        own = isinstance(last, BilevelLinearModel)
        return to_sklearn(self.best_estimator_) if own else self.best_estimator_

    @property
    def n_features_in_(self) -> int:
        """Number of features of X; only with ``refit``."""
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"{type(self).__name__} has no n_features_in_: it is not fitted, or "
                f"was fitted with refit={self.refit}."
            )
        return int(self.best_estimator_.n_features_in_)

    @property
    def classes_(self) -> Array:
        """Class labels; only with ``refit``, and of classifiers."""
        refitted_has("classes_")(self)
        return np.asarray(self.best_estimator_.classes_)
