"""What a user of a published solver, or of a scorer, is told inside fit."""

import numpy as np
import pandas as pd
import pytest

from skbilevel import BilevelRidgeCV


@pytest.mark.parametrize("cv", [3, "loo"])
def test_names_of_columns_do_not_warn_inside_fit(cv):
    """Folds are arrays there, whatever the user gave; warnings are errors."""
    values = np.random.default_rng(0).standard_normal((40, 3))
    X = pd.DataFrame(values, columns=[*"abc"])
    model = BilevelRidgeCV(hyperpenalty=None, cv=cv, scoring="neg_mean_absolute_error")
    model.fit(X, X["a"] + np.random.default_rng(1).standard_normal(40))
    assert list(model.feature_names_in_) == [*"abc"]


@pytest.mark.parametrize("cv", ["loo", "gcv"])
def test_published_solvers_say_that_they_need_held_out_rows(cv):
    """Before anything about oracles."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = X[:, 0] + np.random.default_rng(1).standard_normal(40)
    with pytest.raises(ValueError, match="solver='saba' needs held-out rows: give cv"):
        BilevelRidgeCV(hyperpenalty=None, cv=cv, solver="saba").fit(X, y)
