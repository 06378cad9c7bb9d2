"""Which words tell newsgroups apart, and how strongly is each one shrunk?

Five newsgroups about computers (20 Newsgroups, split by date): 67,000 words, of
which most occur once. ``LogisticRegression`` has one strength for all of them.
``BilevelLogisticCV()`` learns one per word, as a function of what the training
rows say about it: in how many documents it is, how large its weights are, how
unevenly the groups use it. What a matrix does not hold, here the spelling of a word
and when it was used, is given as ``feature_metadata``.

The data are read from the folder that ``SKBILEVEL_DATA`` names. Without it,
documents are simulated: only words that are neither common nor rare mean something.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skbilevel import BilevelLogisticCV

GROUPS = (1, 2, 3, 4, 5)
DEFAULT = "BilevelLogisticCV()"
WORDS = 7


@dataclass(frozen=True)
class Documents:
    """Weights of words in training and test documents, and what they are called."""

    X: sp.csr_array
    y: np.ndarray
    X_test: sp.csr_array
    y_test: np.ndarray
    words: np.ndarray
    groups: list[str]


def read() -> Documents:
    """Return tf-idf of the documents; words of test documents alone are left out."""
    folder = os.environ.get("SKBILEVEL_DATA")
    if not folder or not (Path(folder) / "news20_bydate_counts.npz").exists():
        return simulate(np.random.default_rng(0))
    spec = importlib.util.spec_from_file_location("data", Path(folder) / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counts, y, info = module.load("news20_bydate_counts")
    wanted, test = np.isin(y, GROUPS), info["is_test"]
    train, test = wanted & ~test, wanted & test
    used = np.flatnonzero(np.diff(counts[train].tocsc().indptr))
    names = [str(info["target_names"][k]) for k in GROUPS]
    return weighted(
        (counts[train][:, used], y[train]),
        (counts[test][:, used], y[test]),
        info["feature_names"][used],
        names,
    )


def simulate(rng: np.random.Generator) -> Documents:
    """Return documents of three kinds whose words have natural frequencies."""
    n, p = 1800, 1500
    base, lean = 1.0 / np.arange(4.0, p + 4.0), rng.integers(0, 3, p)
    middle = (np.arange(p) >= 10) & (np.arange(p) < 60)
    y, counts = rng.integers(0, 3, n), np.empty((n, p))
    for row, kind in zip(counts, y, strict=True):
        share = base * np.where(middle & (lean == kind), 2.0, 1.0)
        row[:] = rng.multinomial(60, share / share.sum())
    words = np.array([f"word{j}" for j in range(p)])
    parts = [(sp.csr_array(counts[k]), y[k]) for k in (slice(1200), slice(1200, None))]
    return weighted(parts[0], parts[1], words, ["A", "B", "C"])


def weighted(
    train: tuple[sp.csr_array, np.ndarray],
    test: tuple[sp.csr_array, np.ndarray],
    words: np.ndarray,
    groups: list[str],
) -> Documents:
    """Return tf-idf weights, learned from the training documents."""
    tfidf = TfidfTransformer().fit(train[0])
    X, X_test = (sp.csr_array(tfidf.transform(part[0])) for part in (train, test))
    return Documents(X, train[1], X_test, test[1], words, groups)


def what_words_are(words: np.ndarray) -> Callable:
    """Return a function that makes metadata: spelling, and time of use.

    Documents of a group come in the order of time. What is made from rows is made
    in a function, so that every fold makes its own from its training rows.
    """
    digit = [any(c.isdigit() for c in word) for word in words]
    length = np.minimum([len(word) for word in words], 12)
    spelling = np.stack([digit, length], axis=1).astype(float)

    def metadata(X: sp.csr_array, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        label = y.argmax(axis=1) if y.ndim > 1 else y
        when = np.empty(len(label))
        for group in np.unique(label):
            rows = np.flatnonzero(label == group)
            when[rows] = np.linspace(-0.5, 0.5, len(rows))
        used = (X != 0).astype(float).T
        # Five documents spread over all times stand for what is not known.
        total = used @ weight + 5.0
        mean, square = used @ (weight * when) / total, used @ (weight * when**2)
        spread = np.sqrt((square + 5.0 / 12.0) / total)
        return np.column_stack([spelling, mean, spread])

    return metadata


def methods(documents: Documents) -> dict[str, BaseEstimator]:
    """Return one strength for all words, and the two ways to learn many."""
    known = what_words_are(documents.words)
    return {
        "LogisticRegression(C=100)": LogisticRegression(C=100, max_iter=1000),
        "LogisticRegression(C=10)": LogisticRegression(C=10, max_iter=1000),
        DEFAULT: BilevelLogisticCV(),
        "the same, told spelling and time": BilevelLogisticCV(feature_metadata=known),
    }


def concentration(X: sp.csr_array, y: np.ndarray) -> np.ndarray:
    """Return how unevenly groups use each word: 0 is evenly, 1 is one group only."""
    kinds = np.unique(y)
    used = sp.csr_array((X != 0).astype(float))
    share = np.stack([used[y == kind].mean(axis=0) for kind in kinds])
    share /= share.sum(axis=0)
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=0)
    return 1.0 - entropy / np.log(len(kinds))


def draw(documents: Documents, model: BilevelLogisticCV, path: Path) -> None:
    """Draw strength against frequency, and the words that carry each group."""
    n_used = np.diff(documents.X.tocsc().indptr)
    uneven = concentration(documents.X, documents.y)
    k = len(documents.groups)
    figure = plt.figure(figsize=(13, 6), layout="constrained")
    grid = figure.add_gridspec(k, 2, width_ratios=(1.4, 1.0))
    ax = figure.add_subplot(grid[:, 0])
    # Words of equal frequency would hide one another.
    jitter = np.exp(np.random.default_rng(0).uniform(-0.2, 0.2, len(n_used)))
    kept = np.isfinite(model.alpha_)
    colors = {"c": uneven[kept], "cmap": "viridis", "vmin": 0, "vmax": 1}
    places = (n_used * jitter)[kept], model.alpha_[kept]
    drawn = ax.scatter(*places, s=3, alpha=0.6, rasterized=True, **colors)
    ax.set(xscale="log", yscale="log", xlabel="documents that hold the word")
    ax.set(ylabel="strength (small: the word may speak)", title="Every word")
    figure.colorbar(drawn, ax=ax, label="0: all groups use it, 1: one group does")
    size = np.abs(model.coef_).max(axis=0) * np.sqrt(n_used)
    common = np.argsort(-n_used)[:3]
    for j in np.unique(np.r_[np.argsort(-size)[:14], common]):
        label = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": 8}
        if np.isfinite(model.alpha_[j]):
            place = (n_used[j], model.alpha_[j])
            ax.annotate(documents.words[j], place, **label)
    for row, (name, coef) in enumerate(zip(documents.groups, model.coef_, strict=True)):
        ax = figure.add_subplot(grid[row, 1])
        top = np.argsort(-coef * np.sqrt(n_used))[:WORDS]
        shade = plt.get_cmap("viridis")(uneven[top])
        ax.bar(documents.words[top], coef[top], color=shade)
        ax.tick_params(axis="x", labelsize=7)
        ax.set_title(f"{name}: words with the most weight", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Fit, print test losses and times, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default="examples/output/text_logistic.png"
    )
    args = parser.parse_args()
    documents = read()
    print(f"{documents.X.shape[0]} documents, {documents.X.shape[1]} words")
    print(f"{'method':<34}{'test log loss':>14}{'accuracy':>10}{'fit s':>8}")
    fitted, losses = {}, {}
    for name, model in methods(documents).items():
        start = time.perf_counter()
        fitted[name] = model.fit(documents.X, documents.y)
        seconds = time.perf_counter() - start
        P = model.predict_proba(documents.X_test)
        losses[name] = log_loss(documents.y_test, P, labels=model.classes_)
        score = model.score(documents.X_test, documents.y_test)
        print(f"{name:<34}{losses[name]:>14.3f}{score:>10.3f}{seconds:>8.1f}")
    draw(documents, fitted[DEFAULT], args.output)
    best = min(losses, key=losses.__getitem__)
    print(f"The least test loss is that of '{best}'; the picture is in {args.output}.")


if __name__ == "__main__":
    main()
