"""FractionalSparseRegressor: exactly k features, in every container."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, OrthogonalMatchingPursuit
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut
from sklearn.pipeline import make_pipeline

from skbilevel import BilevelRidgeCV, FractionalSparseRegressor
from skbilevel.exceptions import DataWarning
from skbilevel.fractional._selection import METHODS


def make_data(n=60, p=20, k=4, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.exp(rng.standard_normal(p))
    y = (X[:, :k] / X[:, :k].std(axis=0)).sum(axis=1) + 2.0
    return X, y + noise * rng.standard_normal(n)


@pytest.mark.parametrize("method", ["auto", "lasso", "omp", "pcd"])
def test_exactly_k_and_the_right_ones(method):
    X, y = make_data()
    model = FractionalSparseRegressor(4, method=method).fit(X, y)
    assert model.get_support(indices=True).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(model.coef_).tolist() == [0, 1, 2, 3]
    assert model.n_features_ == 4
    assert model.method_ == ("exchange" if method == "auto" else method)
    assert np.isfinite(model.objective_) == (model.method_ == "pcd")
    assert model.score(X, y) > 0.9


def test_coefficients_are_those_of_the_model_on_the_features():
    X, y = make_data()
    model = FractionalSparseRegressor(3).fit(X, y)
    plain = BilevelRidgeCV().fit(X[:, model.support_], y)
    np.testing.assert_allclose(model.coef_[model.support_], plain.coef_)
    np.testing.assert_allclose(model.predict(X), plain.predict(X[:, model.support_]))
    np.testing.assert_allclose(model.transform(X), X[:, model.support_])


def test_k_is_chosen():
    X, y = make_data(n=120, noise=0.3)
    model = FractionalSparseRegressor().fit(X, y)
    assert 4 <= model.n_features_ <= 9
    assert model.support_[:4].all()
    scores = model.candidates_["score"]
    assert set(model.candidates_["method"]) == set(METHODS)
    chosen = (model.candidates_["n_features"] == model.n_features_) & (
        model.candidates_["method"] == model.method_
    )
    assert scores[chosen][0] == pytest.approx(scores.max(), rel=1e-8)


def correlated(seed, n=100, p=200, k=8, rho=0.7, snr=4.0):
    """The setting of the literature where greedy searches fail, at half its size."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, k, replace=False)] = rng.choice([-1, 1], k) * (1 + rng.random(k))
    sigma = rho ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    signal = coef @ sigma @ coef
    y = X @ coef + np.sqrt(signal / snr) * rng.standard_normal(n)
    return X, y, lambda w: (w - coef) @ sigma @ (w - coef) / signal


def test_no_worse_than_its_peers_where_columns_are_correlated():
    """Mean excess errors of five seeds; the peers are fitted anew on k features."""
    ours, peers = [], []
    for seed in range(5):
        X, y, excess = correlated(seed)
        ours.append(excess(FractionalSparseRegressor(8).fit(X, y).coef_))
        lasso = np.argsort(-np.abs(LassoCV().fit(X, y).coef_))[:8]
        omp = OrthogonalMatchingPursuit(n_nonzero_coefs=8).fit(X, y).coef_.nonzero()[0]
        each = []
        for support in (lasso, omp):
            coef = np.zeros(X.shape[1])
            coef[support] = np.linalg.lstsq(X[:, support], y)[0]
            each.append(excess(coef))
        peers.append(each)
    assert np.mean(ours) <= 1.05 * np.mean(peers, axis=0).min()


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_is_dense(kind):
    X, y = make_data()
    X[np.abs(X) < 0.3] = 0.0
    model = FractionalSparseRegressor(3)
    dense = model.fit(X, y).coef_
    np.testing.assert_allclose(clone(model).fit(kind(X), y).coef_, dense, atol=1e-5)


def test_weights_are_rows():
    X, y = make_data(n=40)
    times = np.arange(40) % 3
    again = np.repeat(np.arange(40), times)
    folds = np.arange(40) % 4
    cv = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)]
    repeated = [tuple(np.flatnonzero(np.isin(again, s)) for s in pair) for pair in cv]
    a = FractionalSparseRegressor(cv=cv).fit(X, y, sample_weight=times)
    b = FractionalSparseRegressor(cv=repeated).fit(X[again], y[again])
    assert a.method_ == b.method_
    np.testing.assert_allclose(a.candidates_["score"], b.candidates_["score"])
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-5, atol=1e-8)


