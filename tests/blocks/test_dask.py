"""Dask collections: the same fits, lazy predictions, and X that stays where it is."""

import operator
import os
import pickle
import signal
import threading
import time

import dask
import dask.array as da
import dask.base
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dask.callbacks import Callback
from sklearn.base import clone
from sklearn.metrics import get_scorer

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    RowBlocks,
)

N, P = 3000, 6
NAMES = list("abcdef")
# What Dask itself says of its own surroundings is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::FutureWarning:dask"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


# Chunks are brought together up to so many bytes.
TOGETHER = 1 << 23


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P)) + 2.0
    y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.standard_normal(N)
    return X, y, rng.random(N), rng.integers(0, 40, N)


@pytest.fixture(scope="module")
def reference(data):
    X, y, weight, groups = data
    blocks = RowBlocks.from_arrays(X, y, sample_weight=weight, groups=groups)
    return BilevelRidgeCV().fit(blocks)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def arrays(data, rows, columns=P):
    X, *rest = data
    parts = [da.from_array(each, chunks=rows) for each in rest]
    return da.from_array(X, chunks=(rows, columns)), *parts


def blocks_of(X, y, at_most=1, **more):
    """Blocks whose rows seem so large that tasks take few of them at a time."""
    blocks = RowBlocks.from_dask(X, y, **more)
    blocks.row_bytes = TOGETHER // at_most
    return blocks


def fitted(X, y, weight, groups, at_most=1):
    blocks = blocks_of(X, y, at_most, sample_weight=weight, groups=groups)
    return BilevelRidgeCV().fit(blocks)


def assert_same(model, reference):
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.intercept_, reference.intercept_, rtol=1e-10)


CHUNKS = {
    "one": N,
    "one row last": (N - 1, 1),
    "empty": (0, 1000, 0, N - 1000, 0),
    "many": 170,
}


@pytest.mark.parametrize("rows", CHUNKS.values(), ids=CHUNKS)
def test_whatever_the_chunks_are(rows, data, reference):
    assert_same(fitted(*arrays(data, rows)), reference)


def test_collections_of_other_forms(data, reference):
    X, y, weight, groups = data
    # Columns in chunks, targets cut elsewhere, arrays in memory beside.
    cut, *_ = arrays(data, 700, 2)
    other = da.from_array(y, chunks=441)
    assert_same(fitted(cut, other, weight, groups), reference)
    keep = cut.rechunk({1: -1}).min(axis=1) > -99
    unknown = [each[keep] for each in arrays(data, 700)]
    assert np.isnan(unknown[0].shape[0])
    model = fitted(*unknown)
    assert_same(model, reference)
    assert model.predict(unknown[0]).compute().shape == (N,)
    sparse = cut.rechunk({1: -1}).map_blocks(sp.csr_matrix)
    direct = RowBlocks.from_arrays(
        sp.csr_matrix(X), y, sample_weight=weight, groups=groups
    )
    model = fitted(sparse, other, weight, groups)
    assert_same(model, BilevelRidgeCV().fit(direct))


def test_frames(data, reference, monkeypatch):
    X, y, weight, groups = data
    frame = pd.DataFrame(X, columns=NAMES).assign(y=y, w=weight, g=groups)
    lazy = dd.from_pandas(frame, npartitions=5)
    features = lazy[NAMES]
    model = fitted(features, lazy.y, lazy.w, lazy.g)
    assert_same(model, reference)
    assert model.feature_names_in_.tolist() == NAMES
    with monkeypatch.context() as patch:  # nothing is computed yet
        patch.setattr(dask.base, "compute", None)
        predicted = model.predict(features)
    assert isinstance(predicted, dd.Series)
    pd.testing.assert_series_equal(
        predicted.compute(), pd.Series(model.predict(frame[NAMES]), frame.index)
    )
    labels = lazy.y.map(lambda v: "high" if v > 0 else "low", meta=("y", str))
    classes = BilevelRidgeClassifierCV().fit(features, labels)
    assert classes.classes_.tolist() == ["high", "low"]
    assert classes.predict(features).compute().isin(["high", "low"]).all()
    assert classes.score(features, labels) > 0.8


def tasks_of(blocks):
    """Rows of every task of a pass, and how many tasks Dask had in all."""
    ran = []
    with (
        dask.config.set(scheduler="synchronous"),
        Callback(posttask=lambda key, *rest: ran.append(key)),
    ):
        rows = blocks.map_reduce(lambda block: [block.n_rows], operator.add)
    return rows, len(ran)


