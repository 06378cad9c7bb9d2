"""Fixtures shared by all tests."""

import contextlib
import importlib.util
import io
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


class Screen(io.StringIO):
    """Shows what is printed; the user presses Ctrl-C at one of the lines."""

    def __init__(self, at, of):
        super().__init__()
        self.left, self.of = at, of

    def write(self, text):
        """Count the lines that hold a text."""
        self.left -= self.of in text
        if self.left == 0 and self.of in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture(scope="session")
def interrupted():
    """Return a context in which a fit is interrupted at a printed line.

    ``with interrupted(at, of="[skbilevel]") as screen``: it is the ``at``-th line
    that holds the text ``of``.
    """

    @contextlib.contextmanager
    def context(at, of="[skbilevel]"):
        with (
            pytest.raises(KeyboardInterrupt),
            contextlib.redirect_stdout(Screen(at, of)) as screen,
        ):
            yield screen

    return context


@pytest.fixture(scope="session")
def large_sparse():
    """Rows so many, wide and sparse that guards work by products only, and targets."""
    rng = np.random.default_rng(0)
    X = sparse.random(
        510, 514, 0.01, format="csr", random_state=0, data_rvs=rng.standard_normal
    )
    X = sparse.csr_array(sparse.hstack([rng.standard_normal((510, 6)), X]))
    y = 2.0 * X[:, :3].sum(axis=1) + rng.standard_normal(510)
    return X, y, (y > 0).astype(int)


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
