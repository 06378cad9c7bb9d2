"""Scores of the folds by the user's scorer."""

import numpy as np
import pytest

from skbilevel import BilevelRidgeCV


def mean_of_predictions(model, X, y):
    return float(model.predict(X).mean())


@pytest.mark.parametrize("scoring", ["neg_max_error", mean_of_predictions])
def test_scores_without_weights(scoring):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = X[:, 0] + 0.1 * rng.standard_normal(60)
    model = BilevelRidgeCV(scoring=scoring)
    model.fit(X, y, sample_weight=rng.uniform(0.5, 2.0, 60))
    assert np.isfinite(model.best_score_)
