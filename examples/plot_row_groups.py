"""
What if several rows come from the same patient?
================================================

Rows of one patient resemble each other for reasons that do not carry over to the next
patient. Folds that tear a patient apart reward a model for recognizing patients.
``groups`` keeps rows together, in the outer folds and in everything inside.
"""

# %%
# The data
# --------
# 30 patients with eight visits each. Five measurements have an effect; forty others
# say who somebody is, and nothing about others.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold

from skbilevel import BilevelRidgeCV

N_VISITS, N_MARKS = 8, 40


def draw_patients(n, rng):
    """Return X, y and who it is."""
    who = np.repeat(np.arange(n), N_VISITS)
    marks = rng.standard_normal((n, N_MARKS))[who]
    marks = marks + 0.3 * rng.standard_normal((len(who), N_MARKS))
    state = rng.standard_normal((len(who), 5))
    own_level = 1.5 * rng.standard_normal(n)[who]
    y = state @ np.full(5, 0.8) + own_level + rng.standard_normal(len(who))
    return np.hstack([state, marks]), y, who


# %%
# With and without groups
# -----------------------

R2 = {"rows shuffled": [], "patients kept together": []}
promised = {name: [] for name in R2}
for repeat in range(5):
    rng = np.random.default_rng(repeat)
    X, y, who = draw_patients(30, rng)
    X_new, y_new, _ = draw_patients(300, rng)
    shuffled = BilevelRidgeCV().fit(X, y)
    together = BilevelRidgeCV(cv=GroupKFold(n_splits=5)).fit(X, y, groups=who)
    for name, model in zip(R2, (shuffled, together), strict=True):
        R2[name].append(r2_score(y_new, model.predict(X_new)))
        promised[name].append(1 + model.best_score_ / np.var(y))

# %%
# What the nested score promises, and what new patients show.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, R2, strict=True):
    for before, after in zip(promised[name], R2[name], strict=True):
        ax.plot([0, 1], [before, after], "o-", color="tab:blue", alpha=0.6)
    ax.axhline(0.0, color="tab:gray", linewidth=0.5)
    lost = np.mean(promised[name]) - np.mean(R2[name])
    ax.set_title(f"{name}:\nnew patients have {lost:.2f} less than promised")
    ax.set(xticks=[0, 1], xlim=(-0.3, 1.3))
    ax.set_xticklabels(["nested score", "new patients"])
axes[0].set(ylabel="R² (up is better)")
plt.show()

# %%
# The answer
# ----------

for name in R2:
    print(
        f"{name:<23} promised R2 {np.mean(promised[name]):+.2f}, "
        f"new patients {np.mean(R2[name]):+.2f}"
    )
first, second = (np.mean(values) for values in R2.values())
print(
    f"Pass groups and a group splitter: R2 on new patients is {second:.2f} instead of "
    f"{first:.2f}, and the nested score says so beforehand."
)
