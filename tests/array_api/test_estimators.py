"""Estimators on X of other libraries: the same models, where X lies."""

import importlib.util
from inspect import signature

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._array_api import get_namespace_and_device, move_estimator_to
from sklearn.utils.estimator_checks import estimator_checks_generator

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
    DPRidge,
    FractionalICA,
    FractionalSparseRegressor,
    MetaRidge,
    SampleWeightsCV,
    _array_api,
    to_sklearn,
)
from skbilevel.inspection import StrengthsDisplay
from skbilevel.preprocessing import PenalizedSplines, TensorSplines

RNG = np.random.default_rng(0)
N, P = 120, 6
X = RNG.standard_normal((N, P))
WIDE = RNG.standard_normal((40, 60))
SHARED = {"feature_groups": "shared"}
# Few searches: what is compared is arithmetic, not statistics.
CASES = {
    "ridge": (BilevelRidgeCV(), {}),
    "ridge, unpenalized": (BilevelRidgeCV(unpenalized=[0]), {"weighted": True}),
    "ridge, far away": (BilevelRidgeCV(), {"shift": 1e4, "scale": True}),
    "ridge, wide": (BilevelRidgeCV(), {"wide": True}),
    "ridge, folds": (BilevelRidgeCV(hyperpenalty=("smooth", 0.1), cv=3), {}),
    "ridge, leave-one-out": (BilevelRidgeCV(hyperpenalty=None, cv="loo"), {}),
    # Conjugate gradients end early, and the search with them.
    "ridge, products": (
        BilevelRidgeCV(hyperpenalty=("smooth", 0.1), cv=3, solver="cg"),
        {"tol": 1e-2},
    ),
    "ridge, published": (
        BilevelRidgeCV(hyperpenalty=None, cv=3, solver="hoag", max_iter=5),
        {},
    ),
    "targets": (BilevelRidgeCV(**SHARED, alpha_per_target=True), {"y": "two"}),
    "indicators": (BilevelRidgeClassifierCV(**SHARED), {"y": "three"}),
    "logistic": (BilevelLogisticCV(cv=2), {"y": "classes", "weighted": True}),
    "logistic, wide": (BilevelLogisticCV(**SHARED), {"y": "classes", "wide": True}),
    "softmax": (BilevelLogisticCV(**SHARED, cv=2), {"y": "three"}),
    "logistic, scaled": (
        BilevelLogisticCV(**SHARED, cv=2),
        {"y": "classes", "scale": True},
    ),
    "logistic, folds": (
        BilevelLogisticCV(hyperpenalty=("smooth", 0.1), cv=2, max_iter=10),
        {"y": "classes"},
    ),
    "counts": (BilevelPoissonCV(**SHARED, cv=2), {"y": "counts", "offset": True}),
    "amounts": (BilevelGammaCV(**SHARED, cv=2), {"y": "amounts"}),
    "both": (BilevelTweedieCV(**SHARED, cv=2), {"y": "counts", "wide": True}),
}


