"""terms_of and make_additive: labels, kinds of columns, every estimator."""

import pickle
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
    MetaRidge,
    make_additive,
    original_columns,
    terms_of,
    to_sklearn,
)
from skbilevel.inspection import GuardPathDisplay, StrengthsDisplay
from skbilevel.preprocessing import (
    PenalizedSplines,
    TensorSplines,
    VaryingCoefficients,
)

LABELS = ["age: linear", "age: wiggly", "kind", "size: linear", "size: wiggly"]
SMALL = PenalizedSplines(5)
# More rows than these are predicted in blocks.
BLOCK = 1 << 15


class Counted(PenalizedSplines):
    """Tells of how many rows it has made columns at a time."""

    rows: ClassVar[list[int]] = []

    def transform(self, X):
        Counted.rows.append(len(X))
        return super().transform(X)


def make_table(n=160, seed=0):
    """A curve, a line and a factor, and their sum with noise."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.uniform(20.0, 80.0, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "size": rng.standard_normal(n),
        }
    )
    signal = np.sin(table["age"] / 8.0) + table["size"] + (table["kind"] == "a")
    return table, signal.to_numpy() + 0.1 * rng.standard_normal(n)


def test_labels_of_parts():
    table, _ = make_table()
    curves = PenalizedSplines(3, penalty_order=3, missing="indicator")
    table.loc[3, "size"] = np.nan
    made = curves.fit(table[["age", "size"]])
    size = ["size: linear", "size: quadratic", "size: wiggly", "size: wiggly"]
    age = [each.replace("size", "age") for each in size]
    assert terms_of(made).tolist() == [*age, *size, "size: missing"]
    assert original_columns(made).tolist() == ["age"] * 4 + ["size"] * 5


def test_labels_pass_through_other_steps():
    table, _ = make_table()
    columns = ColumnTransformer(
        [("s", PenalizedSplines(3), ["size"]), ("k", OneHotEncoder(), ["kind"])],
        remainder=make_pipeline(StandardScaler(), PenalizedSplines(3)),
    )
    steps = make_pipeline(columns, VarianceThreshold(1e-12)).fit(table)
    size = ["size: linear", *["size: wiggly"] * 3]
    age = ["age: linear", *["age: wiggly"] * 3]
    assert terms_of(steps).tolist() == [*size, *["kind"] * 3, *age]
    products = make_pipeline(
        PenalizedSplines(2, degree=2), PolynomialFeatures(2, include_bias=False)
    ).fit(table[["age", "size"]])
    labels = terms_of(products)
    # Two linear and two wiggly columns; a square of one is of the same part.
    assert labels[:2].tolist() == ["age: linear", "age: wiggly"]
    assert "age & size" in labels
    assert set(original_columns(products)) == {"age", "size", "age & size"}


def test_labels_of_columns_with_wicked_names():
    table = pd.DataFrame({"x": np.arange(9.0), "x: linear": np.arange(9.0) ** 2})
    columns = ColumnTransformer(
        [("s", PenalizedSplines(2, degree=2), ["x"])], remainder="passthrough"
    )
    labels = terms_of(columns.fit(table)).tolist()
    assert labels == ["(x: linear)", "x: wiggly", "x: linear"]


def test_a_curve_a_line_and_a_factor_are_found():
    table, y = make_table(300)
    model = make_additive(BilevelRidgeCV()).fit(table, y)
    fresh, truth = make_table(500, seed=1)
    assert model.score(fresh, truth) > 0.97
    line = make_pipeline(
        ColumnTransformer(
            [("kind", OneHotEncoder(), ["kind"])], remainder="passthrough"
        ),
        BilevelRidgeCV(),
    )
    assert line.fit(table, y).score(fresh, truth) < 0.8
    last = model[-1]
    assert last.group_labels_.tolist() == LABELS
    strengths = dict(zip(LABELS, last.group_alpha_, strict=True))
    assert strengths["size: wiggly"] > 5.0 * strengths["age: wiggly"]


def test_few_rows_may_do_without_what_bends(pyplot):
    """A candidate has lines alone, about one strength for all of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 8))
    y = X @ np.linspace(-1.0, 1.0, 8) + rng.standard_normal(300)
    model = make_additive(BilevelRidgeCV())
    found = model.fit(X[:60], y[:60])[-1].hyperpenalty_
    (place,) = np.flatnonzero(found["family"] == "single")
    alpha = found["alpha"][place]
    wiggly = np.array([name.endswith("wiggly") for name in terms_of(model[:-1])])
    assert alpha[wiggly].min() > 1e6 * alpha[~wiggly].max()
    assert np.ptp(np.log(alpha[~wiggly])) < 1.0
    assert found["score"][place] > found["score"][found["family"] == "evidence"].max()
    GuardPathDisplay.from_estimator(model[-1])
    words = [text.get_text() for text in pyplot.gcf().findobj(pyplot.Text)]
    assert "single columns\nalone" in words
    model.set_params(bilevelridgecv__feature_groups="shared").fit(X[:60], y[:60])
    assert "single" not in model[-1].hyperpenalty_["family"]
    small = make_additive(BilevelRidgeCV(), smooth=PenalizedSplines(4))
    assert "single" not in small.fit(X, y)[-1].hyperpenalty_["family"]


