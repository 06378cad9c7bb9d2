"""Labels of columns by what fitted transformers made them of."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    original_columns,
)

N = 100


def make_table():
    """Names and categories that no rule about separators takes apart."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "a": rng.choice(["b_c", "x", "y"], N),
            "a_b": rng.choice(["c", "x_y"], N),
            "a__b": rng.standard_normal(N),
            "size": rng.standard_normal(N),
            # One of them is rare in the table, and another in its folds alone.
            "kind": pd.Categorical(["p"] * 45 + ["q"] * 40 + ["r"] * 10 + ["s"] * 5),
            "text": rng.choice(["one two", "two three"], N),
        }
    ).sample(frac=1.0, random_state=0)
    table.iloc[3, 3] = np.nan
    table.iloc[5, 0] = None
    y = table["a__b"] + (table["kind"] == "p") + rng.standard_normal(N)
    return table, y.to_numpy()


def encode(**params):
    return make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(**params)
    )


def numbers(*steps):
    return make_pipeline(SimpleImputer(), *steps)


AB = ["a", "a_b"]
NUMBERS = ["size", "a__b"]
PARTS = {
    "encoder": (encode(), AB, ["a"] * 3 + ["a_b"] * 2),
    "dropped first": (encode(drop="first"), AB, ["a"] * 2 + ["a_b"]),
    "own names": (
        encode(feature_name_combiner=lambda name, value: f"is {value}"),
        AB,
        ["a"] * 3 + ["a_b"] * 2,
    ),
    "infrequent": (OneHotEncoder(min_frequency=8), ["kind"], ["kind"] * 4),
    "indicator": (
        SimpleImputer(add_indicator=True),
        ["a__b", "size"],
        ["a__b", "size", "size"],
    ),
    "by number": (StandardScaler(), [3, 2], NUMBERS),
    "by mask": (
        encode(),
        [True, True, False, False, False, False],
        ["a"] * 3 + ["a_b"] * 2,
    ),
    "by type": (numbers(), make_column_selector(dtype_include="number"), NUMBERS[::-1]),
    "text": (TfidfVectorizer(), "text", ["text"] * 3),
    "passthrough": ("passthrough", slice(2, 4), ["a__b", "size"]),
    "drop": ("drop", ["a"], []),
    "nothing": (StandardScaler(), [], []),
    "splines": (
        numbers(SplineTransformer(n_knots=3)),
        NUMBERS,
        ["size"] * 5 + ["a__b"] * 5,
    ),
    "bins": (
        numbers(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")),
        NUMBERS,
        ["size"] * 3 + ["a__b"] * 3,
    ),
    "polynomials": (
        numbers(PolynomialFeatures(2)),
        NUMBERS,
        ["constant", "size", "a__b", "size", "a__b & size", "a__b"],
    ),
    "components": (numbers(PCA(2)), NUMBERS, ["a__b & size"] * 2),
    "union": (
        FeatureUnion([("s", numbers()), ("p", "passthrough"), ("d", "drop")]),
        NUMBERS,
        NUMBERS * 2,
    ),
    "columns inside": (
        ColumnTransformer([("in", encode(), ["a_b"])], remainder="passthrough"),
        ["a__b", "a_b"],
        ["a_b", "a_b", "a__b"],
    ),
    "a function": (FunctionTransformer(np.abs), NUMBERS, NUMBERS),
    "several of one": (
        FunctionTransformer(lambda X: np.c_[np.abs(X), np.sign(X)]),
        ["a__b"],
        ["a__b"] * 2,
    ),
}


def parts_of(*names):
    return [(name, *PARTS[name][:2]) for name in names]


@pytest.mark.parametrize("name", PARTS)
def test_one_part(name):
    table, y = make_table()
    columns = ColumnTransformer(parts_of(name)).fit(table, y)
    assert original_columns(columns).tolist() == PARTS[name][2]
    width = columns.transform(table).shape[1]
    assert len(PARTS[name][2]) == width


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sparse_threshold": 1.0},
        {"sparse_threshold": 0.0},
        {"remainder": "passthrough"},
        {"remainder": SimpleImputer(add_indicator=True)},
    ],
    ids=str,
)
def test_several_parts_and_the_remainder(params):
    table, y = make_table()
    table = table.drop(columns="text")
    names = ("own names", "infrequent", "drop", "splines")
    known = [label for name in names for label in PARTS[name][2]]
    if "remainder" in params:
        names = (*names[:3], "nothing")
        rest = ["a__b", "size"] + ["size"] * (params["remainder"] != "passthrough")
        known = [*known[:9], *rest]
    columns = ColumnTransformer(parts_of(*names), **params)
    assert original_columns(make_pipeline(columns).fit(table, y)).tolist() == known