def data(y="line", wide=False, shift=0.0, scale=False, weighted=False, offset=False):
    rng = np.random.default_rng(1)
    Z = (WIDE if wide else X) + shift
    if scale:
        Z = Z * 10.0 ** np.linspace(0.0, 3.0, Z.shape[1])
    line = Z[:, :3] @ [1.0, -1.0, 0.5] / Z[:, :3].std(axis=0).max()
    line = line - line.mean() + 0.5 * rng.standard_normal(len(Z))
    made = {
        "line": line,
        "two": np.stack([line, rng.standard_normal(len(Z))], axis=1),
        "classes": (line > 0).astype(int),
        "three": np.digitize(line, [-0.7, 0.7]),
        "counts": rng.poisson(np.exp(0.3 * line)).astype(float),
        "amounts": rng.gamma(3.0, np.exp(0.3 * line)),
    }
    given = {}
    if weighted:
        given["sample_weight"] = rng.integers(0, 3, len(Z)).astype(float)
    if offset:
        given["offset"] = rng.uniform(-0.5, 0.5, len(Z))
    return Z, made[y], given


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_same_model(case, xp):
    model, how = CASES[case]
    tol = how.get("tol", 1e-6)
    Z, y, given = data(**{key: each for key, each in how.items() if key != "tol"})
    expected = clone(model).fit(Z, y, **given)
    there = {name: xp.asarray(value) for name, value in given.items()}
    found = clone(model).fit(xp.asarray(Z), xp.asarray(y), **there)
    # Losses are flat around the strengths where a search ends early.
    exact = ("alpha_",) if tol < 1e-3 else ()
    for name in ("coef_", "intercept_", *exact):
        value = getattr(found, name)
        assert get_namespace_and_device(value)[0] is xp
        np.testing.assert_allclose(
            np.asarray(value), getattr(expected, name), rtol=tol, atol=1e-3 * tol
        )
    for name in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        if hasattr(model, name):
            value = getattr(found, name)(xp.asarray(Z))
            assert get_namespace_and_device(value)[0] is xp
            np.testing.assert_allclose(
                np.asarray(value), getattr(expected, name)(Z), rtol=tol, atol=tol
            )
    asked = {"contrast_std": lambda each, at: each.contrast_std(at)}
    if "return_std" in signature(model.predict).parameters:
        asked["predict"] = lambda each, at: each.predict(at, return_std=True)[1]
    for ask in asked.values():
        value = ask(found, xp.asarray(Z))
        assert get_namespace_and_device(value)[0] is xp
        np.testing.assert_allclose(np.asarray(value), ask(expected, Z), rtol=1e-3)
    score = found.score(xp.asarray(Z), xp.asarray(y), **there)
    assert score == pytest.approx(expected.score(Z, y, **given), abs=tol)


def test_single_precision_stays(xp):
    model = BilevelRidgeCV().fit(xp.asarray(X.astype(np.float32)), X[:, 0] + 1.0)
    assert model.coef_.dtype == model.intercept_.dtype == xp.float32
    assert model.alpha_.dtype == xp.float64
    assert model.predict(xp.asarray(X.astype(np.float32))).dtype == xp.float32
    # Another precision than that of the fit is no error.
    assert model.predict(xp.asarray(X)).dtype == xp.float64


def test_a_device_without_double_precision():
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("no_float64")
    Z, y, _ = data()
    there = strict.asarray(Z.astype(np.float32), device=device)
    found = BilevelRidgeCV().fit(there, y)
    assert found.coef_.device == found.alpha_.device == device
    assert found.alpha_.dtype == strict.float32
    expected = BilevelRidgeCV().fit(Z, y)
    on_host = strict.asarray(found.coef_, device=strict.Device("CPU_DEVICE"))
    np.testing.assert_allclose(np.asarray(on_host), expected.coef_, atol=1e-4)
    classes = (y > 0).astype(int)
    glm = BilevelLogisticCV(**SHARED, cv=2)
    found = clone(glm).fit(there, classes).coef_
    on_host = strict.asarray(found, device=strict.Device("CPU_DEVICE"))
    expected = clone(glm).fit(Z, classes).coef_
    np.testing.assert_allclose(np.asarray(on_host), expected, atol=1e-3)
    whole = strict.asarray((10 * Z).round().astype(np.int64), device=device)
    assert BilevelRidgeCV().fit(whole, y).coef_.dtype == strict.float32


def test_other_numbers_become_double(xp):
    whole = (10 * X).round().astype(np.int64)
    model = BilevelRidgeCV().fit(xp.asarray(whole), X[:, 0] + X[:, 1])
    assert model.coef_.dtype == xp.float64
    np.testing.assert_allclose(
        np.asarray(model.coef_),
        BilevelRidgeCV().fit(whole.astype(float), X[:, 0] + X[:, 1]).coef_,
        rtol=1e-8,
        atol=1e-12,
    )


