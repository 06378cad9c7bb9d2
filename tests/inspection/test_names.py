"""Names of features from models, pipelines, and transformers that tell none."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skbilevel import BilevelRidgeCV
from skbilevel.inspection._fitted import last_step, named_model

SHARED = {"feature_groups": "shared", "hyperpenalty": None, "cv": 2}


def names(estimator, **options):
    return list(named_model(estimator, **options)[1])


def test_from_the_model_itself_or_numbers(diabetes):
    X, y = diabetes
    model = BilevelRidgeCV(**SHARED)
    assert names(model.fit(X, y)) == list(X.columns)
    assert names(model.fit(X.to_numpy(), y))[:2] == ["x0", "x1"]
    assert names(model, feature_names=range(10)) == list(range(10))


def test_from_the_steps_before(diabetes):
    X, y = diabetes
    columns = make_column_transformer(
        (OneHotEncoder(), ["sex"]), (StandardScaler(), ["bmi"])
    )
    model = make_pipeline(columns, BilevelRidgeCV(**SHARED)).fit(X, y)
    assert names(model)[-1] == "standardscaler__bmi"
    assert len(names(model)) == 3
    # Also where the pipeline is the last step of another one.
    outer = make_pipeline(StandardScaler().set_output(transform="pandas"), model)
    assert names(outer.fit(X, y))[-1] == "standardscaler__bmi"


def test_from_a_vocabulary():
    texts = ["good cheap", "bad dear", "good dear", "bad cheap"] * 3
    ridge = BilevelRidgeCV(**SHARED, alpha_bounds=(0.1, 10.0))
    model = make_pipeline(TfidfVectorizer(), ridge)
    assert names(model.fit(texts, np.resize([1.0, 0.0, 0.8, 0.3, 0.5], 12))) == [
        "bad",
        "cheap",
        "dear",
        "good",
    ]


def test_numbers_where_a_transformer_tells_no_names(diabetes):
    X, y = diabetes
    double = FunctionTransformer(lambda X: np.hstack([X, X]))
    model = make_pipeline(double, BilevelRidgeCV(**SHARED)).fit(X.to_numpy(), y)
    assert names(model)[-1] == "x19"


def test_a_pipeline_of_one_step(diabetes):
    model = make_pipeline(BilevelRidgeCV(**SHARED)).fit(*diabetes)
    assert last_step(model) is model[-1]
    assert_array_equal(names(model), diabetes[0].columns)


def test_models_without_coefficients(diabetes):
    with pytest.raises(NotFittedError):
        named_model(BilevelRidgeCV())
    with pytest.raises(ValueError, match="KNeighborsRegressor has no coef_"):
        named_model(KNeighborsRegressor().fit(*diabetes))
