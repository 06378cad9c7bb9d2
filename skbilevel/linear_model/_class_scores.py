"""Scores of classes, and the labels and probabilities they lead to."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from skbilevel._typing import Array
from skbilevel.linear_model._base import linear_predictor
from skbilevel.linear_model._lazily import lazily


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
        scores = linear_predictor(self, X)
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
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.asarray(self.classes_[(scores > 0).astype(int)])
        return np.asarray(self.classes_[scores.argmax(axis=1)])


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
        scores = self.decision_function(X)
        if scores.ndim == 1:
            both = [special.expit(-scores), special.expit(scores)]
            return np.column_stack(both)
        return np.asarray(special.softmax(scores, axis=1))

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
        scores = self.decision_function(X)
        if scores.ndim == 1:
            both = [special.log_expit(-scores), special.log_expit(scores)]
            return np.column_stack(both)
        return np.asarray(special.log_softmax(scores, axis=1))
