"""What BilevelSearchCV offers in place of GridSearchCV, and what it refuses."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
)
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)
from skbilevel.linear_model import to_sklearn

REGRESSION = load_diabetes(return_X_y=True, as_frame=True)
CLASSES = load_breast_cancer(return_X_y=True, as_frame=True)


def scaled(last):
    return make_pipeline(StandardScaler(), last)


def regression():
    X, y = REGRESSION
    return X.iloc[:150], y.iloc[:150]


def classes():
    X, y = CLASSES
    return X.iloc[:200, :8], np.where(y.iloc[:200] == 1, "benign", "malignant")


PLAIN = {
    "ridge": (Ridge(), regression, "ridge__alpha"),
    "classifier": (RidgeClassifier(), classes, "ridgeclassifier__alpha"),
    "balanced": (
        RidgeClassifier(class_weight="balanced"),
        classes,
        "ridgeclassifier__alpha",
    ),
    "logistic": (LogisticRegression(), classes, "logisticregression__C"),
    "poisson": (PoissonRegressor(), regression, "poissonregressor__alpha"),
    "gamma": (GammaRegressor(), regression, "gammaregressor__alpha"),
}


TIGHT = {"tol": 1e-9, "max_iter": 10_000}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_last_steps_as_in_a_grid_search(name):
    last, data, parameter = PLAIN[name]
    X, y = data()
    cv = (StratifiedKFold if is_classifier(last) else KFold)(5)
    search = BilevelSearchCV(scaled(last), cv=cv).fit(X, y)
    assert list(search.best_params_) == [parameter]
    exact = {} if name in ("ridge", "classifier", "balanced") else TIGHT
    refitted = clone(scaled(last)).set_params(**search.best_params_)
    refitted[-1].set_params(**exact)
    refitted.fit(X, y)
    own, other = search.best_estimator_[-1], refitted[-1]
    assert_allclose(own.coef_, other.coef_, rtol=1e-5, atol=1e-7)
    assert_allclose(own.intercept_, other.intercept_, rtol=1e-5, atol=1e-7)
    assert own.get_params() == last.set_params(**own.get_params()).get_params()
    assert search.score(X, y) == pytest.approx(refitted.score(X, y), rel=1e-6)
    # A fine grid finds nothing that is much better by the loss that is searched.
    scoring = {
        "logistic": "neg_log_loss",
        "ridge": "neg_mean_squared_error",
        "poisson": "neg_mean_poisson_deviance",
        "gamma": "neg_mean_gamma_deviance",
    }.get(name)
    if scoring is None:
        return
    grid = {parameter: np.logspace(-4, 4, 33)}
    best = GridSearchCV(scaled(last), grid, scoring=scoring, cv=cv).fit(X, y)
    own = cross_val_score(refitted, X, y, scoring=scoring, cv=cv).mean()
    assert own >= best.best_score_ * (1.003 if best.best_score_ < 0 else 0.997)


@pytest.mark.parametrize("last", [Ridge(), BilevelRidgeCV()], ids=str)
def test_attributes_of_a_grid_search(last):
    X, y = regression()
    search = BilevelSearchCV(scaled(last)).fit(X, y)
    grid = GridSearchCV(scaled(Ridge()), {"ridge__alpha": [0.1, 1.0]}).fit(X, y)
    missing = {
        name
        for name in vars(grid)
        if name.endswith("_") and not name.startswith("_") and not hasattr(search, name)
    }
    assert not missing
    table = pd.DataFrame(search.cv_results_)
    known = pd.DataFrame(grid.cv_results_).columns
    own = set(known) - {c for c in known if c.startswith(("split", "param_"))}
    assert own - {"mean_score_time", "std_score_time"} <= set(table.columns)
    best = table.iloc[search.best_index_]
    assert best["params"] is search.best_params_
    assert best["mean_test_score"] == search.best_score_
    splits = table[[f"split{k}_test_score" for k in range(search.n_splits_)]]
    assert_allclose(splits.mean(axis=1), table["mean_test_score"])
    assert_allclose(splits.std(axis=1, ddof=0), table["std_test_score"])
    assert search.n_features_in_ == 10
    assert_array_equal(search.feature_names_in_, X.columns)
    assert is_regressor(search)
    assert not hasattr(search, "predict_proba")
    assert not hasattr(search, "classes_")
    copy = pickle.loads(pickle.dumps(search))
    assert_array_equal(copy.predict(X), search.predict(X))


def test_strengths_that_were_tried_are_sorted_and_around_the_best():
    X, y = regression()
    search = BilevelSearchCV(scaled(Ridge())).fit(X, y)
    alpha = search.cv_results_["param_ridge__alpha"]
    assert 3 <= len(alpha) <= 10
    assert (np.diff(alpha) > 0).all()
    assert alpha[search.best_index_] == search.best_params_["ridge__alpha"]
    far = search.cv_results_["mean_test_score"][np.argmax(alpha)]
    assert search.best_score_ >= far


def test_methods_of_a_classifier():
    X, y = classes()
    search = BilevelSearchCV(scaled(BilevelLogisticCV())).fit(X, y)
    whole = search.best_estimator_
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert_array_equal(getattr(search, name)(X), getattr(whole, name)(X))
    assert_array_equal(search.classes_, ["benign", "malignant"])
    assert is_classifier(search)
    assert not hasattr(search, "transform")


def test_several_scores():
    X, y = classes()
    names = ["accuracy", "roc_auc"]
    search = BilevelSearchCV(scaled(LogisticRegression()), scoring=names)
    with pytest.raises(ValueError, match="refit=True has to be the name"):
        search.fit(X, y)
    search.set_params(refit="roc_auc").fit(X, y)
    assert search.multimetric_
    assert search.score(X, y) == get_scorer("roc_auc")(search, X, y)
    table = search.cv_results_
    assert search.best_score_ == table["mean_test_roc_auc"][search.best_index_]
    assert "rank_test_accuracy" in table
    search.set_params(refit=False).fit(X, y)
    assert not hasattr(search, "best_estimator_")


def test_a_callable_may_give_several_scores():
    X, y = classes()

    def both(model, X, y):
        right = float(np.mean(model.predict(X) == y))
        return {"right": right, "wrong": 1.0 - right}

    search = BilevelSearchCV(scaled(LogisticRegression()), scoring=both, refit="right")
    search.fit(X, y)
    assert search.multimetric_
    table, best = search.cv_results_, search.best_index_
    assert search.best_score_ == table["mean_test_right"][best] > 0.8
    assert table["mean_test_wrong"][best] == pytest.approx(1.0 - search.best_score_)
    assert search.score(X, y) == both(search, X, y)["right"]
    with pytest.raises(ValueError, match=r"refit=True has to be the name.*'right'"):
        search.set_params(refit=True).fit(X, y)


def needs_both_classes(model, X, y):
    if len(np.unique(y)) < 2:
        raise ValueError("one class only")
    return 1.0


@pytest.mark.parametrize(
    "scoring", [needs_both_classes, {"one": "accuracy", "two": needs_both_classes}]
)
def test_a_score_that_fails_on_a_fold_does_not_lose_the_fit(scoring):
    X, y = classes()
    order = np.argsort(y, kind="stable")
    X, y = X.iloc[order], y[order]
    search = BilevelSearchCV(scaled(LogisticRegression()), cv=KFold(4), refit=False)
    with pytest.warns(UserWarning, match="no row of some class") as told:
        search.set_params(scoring=scoring).fit(X, y)
    assert len(told) == 1
    name = "score" if callable(scoring) else "two"
    folds = [search.cv_results_[f"split{k}_test_{name}"][0] for k in range(4)]
    assert 0 < np.isnan(folds).sum() < 4


def test_without_refit_there_is_nothing_to_predict_with():
    X, y = regression()
    search = BilevelSearchCV(scaled(Ridge()), refit=False)
    search.fit(X, y)
    assert not hasattr(search, "predict")
    assert not hasattr(search, "n_features_in_")
    with pytest.raises(AttributeError, match="refit=False"):
        search.score(X, y)
    assert search.best_params_["ridge__alpha"] > 0
    again = search.set_params(refit=True).fit(X, y)
    assert again.predict(X).shape == y.shape
    assert not hasattr(again.set_params(refit=False).fit(X, y), "best_estimator_")


def test_not_fitted():
    with pytest.raises(NotFittedError):
        BilevelSearchCV(scaled(Ridge())).predict(regression()[0])


def test_pipelines_in_pipelines():
    X, y = regression()
    inner = Pipeline([("scale", StandardScaler()), ("model", Ridge())])
    outer = Pipeline([("keep", "passthrough"), ("inner", inner)])
    search = BilevelSearchCV(outer).fit(X, y)
    plain = BilevelSearchCV(scaled(Ridge())).fit(X, y)
    assert search.best_params_ == {
        "inner__model__alpha": plain.best_params_["ridge__alpha"]
    }
    assert_allclose(search.predict(X), plain.predict(X))
    assert isinstance(search.best_estimator_[-1], Pipeline)


def test_the_estimator_is_left_alone():
    X, y = regression()
    pipeline = scaled(BilevelRidgeCV())
    before = X.copy()
    BilevelSearchCV(pipeline, cv=3).fit(X, y)
    assert not hasattr(pipeline[0], "mean_")
    assert not hasattr(pipeline[-1], "coef_")
    assert pipeline[-1].cv is None
    pd.testing.assert_frame_equal(X, before)


def test_closed_forms_where_there_are_no_transformers():
    X, y = regression()
    model = BilevelRidgeCV(cv="loo", hyperpenalty=None, scoring="r2")
    search = BilevelSearchCV(model).fit(X, y)
    assert search.best_score_ == pytest.approx(model.fit(X, y).best_score_)
    assert_array_equal(search.best_estimator_.coef_, model.coef_)
    with pytest.raises(ValueError, match="transformers make another X"):
        BilevelSearchCV(scaled(model)).fit(X, y)


def test_leave_one_out_of_a_plain_model():
    # A grid search fits as many models as there are rows and strengths.
    X, y = (part.iloc[:40] for part in regression())
    scoring = "neg_mean_squared_error"
    search = BilevelSearchCV(Ridge(), cv=LeaveOneOut(), scoring=scoring).fit(X, y)
    grid = {"alpha": np.logspace(-4, 4, 17)}
    best = GridSearchCV(Ridge(), grid, cv=LeaveOneOut(), scoring=scoring).fit(X, y)
    assert search.best_score_ >= best.best_score_
    refitted = Ridge(**search.best_params_).fit(X, y)
    assert_allclose(search.predict(X), refitted.predict(X), rtol=1e-9)


def test_several_targets_with_strengths_of_their_own():
    X, y = regression()
    Y = np.column_stack([y, -y, y**2])
    last = BilevelRidgeCV(alpha_per_target=True)
    search = BilevelSearchCV(scaled(last)).fit(X, Y)
    assert search.best_params_["bilevelridgecv__alpha"].shape == (3, 10)
    assert search.predict(X).shape == Y.shape
    assert BilevelSearchCV(scaled(Ridge())).fit(X, Y).predict(X).shape == Y.shape


def test_plain_export():
    X, y = regression()
    search = BilevelSearchCV(scaled(BilevelRidgeCV())).fit(X, y)
    plain = search.to_sklearn()
    assert type(plain[-1]) is Ridge
    assert_array_equal(plain.predict(X), search.predict(X))
    same = to_sklearn(search.best_estimator_)
    assert_array_equal(same.predict(X), search.predict(X))
    ready = BilevelSearchCV(scaled(Ridge())).fit(X, y)
    assert ready.to_sklearn() is ready.best_estimator_


REFUSED = {
    "another model": (scaled(Lasso()), "cannot tune Lasso"),
    "a grid of its own": (scaled(RidgeCV()), "Give Ridge, or a Bilevel"),
    "logistic with a grid": (
        scaled(LogisticRegressionCV(l1_ratios=(0,), use_legacy_attributes=False))
        if "use_legacy_attributes" in inspect.signature(LogisticRegressionCV).parameters
        else scaled(LogisticRegressionCV()),
        "Give LogisticRegression, or",
    ),
    "positive": (scaled(Ridge(positive=True)), "positive=True"),
    "no last model": (make_pipeline(StandardScaler()), "cannot tune StandardScaler"),
    "a target transformed": (
        TransformedTargetRegressor(scaled(Ridge())),
        "cannot tune TransformedTargetRegressor",
    ),
    "strengths of targets": (
        scaled(Ridge(alpha=np.r_[1.0, 2.0])),
        "array as alpha",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_sentence(name):
    estimator, message = REFUSED[name]
    X, y = regression()
    with pytest.raises((TypeError, ValueError), match=message):
        BilevelSearchCV(estimator).fit(X, y)


def test_penalties_other_than_l2_are_refused():
    X, y = classes()
    lasso = LogisticRegression(l1_ratio=1.0, solver="liblinear")
    if "l1_ratio" not in inspect.signature(LogisticRegression).parameters or (
        sklearn.__version__ < "1.8"
    ):
        lasso = LogisticRegression(penalty="l1", solver="liblinear")
    with pytest.raises(ValueError, match="not an L2 penalty"):
        BilevelSearchCV(scaled(lasso)).fit(X, y)


def test_no_targets():
    with pytest.raises(ValueError, match="requires y to be passed"):
        BilevelSearchCV(Ridge()).fit(regression()[0])


def test_groups_go_to_the_splitter():
    X, y = regression()
    groups = np.arange(150) % 7
    search = BilevelSearchCV(scaled(Ridge()), cv=GroupKFold(7))
    assert search.fit(X, y, groups=groups).n_splits_ == 7
    # Folds of whole groups where cv is a number.
    search.set_params(cv=3).fit(X, y, groups=groups)
    assert search.n_splits_ == 3


@pytest.mark.parametrize("last", [Ridge(), BilevelRidgeCV(hyperpenalty=None)], ids=str)
def test_weights_count_rows(last):
    X, y = regression()
    X, y = X.to_numpy(), y.to_numpy()
    weight = np.arange(150) % 3
    twice = np.repeat(np.arange(150), weight)
    cv = [(np.arange(100), np.arange(100, 150))]
    cv_twice = [(np.flatnonzero(twice < 100), np.flatnonzero(twice >= 100))]
    weighted = BilevelSearchCV(last, cv=cv).fit(X, y, sample_weight=weight)
    repeated = BilevelSearchCV(last, cv=cv_twice).fit(X[twice], y[twice])
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)
    assert weighted.best_score_ == pytest.approx(repeated.best_score_)


def mean_of_predictions(model, X, y):
    return float(model.predict(X).mean())


@pytest.mark.parametrize(
    "scoring",
    [mean_of_predictions, "neg_max_error", {"a": "r2", "b": mean_of_predictions}],
    ids=["callable", "metric", "several"],
)
def test_scores_without_weights(scoring):
    X, y = regression()
    search = BilevelSearchCV(Ridge(), scoring=scoring, refit=False)
    found = search.fit(X, y, sample_weight=np.linspace(0.5, 2.0, 150))
    assert np.isfinite(found.best_score_)


def test_weighted_scores():
    X, y = regression()
    weight = np.linspace(0.5, 2.0, 150)
    cv = [(np.arange(100), np.arange(100, 150))]
    search = BilevelSearchCV(Ridge(), cv=cv, scoring="neg_mean_squared_error")
    found = search.fit(X, y, sample_weight=weight)
    # Of all rows, strengths count as so many: those of a fold have a share of them.
    alpha = found.best_params_["alpha"] * weight[:100].sum() / weight.sum()
    fold = Ridge(alpha=alpha).fit(X[:100], y[:100], weight[:100])
    wanted = -np.average((fold.predict(X[100:]) - y[100:]) ** 2, weights=weight[100:])
    assert found.best_score_ == pytest.approx(wanted)


def test_weights_of_a_step_of_a_pipeline():
    X, y = regression()
    weight = np.linspace(0.5, 2.0, 150)
    search = BilevelSearchCV(scaled(Ridge()))
    plain = search.fit(X, y, sample_weight=weight).best_params_["ridge__alpha"]
    named = search.fit(X, y, ridge__sample_weight=weight).best_params_["ridge__alpha"]
    assert plain == pytest.approx(named)
    both = search.fit(X, y, standardscaler__sample_weight=weight**4)
    assert both.best_estimator_[0].mean_[0] != pytest.approx(X.mean().iloc[0])
    with pytest.raises(ValueError, match="speed"):
        search.fit(X, y, ridge__speed=weight)


def test_metadata_that_the_last_step_does_not_take_are_refused_before_the_search():
    X, y = regression()
    with pytest.raises(ValueError, match=r"\['offset'\] that PoissonRegressor"):
        BilevelSearchCV(scaled(PoissonRegressor())).fit(X, y, offset=np.zeros(150))


@pytest.mark.parametrize("last", [Ridge(), BilevelRidgeCV()], ids=str)
def test_verbose_and_jobs_reach_the_last_step(last, capsys):
    X, y = regression()
    search = BilevelSearchCV(scaled(last), verbose=1, n_jobs=2).fit(X, y)
    assert capsys.readouterr().out.startswith("[skbilevel]")
    if isinstance(last, BilevelRidgeCV):
        assert search.best_estimator_[-1].n_jobs == 2
    quiet = BilevelSearchCV(scaled(BilevelRidgeCV(n_jobs=2, cv=3))).fit(X, y)
    assert not capsys.readouterr().out
    assert quiet.best_estimator_[-1].n_jobs == 2


def test_offsets():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    exposure = rng.uniform(0.1, 10.0, 200)
    y = rng.poisson(np.exp(0.5 * X[:, 0]) * exposure)
    search = BilevelSearchCV(scaled(BilevelPoissonCV()))
    search.fit(X, y, offset=np.log(exposure))
    coef = search.best_estimator_[-1].coef_
    assert abs(coef[0] - 0.5) < 0.15
    assert search.best_score_ > BilevelSearchCV(search.estimator).fit(X, y).best_score_


@pytest.mark.filterwarnings(
    "ignore::skbilevel.exceptions.BoundaryWarning",
    "ignore::skbilevel.exceptions.DataWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn.exceptions.SkipTestWarning",
)
@parametrize_with_checks(
    [
        BilevelSearchCV(BilevelRidgeCV()),
        BilevelSearchCV(Ridge()),
        BilevelSearchCV(scaled(BilevelRidgeCV(hyperpenalty=None))),
        BilevelSearchCV(scaled(LogisticRegression()), cv=3),
        BilevelSearchCV(PoissonRegressor(), cv=3),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def named():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(
        rng.standard_normal((120, 5)), columns=["age", "g1", "g2", "h1", "h2"]
    )
    y = 3.0 * X["age"] + X["g1"] - X["g2"] + 0.5 * rng.standard_normal(120)
    return X, y


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_names_of_columns_reach_the_last_step(hyperpenalty):
    """Behind transformers that return arrays, too."""
    X, y = named()
    last = BilevelRidgeCV(
        unpenalized=["age"],
        feature_groups=lambda names: [name[0] for name in names],
        hyperpenalty=hyperpenalty,
    )
    search = BilevelSearchCV(scaled(last)).fit(X, y)
    ridge = search.best_estimator_[-1]
    assert ridge.alpha_[0] == 0.0
    assert list(ridge.group_labels_) == ["g", "h"]
    assert ridge.group_alpha_[0] < ridge.group_alpha_[1]
    with pytest.raises(ValueError, match="or use BilevelSearchCV"):
        scaled(last).fit(X, y)
    alone = last.fit(X, y)
    assert list(alone.group_labels_) == ["g", "h"]