def test_small_chunks_are_brought_together(data):
    """Three hundred chunks of ten rows are three tasks beside those that make them."""
    X, y, *_ = arrays(data, 10)
    for at_most, expected in (
        (1, [10] * 300),
        (1000, [1000] * 3),
        (1015, [1010, 1010, 980]),
        (N, [N]),
    ):
        rows, n_tasks = tasks_of(blocks_of(X, y, at_most))
        assert rows == expected
        # 600 chunks of X and y, and sums of eight.
        assert n_tasks <= 600 + 1.2 * len(expected) + 1
    # Large ones stay alone, and empty ones play no part.
    X, y, *_ = arrays(data, (900, 0, 100, 400, 0, 100, N - 1500))
    rows, _ = tasks_of(blocks_of(X, y, 500))
    assert rows == [900, 500, 100, N - 1500]


@pytest.mark.parametrize("at_most", [1, 1400, N])
def test_tasks_of_several_chunks_change_nothing(at_most, data, reference):
    cut = arrays(data, 170)
    assert_same(fitted(*cut, at_most), reference)
    keep = cut[0].min(axis=1) > -99
    assert_same(fitted(*(each[keep] for each in cut), at_most), reference)
    sparse = cut[0].map_blocks(sp.csr_matrix)
    given = {"sample_weight": data[2], "groups": data[3]}
    memory = RowBlocks.from_arrays(sp.csr_matrix(data[0]), data[1], **given)
    assert_same(fitted(sparse, *cut[1:], at_most), BilevelRidgeCV().fit(memory))
    labels, counts = data[1] > 0, np.round(np.exp(0.3 * data[1]))
    fits = ((BilevelLogisticCV(), labels, False), (BilevelPoissonCV(), counts, True))
    for model, y, offset in fits:
        more = {"offset": data[2]} if offset else {"sample_weight": data[2]}
        more["tuning_rows"] = 500
        memory = RowBlocks.from_arrays(data[0], y, **more)
        lazy = da.from_array(y, chunks=170)
        blocks = blocks_of(cut[0], lazy, at_most, **more)
        found, expected = clone(model).fit(blocks), clone(model).fit(memory)
        np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-6)
    # The chunk that is at fault is named, not the task.
    wrong = data[0].copy()
    wrong[2401, 3] = np.nan
    with pytest.raises(ValueError, match=r"Block 14 of the rows: X holds NaN.*row 21"):
        fitted(da.from_array(wrong, chunks=(170, P)), *cut[1:], at_most)


def test_predictions_are_lazy(data, reference):
    X, y, *_ = data
    cut = da.from_array(X, chunks=(700, 2))
    predicted = reference.predict(cut)
    assert isinstance(predicted, da.Array)
    assert predicted.shape == (N,)
    assert predicted.chunks[0] == cut.chunks[0]
    np.testing.assert_allclose(predicted.compute(), reference.predict(X))
    Y = np.c_[y, -y]
    two = BilevelRidgeCV().fit(X, Y).predict(cut)
    assert two.shape == (N, 2)
    labels = np.digitize(y, [-1, 1])
    model = BilevelRidgeClassifierCV().fit(X, labels)
    scores = model.decision_function(cut)
    assert scores.shape == (N, 3)
    np.testing.assert_allclose(scores.compute(), model.decision_function(X))
    np.testing.assert_array_equal(model.predict(cut).compute(), model.predict(X))


def test_counts_with_an_offset(data):
    X, y, weight, _ = data
    counts, offset = np.round(np.exp(0.3 * y)), 0.1 * weight
    cut, more = da.from_array(X, chunks=(700, P)), da.from_array(offset, chunks=700)
    model = BilevelPoissonCV().fit(cut, counts, offset=more)
    memory = BilevelPoissonCV().fit(X, counts, offset=offset)
    np.testing.assert_allclose(model.coef_, memory.coef_, rtol=1e-10)
    for given in (more, None):
        found = model.predict(cut, offset=given)
        expected = memory.predict(X, offset=None if given is None else offset)
        np.testing.assert_allclose(found.compute(), expected)
    expected = memory.score(X, counts, weight, offset=offset)
    found = model.score(cut, da.from_array(counts, chunks=700), weight, offset=more)
    assert found == pytest.approx(expected, rel=1e-10)


