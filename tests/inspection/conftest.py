"""Fitted models that several pictures are drawn of."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelLogisticCV, BilevelRidgeCV


@pytest.fixture(scope="session")
def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True)


@pytest.fixture(scope="session")
def guarded(diabetes):
    """A pipeline whose last step averaged candidates; it has seen no names itself."""
    return make_pipeline(StandardScaler(), BilevelRidgeCV()).fit(*diabetes)


@pytest.fixture(scope="session")
def searched(diabetes):
    """A model of one search, which removed features and left one unpenalized."""
    X, y = diabetes
    model = BilevelRidgeCV(hyperpenalty=None, unpenalized=["bmi"])
    return model.fit(20.0 * X, y)


@pytest.fixture(scope="session")
def by_target(diabetes):
    """Two targets with strengths of their own."""
    X, y = diabetes
    both = np.column_stack([y, y.to_numpy() ** 0.5 + 10.0 * X["age"]])
    return BilevelRidgeCV(alpha_per_target=True).fit(20.0 * X, both)


@pytest.fixture(scope="session")
def by_class():
    """Three classes with strengths of their own."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    model = make_pipeline(StandardScaler(), BilevelLogisticCV(alpha_per_class=True))
    return model.fit(X, names)


@pytest.fixture(scope="session")
def wide():
    """More columns than rows, in three groups; ``model, X, y, labels``."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["strong", "weak", "useless"], [10, 20, 30])
    w = np.repeat([1.0, 0.2, 0.0], [10, 20, 30]) * rng.standard_normal(60)
    X = rng.standard_normal((50, 60))
    y = X @ w + rng.standard_normal(50)
    return BilevelRidgeCV(feature_groups=labels).fit(X, y), X, y, labels
