"""What a search keeps is the model that it scored; rows and folds as they are told."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.metrics import get_scorer_names, log_loss
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)


def numbers(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5)) + 1.0
    return X, X[:, 0] - X[:, 1] + rng.standard_normal(n)


def classes():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X[:150, :6]) + 3.0, y[:150]


LOOSE = [
    LogisticRegression(tol=0.5),
    LogisticRegression(solver="saga", max_iter=1, random_state=0),
    PoissonRegressor(tol=0.5),
    GammaRegressor(max_iter=1),
    Ridge(solver="sag", tol=0.5, random_state=0),
    Ridge(solver="lsqr", tol=0.5),
    Ridge(solver="sparse_cg", tol=0.5),
    RidgeClassifier(solver="saga", max_iter=1, random_state=0),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("last", LOOSE, ids=str)
def test_a_loose_solver_does_not_change_what_is_kept(last):
    X, y = numbers()
    if isinstance(last, LogisticRegression | RidgeClassifier):
        y = y > 0
    elif not isinstance(last, Ridge):
        y = np.exp(y)
    search = BilevelSearchCV(last).fit(X, y)
    kept = search.best_estimator_
    assert type(kept) is type(last)
    wanted = clone(last).set_params(**search.best_params_)
    assert kept.get_params() == wanted.get_params()
    solver = {"Ridge": "svd", "RidgeClassifier": "svd"}.get(
        type(last).__name__, "newton-cholesky"
    )
    assert np.shape(kept.coef_) == np.shape(clone(wanted).fit(X, y).coef_)
    tight = clone(wanted).set_params(solver=solver, tol=1e-10, max_iter=1000).fit(X, y)
    assert_allclose(kept.coef_, tight.coef_, rtol=1e-5, atol=1e-8)
    assert_allclose(kept.predict(X[:4]), tight.predict(X[:4]), rtol=1e-5)


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("steps", [(), (StandardScaler(with_mean=False), PCA(4))])
def test_liblinear_is_tuned_with_its_penalty_on_the_intercept(steps, scale, dual):
    X, y = classes()
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    last = LogisticRegression(
        solver="liblinear",
        dual=dual,
        intercept_scaling=scale,
        class_weight="balanced",
        tol=1e-8,
        max_iter=100_000,
        random_state=0,
    )
    whole = make_pipeline(*steps, last)
    search = BilevelSearchCV(whole, scoring="neg_log_loss", cv=cv).fit(X, y)
    C, scores = search.best_params_["logisticregression__C"], []
    for train, valid in cv.split(X, y):
        model = clone(whole)
        model[-1].set_params(C=C * len(y) / len(train))
        # Strengths are those of all rows, and so are the weights of the classes.
        weights = dict(enumerate(len(y) / (2.0 * np.bincount(y))))
        model[-1].set_params(class_weight=weights)
        model.fit(X[train], y[train])
        scores.append(-log_loss(y[valid], model.predict_proba(X[valid])))
    assert search.best_score_ == pytest.approx(np.mean(scores), rel=2e-3)
    again = clone(whole).set_params(logisticregression__C=C).fit(X, y)
    kept = search.best_estimator_
    assert_allclose(kept[-1].coef_, again[-1].coef_, rtol=1e-3, atol=1e-3)
    assert_allclose(kept.predict_proba(X), again.predict_proba(X), atol=1e-3)
    assert kept[-1].coef_.shape == (1, 4 if steps else 6)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (LogisticRegression(dual=True), "set dual=False"),
        (LogisticRegression(solver="liblinear"), "set solver='lbfgs'"),
        (LogisticRegression(solver="nonsense"), "'solver' parameter"),
    ],
)
def test_what_is_no_model_is_refused(last, words):
    X, y = numbers()
    with pytest.raises(ValueError, match=words):
        BilevelSearchCV(last).fit(X, np.digitize(y, [-1.0, 1.0]))


@pytest.mark.parametrize("last", [Ridge(), BilevelRidgeCV(), BilevelPoissonCV()])
@pytest.mark.parametrize("step", [StandardScaler(), PCA(3), SelectKBest(f_regression)])
def test_rows_of_weight_zero_are_as_if_removed(step, last):
    X, y = numbers()
    y = np.exp(y) if isinstance(last, BilevelPoissonCV) else y
    junk = np.arange(80) % 8 == 0
    X[junk], weight = 1e4, np.where(junk, 0.0, 1.0)
    y[junk] = 1e3
    kept = np.flatnonzero(~junk)
    splits = list(KFold(3).split(X))
    place = np.cumsum(~junk) - 1
    left = [tuple(place[np.intersect1d(a, kept)] for a in pair) for pair in splits]
    if isinstance(step, SelectKBest):
        step = step.set_params(k=3)
    pipe = make_pipeline(step, last)
    own = BilevelSearchCV(pipe, cv=splits).fit(X, y, sample_weight=weight)
    other = BilevelSearchCV(pipe, cv=left).fit(X[kept], y[kept])
    assert own.best_score_ == pytest.approx(other.best_score_, rel=1e-6)
    assert_allclose(own.predict(X[kept]), other.predict(X[kept]), rtol=1e-6)


def rare(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, 4))
    y = np.array(["a", "b"])[(X[:, 0] + rng.standard_normal(80) > 0).astype(int)]
    y[:2] = "c"
    return X, y


@pytest.mark.parametrize("scoring", ["neg_log_loss", "d2_log_loss_score"])
def test_scores_know_the_classes_that_a_fold_lacks(scoring):
    if scoring not in get_scorer_names():
        pytest.skip("this release of scikit-learn does not have the score")
    X, y = rare()
    shared = {"feature_groups": "shared", "hyperpenalty": None}
    models = [
        BilevelLogisticCV(scoring=scoring, **shared),
        BilevelSearchCV(LogisticRegression(), scoring=scoring),
        BilevelSearchCV(
            make_pipeline(StandardScaler(), BilevelLogisticCV(**shared)),
            scoring=[scoring, "accuracy"],
            refit=scoring,
        ),
    ]
    assert np.isfinite([model.fit(X, y).best_score_ for model in models]).all()


@pytest.mark.filterwarnings("ignore:X has 12 rows")
@pytest.mark.parametrize("search", [False, True])
def test_folds_that_are_too_many_are_refused_as_scikit_learn_does(search):
    def fit(model, y, **params):
        if search:
            model = BilevelSearchCV(type(model)(), cv=model.cv)
        return model.fit(X, y, **params)

    X, y = numbers(12)
    for last in (BilevelRidgeCV(cv=13), BilevelPoissonCV(cv=13)):
        with pytest.raises(ValueError, match="more than the 12 rows"):
            fit(last, np.exp(y))
    with pytest.raises(ValueError, match="more than the 6 rows"):
        fit(BilevelRidgeCV(cv=7), y, sample_weight=np.repeat([0.0, 1.0], 6))
    with pytest.raises(ValueError, match="more than the 2 labels of groups"):
        fit(BilevelRidgeCV(cv=3), y, groups=np.repeat([0, 1], 6))
    for last in (BilevelLogisticCV(cv=7), BilevelRidgeClassifierCV(cv=7)):
        with pytest.raises(ValueError, match="more than the members of every class"):
            fit(last, np.repeat([0, 1], 6))
    with pytest.warns(UserWarning, match="the 2 members of the least") as told:
        fit(BilevelLogisticCV(cv=3), np.repeat([0, 1], [2, 10]))
    assert sum("least populated" in str(each.message) for each in told) == 1
    splits = iter(KFold(3).split(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(BilevelRidgeCV(cv=splits), y)
    with pytest.raises(ValueError, match="used up"):
        fit(BilevelRidgeCV(cv=splits), y)


def test_results_have_rows_for_many_columns_and_print_briefly():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((640, 155))
    y = X[:, 0] + rng.standard_normal(640)
    search = BilevelSearchCV(Ridge()).fit(X, y)
    assert len(search.cv_results_["params"]) >= 5
    last = BilevelRidgeCV(hyperpenalty=None)
    search = BilevelSearchCV(last, cv=3).fit(X[:, :60], y)
    assert len(str(search.best_params_)) < 120
    alpha = search.best_params_["alpha"]
    assert_array_equal(alpha, search.best_estimator_.alpha_)