def test_the_names_do_not_matter():
    table, y = make_table()
    names = ("infrequent", "polynomials", "columns inside")
    known = [label for name in names for label in PARTS[name][2]]
    columns = ColumnTransformer(parts_of(*names), verbose_feature_names_out=False)
    assert original_columns(columns.fit(table)).tolist() == known
    # What stands behind the columns keeps track of them.
    kept = make_pipeline(columns, VarianceThreshold(), SelectKBest(f_regression, k=4))
    later = original_columns(kept.fit(numbered(table), y)).tolist()
    assert len(later) == 4
    assert set(later) <= set(known)


def numbered(table):
    """No holes."""
    return table.assign(size=table["size"].fillna(0.0))


def test_products_of_categories():
    table, _ = make_table()
    crossed = make_pipeline(
        ColumnTransformer(parts_of("encoder", "by number")),
        PolynomialFeatures(2, interaction_only=True, include_bias=False),
    )
    labels = original_columns(crossed.fit(numbered(table)))
    assert set(labels) == {
        *("a", "a_b", "size", "a__b", "a & a_b", "a & size", "a & a__b"),
        *("a_b & size", "a_b & a__b", "a__b & size"),
    }


def test_different_sets_have_different_labels():
    X = np.random.default_rng(0).standard_normal((20, 5))
    table = pd.DataFrame(X, columns=["u", "v", "u & v", "w", "z"])
    pairs = make_pipeline(PolynomialFeatures(5, interaction_only=True)).fit(table)
    labels = original_columns(pairs)
    assert len(set(labels)) == len(labels) == 32
    assert labels[:6].tolist() == ["constant", *table.columns]
    assert "u & v & 3 more" in labels
    # A table without names.
    assert original_columns(StandardScaler().fit(X)).tolist() == [
        f"x{k}" for k in range(5)
    ]


def test_what_cannot_be_read():
    table, _ = make_table()
    columns = ColumnTransformer(parts_of("encoder"))
    for unfitted in (columns, make_pipeline(columns), OneHotEncoder()):
        with pytest.raises(NotFittedError):
            original_columns(unfitted)
    first = FunctionTransformer(lambda X: X.iloc[:, :1])
    dark = ColumnTransformer([("first", first, NUMBERS)]).fit(table)
    with pytest.raises(ValueError, match="FunctionTransformer does not say"):
        original_columns(dark)
    whole = make_pipeline(StandardScaler(), Ridge()).fit(table[["a__b"]], np.ones(N))
    with pytest.raises(TypeError, match=r"Ridge is no transformer.*pipeline\[:-1\]"):
        original_columns(whole)


