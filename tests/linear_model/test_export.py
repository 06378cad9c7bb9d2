"""``to_sklearn``: plain models that predict the same."""

import importlib.util
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn import linear_model
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skbilevel import (
    BilevelElasticNetCV,
    BilevelGammaCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
    to_sklearn,
)

# Few numbers to tune: what is exported does not depend on how it was found.
FAST = {"hyperpenalty": None, "feature_groups": list("aabbb"), "cv": 3}
PLAIN = {
    BilevelRidgeCV: linear_model.Ridge,
    BilevelLassoCV: linear_model.Lasso,
    BilevelElasticNetCV: linear_model.ElasticNet,
    BilevelRidgeClassifierCV: linear_model.RidgeClassifier,
    BilevelLogisticCV: linear_model.LogisticRegression,
    BilevelPoissonCV: linear_model.PoissonRegressor,
    BilevelGammaCV: linear_model.GammaRegressor,
    BilevelTweedieCV: linear_model.TweedieRegressor,
}
# The rows are few, and how strong the best strength is does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
METHODS = ("predict", "decision_function", "predict_proba", "predict_log_proba")
each_class = pytest.mark.parametrize("cls", PLAIN, ids=lambda c: c.__name__)


def draw(cls, dtype=np.float64, n_classes=2):
    """Draw rows, and targets that the estimator can take."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(dtype)
    eta = X @ rng.standard_normal((5, n_classes))
    eta += rng.normal(0, 1.5, (60, n_classes))
    if is_classifier(cls()):
        return X, np.array(["no", "yes", "maybe"])[eta.argmax(axis=1)]
    return X, np.exp(eta[:, 0] / 2) + 0.1


def same(plain, model, X):
    """Assert equal predictions of one dtype, bit by bit but for probabilities."""
    for method in METHODS:
        if not hasattr(model, method):
            continue
        expected, got = getattr(model, method)(X), getattr(plain, method)(X)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        if method.endswith("proba"):
            # The first of two is 1 - p there, and a value of its own here.
            tolerance = 8 * np.finfo(expected.dtype).eps
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=tolerance)
        else:
            np.testing.assert_array_equal(got, expected)


@each_class
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predictions_are_the_same(cls, dtype):
    X, y = draw(cls, dtype)
    model = cls(**FAST).fit(X, y)
    plain = model.to_sklearn()
    assert type(plain) is PLAIN[cls]
    check_is_fitted(plain)
    same(plain, model, X)
    same(plain, model, X.astype(np.float64))
    same(plain, model, sparse.csr_array(X))
    same(plain, model, np.round(X).astype(int))
    assert plain.score(X, y) == pytest.approx(model.score(X, y))


@pytest.mark.parametrize("cls", [BilevelLogisticCV, BilevelRidgeClassifierCV])
@pytest.mark.parametrize("labels", ["strings", "integers", "floats"])
def test_several_classes_of_any_type(cls, labels):
    X, y = draw(cls, n_classes=3)
    codes = np.unique(y, return_inverse=True)[1]
    y = {"strings": y.astype(object), "integers": codes - 7, "floats": codes * 2.0}
    model = cls(**FAST).fit(X, y[labels])
    plain = model.to_sklearn()
    np.testing.assert_array_equal(plain.classes_, model.classes_)
    assert plain.classes_.dtype == model.classes_.dtype
    same(plain, model, X)


def test_boolean_classes():
    X, y = draw(BilevelLogisticCV)
    model = BilevelLogisticCV(**FAST).fit(X, y == "yes")
    same(model.to_sklearn(), model, X)


@pytest.mark.parametrize("per_target", [False, True])
def test_several_targets(per_target):
    X, y = draw(BilevelRidgeCV)
    Y = np.column_stack([y, X[:, 0]])
    model = BilevelRidgeCV(**FAST, alpha_per_target=per_target).fit(X, Y)
    plain = model.to_sklearn()
    same(plain, model, X)
    assert np.shape(plain.alpha) == ((2,) if per_target else ())
    clone(plain).fit(X, Y)


@each_class
def test_without_intercept(cls):
    X, y = draw(cls)
    model = cls(**FAST, fit_intercept=False).fit(X, y)
    plain = model.to_sklearn()
    assert not plain.fit_intercept
    same(plain, model, X)


@each_class
def test_names_of_features_are_checked(cls):
    pd = pytest.importorskip("pandas")
    X, y = draw(cls)
    X = pd.DataFrame(X, columns=list("abcde"))
    plain = cls(**FAST).fit(X, y).to_sklearn()
    assert list(plain.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        plain.predict(X[list("edcba")])
    with pytest.warns(UserWarning, match="valid feature names"):
        plain.predict(X.to_numpy())
    with pytest.raises(ValueError, match="4 features"):
        cls(**FAST).fit(X.to_numpy(), y).to_sklearn().predict(X.to_numpy()[:, :4])


@each_class
def test_removed_features_are_zero(cls):
    X, y = draw(cls)
    model = cls(**FAST).fit(X, y)
    model.alpha_[1], model.coef_[..., 1] = np.inf, 0.0  # as if it were removed
    plain = model.to_sklearn()
    assert not plain.coef_[..., 1].any()
    same(plain, model, X)


@each_class
@pytest.mark.parametrize("end", [0.0, np.inf])
def test_a_refit_is_possible_where_no_strength_is_finite_and_positive(cls, end):
    X, y = draw(cls)
    model = cls(**FAST).fit(X, y)
    model.alpha_ = np.full(5, end)
    again = clone(model.to_sklearn())
    if end == 0.0 and hasattr(again, "C"):
        assert again.C == np.inf  # whose fit depends on the release of scikit-learn
    elif end == 0.0 and isinstance(again, linear_model.ElasticNet):
        assert again.alpha == 0.0  # a lasso, too, which warns of itself then
    else:
        fitted = again.fit(X, y)
        assert np.allclose(fitted.coef_, 0.0) == (end == np.inf)


@each_class
def test_at_one_strength_a_refit_gives_the_same_model(cls):
    X, y = draw(cls)
    model = cls(feature_groups="shared", hyperpenalty=None, tol=1e-10, cv=3).fit(X, y)
    again = clone(model.to_sklearn()).set_params(tol=1e-8).fit(X, y)
    # RidgeClassifier leaves out the one row of two classes.
    coef = again.coef_.reshape(model.coef_.shape)
    np.testing.assert_allclose(coef, model.coef_, rtol=1e-3, atol=1e-4)


@each_class
def test_what_is_exported_is_a_copy(cls):
    X, y = draw(cls)
    model = cls(**FAST).fit(X, y)
    before = model.predict(X)
    plain = model.to_sklearn()
    plain.coef_ += 1.0
    plain.intercept_ += 1.0
    np.testing.assert_array_equal(model.predict(X), before)


@each_class
def test_skops_needs_to_trust_no_more_than_for_the_plain_class(cls):
    sio = pytest.importorskip("skops.io")
    X, y = draw(cls)
    plain = make_pipeline(StandardScaler(), cls(**FAST)).fit(X, y)
    plain = to_sklearn(plain)
    stored = sio.dumps(plain)
    untrusted = sio.get_untrusted_types(data=stored)
    # The loss is scikit-learn's; skops knows those of the other regressors.
    known = {BilevelTweedieCV: ["sklearn._loss.loss.HalfTweedieLoss"]}
    assert untrusted == known.get(cls, [])
    same(sio.loads(stored, trusted=untrusted), plain, X)


@each_class
def test_pickles_do_not_need_this_package(cls):
    X, y = draw(cls)
    plain = cls(**FAST).fit(X, y).to_sklearn()
    stored = pickle.dumps(plain)
    assert b"skbilevel" not in stored
    same(pickle.loads(stored), plain, X)


@pytest.mark.skipif(
    importlib.util.find_spec("skl2onnx") is None, reason="skl2onnx is not installed"
)
@each_class
def test_onnx(cls):
    from skl2onnx import to_onnx
    from skl2onnx.common.exceptions import MissingShapeCalculator

    X, y = draw(cls, np.float32)
    plain = cls(**FAST).fit(X, y).to_sklearn()
    try:
        assert to_onnx(plain, X[:1]).SerializeToString()
    except MissingShapeCalculator:
        pytest.skip(f"skl2onnx does not know {type(plain).__name__}")


@each_class
def test_pipelines_keep_everything_but_the_last_step(cls):
    X, y = draw(cls)
    inner = Pipeline([("scale", StandardScaler()), ("tuned", cls(**FAST))])
    model = Pipeline([("first", StandardScaler()), ("rest", inner)]).fit(X, y)
    plain = to_sklearn(model)
    same(plain, model, X)
    assert plain.named_steps["first"] is model.named_steps["first"]
    assert type(plain["rest"]["tuned"]) is PLAIN[cls]
    assert type(model["rest"]["tuned"]) is cls
    check_is_fitted(plain)


def test_options_of_a_pipeline_are_kept(tmp_path):
    X, y = draw(BilevelRidgeCV)
    model = make_pipeline(
        StandardScaler(), BilevelRidgeCV(**FAST), memory=str(tmp_path), verbose=False
    ).fit(X, y)
    assert to_sklearn(model).memory == str(tmp_path)


def test_the_default_with_its_guard():
    X, y = draw(BilevelRidgeCV)
    model = BilevelRidgeCV().fit(X, y)
    same(to_sklearn(model), model, X)


@each_class
def test_what_cannot_be_exported_is_refused(cls):
    with pytest.raises(NotFittedError):
        cls().to_sklearn()
    with pytest.raises(NotFittedError):
        to_sklearn(make_pipeline(StandardScaler(), cls()))
    with pytest.raises(TypeError, match=r"ends with one, got Ridge\."):
        to_sklearn(make_pipeline(StandardScaler(), linear_model.Ridge()))
