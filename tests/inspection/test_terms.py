"""TermsDisplay: what terms add is what the model predicts."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    MetaRidge,
    make_additive,
    terms_of,
)
from skbilevel.inspection import TermsDisplay
from skbilevel.preprocessing import PenalizedSplines

SMALL = PenalizedSplines(5, missing="indicator")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    columns = {
        "age": rng.uniform(0.0, 6.0, 200),
        "kind": rng.choice(["a", "b"], 200),
        "$size$": 3.0 * rng.standard_normal(200),
    }
    X = pd.DataFrame(columns)
    X.loc[:9, "age"] = np.nan
    return X


@pytest.fixture(scope="module")
def target(table):
    curve = np.sin(table["age"]).fillna(2.0) + table["$size$"]
    noise = 0.1 * np.random.default_rng(1).standard_normal(200)
    return (curve + 0.5 * (table["kind"] == "b") + noise).to_numpy()


@pytest.mark.parametrize("sparse", [False, True])
def test_terms_add_up_to_the_prediction(pyplot, table, target, sparse):
    model = make_additive(BilevelRidgeCV(), smooth=SMALL)
    model.set_params(columntransformer__sparse_threshold=1.0 if sparse else 0.0)
    display = TermsDisplay.from_estimator(model.fit(table, target), table)
    predicted = model.predict(table)
    total = display.effects.sum(axis=1)
    assert_allclose(total, predicted - predicted.mean(), atol=1e-10)
    assert_allclose(display.effects.mean(axis=0), 0.0, atol=1e-12)
    # The largest range first, and the names as they are.
    titles = [ax.get_title("left") for ax in display.axes_]
    assert titles == [r"\$size\$", "age", "kind"]
    assert display.axes_[0].get_ylabel() == "prediction"
    limits = {ax.get_ylim() for ax in display.axes_}
    assert len(limits) == 1
    size, age, kind = display.axes_
    x, y = size.lines[1].get_data()
    assert (np.diff(x) > 0).all()
    assert len(x) == 200
    assert_allclose(y, display.effects[table["$size$"].argsort(), 1])
    # Missing values are a level, and categories dots.
    level = next(line for line in age.lines if line.get_linestyle() == ":")
    assert_allclose(level.get_ydata(), display.effects[:10, 0].mean())
    assert "missing" in [text.get_text() for text in age.texts]
    names = [label.get_text() for label in kind.get_xticklabels()]
    assert names == ["a", "b"]
    dots = kind.lines[1].get_ydata()
    assert_allclose(dots, np.unique(display.effects[:, 2].round(12)), atol=1e-10)


@pytest.mark.parametrize(
    ("estimator", "scale", "method"),
    [
        (BilevelLogisticCV(hyperpenalty=None), "log odds", "decision_function"),
        (BilevelRidgeClassifierCV(hyperpenalty=None), "score", "decision_function"),
        (BilevelPoissonCV(feature_groups="shared"), "logarithm of the mean", "predict"),
    ],
    ids=str,
)
def test_scales(pyplot, table, target, estimator, scale, method):
    y = (target > 0).astype(int)
    model = make_additive(estimator, smooth=SMALL).fit(table, y)
    display = TermsDisplay.from_estimator(model, table)
    assert display.scale == display.axes_[0].get_ylabel() == scale
    values = getattr(model, method)(table)
    values = np.log(values) if "Poisson" in str(estimator) else values
    total = display.effects.sum(axis=1)
    assert_allclose(total, values - values.mean(), atol=1e-8)


def test_classes_tasks_and_searches(pyplot, table, target):
    y = np.digitize(target, [-2.0, 2.0])
    last = BilevelLogisticCV(hyperpenalty=None)
    model = make_additive(last, smooth=SMALL).fit(table, y)
    for k in range(3):
        display = TermsDisplay.from_estimator(model, table, target=k)
        assert display.scale == f"score of {k}"
        scores = model.decision_function(table)[:, k]
        total = display.effects.sum(axis=1)
        assert_allclose(total, scores - scores.mean(), atol=1e-8)
    with pytest.raises(ValueError, match=r"target=3, .* 3 set"):
        TermsDisplay.from_estimator(model, table, target=3)
    tasks = np.arange(200) % 9
    meta = make_additive(MetaRidge(), smooth=PenalizedSplines(3))
    X = table.fillna({"age": 1.0})
    meta.fit(X, target, metaridge__tasks=tasks)
    display = TermsDisplay.from_estimator(meta, X)
    made = meta[:-1].transform(X)
    total = made @ meta[-1].centre_
    assert_allclose(display.effects.sum(axis=1), total - total.mean(), atol=1e-8)
    one = make_additive(BilevelRidgeCV(hyperpenalty=None), smooth=SMALL)
    search = BilevelSearchCV(one).fit(table, target)
    display = TermsDisplay.from_estimator(search, table)
    predicted = search.predict(table)
    total = display.effects.sum(axis=1)
    assert_allclose(total, predicted - predicted.mean(), atol=1e-8)


def test_what_has_no_panel_is_named(pyplot):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(50)
    effects = np.column_stack([x, 1e-4 * x, x**3, 0.0 * x])
    values = [x, x, None, x.astype(str)]
    names = np.array(["first", "second", "a & b", "fourth"])
    display = TermsDisplay(effects, values, term_names=names).plot()
    assert [ax.get_title("left") for ax in display.axes_] == ["first"]
    note = display.figure_.get_supxlabel()
    assert note == "vanished: second, fourth; of several columns: a & b"


def test_products_of_columns(pyplot):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 2))
    y = X[:, 0] + X[:, 0] * X[:, 1]
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    model = make_pipeline(products, StandardScaler(), BilevelRidgeCV(cv="loo"))
    display = TermsDisplay.from_estimator(model.fit(X, y), X)
    assert display.term_names.tolist() == ["x0", "x1", "x0 & x1"]
    # Low, middle and high values of the second column, along the first one.
    pair = next(ax for ax in display.axes_ if ax.get_title("left") == "x0 & x1")
    low, high = pair.lines[1], pair.lines[3]
    x, effect = low.get_data()
    assert (np.diff(x) >= 0).all()
    assert np.corrcoef(x, effect)[0, 1] < -0.8
    assert np.corrcoef(*high.get_data())[0, 1] > 0.8
    names = [text.get_text() for text in pair.get_legend().get_texts()]
    assert names == ["x1 low", "x1 middle", "x1 high"]


@pytest.mark.parametrize("n_terms", [4, 47])
def test_few_and_many_terms(pyplot, n_terms):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, n_terms))
    effects = X * np.linspace(2.0, 1.0, n_terms)
    names = np.array([f"a name that is rather long, {k}" for k in range(n_terms)])
    display = TermsDisplay(effects, list(X.T), term_names=names).plot()
    assert len(display.axes_) == min(n_terms, 40)
    assert all(len(ax.get_title("left")) <= 28 for ax in display.axes_)
    left_out = "and 4 more" in display.figure_.get_supxlabel()
    assert left_out == (n_terms > 40)


def test_many_categories_and_few_values(pyplot):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, 300)
    effects = np.column_stack([codes - 15.0, (codes % 3) - 1.0])
    values = [codes.astype(str), codes % 3]
    display = TermsDisplay(effects, values, term_names=np.array(["a", "b"])).plot()
    assert display.axes_[0].get_xlabel() == "30 categories"
    assert display.axes_[1].lines[1].get_marker() == "o"


def test_given_axes(pyplot):
    x = np.arange(9.0)
    display = TermsDisplay(
        np.column_stack([x, 0.0 * x]), [x, x], term_names=np.array(["a", "b"])
    )
    _, ax = pyplot.subplots()
    display.plot(ax=ax)
    assert display.figure_ is ax.figure
    assert not ax.axison or display.axes_[0] is ax
    assert "vanished: b" in [text.get_text() for text in display.axes_[0].texts]


def test_other_models_are_refused(pyplot):
    X = np.random.default_rng(0).standard_normal((30, 2))
    with pytest.raises(ValueError, match="by make_additive"):
        TermsDisplay.from_estimator(Ridge().fit(X, X[:, 0]), X)
    # Whatever else has coefficients does.
    plain = make_pipeline(PenalizedSplines(3), Ridge()).fit(X, X[:, 0])
    display = TermsDisplay.from_estimator(plain, X)
    assert set(terms_of(plain[:-1])) >= {"x0: linear", "x1: wiggly"}
    assert display.term_names.tolist() == ["x0", "x1"]


def test_bands(pyplot, table, target):
    model = make_additive(BilevelRidgeCV(hyperpenalty=None), smooth=SMALL)
    model.fit(table, target)
    display = TermsDisplay.from_estimator(model, table, level=0.5)
    assert display.stds.shape == display.effects.shape
    # A column that is alone in its term: its coefficient times the column.
    made, names = model[:-1].transform(table), model[:-1].get_feature_names_out()
    place = names.tolist().index("kind_b")
    pair = np.zeros((1, made.shape[1]))
    pair[0, place], pair[0, place - 1] = 1.0, -1.0
    share = (table["kind"] == "a").mean()
    levels = display.stds[:, 2][table["kind"] == "b"]
    assert_allclose(levels, share * model[-1].contrast_std(pair)[0])
    band = display.axes_[0].collections[0].get_paths()[0].vertices[:, 1]
    size = display.effects[:, 1] + 0.6744897501960817 * display.stds[:, 1]
    assert_allclose(band.max(), size.max())
    none = TermsDisplay.from_estimator(model, table, level=None)
    assert none.stds is None
    assert not none.axes_[0].collections
    with pytest.raises(ValueError, match="level=95"):
        TermsDisplay.from_estimator(model, table, level=95)