def test_units_of_columns_do_not_matter():
    X, y = make_data()
    factor = 10.0 ** np.arange(-10, 10)
    plain = FractionalSparseRegressor(3).fit(X, y)
    other = FractionalSparseRegressor(3).fit(X * factor, 1e6 * y)
    assert (plain.support_ == other.support_).all()
    shifted = FractionalSparseRegressor(3).fit(X + 1e5, y)
    assert (plain.support_ == shifted.support_).all()


def test_names_single_precision_and_output():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = FractionalSparseRegressor(2).fit(X, y)
    assert model.get_feature_names_out().tolist() == ["bmi", "s5"]
    shown = model.set_output(transform="pandas").transform(X)
    assert isinstance(shown, pd.DataFrame)
    single = FractionalSparseRegressor(2).fit(X.to_numpy(np.float32), y)
    assert single.coef_.dtype == np.float32
    pipe = make_pipeline(FractionalSparseRegressor(2), BilevelRidgeCV()).fit(X, y)
    assert pipe[-1].n_features_in_ == 2


def test_cv_of_every_kind():
    X, y = make_data()
    folds = list(KFold(3).split(X))
    by_splitter = FractionalSparseRegressor(cv=KFold(3)).fit(X, y)
    for cv in (folds, (pair for pair in folds)):
        by_list = FractionalSparseRegressor(cv=cv).fit(X, y)
        np.testing.assert_allclose(
            by_list.candidates_["score"], by_splitter.candidates_["score"]
        )
    groups = np.arange(60) // 2
    for cv in (3, GroupKFold(3)):
        model = FractionalSparseRegressor(cv=cv).fit(X, y, groups=groups)
        assert model.support_.any()
    with pytest.raises(ValueError, match="cv=LeaveOneOut"):
        FractionalSparseRegressor(cv=LeaveOneOut()).fit(X, y)
    with pytest.raises(ValueError, match="cv=100 folds"):
        FractionalSparseRegressor(cv=100).fit(X, y)


def test_a_seed_is_a_choice_of_folds():
    X, y = make_data()
    scores = [
        FractionalSparseRegressor(random_state=seed).fit(X, y).candidates_["score"]
        for seed in (None, 0, 1)
    ]
    assert (scores[0][:3] == scores[1][:3]).all()
    assert (scores[0][:3] != scores[2][:3]).any()
    FractionalSparseRegressor(3, random_state=np.random.RandomState(0)).fit(X, y)


@pytest.mark.parametrize("method", ["auto", "pcd"])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_target(value, method):
    X, _ = make_data()
    model = FractionalSparseRegressor(3, method=method)
    with pytest.warns(DataWarning, match="y is the same in all rows"):
        model.fit(X, np.full(60, value))
    assert not model.coef_.any()
    assert model.intercept_ == value
    assert model.support_.sum() == 3


@pytest.mark.parametrize("method", ["lasso", "omp", "pcd"])
def test_all_features_and_more(method):
    X, y = make_data(p=5)
    model = FractionalSparseRegressor(5, method=method).fit(X, y)
    assert model.support_.all()
    assert np.isnan(model.candidates_["score"]).all()
    with pytest.warns(DataWarning, match="n_features_to_select=9"):
        again = FractionalSparseRegressor(9, method=method).fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    alone = FractionalSparseRegressor(method=method).fit(X[:, :1], y)
    assert alone.support_.tolist() == [True]


# The ratio alone counts two that are the same as two.
@pytest.mark.parametrize("method", ["lasso", "omp", "auto"])
def test_columns_that_are_there_twice_and_constant_ones(method):
    X, y = make_data(p=8)
    X = np.column_stack([X, X[:, :4], np.ones(60), np.zeros(60)])
    model = FractionalSparseRegressor(4, method=method).fit(X, y)
    first = {i % 8 for i in model.get_support(indices=True)}
    assert first == {0, 1, 2, 3}
    more = FractionalSparseRegressor(12, method=method).fit(X, y)
    assert more.support_.sum() == 12
    assert not more.support_[12:].any()
    most = FractionalSparseRegressor(13, method=method).fit(X, y)
    assert most.support_.sum() == 13
    assert not most.coef_[12:].any()