@pytest.mark.parametrize(
    ("last", "dense"),
    [
        (BilevelRidgeCV(), True),
        (BilevelRidgeCV(), False),
        (BilevelRidgeCV(hyperpenalty=None), True),
        (BilevelRidgeCV(hyperpenalty=None), False),
        (BilevelLogisticCV(hyperpenalty=None), True),
        (BilevelRidgeClassifierCV(hyperpenalty=None), True),
        (BilevelPoissonCV(hyperpenalty=None), False),
    ],
    ids=str,
)
def test_in_a_search(last, dense):
    table, y = make_table()
    if not isinstance(last, BilevelRidgeCV):
        y = (y > 0.5).astype(int)
    # Folds have a column of infrequent categories that all rows do not have.
    encoder = OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist")
    columns = ColumnTransformer(
        [("kind", encoder, ["kind", "a_b"]), ("x", StandardScaler(), ["a__b"])],
        sparse_threshold=0.0 if dense else 1.0,
    )
    table = table[table["kind"] != "s"]
    y = y[: len(table)]
    pipe = make_pipeline(
        columns, clone(last).set_params(feature_groups=original_columns)
    )
    found = BilevelSearchCV(pipe, cv=3).fit(table, y).best_estimator_
    labels = original_columns(found[:-1])
    assert labels.tolist() == ["kind"] * 3 + ["a_b"] * 2 + ["a__b"]
    model = found[-1]
    assert model.group_labels_.tolist() == ["a__b", "a_b", "kind"]
    assert model.n_features_in_ == 6
    group = np.searchsorted(model.group_labels_, labels)
    assert_array_equal(model.alpha_, model.group_alpha_[group])
    # A callable of the user, of either kind, says the same.
    for own in (
        lambda transformer: original_columns(transformer),
        lambda names: [("kind", "a_b", "a__b")[_place(each)] for each in names],
    ):
        pipe.set_params(**{f"{pipe.steps[-1][0]}__feature_groups": own})
        again = BilevelSearchCV(pipe, cv=3).fit(table, y).best_estimator_[-1]
        assert_allclose(again.coef_, model.coef_)


def _place(name):
    return [start in name for start in ("kind__kind", "kind__a_b", "x__")].index(True)


def test_around_a_search():
    table, y = make_table()
    table["a"] = table["a"].replace("b_c", "z")  # or two columns have one name
    columns = ColumnTransformer(parts_of("encoder", "indicator"))
    inner = make_pipeline(
        StandardScaler(with_mean=False), BilevelRidgeCV(feature_groups=original_columns)
    )
    search = BilevelSearchCV(make_pipeline(columns, inner), cv=3).fit(table, y)
    last = search.best_estimator_[-1][-1]
    assert last.group_labels_.tolist() == ["a", "a__b", "a_b", "size"]
    assert np.isfinite(cross_val_score(search, table, y, cv=2)).all()
    # A group that only a fold has a column of.
    chosen = make_pipeline(
        columns,
        SelectKBest(f_regression, k=1),
        BilevelRidgeCV(feature_groups=original_columns),
    )
    with pytest.raises(ValueError, match="columns of the group"):
        BilevelSearchCV(chosen, cv=5).fit(table, np.random.default_rng(1).random(N))


def test_without_a_search():
    table, y = make_table()
    columns = ColumnTransformer(parts_of("encoder", "indicator"))
    pipe = make_pipeline(columns, BilevelRidgeCV(feature_groups=original_columns))
    for model in (
        pipe,
        BilevelSearchCV(BilevelRidgeCV(feature_groups=original_columns)),
    ):
        with pytest.raises(ValueError, match="asks for the transformers"):
            model.fit(table if model is pipe else table[["a__b"]], y)
    labels = original_columns(columns.fit(table))
    pipe = make_pipeline(columns, BilevelRidgeCV(feature_groups=labels)).fit(table, y)
    assert pipe[-1].group_labels_.tolist() == ["a", "a__b", "a_b", "size"]


def test_houses(load_dataset):
    table, y, _ = load_dataset("ames_housing")
    number = table.select_dtypes("number").columns
    word = [each for each in table.columns if each not in number]
    rare = {"min_frequency": 10, "handle_unknown": "infrequent_if_exist"}
    columns = ColumnTransformer(
        [
            ("word", encode(**rare), word),
            ("number", numbers(StandardScaler()), number),
        ]
    )
    labels = original_columns(columns.fit(table))
    assert set(labels) == set(table.columns)
    assert len(labels) == columns.transform(table[:2]).shape[1]
    few = [*word[:8], *number[:3]]
    pre = ColumnTransformer([("w", encode(**rare), few[:8]), ("n", numbers(), few[8:])])
    last = BilevelRidgeCV(feature_groups=original_columns, hyperpenalty=None, tol=0.01)
    search = BilevelSearchCV(make_pipeline(pre, last), cv=3)
    search.fit(table[few][:400], np.log(y[:400]))
    assert set(search.best_estimator_[-1].group_labels_) <= set(few)
    assert search.score(table[few][400:800], np.log(y[400:800])) > 0.4
