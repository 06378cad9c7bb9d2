"""Fixtures shared by all tests."""

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from skbilevel.problems._moments import AugmentedRows


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Give BLAS one thread, however pytest was started."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _heard_interrupts():
    """Hear interrupts as in a terminal: shells let background jobs ignore them.

    What a test starts inherits that, too.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture(scope="session")
def make_rows():
    """Return a function that draws augmented rows with three useful columns."""

    def draw(
        n,
        p,
        *,
        t=1,
        intercept=True,
        free=(),
        weighted=False,
        sparse_X=False,
        standardize=False,
        seed=0,
    ):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, p)) + 0.3
        if sparse_X:
            X[rng.random((n, p)) < 0.6] = 0.0
        W = rng.standard_normal((min(3, p), t))
        y = X[:, : len(W)] @ W + 0.5 * rng.standard_normal((n, t)) + 1.0
        weight = rng.uniform(0.2, 3.0, n) if weighted else np.ones(n)
        free = np.array(free, dtype=int)
        return AugmentedRows(
            sparse.csr_array(X) if sparse_X else X,
            y,
            weight,
            free,
            np.setdiff1d(np.arange(p), free),
            intercept,
            np.zeros(p),
            np.zeros(t),
            standardize,
        )

    return draw


@pytest.fixture(scope="session")
def with_zeros():
    """Return a function that puts so many columns of zeros in front of others.

    They change nothing but sizes, on which it depends how something is computed.
    """

    def widened(rows, k):
        none = np.zeros((rows.n_rows, k))
        if sparse.issparse(rows.X):
            X = sparse.hstack([sparse.csr_array(none), rows.X], format="csr")
        else:
            X = np.hstack([none, rows.X])
        p = X.shape[1]
        return replace(rows, X=X, penalized=np.arange(p), shift=np.zeros(p))

    return widened


@pytest.fixture(scope="session")
def explicit_ridge():
    """Return a function that fits ridge on some rows by stacked least squares.

    ``fit(rows, index, v) -> coef (n_free + p, t)``; where ``v`` is zero so is the
    coefficient. Nothing of the package is used but the columns themselves.
    """

    def fit(rows, index, v):
        z = rows.dense(index)
        m, p = rows.n_free, rows.n_penalized
        root = np.sqrt(rows.weight[index])[:, None]
        used = np.r_[np.arange(m), m + np.flatnonzero(v > 0)]
        penalty = np.diag(np.r_[np.zeros(m), 1.0 / np.sqrt(v[v > 0])])[m:]
        A = np.vstack([root * z[:, used], penalty])
        b = np.vstack([root * z[:, m + p :], np.zeros((len(penalty), rows.n_targets))])
        coef = np.zeros((m + p, rows.n_targets))
        coef[used] = np.linalg.lstsq(A, b, rcond=None)[0]
        return coef

    return fit
