"""Ridge regression on sparse X with more columns than rows: products against kernels.

The guard goes by products with X there, from 500 rows on. The other way is that of
dense X, kernels of n by n numbers. Both are run here on words of texts (a score, or
whether a row belongs to one class, as the target) and on random sparse numbers, of
which some columns count; R2 is that of other rows, times are CPU seconds of one thread.

    python benchmarks/sparse_ridge.py
    python benchmarks/sparse_ridge.py --draws 1 --cases foods pcmac

Needs SKBILEVEL_DATA.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from _data import loader
from _report import add_output_options, table, write_json
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from skbilevel import BilevelRidgeCV
from skbilevel.linear_model import _guarded

Data = tuple[sp.csr_array, np.ndarray, sp.csr_array, np.ndarray]
HEADER = ("case", "draw", "n", "p", "R2 products", "cpu s", "R2 kernels", "cpu s")


def foods(n: int, seed: int, min_df: int) -> Data:
    """Return scores of reviews by their words."""
    texts, y, _ = loader().load("fine_foods_text")
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:n], order[n : n + 2000]
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=min_df)
    X = vectorizer.fit_transform([texts[i] for i in train])
    return X, y[train], vectorizer.transform([texts[i] for i in test]), y[test]


def news(name: str, n: int, seed: int) -> Data:
    """Return whether a text belongs to the first class, by which words it has."""
    X, y, _ = loader().load(name)
    X, y = sp.csr_array(X), (y == y.min()).astype(float)
    X.data[:] = 1.0
    order = np.random.default_rng(seed).permutation(len(y))
    n = min(n, 3 * len(y) // 4)
    train, test = order[:n], order[n : n + 1500]
    return X[train], y[train], X[test], y[test]


def numbers(n: int, p: int, useful: int, noise: float, seed: int) -> Data:
    """Return random sparse numbers; ``noise`` is relative to the signal."""
    rng = np.random.default_rng(seed)
    X = sp.random(2 * n, p, density=0.02, random_state=seed, format="csr")
    f = X[:, :useful] @ rng.standard_normal(useful)
    y = f + noise * f.std() * rng.standard_normal(2 * n)
    return X[:n], y[:n], X[n:], y[n:]


CASES: dict[str, Callable[[int], Data]] = {
    "foods": lambda seed: foods(1500, seed, 3),
    "foods-small": lambda seed: foods(600, seed, 2),
    "foods-wide": lambda seed: foods(800, seed, 1),
    "pcmac": lambda seed: news("news_pcmac", 1300, seed),
    "pcmac-small": lambda seed: news("news_pcmac", 600, seed),
    "relathe": lambda seed: news("news_relathe", 1070, seed),
    "basehock": lambda seed: news("news_basehock", 1300, seed),
    "numbers-few": lambda seed: numbers(1500, 2500, 250, 0.25, seed),
    "numbers-all": lambda seed: numbers(1500, 2500, 2500, 0.25, seed),
    "numbers-small": lambda seed: numbers(600, 1500, 60, 0.25, seed),
}


def fitted(data: Data, products: bool) -> tuple[float, float]:
    """Return R2 on the other rows, and CPU seconds."""
    X, y, X_test, y_test = data
    given = _guarded.is_large_ridge
    _guarded.is_large_ridge = lambda rows: products
    try:
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = BilevelRidgeCV().fit(X, y)
        seconds = time.process_time() - start
    finally:
        _guarded.is_large_ridge = given
    return float(model.score(X_test, y_test)), seconds


def main() -> None:
    """Print a row for every draw of every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--draws", type=int, default=2)
    add_output_options(parser)
    args = parser.parse_args()
    rows = []
    with threadpool_limits(1):
        for name in args.cases:
            for seed in range(args.draws):
                data = CASES[name](seed)
                found = *fitted(data, True), *fitted(data, False)
                rows.append((name, seed, *data[0].shape, *found))
                print(*(f"{x:.4g}" if isinstance(x, float) else x for x in rows[-1]))
    print(table(HEADER, rows))
    write_json(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
