"""Every public estimator reads rows in blocks, or says that it needs them in memory."""

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import skbilevel
from skbilevel import preprocessing
from skbilevel.preprocessing import PenalizedSplines

N = 300
TARGETS = {
    "BilevelRidgeClassifierCV": "classes",
    "BilevelLogisticCV": "classes",
    "BilevelPoissonCV": "amounts",
    "BilevelGammaCV": "amounts",
    "BilevelTweedieCV": "amounts",
}
READS_BLOCKS = {
    "BilevelRidgeCV",
    "BilevelLassoCV",
    "BilevelElasticNetCV",
    *TARGETS,
}
GIVEN = {
    "BilevelSearchCV": (skbilevel.BilevelRidgeCV(),),
    "SampleWeightsCV": (skbilevel.BilevelRidgeCV(),),
    "DPRidge": (1.0,),
    "DPLasso": (1.0,),
    "DPLogistic": (1.0,),
    "make_additive": (skbilevel.BilevelRidgeCV(),),
}


def estimators():
    """All that has a fit, and pipelines of it."""
    for module in (skbilevel, preprocessing):
        for name in module.__all__:
            made = getattr(module, name)
            if hasattr(made, "fit") or name == "make_additive":
                yield name, made


ESTIMATORS = dict(estimators())


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 4))
    y = X[:, 0] + rng.standard_normal(N)
    return X, {"numbers": y, "classes": y > 0, "amounts": np.exp(y)}


@pytest.fixture
def never_loaded(monkeypatch):
    """No Dask collection becomes an array of NumPy."""

    def refuse(self, *args, **kwargs):
        raise AssertionError("a Dask collection was loaded")

    for kind in (da.Array, dd.DataFrame):
        monkeypatch.setattr(kind, "__array__", refuse)


def never(*args, **kwargs):
    raise AssertionError("Dask has computed something")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_blocks_and_dask(name, rows, never_loaded):
    X, targets = rows
    y = targets[TARGETS.get(name, "numbers")]
    model = ESTIMATORS[name](*GIVEN.get(name, ()))
    lazy_y = da.from_array(y, chunks=100)
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcd")), npartitions=3)
    columns = dd.from_pandas(pd.Series(y), npartitions=3)
    given = {
        "RowBlocks": (skbilevel.RowBlocks.from_arrays(X, y),),
        "Array": (da.from_array(X, chunks=(100, 4)), lazy_y),
        "DataFrame": (frame, columns),
    }
    for kind, each in given.items():
        if name in READS_BLOCKS:
            assert np.isfinite(model.fit(*each).coef_).all()
            continue
        sentence = f"needs all rows in memory, and X is a .*{kind}: give X and y as"
        with (
            dask.config.set(scheduler=never),
            pytest.raises(TypeError, match=sentence),
        ):
            model.fit(*each)


@pytest.mark.parametrize("name", ["FractionalSparseRegressor", "MetaRidge", "DPRidge"])
def test_predictions_of_dask(name, rows, never_loaded):
    X, targets = rows
    bounds = {"feature_bounds": (-9.0, 9.0), "target_bounds": (-9.0, 9.0)}
    model = ESTIMATORS[name](
        *GIVEN.get(name, ()), **(bounds if name == "DPRidge" else {})
    ).fit(X, targets["numbers"])
    lazy = da.from_array(X, chunks=(100, 4))
    if name == "FractionalSparseRegressor":
        np.testing.assert_allclose(model.predict(lazy).compute(), model.predict(X))
        return
    with pytest.raises(TypeError, match="needs all rows in memory"):
        model.predict(lazy)


def test_a_transformer_of_blocks(rows):
    X, targets = rows
    blocks = skbilevel.RowBlocks.from_arrays(X, targets["numbers"])
    with pytest.raises(TypeError, match="needs all rows in memory"):
        PenalizedSplines().fit(X).transform(blocks)


def test_columns_are_no_methods(rows):
    X, _ = rows
    frame = pd.DataFrame(X, columns=["map_reduce", "__dask_graph__", "c", "d"])
    model = PenalizedSplines(4).fit(frame)
    np.testing.assert_array_equal(
        model.transform(frame), PenalizedSplines(4).fit_transform(X)
    )
