"""Logistic regression whose intercept is penalized, as liblinear fits it.

Its intercept is ``size`` times the coefficient of a column that holds ``size`` in every
row, and that coefficient has the strength of all others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skbilevel._records import record
from skbilevel._sparse import canonical
from skbilevel._typing import Array
from skbilevel.linear_model._fold_features import FoldFeatures
from skbilevel.linear_model._publish import Published, PublishedFold


def with_constant(X: Any, size: float) -> Any:
    """X with a constant column in front."""
    X = canonical(check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32]))
    column = np.full((X.shape[0], 1), size, dtype=X.dtype)
    if sparse.issparse(X):
        return sparse.csr_array(sparse.hstack([column, X], format="csr"))
    return np.hstack([column, X])


@record
class WithConstant:
    """What transformers make of every training set, with the constant column.

    Parameters
    ----------
    features : FoldFeatures
        What they make; one strength is tuned for all columns.
    size : float
        The constant.
    """

    features: FoldFeatures
    size: float
    names = added = transformer = None
    padded = True

    def fold(self, train: Array, valid: Array) -> tuple[Any, Array | None]:
        """See `FoldFeatures.fold`."""
        X, place = self.features.fold(train, valid)
        return with_constant(X, self.size), place


def without_constant(part: Published, size: float) -> Published:
    """What a search found, in terms of the columns that were given."""

    def folds(models: list[PublishedFold]) -> list[PublishedFold]:
        return [
            replace(
                each,
                coef=each.coef[:, 1:],
                intercept=size * each.coef[:, 0],
                X=each.X[:, 1:],
            )
            for each in models
        ]

    tried = part.tried
    if tried is not None:
        given = tried.models
        tried = replace(tried, models=lambda k: folds(given(k)))
    return replace(
        part,
        coef=part.coef[:, 1:],
        intercept=size * part.coef[:, 0],
        alpha=part.alpha[1:],
        folds=folds(part.folds),
        tried=tried,
    )


def take_constant(tuner: Any, X: Any, size: float) -> None:
    """Make the first coefficient of a fitted ``tuner`` its intercept; X is without."""
    tuner.intercept_ = size * tuner.coef_[:, 0]
    tuner.coef_ = tuner.coef_[:, 1:]
    tuner.alpha_, tuner.C_ = tuner.alpha_[1:], tuner.C_[1:]
    validate_data(tuner, X, skip_check_array=True)
