"""A sparse matrix may hold several entries of one place, and places in any order."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skbilevel import (
    BilevelElasticNetCV,
    BilevelGammaCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
    DPLasso,
    DPLogistic,
    DPRidge,
    FractionalSparseRegressor,
    SampleWeightsCV,
)
from skbilevel.solvers import ORACLE_SOLVERS

N, P = 80, 12
CASES = {
    "ridge": BilevelRidgeCV(),
    "criterion": BilevelRidgeCV(hyperpenalty=None, max_iter=5),
    "loo": BilevelRidgeCV(hyperpenalty=None, cv="loo", max_iter=5),
    "groups": BilevelRidgeCV(feature_groups=np.arange(P) % 3),
    "oracle": BilevelRidgeCV(
        hyperpenalty=None, solver=sorted(ORACLE_SOLVERS)[0], max_iter=2
    ),
    "lasso": BilevelLassoCV(),
    "elastic net": BilevelElasticNetCV(feature_groups=np.arange(P) % 3),
    "classifier": BilevelRidgeClassifierCV(),
    "logistic": BilevelLogisticCV(),
    "logistic criterion": BilevelLogisticCV(hyperpenalty=None, max_iter=5),
    "poisson": BilevelPoissonCV(),
    "gamma": BilevelGammaCV(hyperpenalty=None, max_iter=5),
    "tweedie": BilevelTweedieCV(hyperpenalty=None, max_iter=5),
    "fractional": FractionalSparseRegressor(),
    "search": BilevelSearchCV(make_pipeline(MaxAbsScaler(), Ridge())),
    "search of classes": BilevelSearchCV(
        make_pipeline(MaxAbsScaler(), LogisticRegression())
    ),
    "search with liblinear": BilevelSearchCV(LogisticRegression(solver="liblinear")),
    "row weights": SampleWeightsCV(Ridge(), by="row"),
    "private ridge": DPRidge(epsilon=5.0, random_state=0),
    "private lasso": DPLasso(epsilon=5.0, random_state=0),
    "private classes": DPLogistic(epsilon=5.0, random_state=0, classes=[0, 1]),
}


def repeated(X, rng):
    """The same matrix, with each entry in two parts and in any order."""
    indptr = np.concatenate([[0], np.cumsum(2 * np.diff(X.indptr))])
    place, part = [], []
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        order = rng.permutation(2 * (stop - start))
        value = X.data[start:stop]
        place.append(np.tile(X.indices[start:stop], 2)[order])
        part.append(np.concatenate([1.25 * value, -0.25 * value])[order])
    kind = X.indices.dtype
    parts = (np.concatenate(part), np.concatenate(place), indptr.astype(kind))
    return sparse.csr_matrix(parts, shape=X.shape)


@pytest.fixture(scope="module")
def data():
    """A matrix of halves and whole numbers, whose parts sum without rounding."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, P)) < 0.4, rng.integers(-8, 9, (N, P)) / 4.0, 0.0)
    eta = X[:, :3].sum(axis=1) / 3 + 0.3 * rng.standard_normal(N)
    return sparse.csr_matrix(X), eta, rng


def target(name, eta):
    if name in ("poisson", "gamma", "tweedie"):
        return np.round(np.exp(eta)) + (name == "gamma")
    return (eta > 0).astype(int) if "class" in name or "lo" in name[:2] else eta


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("name", CASES)
def test_entries_of_one_place_count_as_their_sum(name, form, data):
    X, eta, rng = data
    y = target(name, eta)
    if "liblinear" in name:
        y = (eta > 0).astype(int)
    own = repeated(X, rng).asformat(form)
    assert not own.has_canonical_format
    before = [part.copy() for part in (own.data, own.indices, own.indptr)]
    model = CASES[name]
    plain = model.fit(X.asformat(form), y).predict(X)
    again = model.fit(own, y)
    np.testing.assert_allclose(again.predict(own), plain, rtol=1e-7, atol=1e-9)
    for part, was in zip((own.data, own.indices, own.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)
