"""Rows with several labels: an indicator matrix as y, as in RidgeClassifierCV."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skbilevel import (
    BilevelLogisticCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    to_sklearn,
)

KINDS = pytest.mark.parametrize(
    "kind",
    [np.asarray, sparse.csr_matrix, sparse.csc_array, lambda Y: Y.astype(bool), list],
    ids=["array", "csr_matrix", "csc_array", "bool", "list"],
)


def make_data(n_labels=3):
    X, Y = make_multilabel_classification(80, 6, n_classes=n_labels, random_state=0)
    return StandardScaler().fit_transform(X), Y


@KINDS
@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None, "cv": "loo"}], ids=str)
def test_it_is_ridge_on_every_label(kind, n_labels, params):
    X, Y = make_data(n_labels)
    model = BilevelRidgeClassifierCV(**params).fit(X, kind(Y))
    regression = BilevelRidgeCV(**params).fit(X, 2.0 * Y - 1.0)
    assert_array_equal(model.coef_, regression.coef_)
    assert_array_equal(model.alpha_, regression.alpha_)
    assert model.classes_.tolist() == list(range(n_labels))
    assert_array_equal(model.decision_function(X), regression.predict(X))
    theirs = RidgeClassifierCV().fit(X, kind(Y)).predict(X)
    for own in (model, pickle.loads(pickle.dumps(model)), to_sklearn(model)):
        predicted = own.predict(X)
        assert type(predicted) is type(theirs)
        assert predicted.dtype == theirs.dtype
        predicted = predicted.toarray() if sparse.issparse(predicted) else predicted
        assert_array_equal(predicted, regression.predict(X) > 0)
        assert_allclose(own.score(X, kind(Y)), accuracy_score(Y, predicted))


def test_weights():
    X, Y = make_data()
    times = np.arange(len(Y)) % 3
    fixed = {"alpha_bounds": (2.0, 2.0), "class_weight": "balanced"}
    a = BilevelRidgeClassifierCV(**fixed).fit(X, Y, sample_weight=times)
    X_rows, Y_rows = X.repeat(times, axis=0), Y.repeat(times, axis=0)
    b = BilevelRidgeClassifierCV(**fixed).fit(X_rows, Y_rows)
    assert_allclose(a.coef_, b.coef_, rtol=1e-7)
    theirs = RidgeClassifier(alpha=2.0, class_weight="balanced").fit(X_rows, Y_rows)
    assert_allclose(b.coef_, theirs.coef_, rtol=1e-7)
    assert to_sklearn(b).get_params()["class_weight"] == "balanced"
    with pytest.raises(ValueError, match=r"class_weight is a dict.*indicator"):
        BilevelRidgeClassifierCV(class_weight={0: 1.0, 1: 2.0}).fit(X, Y)


@pytest.mark.parametrize("last", [BilevelRidgeClassifierCV(), RidgeClassifier()])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_search(last, kind):
    X, Y = make_data()
    pipe = make_pipeline(StandardScaler(), last)
    search = BilevelSearchCV(pipe, scoring="roc_auc").fit(X, kind(Y))
    assert 0.5 < search.best_score_ < 1.0
    assert sparse.issparse(search.predict(X)) == (kind is not np.asarray)
    auc = roc_auc_score(Y, search.decision_function(X))
    assert_allclose(search.score(X, Y), auc)
    labels = clone(search).set_params(scoring=None).fit(X, kind(Y))
    assert_allclose(labels.score(X, Y), np.mean((labels.predict(X) == Y).all(axis=1)))


@pytest.mark.parametrize("scoring", [None, "accuracy", "f1_micro", "roc_auc"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_scores(scoring, kind):
    X, Y = make_data()
    model = BilevelRidgeClassifierCV(scoring=scoring).fit(X, kind(Y))
    assert np.isfinite(model.best_score_)
    assert np.isfinite(model.score(X, Y))


def test_around_it():
    X, Y = make_data()
    assert get_tags(BilevelRidgeClassifierCV()).classifier_tags.multi_label
    assert not get_tags(BilevelLogisticCV()).classifier_tags.multi_label
    assert cross_val_score(BilevelRidgeClassifierCV(), X, Y, cv=3).mean() > 0.3
    # Another fit of the same model forgets what the labels were.
    model = BilevelRidgeClassifierCV().fit(X, Y).fit(X, Y[:, 0])
    assert model.predict(X).shape == (len(X),)
    with pytest.warns(UserWarning, match="column-vector"):
        column = BilevelRidgeClassifierCV().fit(X, Y[:, :1])
    assert_array_equal(column.coef_, model.coef_)
    # A label that no row has is predicted nowhere.
    Y[:, 1] = 0
    assert not BilevelRidgeClassifierCV().fit(X, Y).predict(X)[:, 1].any()


@pytest.mark.parametrize(
    "change",
    [lambda Y: Y.astype(str), lambda Y: Y + 1, lambda Y: 2 * Y - 1, lambda Y: 2 * Y],
    ids=["words", "1 and 2", "-1 and 1", "0 and 2"],
)
def test_matrices_that_are_no_indicators(change):
    X, Y = make_data()
    with pytest.raises(ValueError, match="only an indicator matrix of 0 and 1"):
        BilevelRidgeClassifierCV().fit(X, change(Y))
    for other in (BilevelLogisticCV(), BilevelSearchCV(BilevelLogisticCV())):
        with pytest.raises(ValueError, match="1d array"):
            other.fit(X, Y)
