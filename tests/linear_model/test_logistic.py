"""BilevelLogisticCV: logistic regression, binary and multinomial."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelLogisticCV

N, P = 90, 6


def make_data(n_classes=2, n=N, p=P, **params):
    X, y = make_classification(
        n,
        p,
        n_informative=3,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        flip_y=0.15,
        random_state=0,
        **params,
    )
    return StandardScaler().fit_transform(X), y


def given(C, X, y, sample_weight=None, **params):
    """LogisticRegression with one strength per feature: columns are scaled."""
    root = np.sqrt(C)
    model = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000, **params)
    model.fit(X * root, y, sample_weight=sample_weight)
    return model.coef_ * root, model.intercept_


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request):
    X, y = make_data(request.param)
    return X, y, BilevelLogisticCV().fit(X, y)


def test_shapes(fitted):
    X, y, model = fitted
    k = len(np.unique(y))
    rows = 1 if k == 2 else k
    assert model.coef_.shape == (rows, P)
    assert model.intercept_.shape == (rows,)
    assert model.alpha_.shape == model.C_.shape == (P,)
    assert model.decision_function(X).shape == ((len(X),) if k == 2 else (len(X), k))
    assert model.predict_proba(X).shape == (len(X), k)
    assert_allclose(model.C_ * model.alpha_, 1.0)


def test_coefficients_are_those_of_logistic_regression(fitted):
    X, y, model = fitted
    coef, intercept = given(model.C_, X, y)
    assert_allclose(model.coef_, coef, atol=1e-5)
    assert_allclose(model.intercept_, intercept, atol=1e-5)
    assert len(model.intercept_) == 1 or abs(model.intercept_.sum()) < 1e-12


def test_predictions_agree(fitted):
    X, y, model = fitted
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-14)
    assert_allclose(np.log(proba), model.predict_log_proba(X))
    assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    assert_allclose(model.score(X, y), (model.predict(X) == y).mean())
    scores = model.decision_function(X)
    expected = proba[:, 1] > 0.5 if scores.ndim == 1 else proba.argmax(axis=1)
    assert_array_equal(model.predict(X), expected)


def test_extreme_rows_do_not_overflow(fitted):
    X, _, model = fitted
    far = 1e200 * np.sign(X[:5])
    proba = model.predict_proba(far)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert np.isin(proba, [0.0, 1.0]).all()
    assert np.isfinite(model.predict_log_proba(far)).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_one_given_strength(n_classes, hyperpenalty):
    X, y = make_data(n_classes)
    model = BilevelLogisticCV(alpha_bounds=(2.0, 2.0), hyperpenalty=hyperpenalty)
    model.fit(X, y)
    assert_allclose(model.C_, 0.5)
    assert_allclose(model.coef_, given(np.full(P, 0.5), X, y)[0], atol=1e-6)


def test_breast_cancer_is_no_worse_than_a_grid():
    X, y = load_breast_cancer(return_X_y=True)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    ours = make_pipeline(StandardScaler(), BilevelLogisticCV())
    grid = GridSearchCV(
        LogisticRegression(), {"C": np.logspace(-3, 3, 9)}, scoring="neg_log_loss"
    )
    theirs = make_pipeline(StandardScaler(), grid)
    a, b = (
        cross_val_score(m, X, y, cv=cv, scoring="neg_log_loss").mean()
        for m in (ours, theirs)
    )
    assert -a < -b + 0.01


def test_it_learns_which_features_matter():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 12))
    y = X[:, 0] * 1.5 - X[:, 1] + rng.logistic(size=400) > 0
    model = BilevelLogisticCV().fit(X, y)
    assert model.alpha_[:2].max() < np.median(model.alpha_[2:])


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], ["a", "b", "c"], [-1, 1], [2.0, 5.0], [False, True], [7, 3, 5]],
)
@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series, "object"])
def test_labels_of_any_type(labels, kind):
    X, codes = make_data(len(labels), n=60)
    y = np.array(sorted(labels))[codes]
    y = y.astype(object) if kind == "object" else kind(y)
    if kind == "object" and not isinstance(labels[0], str):
        pytest.skip("scikit-learn knows objects that are strings only")
    params = {"hyperpenalty": None, "feature_groups": "shared"}
    model = BilevelLogisticCV(**params).fit(X, y)
    plain = BilevelLogisticCV(**params).fit(X, codes)
    assert model.classes_.tolist() == sorted(labels)
    assert_array_equal(model.coef_, plain.coef_)
    assert_array_equal(model.predict(X), np.array(sorted(labels))[plain.predict(X)])


def test_categories():
    X, codes = make_data(3, n=60)
    y = pd.Series(np.array(["low", "mid", "top"])[codes], dtype="category")
    model = BilevelLogisticCV(feature_groups="shared").fit(X, y)
    assert model.classes_.tolist() == ["low", "mid", "top"]


# Well-posed: a hundred steps between flat minima would enlarge rounding.
SMOOTH = {"hyperpenalty": ("smooth", 0.1), "tol": 1e-8}

# Weights.


@pytest.mark.parametrize(
    ("n_classes", "params"),
    [(2, {}), (3, {}), (2, SMOOTH), (3, SMOOTH), (2, {"hyperpenalty": None})],
    ids=str,
)
def test_explicit_splits_make_weights_repetitions(n_classes, params):
    X, y = make_data(n_classes)
    times = np.random.default_rng(2).integers(0, 3, N)
    index = np.repeat(np.arange(N), times)
    label = np.arange(N) % 3
    cv = [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(3)]
    repeated = [
        (np.flatnonzero(label[index] != k), np.flatnonzero(label[index] == k))
        for k in range(3)
    ]
    a = BilevelLogisticCV(cv=cv, **params).fit(X, y, sample_weight=times)
    b = BilevelLogisticCV(cv=repeated, **params).fit(X[index], y[index])
    assert_allclose(a.coef_, b.coef_, rtol=1e-5, atol=1e-6)
    assert_allclose(a.best_score_, b.best_score_, rtol=1e-6)


def test_class_weight_is_sample_weight():
    X, y = make_data(weights=[0.8])
    weight = np.where(y == 1, 5.0, 1.0)
    a = BilevelLogisticCV(class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    b = BilevelLogisticCV().fit(X, y, sample_weight=weight)
    assert_array_equal(a.coef_, b.coef_)
    balanced = BilevelLogisticCV(class_weight="balanced").fit(X, y)
    weight = len(y) / (2.0 * np.bincount(y))[y]
    c = BilevelLogisticCV().fit(X, y, sample_weight=weight)
    assert_allclose(balanced.coef_, c.coef_, rtol=1e-9)
    coef, _ = given(balanced.C_, X, y, class_weight="balanced")
    assert_allclose(balanced.coef_, coef, atol=1e-5)


def test_rows_without_weight_are_not_there():
    X, y = make_data(3)
    weight = (y != 2).astype(float)
    model = BilevelLogisticCV().fit(X, y, sample_weight=weight)
    assert model.classes_.tolist() == [0, 1]
    # The folds are drawn among the rows that have a weight.
    assert_allclose(
        model.coef_, BilevelLogisticCV().fit(X[y != 2], y[y != 2]).coef_, atol=1e-8
    )


# Parameters.


@pytest.mark.parametrize("outer_loss", ["log_loss", "brier", "zero_one", "hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_outer_losses(outer_loss, n_classes, hyperpenalty):
    X, y = make_data(n_classes, n=60)
    model = BilevelLogisticCV(
        outer_loss=outer_loss,
        hyperpenalty=hyperpenalty,
        feature_groups=[0, 0, 0, 1, 1, 1],
        cv=3,
    ).fit(X, y)
    assert_allclose(model.coef_, given(model.C_, X, y)[0], atol=1e-4)
    assert -4.0 < model.best_score_ < 0.0


def test_the_outer_loss_is_what_is_reported():
    X, y = make_data(3)
    cv = StratifiedKFold(3)
    loss = BilevelLogisticCV(cv=cv, scoring="neg_log_loss").fit(X, y)
    plain = BilevelLogisticCV(cv=cv).fit(X, y)
    assert_array_equal(loss.coef_, plain.coef_)
    assert_allclose(loss.best_score_, plain.best_score_, rtol=1e-6)
    X, y = make_data(2)
    brier = BilevelLogisticCV(cv=cv, outer_loss="brier")
    score = brier.fit(X, y).best_score_
    brier.set_params(scoring="neg_brier_score").fit(X, y)
    assert_allclose(brier.best_score_, score, rtol=1e-6)


def test_scoring_is_that_of_the_user():
    X, y = make_data()
    model = BilevelLogisticCV(scoring="roc_auc").fit(X, y)
    assert_allclose(model.score(X, y), roc_auc_score(y, model.decision_function(X)))
    assert 0.5 < model.best_score_ <= 1.0


def test_leave_one_out():
    X, y = make_data()
    params = {"hyperpenalty": None, "feature_groups": "shared", "cv": "loo"}
    model = BilevelLogisticCV(**params, scoring="neg_log_loss").fit(X, y)
    rest = []
    for i in range(N):
        keep = np.arange(N) != i
        coef, intercept = given(model.C_, X[keep], y[keep])
        eta = float(X[i] @ coef[0] + intercept[0])
        rest.append(np.logaddexp(0.0, -eta if y[i] else eta))
    assert_allclose(-model.best_score_, np.mean(rest), rtol=5e-3)


def test_groups_of_features_and_unpenalized():
    X, y = make_data(3)
    model = BilevelLogisticCV(feature_groups=np.arange(P) // 3).fit(X, y)
    assert model.group_alpha_.shape == (2,)
    free = BilevelLogisticCV(unpenalized=[0]).fit(X, y)
    assert free.alpha_[0] == 0.0
    assert free.C_[0] == np.inf
    # Softmax does not determine what all classes share.
    assert abs(free.coef_[:, 0].sum()) < 1e-12
    rest = free.predict_proba(X) - np.eye(3)[y]
    assert_allclose(X.T @ rest, -free.alpha_[:, None] * free.coef_.T, atol=1e-4)
    assert_allclose(rest.sum(axis=0), 0.0, atol=1e-4)


def test_no_intercept():
    X, y = make_data(3)
    model = BilevelLogisticCV(fit_intercept=False).fit(X, y)
    assert_array_equal(model.intercept_, np.zeros(3))
    coef, _ = given(model.C_, X, y, fit_intercept=False)
    assert_allclose(model.coef_, coef, atol=1e-5)


@pytest.mark.parametrize("metadata", [np.arange(P)[:, None], "spread"])
def test_metadata_of_features(metadata):
    X, y = make_data()

    def spread(X, y, sample_weight):
        assert set(np.unique(y)) == {0.0, 1.0}
        return X.std(axis=0)[:, None]

    given = spread if isinstance(metadata, str) else metadata
    model = BilevelLogisticCV(feature_metadata=given).fit(X, y)
    assert "metadata" in model.hyperpenalty_["family"]


# Containers.


@pytest.mark.parametrize("n_classes", [2, 3])
def test_sparse_is_dense(n_classes):
    X, y = make_data(n_classes)
    X[np.random.default_rng(0).random(X.shape) < 0.4] = 0.0
    dense = BilevelLogisticCV().fit(X, y)
    for make in (sparse.csr_array, sparse.csc_matrix):
        model = BilevelLogisticCV().fit(make(X), y)
        assert_allclose(model.coef_, dense.coef_, rtol=1e-6, atol=1e-7)
        assert_array_equal(model.predict(make(X)), dense.predict(X))


def test_frames():
    X, y = make_data()
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(P)])
    model = BilevelLogisticCV(unpenalized=["x2"]).fit(table, pd.Series(y))
    assert model.feature_names_in_.tolist() == list(table)
    assert model.alpha_[2] == 0.0
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(table[table.columns[::-1]])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_single_precision(n_classes):
    X, y = make_data(n_classes)
    single = X.astype(np.float32)
    model = BilevelLogisticCV().fit(single, y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.predict_proba(single).dtype == np.float32
    assert model.alpha_.dtype == np.float64
    double = BilevelLogisticCV().fit(single.astype(float), y)
    assert_allclose(model.coef_, double.coef_, rtol=1e-5, atol=1e-6)


def test_around_it():
    X, y = load_wine(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), BilevelLogisticCV(cv=3)).fit(X, y)
    again = pickle.loads(pickle.dumps(pipe))
    assert_array_equal(again.predict_proba(X), pipe.predict_proba(X))
    model = pipe[-1]
    assert not hasattr(model, "set_output")
    assert not hasattr(clone(model), "coef_")
    assert "BilevelLogisticCV" in model._repr_html_()
    assert log_loss(y, pipe.predict_proba(X)) < 0.1
    before = pipe.get_params()["bilevellogisticcv__cv"]
    assert before == 3


def test_fits_repeat_and_overwrite():
    X, y = make_data()
    model = BilevelLogisticCV(feature_groups="shared").fit(X, y)
    model.set_params(feature_groups=None).fit(X[:, :4], y)
    assert not hasattr(model, "group_alpha_")
    assert_array_equal(model.coef_, BilevelLogisticCV().fit(X[:, :4], y).coef_)


# Groups of rows and metadata routing.


def test_groups_and_routing():
    X, y = make_data()
    groups, weight = np.arange(N) % 8, 1.0 + np.arange(N) % 2
    params = {"feature_groups": "shared", "scoring": "neg_log_loss"}
    model = BilevelLogisticCV(cv=GroupKFold(3), **params)
    model.fit(X, y, sample_weight=weight, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        splitter = GroupKFold(3).set_split_request(groups=True)
        routed = BilevelLogisticCV(cv=splitter, **{**params, "scoring": scorer})
        routed.set_fit_request(sample_weight=True)
        scaler = StandardScaler(with_mean=False, with_std=False)
        pipe = make_pipeline(scaler.set_fit_request(sample_weight=False), routed)
        pipe.fit(X, y, sample_weight=weight, groups=groups)
        assert_array_equal(pipe[-1].coef_, model.coef_)
        assert pipe[-1].best_score_ == model.best_score_
        with pytest.raises(TypeError, match="colour"):
            BilevelLogisticCV().fit(X, y, colour=groups)
    with pytest.raises(ValueError, match="metadata routing"):
        BilevelLogisticCV().fit(X, y, colour=groups)


def test_a_splitter_is_used_as_it_is():
    X, y = make_data()
    folds = BilevelLogisticCV(cv=KFold(3), hyperpenalty=None).fit(X, y)
    splits = BilevelLogisticCV(cv=list(KFold(3).split(X)), hyperpenalty=None).fit(X, y)
    assert_array_equal(folds.coef_, splits.coef_)
