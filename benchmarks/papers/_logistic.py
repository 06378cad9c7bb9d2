"""L2-regularized logistic regression on real data, as oracles and as arrays."""

from dataclasses import dataclass

import numpy as np
from _data import loader
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    LogisticLoss,
    as_design,
    linear_oracles,
)
from skbilevel.problems._bilevel import GLMTasks

NAMES = ("ijcnn1", "a9a", "rcv1_small", "mushrooms", "news20_binary")


@dataclass(frozen=True)
class LogisticProblem:
    """``mean_i log(1 + exp(-y_i x_i.w)) + |w|^2 / (2 n)`` with y in {-1, 1}.

    Rows have unit norm; a column of ones is the bias, penalized like the others.
    """

    name: str
    X: np.ndarray | sparse.csr_matrix
    y: np.ndarray

    @property
    def lam(self) -> float:
        """Strength of the penalty."""
        return 1.0 / len(self.y)

    def batch_grad(self, w: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """Gradient of the mean over some rows, and of the penalty."""
        X, y = self.X[rows], self.y[rows]
        slope = -y / (1.0 + np.exp(y * (X @ w)))
        return X.T @ slope / len(y) + self.lam * w

    def value(self, w: np.ndarray) -> float:
        """The objective."""
        margin = self.y * (self.X @ w)
        return float(np.logaddexp(0.0, -margin).mean() + 0.5 * self.lam * (w @ w))

    def grad(self, w: np.ndarray) -> np.ndarray:
        """Its gradient."""
        return self.batch_grad(w, slice(None))

    def oracles(self):
        """The same as an inner problem, and its theta."""
        n, p = self.X.shape
        loss, target = LogisticLoss(), (self.y[:, None] + 1.0) / 2.0
        made = GLMTasks(
            as_design(self.X), target, np.ones(n), loss, loss, np.zeros((n, 0))
        )
        task = made.fold(np.arange(n), np.arange(1))
        shared = FeatureStrengths(p, 1.0)
        bounds = shared.bounds(1.0, 2.0)
        theta = bounds[0]
        return linear_oracles(BilevelProblem((task,), shared, bounds), theta), theta


def load_problem(name: str, max_rows: int | None = None) -> LogisticProblem:
    """One of ``NAMES``: the training rows of its split, in a random order."""
    if name == "news20_binary":
        X, y, info = loader().load("news20_bydate_counts")
        keep = ~info["is_test"]
        X, y = TfidfTransformer().fit_transform(X[keep]), np.where(y[keep] < 10, -1, 1)
        X = X[:, np.flatnonzero(X.getnnz(axis=0))]
    else:
        X, y, info = loader().load(name)
        keep = ~info["is_test"]
        X, y = X[keep], np.where(y[keep] > 0, 1, -1)
    order = np.random.default_rng(0).permutation(X.shape[0])[:max_rows]
    X, y = normalize(sparse.csr_matrix(X[order])), y[order].astype(float)
    X = sparse.csr_matrix(sparse.hstack([X, np.ones((X.shape[0], 1))]))
    dense = X.nnz > 0.25 * X.shape[0] * X.shape[1]
    return LogisticProblem(name, X.toarray() if dense else X, y)


def first_guess(p: int, seed: int) -> np.ndarray:
    """Uniform in ``+-1 / sqrt(p)``, as linear layers are commonly initialized."""
    return np.random.default_rng([seed, 1]).uniform(-1, 1, p) / np.sqrt(p)
