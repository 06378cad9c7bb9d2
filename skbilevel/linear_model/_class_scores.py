"""Scores of classes, and the labels and probabilities they lead to."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special
from sklearn.utils.validation import check_is_fitted

from skbilevel._array_api import by_rows, chosen_labels
from skbilevel._sklearn_compat import check_same_namespace
from skbilevel._typing import Array
from skbilevel.linear_model._base import linear_predictor
from skbilevel.linear_model._lazily import lazily
from skbilevel.problems import SoftmaxLoss
from skbilevel.problems._glm_losses import minus_log_softmax


class ClassScoresMixin:
    """``decision_function`` and ``predict`` of linear classifiers."""

    classes_: Array
    coef_: Array
    intercept_: Array

    @lazily
    def decision_function(self, X: Any) -> Array:
        """Linear predictions: of indicators in ridge, log odds in logistic regression.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Positive for the second of two classes; the largest one wins otherwise.
        """
        scores = linear_predictor(self, X, "decision_function")
        return scores[:, 0] if scores.shape[1] == 1 else scores

    @lazily
    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        scores = self._scores(X, "predict")
        return chosen_labels(self.classes_, scores)

    def _scores(self, X: Any, method: str) -> Array:
        """The decision function, where a ``method`` is called with X as fit was."""
        check_is_fitted(self, "coef_")
        check_same_namespace(X, self, attribute="coef_", method=method)
        return self.decision_function(X)


class ClassProbabilitiesMixin(ClassScoresMixin):
    """Probabilities, where the scores are log odds or those of a softmax."""

    @lazily
    def predict_proba(self, X: Any) -> Array:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; the sum of a row is 1.
        """
        return by_rows(_probabilities, self._scores(X, "predict_proba"))

    @lazily
    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithms of the probabilities, without rounding them to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return by_rows(_log_probabilities, self._scores(X, "predict_log_proba"))


def _probabilities(scores: Array) -> Array:
    if scores.ndim == 1:
        return np.stack([special.expit(-scores), special.expit(scores)], axis=1)
    return SoftmaxLoss().mean(scores)


def _log_probabilities(scores: Array) -> Array:
    if scores.ndim == 1:
        both = [special.log_expit(-scores), special.log_expit(scores)]
        return np.stack(both, axis=1)
    return -minus_log_softmax(scores)
