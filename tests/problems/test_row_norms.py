"""Largest rows, as centred, scaled and swept for every task."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import Centered, as_design
from skbilevel.problems._headed import Headed
from skbilevel.problems._row_norms import largest_rows, squared_norms
from skbilevel.problems._row_reader import RowReader
from skbilevel.problems._sweep import Sweep


@pytest.mark.parametrize("kind", ["dense", "sparse", "headed", "far"])
@pytest.mark.parametrize("swept", [False, True])
def test_norms_are_those_of_the_rows_that_products_see(kind, swept):
    """Rows of every task from products with unit vectors."""
    rng = np.random.default_rng(0)
    n, p = 20, 4
    X = rng.standard_normal((n, p)) + (100.0 if kind == "far" else 0.0)
    if kind == "sparse":
        X = sparse.csr_array(np.where(rng.random(X.shape) < 0.6, X, 0.0))
    mean = np.full(p, 100.0 if kind == "far" else 0.3)
    design = Centered(as_design(X), mean, np.linspace(1, 2, p))
    free = np.column_stack([np.ones(n), rng.standard_normal(n)])
    sweep = Sweep.of(free, rng.uniform(0, 1, (3, n))) if swept else None
    if kind == "headed":
        design = Headed(design, free[:, :1])
    reader = RowReader(design, sweep)
    block = reader.read(np.arange(n))
    K, columns = (3 if swept else 1), design.shape[1]
    rows = np.stack(
        [
            block.push(np.tile(unit[:, None], (K, 1, 1)))[..., 0]
            for unit in np.eye(columns)
        ]
    )
    wanted = (rows**2).sum(axis=0)
    np.testing.assert_allclose(squared_norms(block), wanted, rtol=1e-9)
    scale = rng.uniform(0.5, 2.0, (n, 3))
    largest = largest_rows(reader, np.arange(n), scale)
    np.testing.assert_allclose(largest, (scale * wanted).max(axis=0), rtol=1e-9)
