"""BilevelRidgeCV by default: attributes, types, targets, scikit-learn around it."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

N, P = 80, 8
NAMES = [f"x{k}" for k in range(P)]


def make_data(n=N, p=P, t=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + 0.5
    W = np.zeros((p, t or 1))
    W[:3] = rng.standard_normal((3, t or 1)) + 1.0
    y = X @ W + rng.standard_normal((n, t or 1)) + 2.0
    return X, y if t else y[:, 0]


def ridge_at(X, y, alpha, **params):
    """Ridge at strengths per column, through the scale of the columns."""
    kept = np.isfinite(alpha)
    scale = 1.0 / np.sqrt(alpha[kept])
    model = Ridge(alpha=1.0, solver="svd", **params).fit(X[:, kept] * scale, y)
    coef = np.zeros((np.ndim(y) == 2 and y.shape[1]) or 1, dtype=float)
    coef = np.zeros((len(np.atleast_2d(model.coef_)), X.shape[1]))
    coef[:, kept] = np.atleast_2d(model.coef_) * scale
    return (coef if np.ndim(y) == 2 else coef[0]), model.intercept_


def check_is_ridge(model, X, y, rtol=1e-6, **params):
    coef, intercept = ridge_at(X, y, model.alpha_, **params)
    scale = abs(coef).max()
    assert_allclose(model.coef_, coef, rtol=rtol, atol=rtol * scale)
    assert_allclose(model.intercept_, intercept, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("shape", [(N, P), (40, 90)])
@pytest.mark.parametrize("t", [None, 1, 3])
def test_attributes(shape, t):
    X, y = make_data(*shape, t=t)
    model = BilevelRidgeCV().fit(X, y)
    p = shape[1]
    assert model.coef_.shape == ((p,) if t is None else (t, p))
    assert np.shape(model.intercept_) == (() if t is None else (t,))
    assert model.alpha_.shape == (p,)
    assert (model.alpha_ > 0).all()
    assert model.predict(X).shape == y.shape
    assert model.n_features_in_ == p
    assert isinstance(model.best_score_, float)
    assert model.best_score_ < 0
    assert isinstance(model.n_iter_, int)
    assert not hasattr(model, "group_alpha_")
    candidates = model.hyperpenalty_
    assert candidates["family"][0] == "shared"
    # The evidence is not tried where columns outnumber rows.
    tried = {"shared", "elastic_net", "refit"} | (
        {"evidence"} if shape[0] > p else set()
    )
    assert set(candidates["family"]) == tried
    n_candidates = len(candidates["family"])
    for name in ("value", "score", "standard_error", "kept", "weight"):
        assert candidates[name].shape == (n_candidates,)
    assert candidates["alpha"].shape == (n_candidates, p)
    assert_allclose(candidates["weight"].sum(), 1.0)
    assert candidates["kept"][0]
    lengths = {np.shape(each) for each in model.history_.values()}
    assert len(lengths) == 1
    check_is_ridge(model, X, y)
    assert_array_equal(np.isinf(model.alpha_), ~np.atleast_2d(model.coef_).any(axis=0))


@pytest.mark.parametrize("shape", [(N, P), (40, 90)])
def test_without_intercept(shape):
    X, y = make_data(*shape)
    model = BilevelRidgeCV(fit_intercept=False).fit(X, y)
    assert model.intercept_ == 0.0
    coef, _ = ridge_at(X, y, model.alpha_, fit_intercept=False)
    assert_allclose(model.coef_, coef, rtol=1e-6, atol=1e-8)


def test_removed_features_are_exact_zeros():
    X, y = make_data(60, 100)
    model = BilevelRidgeCV(fit_intercept=True, cv=KFold(5)).fit(X, y)
    candidates = model.hyperpenalty_
    nets = candidates["alpha"][candidates["family"] == "elastic_net"]
    assert np.isinf(nets).any()
    assert_array_equal(np.isinf(model.alpha_), model.coef_ == 0.0)


def test_better_than_the_mean():
    X, y = make_data(t=None)
    model = BilevelRidgeCV().fit(X, y)
    assert model.score(X, y) > 0.5
    assert -model.best_score_ < y.var()


def test_groups_of_features():
    X, y = make_data()
    labels = np.array(["b", "b", "a", "a", "c", "c", "c", "a"])
    model = BilevelRidgeCV(feature_groups=labels).fit(X, y)
    assert model.group_labels_.tolist() == ["a", "b", "c"]
    index = np.searchsorted(model.group_labels_, labels)
    assert_array_equal(model.alpha_, model.group_alpha_[index])
    check_is_ridge(model, X, y)
    shared = BilevelRidgeCV(feature_groups="shared").fit(X, y)
    assert shared.group_alpha_.shape == (1,)
    assert_allclose(
        shared.coef_, Ridge(alpha=shared.group_alpha_[0]).fit(X, y).coef_, rtol=1e-8
    )


@pytest.mark.parametrize("cv", ["loo", "gcv", 3, KFold(4), TimeSeriesSplit(4)])
def test_cv(cv):
    X, y = make_data()
    model = BilevelRidgeCV(cv=cv).fit(X, y)
    check_is_ridge(model, X, y)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("shape", [(N, P), (40, 90)])
def test_unpenalized(shape):
    X, y = make_data(*shape)
    y = y + 100.0 * X[:, 2]
    model = BilevelRidgeCV(unpenalized=[2]).fit(X, y)
    assert model.alpha_[2] == 0.0
    assert (np.delete(model.alpha_, 2) > 0).all()
    nearly = np.where(model.alpha_ == 0.0, 1e-9, model.alpha_)
    coef, _ = ridge_at(X, y, nearly)
    assert_allclose(model.coef_, coef, rtol=1e-5, atol=1e-6)
    mask = np.arange(shape[1]) == 2
    for same in (mask, 2, [2 - shape[1]]):
        again = BilevelRidgeCV(unpenalized=same).fit(X, y)
        assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("shape", [(N, P), (40, 90)])
def test_single_precision(shape):
    X, y = make_data(*shape)
    model = BilevelRidgeCV().fit(X.astype(np.float32), y)
    double = BilevelRidgeCV().fit(X.astype(np.float32).astype(float), y)
    assert model.coef_.dtype == np.float32
    assert model.predict(X.astype(np.float32)).dtype == np.float32
    assert_allclose(model.predict(X), double.predict(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "make", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix]
)
@pytest.mark.parametrize("shape", [(N, P), (40, 90)])
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_sparse_is_dense(shape, make):
    X, y = make_data(*shape)
    X[np.random.default_rng(1).random(shape) < 0.5] = 0.0
    dense, model = BilevelRidgeCV().fit(X, y), BilevelRidgeCV().fit(make(X), y)
    # In the dual, quasi-Newton steps amplify rounding.
    tol = 1e-8 if shape[0] > shape[1] else 1e-3
    assert_allclose(model.coef_, dense.coef_, rtol=tol, atol=tol)
    assert_allclose(model.predict(make(X)), dense.predict(X), rtol=tol, atol=10 * tol)


# Targets.


def test_one_set_of_strengths_per_target():
    X, Y = make_data(t=3)
    model = BilevelRidgeCV(alpha_per_target=True).fit(X, Y)
    assert model.alpha_.shape == (3, P)
    assert isinstance(model.history_, list)
    for k in range(3):
        single = BilevelRidgeCV().fit(X, Y[:, k])
        assert_allclose(model.coef_[k], single.coef_, rtol=1e-10)
        assert_allclose(model.alpha_[k], single.alpha_, rtol=1e-10)
    one = BilevelRidgeCV(alpha_per_target=True).fit(X, Y[:, 0])
    assert one.alpha_.shape == (P,)


def test_groups_per_target():
    X, Y = make_data(t=2)
    model = BilevelRidgeCV(alpha_per_target=True, feature_groups=np.arange(P) // 4)
    model.fit(X, Y)
    assert model.group_alpha_.shape == (2, 2)


def test_threads_change_nothing(tmp_path):
    X, Y = make_data(t=3)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    one = BilevelRidgeCV(alpha_per_target=True, n_jobs=1).fit(X, Y)
    two = BilevelRidgeCV(alpha_per_target=True, n_jobs=2).fit(mapped, Y)
    assert_array_equal(one.coef_, two.coef_)
    assert_array_equal(one.alpha_, two.alpha_)
    assert one.best_score_ == two.best_score_


def test_fits_repeat():
    X, y = make_data()
    first, second = BilevelRidgeCV().fit(X, y), BilevelRidgeCV().fit(X, y)
    assert_array_equal(first.coef_, second.coef_)
    assert_array_equal(first.hyperpenalty_["score"], second.hyperpenalty_["score"])
    seeded = BilevelRidgeCV(random_state=5).fit(X, y)
    assert not np.array_equal(seeded.coef_, first.coef_)
    assert_allclose(seeded.coef_, first.coef_, atol=0.1)


def test_explicit_splits_make_weights_repetitions():
    X, y = make_data()
    times = np.random.default_rng(2).integers(0, 3, N)
    index = np.repeat(np.arange(N), times)
    label = np.arange(N) % 4
    cv = [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(4)]
    repeated = [
        (np.flatnonzero(label[index] != k), np.flatnonzero(label[index] == k))
        for k in range(4)
    ]
    a = BilevelRidgeCV(cv=cv).fit(X, y, sample_weight=times)
    b = BilevelRidgeCV(cv=repeated).fit(X[index], y[index])
    assert_allclose(a.coef_, b.coef_, rtol=1e-7, atol=1e-9)
    assert_allclose(a.best_score_, b.best_score_, rtol=1e-7)


# Names, views, copies.


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames(frame):
    if frame is pl.DataFrame and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn 1.7 does not read the column names of polars 2")
    X, y = make_data()
    table = frame(dict(zip(NAMES, X.T, strict=True)))
    model = BilevelRidgeCV(unpenalized=["x2"]).fit(table, y)
    assert model.feature_names_in_.tolist() == NAMES
    assert model.alpha_[2] == 0.0
    plain = BilevelRidgeCV(unpenalized=[2]).fit(X, y)
    assert_allclose(model.predict(table), plain.predict(X), rtol=1e-12)
    assert BilevelRidgeCV(unpenalized="x2").fit(table, y).alpha_[2] == 0.0
    with pytest.raises(ValueError, match=r"columns that X does not have.*nine"):
        BilevelRidgeCV(unpenalized=["nine"]).fit(table, y)
    renamed = frame(dict(zip(NAMES[::-1], X.T, strict=True)))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(renamed)


def test_series_as_target():
    X, y = make_data()
    model = BilevelRidgeCV().fit(X, pd.Series(y, name="y"))
    assert_array_equal(model.coef_, BilevelRidgeCV().fit(X, y).coef_)


def test_clone_pickle_and_html():
    X, y = make_data()
    model = BilevelRidgeCV(feature_groups=np.arange(P) // 2, cv=KFold(3)).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    copy = clone(model)
    assert not hasattr(copy, "coef_")
    assert_array_equal(copy.fit(X, y).coef_, model.coef_)
    assert "BilevelRidgeCV" in model._repr_html_()
    assert "BilevelRidgeCV" in repr(model)


# Scores.


def test_default_score_is_r2():
    X, y = make_data()
    model = BilevelRidgeCV().fit(X, y)
    rest = y - model.predict(X)
    assert_allclose(model.score(X, y), 1 - rest.var() / y.var(), atol=1e-3)
    weight = np.arange(N) % 2
    reference = LinearRegression().fit(X, y)
    reference.coef_, reference.intercept_ = model.coef_, model.intercept_
    expected = reference.score(X, y, sample_weight=weight)
    assert_allclose(model.score(X, y, sample_weight=weight), expected)


def test_scoring_is_used_for_score_and_best_score():
    X, y = make_data()
    plain = BilevelRidgeCV().fit(X, y)
    model = BilevelRidgeCV(scoring="neg_mean_absolute_error").fit(X, y)
    assert_array_equal(model.coef_, plain.coef_)
    assert_allclose(model.score(X, y), -mean_absolute_error(y, model.predict(X)))
    mse = BilevelRidgeCV(scoring="neg_mean_squared_error").fit(X, y)
    # Means of folds of equal size are the mean over rows.
    assert_allclose(mse.best_score_, plain.best_score_, rtol=1e-9)
    assert -np.sqrt(-mse.best_score_) < model.best_score_ < 0


def test_best_score_is_honest():
    """It is about the error on new rows."""
    X, y = make_data(150, 10)
    X_new, y_new = make_data(20_000, 10, seed=1)
    X_new = X_new[:, :10]
    model = BilevelRidgeCV().fit(X, y)
    rng = np.random.default_rng(0)
    rng.standard_normal((150, 10))
    W = np.zeros((10, 1))
    W[:3] = rng.standard_normal((3, 1)) + 1.0
    y_new = X_new @ W[:, 0] + 2.0 + np.random.default_rng(9).standard_normal(len(X_new))
    error = ((model.predict(X_new) - y_new) ** 2).mean()
    assert_allclose(-model.best_score_, error, rtol=0.3)


# Around it: cross-validation, searches, pipelines, routing.


def test_in_place_of_a_grid_search():
    X, y = make_data()
    scores = cross_val_score(make_pipeline(StandardScaler(), BilevelRidgeCV()), X, y)
    assert scores.min() > 0.3
    search = GridSearchCV(BilevelRidgeCV(), {"feature_groups": [None, "shared"]}, cv=3)
    assert search.fit(X, y).best_score_ > 0.3


def test_groups_go_to_the_splitter():
    X, y = make_data()
    groups = np.arange(N) % 9
    model = BilevelRidgeCV(cv=GroupKFold(3)).fit(X, y, groups=groups)
    splits = list(GroupKFold(3).split(X, y, groups))
    explicit = BilevelRidgeCV(cv=splits).fit(X, y, groups=groups)
    check_is_ridge(model, X, y)
    assert_allclose(model.best_score_, explicit.best_score_, rtol=0.1)
    without = BilevelRidgeCV().fit(X, y, groups=groups)
    check_is_ridge(without, X, y)


def test_metadata_routing():
    X, y = make_data()
    groups, weight = np.arange(N) % 9, np.ones(N)
    plain = BilevelRidgeCV(cv=GroupKFold(3)).fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        model = BilevelRidgeCV(cv=GroupKFold(3).set_split_request(groups=True))
        assert_array_equal(model.fit(X, y, groups=groups).coef_, plain.coef_)
        splitter = GroupKFold(3).set_split_request(groups=True)
        inside = BilevelRidgeCV(cv=splitter).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, inside)
        pipe.fit(X, y, groups=groups, sample_weight=weight)
        assert pipe[-1].coef_.shape == (P,)
        scores = cross_val_score(
            BilevelRidgeCV(cv=GroupKFold(2).set_split_request(groups=True)),
            X,
            y,
            cv=GroupKFold(3),
            params={"groups": groups},
        )
        assert scores.shape == (3,)
        with pytest.raises(TypeError, match="colour"):
            BilevelRidgeCV().fit(X, y, colour=groups)


def test_metadata_routing_to_the_scorer():
    from sklearn.metrics import get_scorer

    X, y = make_data()
    weight = np.random.default_rng(0).uniform(0.1, 2.0, N)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer("r2").set_score_request(sample_weight=True)
        model = BilevelRidgeCV(scoring=scorer).set_fit_request(sample_weight=True)
        model.fit(X, y, sample_weight=weight)
        score = model.score(X, y, sample_weight=weight)
    reference = LinearRegression().fit(X, y)
    reference.coef_, reference.intercept_ = model.coef_, model.intercept_
    assert_allclose(score, reference.score(X, y, sample_weight=weight))
    assert np.isfinite(model.best_score_)


def test_a_splitter_with_a_seed_is_used_twice():
    X, y = make_data()
    cv = ShuffleSplit(3, random_state=0)
    model = BilevelRidgeCV(cv=cv).fit(X, y)
    again = BilevelRidgeCV(cv=ShuffleSplit(3, random_state=0)).fit(X, y)
    assert_array_equal(model.coef_, again.coef_)
    assert cv.random_state == 0


def test_fit_overwrites():
    X, y = make_data()
    model = BilevelRidgeCV(feature_groups="shared").fit(X, y)
    model.set_params(feature_groups=None).fit(X[:, :5], y)
    assert model.n_features_in_ == 5
    assert model.coef_.shape == (5,)
    assert not hasattr(model, "group_alpha_")
