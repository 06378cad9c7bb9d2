"""Can sparse word counts be fitted without ever being made dense?

Documents are drawn with word frequencies as in natural text: few words are
common, most are rare. The target depends on forty words. A grid search
over ten strengths is compared with ``BilevelRidgeCV()`` and with strengths that
are a function of document frequency (``feature_metadata``).
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skbilevel import BilevelRidgeCV

N_DOCUMENTS, N_WORDS, N_SIGNAL = 400, 1000, 40


def make_documents(rng: np.random.Generator) -> tuple[sp.csr_array, np.ndarray]:
    """Return word counts of random documents and a target that words drive."""
    frequency = 1.0 / np.arange(5, N_WORDS + 5)
    frequency /= frequency.sum()
    lengths = rng.poisson(120, size=N_DOCUMENTS)
    words = rng.choice(N_WORDS, size=lengths.sum(), p=frequency)
    documents = np.repeat(np.arange(N_DOCUMENTS), lengths)
    shape = (N_DOCUMENTS, N_WORDS)
    # Repeated places are added up, which counts the words.
    counts = sp.csr_array((np.ones(len(words)), (documents, words)), shape=shape)
    w = np.zeros(N_WORDS)
    # Words of the middle carry the meaning; the commonest are grammar.
    w[rng.choice(np.arange(20, 300), N_SIGNAL, replace=False)] = 1.0
    w *= rng.standard_normal(N_WORDS)
    signal = np.log1p(counts) @ w
    return counts, signal + 0.7 * signal.std() * rng.standard_normal(N_DOCUMENTS)


def log_document_frequency(
    X: sp.csr_array, y: np.ndarray, sample_weight: np.ndarray | None
) -> np.ndarray:
    """Return one column of metadata: how many documents hold each word."""
    holds = (X != 0).astype(np.float64)
    weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
    return np.log1p(holds.T @ weight)[:, None]


def methods() -> dict[str, BaseEstimator]:
    """Return the grid search and the two ways to learn many strengths."""
    grid = {"alpha": np.logspace(-3, 3, 10)}
    return {
        "grid search": GridSearchCV(Ridge(solver="sparse_cg"), grid, cv=5),
        "strength per word": BilevelRidgeCV(),
        "strength by frequency": BilevelRidgeCV(
            feature_metadata=log_document_frequency
        ),
    }


def draw(X: sp.csr_array, alphas: dict[str, np.ndarray], path: Path) -> None:
    """Draw strengths against the number of documents that hold the word."""
    frequency = np.asarray((X != 0).sum(axis=0)).ravel()
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, alpha in alphas.items():
        kept = np.isfinite(alpha) & (frequency > 0)
        ax.loglog(frequency[kept], alpha[kept], ".", markersize=3, label=name)
    ax.set(
        xlabel="documents that hold the word", ylabel="strength (removed: not drawn)"
    )
    ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Fit, print test R2 and times, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default="examples/output/text_sparse.png"
    )
    args = parser.parse_args()
    X, y = make_documents(np.random.default_rng(0))
    rows = train_test_split(np.arange(len(y)), random_state=0)
    (X_train, y_train), (X_test, y_test) = ((X[r], y[r]) for r in rows)
    alphas, scores = {}, {}
    print(f"{'method':<24}{'test R2':>9}{'fit s':>8}{'words kept':>12}")
    for name, estimator in methods().items():
        model = make_pipeline(TfidfTransformer(sublinear_tf=True), estimator)
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        scores[name] = model.score(X_test, y_test)
        fitted = getattr(model[-1], "best_estimator_", model[-1])
        alpha = fitted.alpha if isinstance(fitted, Ridge) else fitted.alpha_
        alphas[name] = np.broadcast_to(alpha, N_WORDS)
        kept = np.count_nonzero(fitted.coef_)
        print(f"{name:<24}{scores[name]:>9.3f}{seconds:>8.2f}{kept:>12}")
    draw(X_train, alphas, args.output)
    best = max(scores, key=scores.__getitem__)
    print(f"The best test R2 is that of '{best}'; the picture is in {args.output}.")


if __name__ == "__main__":
    main()
