"""
What do weights do to outliers and to rows of poor quality?
===========================================================

``sample_weight`` tells which rows to trust. It counts in the fit, in the shared start,
in every fold, and in the validation loss: a row of weight 2 is a row that occurs
twice, and a row of weight 0 is not there. Here a third of the rows come from an
instrument whose noise is three times as large, and is known to be.
"""

# %%
# The data
# --------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import r2_score

from skbilevel import BilevelRidgeCV

N, N_COLUMNS, NOISE = 150, 30, (1.0, 3.0)
w = np.where(np.arange(N_COLUMNS) < 6, 1.0, 0.0)


def draw_rows(n, rng):
    """Return X, y, and whether a row comes from the poor instrument."""
    X = rng.standard_normal((n, N_COLUMNS))
    poor = rng.random(n) < 1 / 3
    return X, X @ w + np.where(poor, NOISE[1], NOISE[0]) * rng.standard_normal(n), poor


# %%
# Three ways to treat poor rows
# -----------------------------
# The weight of a row is the inverse of its noise variance.

R2 = {"all alike": [], "poor rows left out": [], "weighted": []}
for repeat in range(8):
    rng = np.random.default_rng(repeat)
    X, y, poor = draw_rows(N, rng)
    X_new = rng.standard_normal((2000, N_COLUMNS))
    weights = (
        np.ones(N),
        np.where(poor, 0.0, 1.0),
        np.where(poor, NOISE[0] ** 2 / NOISE[1] ** 2, 1.0),
    )
    for name, weight in zip(R2, weights, strict=True):
        model = BilevelRidgeCV().fit(X, y, sample_weight=weight)
        R2[name].append(r2_score(X_new @ w, model.predict(X_new)))

# %%
# A weight is a number of rows
# ----------------------------
# Rows that are repeated and rows that are weighted give the same model, through all
# folds and candidates.

count = rng.integers(0, 3, N)
weighted = BilevelRidgeCV(hyperpenalty=None, cv="gcv", feature_groups="shared")
repeated = BilevelRidgeCV(hyperpenalty=None, cv="gcv", feature_groups="shared")
weighted.fit(X, y, sample_weight=count)
repeated.fit(np.repeat(X, count, axis=0), np.repeat(y, count))
print(f"largest difference {np.abs(weighted.coef_ - repeated.coef_).max():.0e}")

# %%
# Each line is one of eight samples.

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for values in zip(*R2.values(), strict=True):
    ax.plot(values, "o-", color="tab:blue", alpha=0.5)
ax.plot([np.mean(values) for values in R2.values()], "ks-", label="mean")
ax.set_xticks(range(3), list(R2))
best = max(R2, key=lambda name: np.mean(R2[name]))
ax.set_title(f"The best mean R² is that of poor rows '{best}'")
ax.set(ylabel="R² of the true signal (up is better)", xlim=(-0.3, 2.3))
ax.legend()
plt.show()

# %%
# The answer
# ----------

alike, without, by_noise = (np.mean(values) for values in R2.values())
print(
    f"Weights that are the inverse noise variance lift R2 from {alike:.2f} to "
    f"{by_noise:.2f}; leaving the poor rows out gives {without:.2f}."
)