def test_parameters_stay_what_they_were():
    given = BilevelRidgeCV(cv=3)
    table, y = make_table()
    model = make_additive(given, smooth=SMALL)
    assert given.feature_groups is None
    before = model.get_params()["bilevelridgecv__feature_groups"]
    assert before is terms_of
    first = model.fit(table, y).predict(table)
    assert model[-1].feature_groups is terms_of
    assert_allclose(clone(model).fit(table, y).predict(table), first)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(table), first)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(table, y[:-1])
    assert model[-1].feature_groups is terms_of


def test_labels_are_those_of_a_fit_by_hand():
    table, y = make_table()
    model = make_additive(BilevelRidgeCV(), smooth=SMALL).fit(table, y)
    made = model[:-1].transform(table)
    by_hand = BilevelRidgeCV(feature_groups=terms_of(model[:-1])).fit(made, y)
    assert_allclose(model[-1].coef_, by_hand.coef_)
    own = BilevelRidgeCV(feature_groups="shared")
    shared = make_additive(own, smooth=SMALL).fit(table, y)[-1]
    assert len(np.unique(shared.alpha_)) == 1
    by_column = BilevelRidgeCV(feature_groups=original_columns)
    fitted = make_additive(by_column, smooth=SMALL).fit(table, y)[-1]
    assert fitted.group_labels_.tolist() == ["age", "kind", "size"]


@pytest.mark.parametrize(
    "estimator",
    [
        BilevelRidgeCV(),
        BilevelRidgeCV(hyperpenalty=None, cv="loo"),
        BilevelRidgeClassifierCV(),
        BilevelLogisticCV(),
        BilevelPoissonCV(),
        BilevelGammaCV(hyperpenalty=None),
        BilevelTweedieCV(hyperpenalty=None),
    ],
    ids=str,
)
def test_every_estimator(estimator):
    table, y = make_table()
    if "Ridge" not in type(estimator).__name__ or "Class" in type(estimator).__name__:
        y = (y > 0.5) + (0 if "Class" in str(estimator) else 1)
    model = make_additive(estimator, smooth=PenalizedSplines(3))
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    name = model.steps[-1][0]
    model.fit(table, y, **{f"{name}__sample_weight": weight})
    assert model[-1].group_labels_.tolist() == LABELS
    plain = to_sklearn(model)
    assert_allclose(plain.predict(table), model.predict(table))
    again = clone(model).fit(table, y)
    assert not np.allclose(again[-1].coef_, model[-1].coef_, rtol=1e-6)


def test_exposure_and_tasks():
    table, y = make_table()
    count = np.random.default_rng(0).poisson(np.exp(y))
    model = make_additive(BilevelPoissonCV(hyperpenalty=None), smooth=SMALL)
    offset = np.linspace(-1.0, 1.0, len(y))
    model.fit(table, count, bilevelpoissoncv__offset=offset)
    assert model.predict(table, offset=offset).shape == y.shape
    tasks = np.arange(len(y)) % 8
    meta = make_additive(MetaRidge(), smooth=PenalizedSplines(3))
    meta.fit(table, y, metaridge__tasks=tasks)
    assert meta.predict(table, tasks=tasks).shape == y.shape


def test_in_cross_validation_and_in_a_search():
    table, y = make_table()
    model = make_additive(BilevelRidgeCV(), smooth=SMALL)
    found = cross_validate(model, table, y, cv=3, error_score="raise")
    assert found["test_score"].min() > 0.9
    search = BilevelSearchCV(model).fit(table, y)
    best = search.best_estimator_
    assert best[-1].group_labels_.tolist() == LABELS
    assert search.score(table, y) > 0.95
    assert_allclose(to_sklearn(search).predict(table), search.predict(table))
    # Found by the folds' own knots, fitted on the same columns.
    assert_allclose(
        best[0].fit_transform(table), model.fit(table, y)[0].transform(table)
    )