def test_scores(data, reference):
    X, y, weight, _ = data
    cut, lazy, lazy_weight, _ = arrays(data, 700)
    expected = reference.score(X, y, weight)
    found = reference.score(cut, lazy, lazy_weight)
    assert found == pytest.approx(expected, rel=1e-12)
    expected = get_scorer("neg_mean_squared_error")(reference, X, y)
    found = get_scorer("neg_mean_squared_error")(reference, cut, lazy)
    assert found == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_used(data):
    X, y, *_ = data
    cut, lazy, *_ = arrays(data, 700)
    with pytest.raises(ValueError, match="y is missing"):
        BilevelRidgeCV().fit(cut)
    with pytest.raises(ValueError, match="y has 2999 rows, but X has 3000"):
        BilevelRidgeCV().fit(cut, y[1:])
    with pytest.raises(ValueError, match="y has 2999 rows, but X has 3000"):
        BilevelRidgeCV().fit(cut, lazy[1:])
    unknown = cut[cut.min(axis=1) > -99]
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        BilevelRidgeCV().fit(unknown, y)
    with pytest.raises(ValueError, match="repartition them alike"):
        BilevelRidgeCV().fit(unknown, lazy.rechunk(1000))
    with pytest.raises(TypeError, match="a Dask collection was expected"):
        RowBlocks.from_dask(X, y)
    with pytest.raises(ValueError, match="two dimensions"):
        RowBlocks.from_dask(lazy, lazy)
    X = X.copy()
    X[701, 3] = np.nan
    with pytest.raises(ValueError, match=r"Block 1 of the rows: X holds NaN.*row 1 of"):
        BilevelRidgeCV().fit(da.from_array(X, chunks=(700, P)), lazy)
    with pytest.raises(ValueError, match="holds no rows"):
        BilevelRidgeCV().fit(cut[:0], lazy[:0])


def test_x_never_comes_to_the_client(client, monkeypatch):
    """Count the bytes of everything that is computed during fit and predict."""
    rng = da.random.default_rng(0)
    n = 80_000
    X = rng.standard_normal((n, 20), chunks=(10_000, 20))
    y = X[:, 0] + rng.standard_normal(n, chunks=10_000)
    came, compute = [], dask.base.compute

    def counted(*args, **kwargs):
        out = compute(*args, **kwargs)
        came.append(len(pickle.dumps(out)))
        return out

    monkeypatch.setattr(dask, "compute", counted)
    monkeypatch.setattr(dask.base, "compute", counted)
    model = BilevelRidgeCV().fit(X, y)
    assert model.coef_[0] == pytest.approx(1.0, abs=0.05)
    # The sample of 10,000 rows, and moments of five folds; X is 12.8 MB.
    assert 0 < sum(came) < 2.5e6
    came.clear()
    predicted = model.predict(X)
    assert not came
    assert model.score(X, y) > 0.4
    assert sum(came) < 2.1 * 8 * n
    assert predicted.shape == (n,)


def test_on_a_cluster_as_in_memory(client, data, reference):
    assert_same(fitted(*arrays(data, 400)), reference)
    X, y, weight, _ = data
    labels, more = y > 0, {"sample_weight": weight, "tuning_rows": 500}
    local = BilevelLogisticCV().fit(RowBlocks.from_arrays(X, labels, **more))
    cut, lazy, lazy_weight, _ = arrays(data, 400)
    more["sample_weight"] = lazy_weight
    blocks = blocks_of(cut, lazy > 0, **more)
    model = BilevelLogisticCV().fit(blocks)
    np.testing.assert_allclose(model.coef_, local.coef_, rtol=1e-6)
    probabilities = model.predict_proba(cut)
    assert probabilities.shape == (N, 2)
    np.testing.assert_allclose(probabilities.compute(), model.predict_proba(X))
    assert 3 < blocks.n_passes < 15


def die_once(block, flag):
    """The worker that comes first is killed."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return block
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_changes_nothing(client, data, reference, tmp_path):
    X, *rest = arrays(data, 400)
    flag = str(tmp_path / "died")
    mortal = X.map_blocks(die_once, flag, dtype=X.dtype, meta=np.empty((0, 0)))
    assert_same(fitted(mortal, *rest), reference)
    assert os.path.exists(flag)


@pytest.mark.slow
def test_workers_with_less_memory_than_the_data():
    """1.2 GB go through two workers that may take 400 MB each."""
    distributed = pytest.importorskip("distributed")
    n, p, rows = 6_000_000, 50, 200_000

    def chunk(block_info=None):
        (start, _), _ = block_info[None]["array-location"]
        made = np.random.default_rng(start).standard_normal((1000, p), np.float32)
        return np.tile(made, (rows // 1000, 1))

    chunks = ((rows,) * (n // rows), (p,))
    X = da.map_blocks(chunk, chunks=chunks, dtype=np.float32)
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="400MB",
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        before = client.run(os.getpid)
        model = BilevelRidgeCV().fit(X, X[:, 0] - X[:, 1])
        # A worker that takes more is killed, and another one is started.
        assert client.run(os.getpid) == before
    np.testing.assert_allclose(model.coef_[:3], [1.0, -1.0, 0.0], atol=1e-5)


def slow(block):
    time.sleep(0.5)
    return block


def test_an_interrupt_leaves_the_cluster_clean(client, data):
    X, *rest = arrays(data, 300)
    X = X.map_blocks(slow, dtype=X.dtype, meta=np.empty((0, 0)))
    model = BilevelRidgeCV()
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, *rest[:1])
    timer.join()
    assert not hasattr(model, "coef_")
    for _ in range(100):
        left = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        if not left:
            break
        time.sleep(0.1)
    assert left == 0
