"""
Do transformers see the rows that they should not?
==================================================

An estimator that makes folds of the features it is given cannot undo what was done
before: a transformer in front of it has seen all rows. For a scaler that is harmless.
For one that selects features by their relation to y it is not.
``BilevelSearchCV`` fits the transformers again on the training rows of every fold, as
``GridSearchCV`` does, and tunes the strengths of the last step on what they make.
"""

# %%
# Few rows, many columns, a selection
# -----------------------------------
# Five of 1,000 columns have an effect. The pipeline keeps the 20 that are correlated
# with y most.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline

from skbilevel import BilevelRidgeCV, BilevelSearchCV


def draw(n, rng):
    """Return X and y."""
    X = rng.standard_normal((n, 1000))
    return X, X[:, :5].sum(axis=1) + 2.0 * rng.standard_normal(n)


pipeline = make_pipeline(SelectKBest(f_regression, k=20), BilevelRidgeCV(scoring="r2"))

# %%
# What the folds promise, and what new rows show
# ----------------------------------------------

promised = {"selected on all rows": [], "selected in every fold": []}
kept = {name: [] for name in promised}
for repeat in range(8):
    rng = np.random.default_rng(repeat)
    (X, y), (X_new, y_new) = draw(120, rng), draw(5000, rng)
    alone = pipeline.fit(X, y)
    search = BilevelSearchCV(pipeline, scoring="r2").fit(X, y)
    scores = (alone[-1].best_score_, search.best_score_)
    for name, score, model in zip(promised, scores, (alone, search), strict=True):
        promised[name].append(score)
        kept[name].append(r2_score(y_new, model.predict(X_new)))

# %%
# Each line is one data set.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, promised, strict=True):
    for before, after in zip(promised[name], kept[name], strict=True):
        ax.plot([0, 1], [before, after], "o-", color="tab:blue", alpha=0.6)
    ax.set_xticks([0, 1], ["promised by\nthe folds", "on new rows"])
    lost = np.mean(promised[name]) - np.mean(kept[name])
    kind = "too much" if lost > 0 else "too little"
    ax.set_title(f"Features {name}:\n{abs(lost):.2f} {kind} is promised")
    ax.set(xlim=(-0.3, 1.3))
axes[0].set_ylabel("R² (up is better)")
plt.show()

# %%
# The same pipeline may end with a plain ``Ridge``; its one strength is then searched,
# and ``best_params_`` and ``cv_results_`` read as those of a grid search.

torn, honest = (np.mean(values) for values in promised.values())
new = np.mean(kept["selected in every fold"])
print(
    f"A selection that has seen all rows promises an R2 of {torn:.2f}, one that is "
    f"repeated in every fold (on four fifths of the rows) {honest:.2f}; new rows give "
    f"{new:.2f}."
)