@pytest.mark.parametrize("container", ["pandas", "polars", "numpy"])
def test_kinds_of_columns(container):
    if container == "polars" and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn 1.7 does not read the column names of polars 2")
    table, y = make_table(80)
    table["kind"] = table["kind"].astype("category").cat.codes
    table["old"] = table["age"] > 50.0
    given = {"pandas": table, "polars": pl.from_pandas(table)}
    X = given.get(container, table.to_numpy(dtype=float))
    factors, lines = ["kind", "old"], ["size"]
    if container == "numpy":
        factors, lines = [1, -1], 2
    model = make_additive(
        BilevelRidgeCV(hyperpenalty=None), categorical=factors, linear=lines
    ).fit(X, y)
    names = ["age", "kind", "size", "old"]
    if container == "numpy":
        names = [f"x{k}" for k in range(4)]
    age, kind, size, old = names
    known = [f"{age}: linear", f"{age}: wiggly", kind, size, old]
    assert model[-1].group_labels_.tolist() == sorted(known)
    assert_allclose(model[-1].coef_.shape[0], 13 + 1 + 3 + 2)


def test_types_tell_what_columns_are():
    table, y = make_table(80)
    table["old"] = table["age"] > 50.0
    table["count"] = pd.array(np.arange(80) % 7, dtype="Int64")
    table["code"] = pd.Categorical(np.arange(80) % 2)
    for X in (table, table.astype({"kind": "string"})):
        model = make_additive(BilevelRidgeCV(feature_groups="shared", cv=3)).fit(X, y)
        kinds = {name: list(part) for name, _, part in model[0].transformers_[:3]}
        assert kinds["smooth"] == ["age", "size", "count"]
        assert kinds["linear"] == []
        assert kinds["categorical"] == ["kind", "old", "code"]
    model.predict(table.assign(kind="unseen"))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_transformers_that_are_told_to_make_frames(container):
    table, y = make_table(80)
    model = make_additive(BilevelRidgeCV(feature_groups="shared", cv=3), smooth=SMALL)
    plain = clone(model).fit(table, y).predict(table)
    with sklearn.config_context(transform_output=container):
        assert_allclose(model.fit(table, y).predict(table), plain)
    numbers = table[["age", "size"]]
    for part in (SMALL, TensorSplines(3), VaryingCoefficients(3)):
        plain = clone(part).fit_transform(numbers)
        with sklearn.config_context(transform_output=container):
            made = clone(part).fit_transform(numbers)
        assert list(made.columns) == list(
            clone(part).fit(numbers).get_feature_names_out()
        )
        assert_allclose(made.to_numpy(), plain)


@pytest.mark.parametrize("parameter", ["varying", "interactions"])
def test_pairs_are_of_numbers(parameter):
    table, y = make_table(60)
    table["old"] = table["age"] > 50.0
    last = BilevelRidgeCV(feature_groups="shared", cv=3)
    for kind in (table["kind"], table["kind"].astype("category")):
        model = make_additive(last, **{parameter: [("age", "kind")]})
        with pytest.raises(ValueError, match=f"{parameter} names column 'kind'"):
            model.fit(table.assign(kind=kind), y)
    make_additive(last, varying=[("age", "old")], smooth=SMALL).fit(table, y)


def test_what_cannot_be_right_is_refused():
    table, y = make_table(60)
    with pytest.raises(TypeError, match="Ridge has no parameter feature_groups"):
        make_additive(Ridge())
    with pytest.raises(TypeError, match="stands around"):
        make_additive(BilevelSearchCV(BilevelRidgeCV()))
    for params, message in (
        ({"categorical": ["sort"]}, r"categorical names columns .*\['sort'\]"),
        ({"linear": [7]}, r"linear names columns .*\[7\]"),
        ({"linear": ["kind"]}, "a column is one of them"),
        ({"categorical": ["size"]}, "'kind' holds .* not in categorical"),
    ):
        with pytest.raises(ValueError, match=message):
            make_additive(BilevelRidgeCV(), **params).fit(table, y)
    dated = table.assign(day=pd.Timestamp("2020-01-01"))
    with pytest.raises(ValueError, match="'day' holds datetime"):
        make_additive(BilevelRidgeCV()).fit(dated, y)


def test_pictures_know_the_labels(pyplot):
    table, y = make_table(80)
    model = make_additive(BilevelRidgeCV(), smooth=PenalizedSplines(3)).fit(table, y)
    shown = StrengthsDisplay.from_estimator(model)
    assert_array_equal(shown.feature_groups, terms_of(model[:-1]))
    search = BilevelSearchCV(model).fit(table, y)
    shown = StrengthsDisplay.from_estimator(search)
    assert_array_equal(shown.feature_groups, terms_of(model[:-1]))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, None], ids=str)
