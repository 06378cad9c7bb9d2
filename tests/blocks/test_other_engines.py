"""Frames of Ray and Spark become row blocks, by the lines of the page about them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skbilevel import BilevelRidgeCV, RowBlocks

PAGE = Path(__file__).parents[2] / "doc" / "user_guide" / "on_a_dask_cluster.md"
# What the engines say of their own surroundings is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 3))
    y = X @ [1.0, -0.5, 0.0] + rng.standard_normal(2000)
    return pd.DataFrame(X, columns=list("abc")).assign(y=y)


def fitted_by_the_page(name, **given):
    """The model of the block of code that reads ``name``."""
    if not PAGE.exists():
        pytest.skip("the documents are not beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if f"{name}." in block]
    space = {"np": np} | given
    exec(compile(code, str(PAGE), "exec"), space)
    return space["model"]


def assert_as_in_memory(model, frame):
    X, y = frame[list("abc")].to_numpy(), frame["y"].to_numpy()
    memory = BilevelRidgeCV().fit(RowBlocks.from_arrays(X, y))
    np.testing.assert_allclose(model.coef_, memory.coef_, rtol=1e-8)


def test_ray(frame):
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    try:
        model = fitted_by_the_page("ray_dataset", ray_dataset=data.from_pandas(frame))
    finally:
        ray.shutdown()
    assert_as_in_memory(model, frame)


def test_spark(frame, tmp_path, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.chdir(tmp_path)  # before Java starts, which keeps its own
    try:
        session = sql.SparkSession.builder.master("local[1]").getOrCreate()
    except Exception as error:  # no Java, or another one than Spark takes
        pytest.skip(f"Spark does not start here: {error}")
    try:
        spark_frame = session.createDataFrame(frame).coalesce(1)
        model = fitted_by_the_page("spark_frame", spark_frame=spark_frame)
    finally:
        session.stop()
    assert model.feature_names_in_.tolist() == list("abc")
    assert_as_in_memory(model, frame)
