"""Row blocks: sources, what is checked of a block, and passes over them."""

import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from skbilevel import RowBlocks

N = 700


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    columns = {name: rng.standard_normal(N) for name in "abc"}
    columns["y"] = columns["a"] + rng.standard_normal(N)
    columns["w"] = rng.random(N)
    columns["g"] = [f"g{k % 30}" for k in range(N)]
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet")
    for k, start in enumerate(range(0, N, 300)):
        part = frame.slice(start, 300).to_arrow()
        pq.write_table(part, path / f"{k}.parquet", row_group_size=77)
    return path


def gathered(blocks):
    """All rows again: X, y, weights, groups, and the sizes of the blocks."""
    parts = list(blocks.blocks())
    dense = [b.X.toarray() if sp.issparse(b.X) else b.X for b in parts]
    together = [np.concatenate(dense)]
    for name in ("y", "sample_weight", "groups"):
        together.append(np.concatenate([getattr(b, name) for b in parts]))
    return together, [b.n_rows for b in parts]


SOURCES = {
    "folder": lambda frame, folder: folder,
    "paths": lambda frame, folder: sorted(folder.iterdir()),
    "dataset": lambda frame, folder: ds.dataset(str(folder)),
    "pyarrow": lambda frame, folder: frame.to_arrow(),
    "polars": lambda frame, folder: frame,
    "lazy": lambda frame, folder: pl.scan_parquet(folder / "*.parquet"),
    "pandas": lambda frame, folder: frame.to_pandas(),
    "function": lambda frame, folder: lambda: frame.to_arrow().to_reader(50),
}


@pytest.mark.parametrize("name", SOURCES)
def test_tables_by_name(name, frame, folder):
    if name == "lazy" and not hasattr(pl.LazyFrame, "collect_batches"):
        with pytest.raises(TypeError, match="update polars"):
            RowBlocks.from_table(frame.lazy(), target="y")
        return
    source = SOURCES[name](frame, folder)
    more = {"sample_weight": "w", "groups": "g", "block_rows": 256}
    blocks = RowBlocks.from_table(source, target="y", **more)
    assert blocks.feature_names == ["a", "b", "c"]
    for _ in range(2):  # it starts again
        (X, y, w, g), sizes = gathered(blocks)
        assert sizes == [256, 256, 188]
        np.testing.assert_array_equal(X, frame.select("a", "b", "c").to_numpy())
        np.testing.assert_array_equal(y, frame["y"].to_numpy())
        np.testing.assert_array_equal(w, frame["w"].to_numpy())
        assert g.tolist() == frame["g"].to_list()


def test_columns_of_tables(frame):
    chosen = {"target": ["y", "a"], "features": ["c", "b"]}
    single = frame.cast({"b": pl.Float32, "c": pl.Float32})
    (block,) = RowBlocks.from_table(single, **chosen).blocks()
    assert block.X.dtype == np.float32
    assert block.y.shape == (N, 2)
    np.testing.assert_array_equal(block.X, single.select("c", "b").to_numpy())
    labels = frame.with_columns(pl.col("g").cast(pl.Categorical))
    features = {"features": ["a"]}
    (block,) = RowBlocks.from_table(labels, target="g", **features).blocks()
    assert block.y.tolist() == frame["g"].to_list()


def test_tables_that_cannot_be_used(frame, folder):
    with pytest.raises(ValueError, match="no column 'z'"):
        RowBlocks.from_table(frame, target="z")
    with pytest.raises(ValueError, match=r"Column 'g' is of type .*encode"):
        RowBlocks.from_table(frame, target="y")
    with pytest.raises(TypeError, match="only once"):
        RowBlocks.from_table(frame.to_arrow().to_reader(), target="y")
    with pytest.raises(TypeError, match="of type int"):
        RowBlocks.from_table(3, target="y")
    for value in (1, True, 1.0):
        hole = pl.when(pl.col("a") > 2).then(None).otherwise(value).alias("b")
        missing = frame.with_columns(hole)
        blocks = RowBlocks.from_table(missing, target="y", features=["a", "b"])
        with pytest.raises(ValueError, match=r"Block 0 of the rows: X .*column 1"):
            list(blocks.blocks())


def test_arrays_and_memory_maps(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3)).astype(np.float32)
    file = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=X.shape)
    file[:] = X
    sparse = sp.csr_matrix(X * (X > 1))
    for source in (X, file, sparse, X.tolist()):
        more = {"sample_weight": np.ones(100), "groups": np.arange(100)}
        blocks = RowBlocks.from_arrays(source, X[:, 0], block_rows=33, **more)
        (got, y, _, g), sizes = gathered(blocks)
        expected = sparse.toarray() if source is sparse else X
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(y, X[:, 0])
        assert sizes == [33, 33, 33, 1]
        assert g.tolist() == list(range(100))
    for block in RowBlocks.from_arrays(file, X[:, 0], block_rows=50).blocks():
        assert type(block.X) is np.ndarray  # read by whoever reads ahead
    with pytest.raises(ValueError, match="y has 99 rows, but X has 100"):
        RowBlocks.from_arrays(X, X[1:, 0])
    with pytest.raises(ValueError, match="two dimensions"):
        RowBlocks.from_arrays(X[0], X[0])