@pytest.mark.parametrize("estimator", [BilevelRidgeCV(), BilevelPoissonCV()], ids=str)
def test_many_rows_in_blocks(monkeypatch, frame, estimator):
    if frame is pl.DataFrame and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn 1.7 does not read the column names of polars 2")
    rng = np.random.default_rng(0)
    n = 1500
    columns = {"a": rng.uniform(0.0, 6.0, n), "k": rng.choice(list("abc"), n)}
    columns["a"][7], columns["k"][11] = 6.5, "rare"
    if frame is None:
        columns["k"] = (columns["k"] == "a").astype(float)
    X = np.column_stack([*columns.values()]) if frame is None else frame(columns)
    eta = np.sin(columns["a"]) + rng.normal(size=n)
    y = eta if isinstance(estimator, BilevelRidgeCV) else rng.poisson(np.exp(eta))
    weight = rng.integers(1, 3, n)
    given = {f"{type(estimator).__name__.lower()}__sample_weight": weight}
    make = partial(make_additive, estimator, smooth=Counted(5))
    whole = make().fit(X, y, **given)
    # Without this it would take a million rows.
    module = "skbilevel.preprocessing._additive_blocks."
    for name, value in (("_LARGEST", 1000), ("_SAMPLE", 400), ("_BLOCK", 333)):
        monkeypatch.setattr(module + name, value)
    Counted.rows.clear()
    blocks = make().fit(X, y, **given)
    # Never the columns of all rows.
    assert max(Counted.rows) < 450
    assert blocks[-1].coef_.shape == whole[-1].coef_.shape
    assert blocks[-1].group_labels_.tolist() == whole[-1].group_labels_.tolist()
    # Knots are others, and so are folds; a category of one row hardly has a level.
    common = np.arange(n) != 11
    near = {"rtol": 0.05, "atol": 0.05}
    assert_allclose(blocks.predict(X)[common], whole.predict(X)[common], **near)
    counts = isinstance(estimator, BilevelPoissonCV)
    params = {"return_std": True} | ({"offset": np.linspace(0, 1, n)} if counts else {})
    Counted.rows.clear()
    in_parts = blocks.predict(X, **params)
    assert max(Counted.rows) == 333
    # What row blocks cannot do is done with all rows.
    alone = make().set_params(**{f"{blocks.steps[-1][0]}__cv": KFold(3)})
    alone.fit(X, y)
    assert max(Counted.rows) == n
    monkeypatch.undo()
    assert_allclose(in_parts, blocks.predict(X, **params), rtol=1e-12)


def test_classes_of_many_rows():
    """They are predicted in blocks."""
    table, y = make_table(200)
    labels = np.where(y > np.median(y), "high", "low")
    model = make_additive(BilevelLogisticCV(), smooth=Counted(4)).fit(table, labels)
    rows = np.arange(BLOCK + 100) % 200
    many = table.iloc[rows]
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        whole = getattr(model, name)(table)
        Counted.rows.clear()
        parts = getattr(model, name)(many)
        assert max(Counted.rows) == BLOCK
        if name == "predict":
            assert_array_equal(parts, whole[rows])
        else:
            assert_allclose(parts, whole[rows], rtol=1e-12, atol=1e-14)


def test_offsets_of_another_length():
    table, y = make_table(100)
    model = make_additive(BilevelPoissonCV(), smooth=PenalizedSplines(4))
    model.fit(table, np.square(y))
    many = table.iloc[np.zeros(BLOCK + 1, int)]
    with pytest.raises(ValueError, match=rf"offset has shape \({BLOCK + 2}"):
        model.predict(many, offset=np.zeros(BLOCK + 2))
    assert not hasattr(model, "predict_proba")


def test_tasks_of_many_rows():
    table, y = make_table(60)
    tasks = np.repeat(["a", "b", "c"], 20)
    shift = 3.0 * (tasks == "b")
    model = make_additive(MetaRidge(), smooth=PenalizedSplines(4))
    model.fit(table, y + shift, metaridge__tasks=tasks)
    whole = model.predict(table, tasks=tasks)
    rows = np.arange(BLOCK + 30) % 60
    many, labels = table.iloc[rows], tasks[rows]
    series = pd.Series(labels, index=np.arange(len(rows))[::-1])
    for given in (labels, labels.tolist(), series, pl.Series(labels)):
        assert_allclose(model.predict(many, tasks=given), whole[rows], rtol=1e-12)
        with pytest.raises(ValueError, match=f"59 labels, but X has {BLOCK + 30} rows"):
            model.predict(many, tasks=given[:59])
    one = model.predict(many, tasks="b")
    assert_allclose(one[20:40], whole[20:40], rtol=1e-12)
