"""What refitting the transformers in every fold adds to a fit.

For pipelines that end with an estimator of this package, three times in the same run:

- the estimator alone on features that are transformed already,
- the transformers fitted and applied on all rows and in every fold, and nothing else,
- `BilevelSearchCV` over the pipeline.

The target: the third is at most 1.3 times the sum of the other two. Printed are medians
over repeats::

    python benchmarks/search_overhead.py --repeats 5
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from sklearn.utils import _safe_indexing

from skbilevel import BilevelLogisticCV, BilevelRidgeCV, BilevelSearchCV
from skbilevel.search._chain import transform

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))


def numbers(n: int, p: int) -> tuple[Any, Any]:
    """Rows of which a tenth of the columns matter."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    w = np.where(np.arange(p) % 10 == 0, 1.0, 0.0)
    return X, X @ w + rng.standard_normal(n)


def texts() -> tuple[Any, Any]:
    """Those of the ten programs."""
    from grid_searches import texts as draw

    X, _, y, _ = draw(0)
    return X, y


def cases() -> dict[str, tuple[Any, Any, Any]]:
    """Data, transformers and last step."""
    spline = make_pipeline(SplineTransformer(), StandardScaler())
    pca = make_pipeline(StandardScaler(), PCA(20))
    diabetes = load_diabetes(return_X_y=True)
    cancer = load_breast_cancer(return_X_y=True)
    return {
        "diabetes, scaler": (diabetes, StandardScaler(), BilevelRidgeCV()),
        "diabetes, splines": (diabetes, spline, BilevelRidgeCV()),
        "cancer, PCA": (cancer, pca, BilevelLogisticCV()),
        "cancer, scaler": (cancer, StandardScaler(), BilevelLogisticCV()),
        "2,000 x 100, PCA": (numbers(2000, 100), pca, BilevelRidgeCV()),
        "20,000 x 60, splines": (numbers(20_000, 60), spline, BilevelRidgeCV()),
        "20,000 x 60, scaler": (
            numbers(20_000, 60),
            StandardScaler(),
            BilevelRidgeCV(),
        ),
        "100 x 1,000, scaler": (numbers(100, 1000), StandardScaler(), BilevelRidgeCV()),
        "texts, tf-idf": (texts(), TfidfVectorizer(), BilevelLogisticCV()),
    }


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Time of a call, and what it returned."""
    start = time.perf_counter()
    out = run()
    return time.perf_counter() - start, out


def fold_fits(head: Any, X: Any, y: Any, splits: list[tuple[Any, Any]]) -> None:
    """Fit and apply the transformers on all rows and in every fold."""
    make_pipeline(head).fit_transform(X, y)
    for train, valid in splits:
        own = make_pipeline(head)
        own.fit_transform(_safe_indexing(X, train), _safe_indexing(y, train))
        transform([own], _safe_indexing(X, valid))


def used_splits(search: Any, X: Any, y: Any) -> list[tuple[Any, Any]]:
    """The folds that a search fitted transformers on."""
    from skbilevel.search._features import PipelineFeatures

    seen: list[tuple[Any, Any]] = []
    fold = PipelineFeatures.fold

    def noted(self: Any, train: Any, valid: Any) -> Any:
        seen.append((train, valid))
        return fold(self, train, valid)

    PipelineFeatures.fold = noted  # type: ignore[method-assign]
    try:
        search.fit(X, y)
    finally:
        PipelineFeatures.fold = fold  # type: ignore[method-assign]
    return seen


def main() -> None:
    """Print a line for every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'case':22}{'bare':>9}{'folds':>9}{'search':>9}{'ratio':>8}")
    for name, ((X, y), head, last) in cases().items():
        search = BilevelSearchCV(make_pipeline(head, last))
        splits = used_splits(search, X, y)
        Z = make_pipeline(head).fit_transform(X, y)
        rows = []
        for _ in range(args.repeats):
            bare = seconds(lambda: last.fit(Z, y))[0]  # noqa: B023
            folds = seconds(lambda: fold_fits(head, X, y, splits))[0]  # noqa: B023
            whole = seconds(lambda: search.fit(X, y))[0]  # noqa: B023
            rows.append((bare, folds, whole, whole / (bare + folds)))
        bare, folds, whole, ratio = np.median(rows, axis=0)
        print(f"{name:22}{bare:9.3f}{folds:9.3f}{whole:9.3f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
