"""Fixtures shared by all tests."""

import importlib.util
import os
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Give BLAS one thread, however pytest was started."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def load_dataset():
    """Return ``load(name, onehot=False) -> X, y, info`` of the real data sets.

    They lie outside the repository, in the folder that the environment
    variable SKBILEVEL_DATA names.
    """
    folder = os.environ.get("SKBILEVEL_DATA")
    if not folder:
        pytest.skip("SKBILEVEL_DATA is not set: it names the folder of real data sets")
    loader = Path(folder) / "load.py"
    if not loader.is_file():
        pytest.skip(f"SKBILEVEL_DATA has no load.py: {folder}")
    spec = importlib.util.spec_from_file_location("skbilevel_datasets", loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


@pytest.fixture
def pyplot():
    """Return matplotlib.pyplot on a backend without a screen; close all after."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