def good(n=10, m=2):
    X = np.arange(n * m, dtype=float).reshape(n, m)
    return {"X": X, "y": X[:, 0]}


def changed(**parts):
    return good() | parts


BAD = [
    ({"X": good()["X"]}, "Block 1 of the rows: y is missing"),
    (None, "Block 1 of the rows: it is of type NoneType"),
    (changed(X=None), "Block 1 of the rows: X is missing"),
    (changed(z=1), "it has parts \\['z'\\]"),
    (changed(X=np.ones(10)), "two dimensions"),
    (changed(X=np.full((10, 2), "a")), "not numbers"),
    (good(m=3), "Block 1 of the rows has 3 columns, but the first one has 2"),
    (changed(y=np.ones(9)), "y has shape \\(9,\\), but X has 10 rows"),
    (changed(X=np.full((10, 2), np.nan)), "first in row 0 of the block, column 0"),
    (changed(y=np.full(10, np.inf)), "y holds NaN or infinity"),
    (changed(y=np.array(["a", None] * 5, dtype=object)), "y holds missing labels"),
    (changed(sample_weight=-np.ones(10)), "sample_weight holds negative"),
    (changed(offset=np.full(10, np.nan)), "offset holds NaN"),
    (changed(groups=np.ones((10, 2))), "groups has shape"),
]


@pytest.mark.parametrize(("block", "sentence"), BAD)
def test_a_bad_block_is_named(block, sentence):
    blocks = RowBlocks(lambda: iter([good(), block]))
    with pytest.raises(ValueError, match=sentence):
        list(blocks.blocks())


def test_passes_that_differ():
    passes = iter([[good(), good()], [good()], [good(), changed(y=np.ones(10))]])
    blocks = RowBlocks(lambda: next(passes))
    assert len(list(blocks.blocks())) == 2
    with pytest.raises(ValueError, match="Block 1 of the rows is missing"):
        list(blocks.blocks())
    with pytest.raises(ValueError, match="Block 1 of the rows was changed"):
        list(blocks.blocks())
    more = iter([[good()], [good(), good()]])
    blocks = RowBlocks(lambda: next(more))
    list(blocks.blocks())
    with pytest.raises(ValueError, match="Block 1 of the rows is new"):
        list(blocks.blocks())


def test_map_reduce_is_one_pass_that_tells_where_it_is():
    started, told = [], []

    def make():
        started.append(1)
        yield good(5)
        yield good(0)
        yield good(7)

    blocks = RowBlocks(make)
    total = blocks.map_reduce(lambda b: b.X.sum(), lambda a, b: a + b, told.append)
    assert total == good(5)["X"].sum() + good(7)["X"].sum()
    assert len(started) == 1
    assert [(t.n_blocks, t.n_rows) for t in told] == [(1, 5), (3, 12)]
    assert [b.start for b in blocks.blocks()] == [0, 5]


def test_an_error_of_the_source_comes_through_and_ends_the_thread():
    import threading

    def make():
        yield good()
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(RowBlocks(make).blocks())
    names = [t.name for t in threading.enumerate()]
    assert not [name for name in names if name.startswith("skbilevel-blocks")]


def test_what_is_no_source():
    with pytest.raises(TypeError, match="used up after one pass"):
        RowBlocks(iter([good()]))
    for nothing in ([], [good(0)]):
        blocks = RowBlocks(lambda nothing=nothing: nothing)
        with pytest.raises(ValueError, match="hold no rows"):
            blocks.map_reduce(len, max)
        with pytest.raises(ValueError, match="hold no rows"):
            blocks.first(len)
    with pytest.raises(ValueError, match="feature_names has 1 names"):
        list(RowBlocks(lambda: [good()], ["a"]).blocks())


def test_others_say_that_they_need_rows_in_memory():
    blocks = RowBlocks(lambda: [good()])
    for other in (StandardScaler(), LinearRegression()):
        with pytest.raises(TypeError, match="needs rows in memory"):
            other.fit(blocks, np.ones(10))


def test_dask_is_not_imported():
    code = (
        "import sys, numpy as np; from skbilevel import BilevelRidgeCV, RowBlocks; "
        "X = np.random.default_rng(0).standard_normal((100, 3)); "
        "BilevelRidgeCV().fit(RowBlocks.from_arrays(X, X[:, 0])); "
        "print({'dask', 'distributed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_arrow_is_named_where_it_is_missing(monkeypatch, frame):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="skbilevel\\[arrow\\]"):
        RowBlocks.from_table(frame, target="y")
    assert pa