def test_what_no_fit_can_use(xp):
    Z = X.copy()
    Z[3, 2] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        BilevelRidgeCV().fit(xp.asarray(Z), X[:, 0])
    with pytest.raises(ValueError, match="Complex data not supported"):
        BilevelRidgeCV().fit(xp.asarray(X + 1j), X[:, 0])
    with pytest.raises(ValueError, match="inconsistent"):
        BilevelRidgeCV().fit(xp.asarray(X), X[1:, 0])


# The scaler's own: it divides zero rows by zero before the first batch.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_behind_a_scaler(xp):
    Z, y, _ = data(scale=True)
    model = make_pipeline(StandardScaler(), BilevelRidgeCV())
    found = clone(model).fit(xp.asarray(Z), xp.asarray(y))
    assert get_namespace_and_device(found[-1].coef_)[0] is xp
    expected = clone(model).fit(Z, y)[-1].coef_
    np.testing.assert_allclose(np.asarray(found[-1].coef_), expected, atol=1e-8)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("case", ["ridge", "classes", "logistic"])
def test_x_is_never_fetched(case, xp, monkeypatch):
    """From 5,000 rows on: nothing that comes back is as large as half of X."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((5000, 60))
    line = Z[:, 0] + rng.standard_normal(5000)
    model, y = {
        "ridge": (BilevelRidgeCV(), line),
        "classes": (BilevelRidgeClassifierCV(), np.digitize(line, [-0.7, 0.7])),
        "logistic": (BilevelLogisticCV(**SHARED, cv=2), (line > 0).astype(int)),
    }[case]
    sizes, fetch = [], _array_api._fetched

    def counted(array):
        sizes.append(int(np.prod(array.shape)))
        return fetch(array)

    # Libraries have other ways to fetch an array, and this is where all of them are.
    monkeypatch.setattr(_array_api, "_fetched", counted)
    found = model.fit(xp.asarray(Z), y).coef_
    assert max(sizes) <= Z.size // 2, max(sizes)
    monkeypatch.undo()
    np.testing.assert_allclose(np.asarray(found), model.fit(Z, y).coef_, atol=1e-8)


def test_everything_follows_x(xp):
    Z, y, given = data("classes", weighted=True)
    words_of = np.array(["no", "yes"]).__getitem__
    words = words_of(y)
    expected = BilevelRidgeClassifierCV().fit(Z, y, **given)
    for labels in (y, y.tolist(), words, xp.asarray(y)):
        model = BilevelRidgeClassifierCV().fit(xp.asarray(Z), labels, **given)
        np.testing.assert_allclose(
            np.asarray(model.coef_), expected.coef_, rtol=1e-7, atol=1e-10
        )
        predicted = model.predict(xp.asarray(Z))
        if labels is words:
            np.testing.assert_array_equal(predicted, words_of(expected.predict(Z)))
            continue
        assert get_namespace_and_device(predicted)[0] is xp
        np.testing.assert_array_equal(np.asarray(predicted), expected.predict(Z))
    there = get_namespace_and_device(model.classes_)[0]
    assert there is xp
    groups = xp.asarray(np.arange(N) % 7)
    grouped = BilevelRidgeCV(cv=3).fit(xp.asarray(Z), Z[:, 0] + y, groups=groups)
    here = BilevelRidgeCV(cv=3).fit(Z, Z[:, 0] + y, groups=np.arange(N) % 7)
    np.testing.assert_allclose(np.asarray(grouped.coef_), here.coef_, rtol=1e-7)


def test_several_labels(xp):
    Z, y, _ = data("two")
    Y = (y > 0).astype(int)
    model = BilevelRidgeClassifierCV().fit(xp.asarray(Z), xp.asarray(Y))
    found = model.predict(xp.asarray(Z))
    assert get_namespace_and_device(found)[0] is xp
    expected = BilevelRidgeClassifierCV().fit(Z, Y).predict(Z)
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_a_user_s_score(xp):
    Z, y, _ = data()
    model = BilevelRidgeCV(scoring="neg_mean_absolute_error", cv=3)
    found = clone(model).fit(xp.asarray(Z), y)
    assert found.best_score_ == pytest.approx(clone(model).fit(Z, y).best_score_)
    loo = BilevelRidgeCV(hyperpenalty=None, cv="loo", scoring="r2")
    found = clone(loo).fit(xp.asarray(Z), y)
    assert found.best_score_ == pytest.approx(clone(loo).fit(Z, y).best_score_)


def test_metadata_see_the_user_s_arrays(xp):
    Z, y, _ = data()
    seen = []

    def spread(X, y, weight):
        seen.append(type(X))
        return np.asarray(X).std(axis=0)[:, None]

    BilevelRidgeCV(feature_metadata=spread).fit(xp.asarray(Z), y)
    assert set(seen) == {type(xp.asarray(Z))}


def test_a_model_moves(xp):
    """To the host and there again, and as a plain model of scikit-learn."""
    Z, y, _ = data("classes")
    there = xp.asarray(Z)
    model = BilevelLogisticCV(**SHARED, cv=2).fit(there, xp.asarray(y))
    with pytest.raises(ValueError, match="must use the same namespace"):
        model.predict(Z)
    here = move_estimator_to(model, *get_namespace_and_device(Z)[::2])
    np.testing.assert_array_equal(here.predict(Z), np.asarray(model.predict(there)))
    assert isinstance(here.alpha_, np.ndarray)
    assert here.history_.keys() == model.history_.keys()
    back = move_estimator_to(here, *get_namespace_and_device(there)[::2])
    assert get_namespace_and_device(back.coef_)[0] is xp
    plain = to_sklearn(model)
    np.testing.assert_allclose(
        np.asarray(plain.predict_proba(there)),
        np.asarray(model.predict_proba(there)),
        atol=1e-12,
    )


def test_a_picture(xp, pyplot):
    Z, y, _ = data()
    model = BilevelRidgeCV().fit(xp.asarray(Z), y)
    display = StrengthsDisplay.from_estimator(model)
    assert display is not None


REFUSED = {
    "FractionalICA": (FractionalICA(), None),
    "FractionalSparseRegressor": (FractionalSparseRegressor(), "line"),
    "MetaRidge": (MetaRidge(), "line"),
    "DPRidge": (
        DPRidge(feature_bounds=(-9.0, 9.0), target_bounds=(-9.0, 9.0)),
        "line",
    ),
    "PenalizedSplines": (PenalizedSplines(), "line"),
    "TensorSplines": (TensorSplines(), "line"),
    "BilevelSearchCV": (BilevelSearchCV(BilevelRidgeCV()), "line"),
    "SampleWeightsCV": (SampleWeightsCV(BilevelRidgeCV()), "line"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_sentence(name, xp):
    model, kind = REFUSED[name]
    y = None if kind is None else X[:, 0]
    with pytest.raises(TypeError, match=f"{name} takes arrays of NumPy only.*Move X"):
        model.fit(xp.asarray(X), y)


def _is_lacking(where):
    """Whether a check is for a device that torch was built for, and is not there."""
    return any(
        repr(kind) in where
        and not getattr(importlib.import_module("torch"), kind).is_available()
        for kind in ("cuda", "xpu")
        if importlib.util.find_spec("torch")
    )


def own_checks():
    """scikit-learn's checks of the array API; GLMs with one strength, which are few."""
    pytest.importorskip("array_api_strict")
    models = [BilevelRidgeCV(), BilevelRidgeCV(**SHARED), BilevelRidgeClassifierCV()]
    glms = [BilevelLogisticCV, BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV]
    models += [glm(**SHARED, cv=2) for glm in glms]
    for model in models:
        for own, check in estimator_checks_generator(model):
            name = check.func.__name__
            if "array_api" in name and not _is_lacking(str(check.keywords)):
                yield pytest.param(own, check, id=f"{type(own).__name__}-{check}")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize(("model", "check"), own_checks())
def test_scikit_learn(model, check):
    check(model)
