"""Tests of X in other libraries; they run in a process of their own.

SciPy reads ``SCIPY_ARRAY_API`` when it is imported, and all other tests are to run
as most users do, without it: ``tests/test_array_api.py`` starts these.
"""

import importlib
import os

import pytest

if os.environ.get("SCIPY_ARRAY_API") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(params=["array_api_strict", "torch"])
def xp(request):
    """Return a namespace whose arrays lie on the processor."""
    pytest.importorskip(request.param)
    # Wrapped as scikit-learn wraps it.
    compat = importlib.import_module("sklearn.externals.array_api_compat")
    module = importlib.import_module(request.param)
    return compat.get_namespace(module.asarray(1.0))


@pytest.fixture(autouse=True)
def _always_there(monkeypatch):
    """Work where X lies, however small it is: data as large as needed last too long."""
    monkeypatch.setattr("skbilevel._array_api._FETCHED_BELOW", 0)


@pytest.fixture(autouse=True)
def _dispatched():
    """Switch scikit-learn's dispatch on."""
    from sklearn import config_context

    with config_context(array_api_dispatch=True):
        yield
