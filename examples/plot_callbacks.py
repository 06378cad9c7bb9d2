"""
When should a search for strengths stop?
========================================

Strengths that are tuned without the guard overfit the validation loss that they are
tuned on: it falls with every outer iteration, while the error on other rows rises
sooner or later. A callback of scikit-learn (1.9 or newer) can watch other rows
and stop the search in time. It is an ordinary class with four methods, and works on
every estimator that takes callbacks.
"""

# %%
# A callback that stops
# ---------------------
# ``fitted_estimator`` is a copy that predicts as if the fit had ended at this step.
# The search ends where the method returns True.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from skbilevel import BilevelRidgeCV


class EarlyStopping:
    """Stop where the score of rows kept apart has not risen for some steps."""

    def __init__(self, X: np.ndarray, y: np.ndarray, patience: int) -> None:
        self.X, self.y, self.patience = X, y, patience

    def setup(self, estimator: BaseEstimator, context: object) -> None:
        """Begin anew with every fit."""
        self.scores: list[float] = []

    def on_fit_task_begin(self, estimator: BaseEstimator, context: object) -> None:
        """Nothing has happened yet."""

    def on_fit_task_end(
        self,
        estimator: BaseEstimator,
        context: object,
        *,
        fitted_estimator: BaseEstimator | None = None,
    ) -> bool:
        """Score the model of this step; return True to stop."""
        if fitted_estimator is None or context.parent is None:
            return False
        self.scores.append(fitted_estimator.score(self.X, self.y))
        return len(self.scores) - int(np.argmax(self.scores)) > self.patience

    def teardown(self, estimator: BaseEstimator, context: object) -> None:
        """Nothing to clean up."""


# %%
# More columns than the rows can tell apart
# -----------------------------------------
# There are 100 rows to train on, 40 to watch and 1000 to test, and 30 of 100 columns
# carry a little. With one strength for each column, the validation loss of three folds
# is easily overfitted.


def make_data(seed: int) -> list[np.ndarray]:
    """Return rows to train on, to watch, and to test, each as X and y."""
    rng = np.random.default_rng(seed)
    w = np.where(np.arange(100) < 30, rng.standard_normal(100), 0.0)
    X = rng.standard_normal((1140, 100))
    y = X @ w + 3.0 * rng.standard_normal(len(X))
    train, watch, test = slice(0, 100), slice(100, 140), slice(140, None)
    return [each[rows] for rows in (train, watch, test) for each in (X, y)]


# %%
# Stopped in time, or not
# -----------------------
# The first search only listens: its patience has no end. The guard, the default of the
# estimator, needs no rows kept apart.


def compare(seed: int) -> tuple[list[float], list[EarlyStopping]]:
    """Return test scores of both searches and of the guard, and the two watchers."""
    X, y, X_watch, y_watch, X_test, y_test = make_data(seed)
    watchers = [EarlyStopping(X_watch, y_watch, patience) for patience in (10**6, 1)]
    scores = []
    for watcher in watchers:
        model = BilevelRidgeCV(hyperpenalty=None, cv=3, max_iter=60, tol=1e-5)
        with warnings.catch_warnings():
            # The search that nobody stops may use up its iterations.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_callbacks(watcher).fit(X, y)
        scores.append(model.score(X_test, y_test))
    guarded = BilevelRidgeCV().fit(X, y)
    return [*scores, guarded.score(X_test, y_test)], watchers


# %%
# Five data sets. Older releases of scikit-learn have no callbacks, and this example
# then has nothing to show.

if not hasattr(BilevelRidgeCV, "set_callbacks"):
    raise SystemExit(f"Callbacks need scikit-learn 1.9; this is {sklearn.__version__}.")
found = [compare(seed) for seed in range(5)]
print(
    "R2 of test rows:" + "".join(f"{n:>14}" for n in ("to its end", "stopped", "guard"))
)
for seed, (scores, _) in enumerate(found):
    print(f"data set {seed:<7}" + "".join(f"{each:>14.3f}" for each in scores))

# %%
# What the watchers saw on the first data set.

to_its_end, stopped_early = (watcher.scores for watcher in found[0][1])
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(to_its_end, color="tab:gray", label="nobody stops the search")
ax.plot(stopped_early, "o-", color="tab:blue", label="the callback stops it")
ax.set_title(
    f"R² of watched rows: {stopped_early[-1]:.2f} where the callback stops, "
    f"{to_its_end[-1]:.2f} at the end"
)
ax.set(xlabel="iteration of the search (0 is one shared strength)")
ax.set(ylabel="R² of watched rows (up is better)")
ax.legend()
plt.show()

# %%
# The answer
# ----------

whole, stopped, guard = np.mean([scores for scores, _ in found], axis=0)
print(
    "Where the score of rows kept apart no longer rises: that moves the mean R2 of new "
    f"rows from {whole:.3f} to {stopped:.3f}; the guard, which watches no other rows, "
    f"has {guard:.3f}."
)
