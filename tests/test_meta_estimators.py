"""The estimators as parts of scikit-learn's own: selection, ensembles, searches."""

import numpy as np
import pytest
import sklearn
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
)

REGRESSORS = (BilevelRidgeCV, BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV)
CLASSIFIERS = (BilevelRidgeClassifierCV, BilevelLogisticCV)
NAMES = ["useful", "weak", "noise", "junk"]
# The best strength of so few rows may well be an end of its range.
pytestmark = pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")


def named(classes):
    return pytest.mark.parametrize("cls", classes, ids=lambda c: c.__name__)


each = named(REGRESSORS + CLASSIFIERS)
each_regressor, each_classifier = named(REGRESSORS), named(CLASSIFIERS)


def fast(cls, **params):
    """Make an estimator whose strengths, two, are tuned on folds without the guard."""
    given = {"hyperpenalty": None, "feature_groups": [0, 0, 1, 1], "cv": 3}
    return cls(**given | params)


def one(cls, **params):
    """Make an estimator of one strength, for any number of columns."""
    return fast(cls, feature_groups="shared", **params)


def draw(cls, n_rows=90, n_classes=2):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 4))
    eta = X[:, 0] + 0.5 * X[:, 1] + 0.5 * rng.standard_normal(n_rows)
    if not is_classifier(cls()):
        return X, np.exp(eta / 2)
    edges = np.quantile(eta, np.arange(1, n_classes) / n_classes)
    return X, np.array(["a", "b", "c"])[np.digitize(eta, edges)]


# --- the default with its guard, once in every family


@each
def test_the_default_inside_a_stack_and_a_cross_validation(cls):
    X, y = draw(cls)
    classifier = is_classifier(cls())
    stack = StackingClassifier if classifier else StackingRegressor
    last = LogisticRegression() if classifier else LinearRegression()
    model = stack([("tuned", cls())], final_estimator=last, cv=2).fit(X, y)
    assert model.score(X, y) > 0.5
    metrics = ["accuracy", "f1_macro"] if classifier else ["r2", "neg_max_error"]
    found = cross_validate(cls(), X, y, cv=2, scoring=metrics)
    assert all(np.isfinite(found[f"test_{metric}"]).all() for metric in metrics)


# --- selection of features


@each
def test_select_from_model(cls):
    pd = pytest.importorskip("pandas")
    X, y = draw(cls)
    frame = pd.DataFrame(X, columns=NAMES)
    selector = SelectFromModel(fast(cls), threshold="mean").fit(frame, y)
    assert "useful" in selector.get_feature_names_out()
    assert "junk" not in selector.get_feature_names_out()
    weights = np.abs(np.atleast_2d(selector.estimator_.coef_)).sum(axis=0)
    np.testing.assert_array_equal(selector.get_support(), weights >= weights.mean())
    fitted = fast(cls).fit(frame, y)
    before = SelectFromModel(fitted, prefit=True, max_features=1, threshold=-np.inf)
    before.set_output(transform="pandas")
    assert list(before.fit(frame, y).transform(frame)) == ["useful"]


@each
def test_select_from_model_inside_a_pipeline(cls):
    X, y = draw(cls, n_classes=3)
    model = make_pipeline(
        StandardScaler(),
        SelectFromModel(one(cls), max_features=2, threshold=-np.inf),
        one(cls),
    )
    model.fit(X, y)
    assert model[-1].n_features_in_ == 2
    assert model.score(X, y) > 0.5


@each
def test_recursive_elimination(cls):
    X, y = draw(cls)
    rfe = RFE(one(cls), n_features_to_select=1).fit(X, y)
    assert rfe.ranking_[0] == 1
    assert rfe.estimator_.n_features_in_ == 1


# --- ensembles


@each_regressor
def test_ensembles_of_regressors(cls):
    X, y = draw(cls)
    members = [("two", fast(cls)), ("one", one(cls))]
    voting = VotingRegressor(members).fit(X, y)
    each = [model.predict(X) for model in voting.estimators_]
    np.testing.assert_allclose(voting.predict(X), np.mean(each, axis=0))
    stack = StackingRegressor(members, final_estimator=one(BilevelRidgeCV), cv=2)
    assert stack.fit(X, y).score(X, y) > 0.5
    bagging = BaggingRegressor(
        fast(cls), n_estimators=3, max_samples=0.8, random_state=0
    )
    assert bagging.fit(X, y).score(X, y) > 0.5


@each_classifier
@pytest.mark.parametrize("n_classes", [2, 3])
def test_ensembles_of_classifiers(cls, n_classes):
    X, y = draw(cls, n_classes=n_classes)
    members = [("two", fast(cls)), ("one", one(cls))]
    assert VotingClassifier(members).fit(X, y).score(X, y) > 0.5
    stack = StackingClassifier(members, final_estimator=one(cls), cv=2).fit(X, y)
    assert stack.score(X, y) > 0.5
    bagging = BaggingClassifier(fast(cls), n_estimators=3, random_state=0).fit(X, y)
    assert bagging.predict_proba(X).shape == (len(X), n_classes)
    assert bagging.score(X, y) > 0.5


