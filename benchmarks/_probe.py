"""One fit in a process of its own: time first, then peak memory in a second fit.

Run by ``scaling.py``; reads a JSON job on standard input, prints JSON.
"""

import json
import sys
import tracemalloc
from typing import Any

import numpy as np
import scipy.sparse as sp
from _contenders import elastic_net_cv, ours, ridge_cv
from _data import loader
from _timing import cpu_time
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

# Shorter fits are repeated.
SHORT = 1.0


def artificial(n: int, p: int, density: float) -> tuple[Any, np.ndarray]:
    """Return X (CSR below density 1) and y; a tenth of the features matter."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(p) * (rng.random(p) < 0.1)
    if density < 1:
        X = sp.random_array((n, p), density=density, format="csr", rng=rng)
        # Unit variance per column, as a scaler would leave it.
        X.data = rng.standard_normal(X.nnz) / np.sqrt(density)
    else:
        X = rng.standard_normal((n, p))
    signal = X @ w
    spread = max(float(signal.std()), 1e-12)
    return X, signal / spread + rng.standard_normal(n)


def text() -> tuple[Any, np.ndarray]:
    """Return tf-idf of 20 Newsgroups and the log length of each document."""
    counts, _, _ = loader().load("news20_bydate_counts")
    length = np.asarray(counts.sum(axis=1)).ravel()
    return TfidfTransformer().fit_transform(counts).tocsr(), np.log1p(length)


def sparse_ridge() -> Any:
    """Fit Ridge once, with a given strength: the least that a search pays."""
    return lambda X, y: Ridge(alpha=1.0, solver="sparse_cg").fit(X, y)


def sparse_grid() -> Any:
    """Fit a grid search over ten strengths, the usual tool for text."""
    model = Ridge(solver="sparse_cg")
    grid = {"alpha": np.logspace(-3, 3, 10)}
    return lambda X, y: GridSearchCV(model, grid, cv=5).fit(X, y)


def build(job: dict[str, Any]) -> Any:
    """Return the function that fits."""
    if job["method"] == "ours":
        params = dict(job.get("params", {}))
        if "n_groups" in params:
            labels = np.arange(job["p"]) % params.pop("n_groups")
            params["feature_groups"] = labels
        return ours(**params)
    known = {"RidgeCV": ridge_cv, "ElasticNetCV": elastic_net_cv}
    known |= {"Ridge": sparse_ridge, "GridSearchCV": sparse_grid}
    return known[job["method"]]()


def bytes_of(X: Any) -> int:
    """Return what holds X."""
    if sp.issparse(X):
        return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    return X.nbytes


def steady_time(fit: Any, X: Any, y: np.ndarray) -> tuple[Any, float]:
    """Return the model and the CPU seconds; of short fits the median of five."""
    model, seconds = cpu_time(fit, X, y)
    if seconds > SHORT:
        return model, seconds
    return model, float(np.median([cpu_time(fit, X, y)[1] for _ in range(5)]))


def main() -> None:
    """Run one job."""
    job = json.load(sys.stdin)
    X, y = text() if job["data"] == "text" else artificial(*job["data"])
    job["p"] = X.shape[1]
    fit = build(job)
    with threadpool_limits(1):
        if job.get("warm_up", True):
            # Imports and caches are not what grows with the data.
            cpu_time(fit, X[:40], y[:40])
        model, seconds = steady_time(fit, X, y)
        peak = float("nan")
        if job.get("memory", True):
            tracemalloc.start()
            cpu_time(fit, X, y)
            # X was made before tracing began: this is what lies beyond it.
            peak = tracemalloc.get_traced_memory()[1]
    report = {"n": X.shape[0], "p": X.shape[1], "cpu": seconds, "peak": peak}
    report |= {"bytes_of_X": bytes_of(X), "n_iter": getattr(model, "n_iter_", None)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