def test_two_rows_and_a_constant_column_where_k_is_chosen():
    X, y = make_data(p=8)
    Z = np.column_stack([X, np.ones(60)])
    model, plain = (FractionalSparseRegressor().fit(each, y) for each in (Z, X))
    np.testing.assert_array_equal(model.support_[:8], plain.support_)
    assert np.isfinite(FractionalSparseRegressor().fit(X[:2], y[:2]).coef_).all()


def test_the_ratio_does_not_run_away_along_a_constant_column():
    X, y = make_data(p=8)
    for nothing in (0.0, 1.0, 1e6):
        Z = np.column_stack([X, np.full(60, nothing)])
        model = FractionalSparseRegressor(4, method="pcd").fit(Z, y)
        thin = FractionalSparseRegressor(4, method="pcd").fit(sparse.csr_array(Z), y)
        assert np.flatnonzero(model.coef_).tolist() == [0, 1, 2, 3]
        assert (thin.support_ == model.support_).all()


@pytest.mark.parametrize("method", ["lasso", "omp", "pcd"])
def test_more_features_than_rows(method):
    X, y = make_data(n=25, p=60)
    model = FractionalSparseRegressor(40, method=method, max_iter=20_000).fit(X, y)
    assert model.support_.sum() == 40
    assert np.isfinite(model.coef_).all()


def test_an_exact_fit():
    X, y = make_data(noise=0.0)
    for method in ("lasso", "omp", "pcd"):
        model = FractionalSparseRegressor(4, method=method).fit(X, y)
        assert model.support_[:4].all()
        six = FractionalSparseRegressor(6, method=method).fit(X, y)
        assert six.support_.sum() == 6


def test_without_an_intercept():
    X, y = make_data()
    model = FractionalSparseRegressor(4, fit_intercept=False).fit(X, y - 2.0)
    assert model.intercept_ == 0.0
    assert model.support_[:4].all()


def test_few_steps_are_told():
    X, y = make_data()
    with pytest.warns(ConvergenceWarning, match="max_iter=1 steps"):
        FractionalSparseRegressor(6, method="pcd", max_iter=1, tol=1e-12).fit(X, y)


BAD = {
    "none": ({"n_features_to_select": 0}, "n_features_to_select"),
    "half": ({"n_features_to_select": 0.5}, "n_features_to_select"),
    "alpha": ({"alpha": 0.0}, "alpha"),
    "method": ({"method": "boosting"}, "method"),
    "tol": ({"tol": 0.0}, "tol"),
    "steps": ({"max_iter": 0}, "max_iter"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters(case):
    change, name = BAD[case]
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        FractionalSparseRegressor(**change).fit(*make_data())


def test_bad_data():
    X, y = make_data()
    with pytest.raises(ValueError, match="y should be a 1d array"):
        FractionalSparseRegressor().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="2 rows of positive weight"):
        FractionalSparseRegressor().fit(X, y, sample_weight=np.eye(60)[0])
    with pytest.raises(TypeError, match="l1_ratio"):
        FractionalSparseRegressor(l1_ratio=0.5)


class Interrupted(KFold):
    """Folds of five columns take too long."""

    def split(self, X, y=None, groups=None):
        if X.shape[1] == 5:
            raise KeyboardInterrupt
        return super().split(X, y, groups)


def test_an_interrupted_fit_leaves_the_model_that_was_there():
    X, y = load_diabetes(return_X_y=True)
    model = FractionalSparseRegressor(3, cv=Interrupted(5)).fit(X, y)
    before = {name: pickle.dumps(value) for name, value in vars(model).items()}
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :5], -y)
    after = {name: pickle.dumps(value) for name, value in vars(model).items()}
    assert after == before


def test_the_strength_of_a_ratio_that_nobody_minimizes_is_refused():
    for method in ("lasso", "omp", "exchange"):
        with pytest.raises(
            ValueError, match=r"alpha=0\.2 is the strength of the ratio"
        ):
            FractionalSparseRegressor(2, method=method, alpha=0.2).fit(
                np.eye(9), np.ones(9)
            )


def test_targets_may_have_any_unit():
    X, y = make_data(n=60, p=8)
    plain = FractionalSparseRegressor(3).fit(X, y)
    for unit in (2.0**600, 2.0**-400):
        model = FractionalSparseRegressor(3).fit(X, y * unit)
        assert (model.support_ == plain.support_).all()
        np.testing.assert_allclose(model.coef_ / unit, plain.coef_, rtol=1e-6)
