"""Every design gives the products of the matrix it stands for."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import Centered, DenseDesign, SparseDesign, as_design

N, P = 23, 11


@pytest.fixture
def dense():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.6)


def variants(dense, tmp_path):
    memmap = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=dense.shape)
    memmap[:] = dense
    memmap.flush()
    frozen = np.memmap(tmp_path / "x", dtype=float, mode="r", shape=dense.shape)
    wide = np.repeat(dense, 2, axis=1)
    mean, scale = dense.mean(axis=0), dense.std(axis=0)
    return {
        "C": (as_design(dense), dense),
        "F": (as_design(np.asfortranarray(dense)), dense),
        "float32": (as_design(dense.astype(np.float32)), dense.astype(np.float32)),
        "integers": (as_design((4 * dense).astype(int)), (4 * dense).astype(int)),
        "memmap": (as_design(frozen), dense),
        "view": (as_design(wide[:, ::2]), dense),
        "csr_array": (as_design(sparse.csr_array(dense)), dense),
        "csc_array": (as_design(sparse.csc_array(dense)), dense),
        "csr_matrix": (as_design(sparse.csr_matrix(dense)), dense),
        "coo": (as_design(sparse.coo_array(dense)), dense),
        "sparse32": (
            as_design(sparse.csr_array(dense.astype(np.float32))),
            dense.astype(np.float32),
        ),
        "centered": (Centered(as_design(dense), mean, scale), (dense - mean) / scale),
        "centered sparse": (
            Centered(as_design(sparse.csr_array(dense)), mean, scale),
            (dense - mean) / scale,
        ),
    }


NAMES = [
    "C", "F", "float32", "integers", "memmap", "view", "csr_array", "csc_array",
    "csr_matrix", "coo", "sparse32", "centered", "centered sparse",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_products(name, dense, tmp_path):
    design, X = variants(dense, tmp_path)[name]
    X = np.asarray(X, dtype=float)
    rng = np.random.default_rng(1)
    W, R = rng.standard_normal((P, 3)), rng.standard_normal((N, 3))
    s, v = rng.uniform(0, 2, N), rng.uniform(0, 2, P)
    v[3] = 0.0
    S = np.column_stack([s, s[::-1]])

    def close(a, b):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)

    assert design.shape == (N, P)
    close(design.matvec(W), X @ W)
    close(design.matvec(W[:, :1]), X @ W[:, :1])
    close(design.rmatvec(R), X.T @ R)
    close(design.rmatvec(R[:, :1]), X.T @ R[:, :1])
    close(design.column_sums(s), X.T @ s)
    close(design.column_sums(S), X.T @ S)
    close(design.column_squares(s), (X**2).T @ s)
    close(design.column_squares(S), (X**2).T @ S)
    close(design.kernel(v), (X * v) @ X.T)
    rows = np.array([3, 0, 7])
    taken = design.take_rows(rows)
    taken = taken.toarray() if sparse.issparse(taken) else taken
    np.testing.assert_allclose(taken, X[rows], rtol=1e-12, atol=1e-12)
    for max_bytes in (1 << 24, 200):
        blocks = list(design.iter_blocks(rows, max_bytes=max_bytes))
        close(np.concatenate([b for _, b in blocks]), X[rows])
        np.testing.assert_array_equal(np.concatenate([i for i, _ in blocks]), rows)
        columns = list(design.iter_columns(max_bytes=max_bytes))
        close(np.concatenate([b for _, b in columns], axis=1), X)
        seen = np.concatenate([np.arange(P)[i] for i, _ in columns])
        np.testing.assert_array_equal(seen, np.arange(P))


def test_a_kernel_of_many_columns():
    """A block holds 16 MB of them."""
    rng = np.random.default_rng(0)
    X, v = rng.standard_normal((25, 90_000)), rng.random(90_000)
    np.testing.assert_allclose(as_design(X).kernel(v), (X * v) @ X.T, rtol=1e-10)


def test_nothing_is_copied(dense):
    assert as_design(dense).X is dense
    csc = sparse.csc_array(dense)
    assert np.shares_memory(as_design(csc).X.data, csc.data)
    design = as_design(dense)
    assert as_design(design) is design
    assert np.shares_memory(as_design(csc).X.T.data, csc.data)


def test_kinds(dense):
    assert as_design(dense.astype(np.float32)).X.dtype == np.float32
    assert as_design(sparse.csr_array(dense.astype(np.float32))).X.dtype == np.float64
    assert isinstance(as_design(dense), DenseDesign)
    assert isinstance(as_design(sparse.csr_array(dense)), SparseDesign)


def test_one_dimension_is_refused():
    with pytest.raises(ValueError, match="two dimensions"):
        as_design(np.ones(3))