def test_soft_voting_averages_probabilities():
    X, y = draw(BilevelLogisticCV, n_classes=3)
    members = [("two", fast(BilevelLogisticCV)), ("one", one(BilevelLogisticCV))]
    voting = VotingClassifier(members, voting="soft").fit(X, y)
    each = [model.predict_proba(X) for model in voting.estimators_]
    np.testing.assert_allclose(voting.predict_proba(X), np.mean(each, axis=0))


@each_classifier
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(cls, method):
    X, y = draw(cls, n_classes=3)
    model = CalibratedClassifierCV(fast(cls), method=method, cv=2).fit(X, y)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert model.score(X, y) > 0.5


# --- other targets


@each_regressor
def test_one_model_per_target(cls):
    X, y = draw(cls)
    Y = np.column_stack([y, y[::-1]])
    model = MultiOutputRegressor(fast(cls)).fit(X, Y)
    by_hand = [fast(cls).fit(X, Y[:, k]).predict(X) for k in range(2)]
    np.testing.assert_array_equal(model.predict(X), np.column_stack(by_hand))


@each_classifier
def test_one_classifier_per_target(cls):
    X, y = draw(cls)
    Y = np.column_stack([y, np.roll(y, 1)])
    model = MultiOutputClassifier(fast(cls)).fit(X, Y)
    np.testing.assert_array_equal(
        model.predict(X)[:, 0], fast(cls).fit(X, y).predict(X)
    )


@each_regressor
def test_transformed_targets(cls):
    X, y = draw(cls)
    model = TransformedTargetRegressor(fast(cls), func=np.sqrt, inverse_func=np.square)
    by_hand = fast(cls).fit(X, np.sqrt(y)).predict(X) ** 2
    np.testing.assert_allclose(model.fit(X, y).predict(X), by_hand)


# --- scores and curves


@each
def test_cross_val_predict(cls):
    X, y = draw(cls, n_classes=3)
    methods = ("predict", "predict_proba", "decision_function")
    for method in [m for m in methods if hasattr(cls, m)]:
        found = cross_val_predict(fast(cls), X, y, cv=KFold(3), method=method)
        for train, test in KFold(3).split(X):
            fitted = fast(cls).fit(X[train], y[train])
            np.testing.assert_array_equal(found[test], getattr(fitted, method)(X[test]))


@each
def test_importance_and_curves(cls):
    X, y = draw(cls)
    fitted = fast(cls).fit(X, y)
    importance = permutation_importance(fitted, X, y, n_repeats=3, random_state=0)
    assert importance.importances_mean.argmax() == 0
    sizes, train, test = learning_curve(fast(cls), X, y, cv=2, train_sizes=[0.7, 1.0])
    assert train.shape == test.shape == (len(sizes), 2)
    values = [None, ("smooth", 1.0)]
    options = {"param_name": "hyperpenalty", "param_range": values}
    train, test = validation_curve(fast(cls), X, y, cv=2, **options)
    assert np.isfinite(test).all()


@each
def test_grid_search_over_our_own_options(cls):
    X, y = draw(cls)
    grid = {
        "hyperpenalty": [None, ("smooth", 1.0)],
        "feature_groups": ["shared", ["a", "a", "b", "b"]],
        "cv": [2, KFold(3)],
    }
    search = GridSearchCV(one(cls), grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    best = clone(search.best_estimator_).fit(X, y)
    np.testing.assert_array_equal(best.predict(X), search.predict(X))


# --- frames


def table(X, library):
    frame = {name: X[:, k] for k, name in enumerate(NAMES)}
    frame["colour"] = np.array(["red", "green", "blue"])[np.arange(len(X)) % 3]
    return library.DataFrame(frame)


@each
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_through_a_column_transformer(cls, library):
    if library == "polars" and sklearn.__version__.startswith(("1.7.", "1.8.")):
        pytest.skip("these releases of scikit-learn do not know polars 2")
    frame = table(draw(cls)[0], pytest.importorskip(library))
    y = draw(cls)[1]
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), NAMES),
            ("colour", OneHotEncoder(sparse_output=False), ["colour"]),
        ],
        verbose_feature_names_out=False,
    )
    model = make_pipeline(columns, one(cls, unpenalized=["colour_red"]))
    model.set_output(transform=library).fit(frame, y)
    names = list(model[-1].feature_names_in_)
    assert names[:4] == NAMES
    assert model[-1].alpha_[names.index("colour_red")] == 0.0
    assert np.isfinite(model.score(frame, y))


@each
def test_frames_as_the_output_of_all_transformers(cls):
    pytest.importorskip("pandas")
    X, y = draw(cls)
    model = make_pipeline(StandardScaler(), fast(cls))
    plain = clone(model).fit(X, y).predict(X)
    with config_context(transform_output="pandas"):  # warnings of names are errors
        framed = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(framed, plain)


@each
def test_clone_of_a_fitted_estimator_is_not_fitted(cls):
    X, y = draw(cls)
    fitted = fast(cls).fit(X, y)
    copy = clone(fitted)
    assert not hasattr(copy, "coef_")
    assert copy.get_params() == fitted.get_params()
    np.testing.assert_array_equal(copy.fit(X, y).coef_, fitted.coef_)
