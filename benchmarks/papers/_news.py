"""20 Newsgroups with one strength per word, as one inner and one outer problem."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from _data import loader
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import train_test_split

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    OracleProblem,
    RowsDataFit,
    SoftmaxLoss,
    Task,
    as_design,
    linear_oracles,
)

# Strengths alpha_j of 0.5 sum_j alpha_j |W_j|^2 beside a mean loss: box and start.
ALPHA = (1e-7, 1e-1)
START = 1e-4


@dataclass(frozen=True)
class News:
    """The problem, and the test rows, which no algorithm sees."""

    problem: OracleProblem
    X_test: sp.csr_array
    y_test: np.ndarray
    n_classes: int

    def accuracy(self, w: np.ndarray) -> float:
        """Return the share of test rows that are predicted right."""
        scores = self.X_test @ w.reshape(-1, self.n_classes)
        return float((scores.argmax(axis=1) == self.y_test).mean())


def load_news(min_df: int, n_rows: int | None = None, seed: int = 0) -> News:
    """Return words in at least so many training documents; halves are stratified.

    Words and their weights come from all training rows, as in the published protocol;
    rows of each level are a matrix of their own, so that neither pays for the other.
    """
    X, y, info = loader().load("news20_bydate_counts")
    is_test, y = np.asarray(info["is_test"], dtype=bool), np.asarray(y, dtype=int)
    counts, labels = sp.csr_array(X)[~is_test], y[~is_test]
    kept = np.flatnonzero(np.bincount(counts.indices, minlength=X.shape[1]) >= min_df)
    tfidf = TfidfTransformer().fit(counts[:, kept])
    rows = np.arange(len(labels))
    if n_rows is not None:
        rows = np.random.default_rng(seed).permutation(rows)[:n_rows]
    halves = train_test_split(
        rows, test_size=0.5, stratify=labels[rows], random_state=seed
    )
    t = int(y.max()) + 1
    fits = [
        RowsDataFit(
            as_design(tfidf.transform(counts[half][:, kept])),
            np.eye(t)[labels[half]],
            np.ones(len(half)),
            loss=SoftmaxLoss(),
        )
        for half in halves
    ]
    n, p = len(halves[0]), len(kept)
    shared = FeatureStrengths(p, 1.0 / (n * ALPHA[1]))
    bounds = shared.bounds(1.0 / (n * ALPHA[1]), 1.0 / (n * ALPHA[0]))
    problem = BilevelProblem(
        (Task(fits[0], fits[1], fits[1].weight_sum),), shared, bounds
    )
    return News(
        linear_oracles(problem, shared.init(1.0 / (n * START))),
        sp.csr_array(tfidf.transform(sp.csr_array(X)[is_test][:, kept])),
        y[is_test],
        t,
    )


@dataclass
class Watch:
    """Validation loss and test accuracy against CPU seconds, up to a budget.

    It stands before the outer problem to see w; its own seconds are taken off.
    """

    news: News
    budget: float
    w: Any = None
    lines: list[tuple[float, float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = time.process_time()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.news.problem.outer, name)

    def at(self, theta: np.ndarray, w: np.ndarray) -> Any:
        """Return the outer point, and remember where."""
        self.w = w
        return self.news.problem.outer.at(theta, w)

    def __call__(self, info: Any) -> bool:
        """Note a line; True once the budget is spent, or numbers are lost."""
        looked = time.process_time()
        seconds = looked - self.began
        accuracy = self.news.accuracy(self.w)
        self.lines.append((seconds, info.value, accuracy, info.passes))
        self.began += time.process_time() - looked
        return seconds > self.budget or not np.isfinite(info.value)
