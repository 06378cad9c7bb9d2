"""One strength: the lowest minimum of the fold loss, in searches and estimators."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import KFold

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)

CV = KFold(4)
GRID = np.logspace(-6, 5, 20)


def two_minima(seed, n=240, size=1.0):
    """Rare categories to be shrunken, and a strong number in a small unit."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, n // 3, n)
    X = np.column_stack(
        [np.eye(n // 3)[category], rng.standard_normal((n, 3)), rng.standard_normal(n)]
    )
    y = X[:, -2] + size * X[:, -1] + rng.standard_normal(n)
    X[:, -1] *= 1e-4
    return X, y


def shapes():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((120, 8))
    wide = rng.standard_normal((60, 150))
    yield "plain", X, X[:, 0] + rng.standard_normal(120)
    yield "strong", X, X @ np.arange(8.0) + 0.01 * rng.standard_normal(120)
    yield "wide", wide, wide[:, 0] + 0.5 * rng.standard_normal(60)
    scaled = X * np.logspace(-2, 2, 8)
    yield "units", scaled, X.sum(axis=1) + rng.standard_normal(120)
    for seed, size in enumerate((0.7, 1.0)):
        X, y = two_minima(seed, size=size)
        yield f"two minima {seed}", X, y
    yield "sparse", sparse.csr_array(X), y


SHAPES = {name: (X, y) for name, X, y in shapes()}


def loss(model, kind, alpha, X, y):
    """Mean held-out loss, the strengths of folds being moved to their size."""
    total = 0.0
    for train, valid in CV.split(y):
        moved = alpha * (len(train) / len(y) if kind != "counts" else 1.0)
        name, value = ("C", 1.0 / moved) if kind == "classes" else ("alpha", moved)
        fitted = model.set_params(**{name: value}).fit(X[train], y[train])
        if kind == "ridge":
            total += ((fitted.predict(X[valid]) - y[valid]) ** 2).sum()
        elif kind == "classes":
            eta = fitted.decision_function(X[valid])
            total += np.logaddexp(0.0, np.where(y[valid] == 1, -eta, eta)).sum()
        else:
            eta = X[valid] @ fitted.coef_ + fitted.intercept_
            total += (np.exp(eta) - y[valid] * eta).sum()
    return total / len(y)


# Where the second minimum is the lower one, it is that of a model without a penalty.
pytestmark = pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_point_of_a_grid_is_better_for_ridge(shape):
    X, y = SHAPES[shape]
    solver = "lsqr" if sparse.issparse(X) else "svd"
    model = Ridge(solver=solver, tol=1e-10)
    best = min(loss(model, "ridge", alpha, X, y) for alpha in GRID)
    searched = BilevelSearchCV(Ridge(), cv=CV).fit(X, y).best_params_["alpha"]
    own = BilevelRidgeCV(feature_groups="shared", hyperpenalty=None, cv=CV).fit(X, y)
    for alpha in (searched, own.group_alpha_[0]):
        assert loss(model, "ridge", alpha, X, y) <= 1.001 * best


@pytest.mark.parametrize("shape", ["plain", "two minima 0", "two minima 1"])
@pytest.mark.parametrize("kind", ["classes", "counts"])
def test_no_point_of_a_grid_is_better_for_other_losses(kind, shape):
    X, y = SHAPES[shape]
    rng = np.random.default_rng(0)
    if kind == "classes":
        y = (y + rng.logistic(size=len(y)) > 0).astype(int)
        model = LogisticRegression(solver="newton-cholesky", tol=1e-8, max_iter=500)
        last, own, grid = LogisticRegression(), BilevelLogisticCV, GRID[2:]
    else:
        y = rng.poisson(np.exp(np.clip(0.5 * y, None, 3.0)))
        model = PoissonRegressor(solver="newton-cholesky", tol=1e-8, max_iter=500)
        last, own, grid = PoissonRegressor(), BilevelPoissonCV, GRID / len(y)
    best = min(loss(model, kind, alpha, X, y) for alpha in grid)
    found = BilevelSearchCV(last, cv=CV).fit(X, y).best_params_
    alpha = 1.0 / found["C"] if kind == "classes" else found["alpha"]
    fitted = own(feature_groups="shared", hyperpenalty=None, cv=CV).fit(X, y)
    for each in (alpha, fitted.group_alpha_[0]):
        assert loss(model, kind, each, X, y) <= best + 1e-3 * abs(best)
