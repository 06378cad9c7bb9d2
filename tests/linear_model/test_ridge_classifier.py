"""BilevelRidgeClassifierCV: ridge on class indicators, as RidgeClassifierCV is."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeClassifierCV, BilevelRidgeCV


def make_data(n_classes=2, n=120, p=10, weights=None):
    X, y = make_classification(
        n,
        p,
        n_informative=4,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=weights,
        random_state=0,
    )
    return StandardScaler().fit_transform(X), y


def test_two_classes():
    X, y = make_data()
    model = BilevelRidgeClassifierCV().fit(X, y)
    assert model.classes_.tolist() == [0, 1]
    assert model.coef_.shape == (1, 10)
    assert model.intercept_.shape == (1,)
    assert model.alpha_.shape == (10,)
    scores = model.decision_function(X)
    assert scores.shape == (len(X),)
    assert_array_equal(model.predict(X), (scores > 0).astype(int))
    assert_allclose(scores, X @ model.coef_[0] + model.intercept_[0])


def test_several_classes():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = BilevelRidgeClassifierCV().fit(X, y)
    assert model.coef_.shape == (3, 4)
    assert model.intercept_.shape == (3,)
    scores = model.decision_function(X)
    assert scores.shape == (len(X), 3)
    assert_array_equal(model.predict(X), scores.argmax(axis=1))
    assert model.score(X, y) > 0.8
    assert model.alpha_.shape == (4,)


def test_it_is_ridge_on_indicators():
    X, y = make_data(3)
    indicators = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    model = BilevelRidgeClassifierCV().fit(X, y)
    regression = BilevelRidgeCV().fit(X, indicators)
    assert_array_equal(model.coef_, regression.coef_)
    assert_array_equal(model.alpha_, regression.alpha_)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_as_accurate_as_ridge_classifier_cv(n_classes):
    X, y = make_data(n_classes, 200)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    ours = cross_val_score(BilevelRidgeClassifierCV(), X, y, cv=cv)
    theirs = RidgeClassifierCV(np.logspace(-3, 5, 41))
    assert ours.mean() > cross_val_score(theirs, X, y, cv=cv).mean() - 0.03


@pytest.mark.parametrize(
    "labels", [["no", "yes"], ["a", "b", "c"], [-1, 1], [2.0, 5.0]]
)
@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_labels_of_any_type(labels, kind):
    X, codes = make_data(len(labels))
    y = np.array(labels)[codes]
    model = BilevelRidgeClassifierCV().fit(X, kind(y))
    plain = BilevelRidgeClassifierCV().fit(X, codes)
    assert model.classes_.tolist() == sorted(labels)
    assert_array_equal(model.coef_, plain.coef_)
    assert_array_equal(model.predict(X), np.array(labels)[plain.predict(X)])


def test_class_weight_is_sample_weight():
    X, y = make_data(weights=[0.85])
    weight = np.where(y == 1, 5.0, 1.0)
    a = BilevelRidgeClassifierCV(class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    b = BilevelRidgeClassifierCV().fit(X, y, sample_weight=weight)
    assert_allclose(a.coef_, b.coef_, rtol=1e-10)
    balanced = BilevelRidgeClassifierCV(class_weight="balanced").fit(X, y)
    plain = BilevelRidgeClassifierCV().fit(X, y)
    scores = [balanced_accuracy_score(y, m.predict(X)) for m in (balanced, plain)]
    assert scores[0] > scores[1]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_sparse_is_dense(n_classes):
    X, y = make_data(n_classes)
    X[np.random.default_rng(0).random(X.shape) < 0.4] = 0.0
    dense = BilevelRidgeClassifierCV().fit(X, y)
    model = BilevelRidgeClassifierCV().fit(sparse.csr_array(X), y)
    assert_allclose(model.coef_, dense.coef_, rtol=1e-7, atol=1e-9)
    given = sparse.csr_array(X)
    assert_array_equal(model.predict(given), dense.predict(X))


def test_scoring():
    X, y = make_data()
    model = BilevelRidgeClassifierCV().fit(X, y)
    assert_allclose(model.score(X, y), (model.predict(X) == y).mean())
    auc = BilevelRidgeClassifierCV(scoring="roc_auc").fit(X, y)
    assert_array_equal(auc.coef_, model.coef_)
    assert_allclose(auc.score(X, y), roc_auc_score(y, auc.decision_function(X)))
    assert 0.5 < auc.best_score_ <= 1.0
    accuracy = BilevelRidgeClassifierCV(scoring="accuracy").fit(X, y)
    assert 0.5 < accuracy.best_score_ <= 1.0


def test_groups_of_features_and_unpenalized():
    X, y = make_data(3)
    model = BilevelRidgeClassifierCV(feature_groups=np.arange(10) // 5)
    assert model.fit(X, y).group_alpha_.shape == (2,)
    free = BilevelRidgeClassifierCV(unpenalized=[0]).fit(X, y)
    assert free.alpha_[0] == 0.0


def test_groups_and_routing():
    X, y = make_data()
    groups = np.arange(len(y)) % 8
    model = BilevelRidgeClassifierCV(cv=GroupKFold(3)).fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = BilevelRidgeClassifierCV(
            cv=GroupKFold(3).set_split_request(groups=True)
        )
        assert_array_equal(routed.fit(X, y, groups=groups).coef_, model.coef_)


def test_around_it():
    X, y = make_data()
    model = BilevelRidgeClassifierCV().fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    assert_array_equal(clone(model).fit(X, y).coef_, model.coef_)
    assert "BilevelRidgeClassifierCV" in model._repr_html_()
    grid = {"class_weight": [None, "balanced"]}
    assert (
        GridSearchCV(BilevelRidgeClassifierCV(), grid, cv=3).fit(X, y).best_score_ > 0.5
    )


def test_single_precision():
    X, y = make_data()
    model = BilevelRidgeClassifierCV().fit(X.astype(np.float32), y)
    assert model.coef_.dtype == np.float32
    assert model.decision_function(X.astype(np.float32)).dtype == np.float32


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_folds_without_a_class():
    X, y = make_data(3, 60)
    y[y == 2] = 1
    y[:1] = 2
    model = BilevelRidgeClassifierCV().fit(X, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(model.coef_).all()
