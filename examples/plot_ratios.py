"""
Which ten features should a report name?
========================================

A panel of genes or a short questionnaire is a list of exactly k features.
`FractionalSparseRegressor` looks for one in several ways, one of which minimizes a
ratio, and takes the way that cross-validation prefers. Here the ten that matter are
known, among 300 columns that are correlated with their neighbours.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LassoCV, OrthogonalMatchingPursuit

from skbilevel import FractionalSparseRegressor
from skbilevel.problems import FourthPowers, SquaredNorm
from skbilevel.solvers import minimize_ratio

K, ROWS, COLUMNS, CORRELATION = 10, 150, 300, 0.7


def draw_rows(rng):
    """Return rows, targets with a fifth of noise, and the features that matter."""
    X = rng.standard_normal((ROWS, COLUMNS))
    for j in range(1, COLUMNS):
        X[:, j] = CORRELATION * X[:, j - 1] + np.sqrt(1 - CORRELATION**2) * X[:, j]
    right = rng.choice(COLUMNS, K, replace=False)
    signal = X[:, right] @ (rng.choice([-1, 1], K) * rng.uniform(1, 2, K))
    return X, signal + 0.5 * signal.std() * rng.standard_normal(ROWS), right


def by_lasso(X, y):
    """Return the ten largest coefficients of the lasso."""
    return np.argsort(-np.abs(LassoCV().fit(X, y).coef_))[:K]


def by_pursuit(X, y):
    """Return the ten features of orthogonal matching pursuit."""
    return np.flatnonzero(OrthogonalMatchingPursuit(n_nonzero_coefs=K).fit(X, y).coef_)


def by_choice(X, y):
    """Return those of the estimator."""
    model = FractionalSparseRegressor(n_features_to_select=K).fit(X, y)
    return model.get_support(indices=True)


# %%
# Six draws
# ---------

methods = {
    "LassoCV": by_lasso,
    "pursuit": by_pursuit,
    "FractionalSparse\nRegressor": by_choice,
}
found = {name: [] for name in methods}
for seed in range(6):
    X, y, right = draw_rows(np.random.default_rng(seed))
    for name, method in methods.items():
        found[name].append(np.isin(right, method(X, y)).sum())

# %%
# A ratio by itself
# -----------------
# Ratios are problems of their own. Two sources with heavy tails were mixed and made
# uncorrelated again, which leaves a rotation unknown. The square of the length over
# the fourth powers of the projections is smallest along the two sources.
# `minimize_ratio` sets one coordinate after the other to the global minimum along it.

rng = np.random.default_rng(0)
sources = rng.laplace(size=(2000, 2))
U, _, _ = np.linalg.svd(sources @ rng.standard_normal((2, 2)), full_matrices=False)
numerator, denominator = SquaredNorm(), FourthPowers(U)


def ratio_at(angle):
    """Return the ratio in a direction."""
    projection = U @ np.array([np.cos(angle), np.sin(angle)])
    return 1 / np.sqrt(np.sum(projection**4))


angles = np.linspace(0, np.pi, 181)
values = np.array([ratio_at(angle) for angle in angles])
ends = []
for _ in range(20):
    x = minimize_ratio(numerator, denominator, rng.standard_normal(2)).x
    ends.append(np.arctan2(x[1], x[0]) % np.pi)
reached = np.array([ratio_at(angle) for angle in ends])
lowest = np.sum(reached <= values.min() * (1 + 1e-3))

# %%

figure, (left, right_ax) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for place, counts in enumerate(found.values()):
    shift = np.linspace(-0.15, 0.15, len(counts))
    left.plot(place + shift, counts, "o", color="tab:blue", alpha=0.5)
    left.plot(place, np.mean(counts), "ks")
most = max(found, key=lambda name: np.mean(found[name])).replace("\n", "")
left.set_title(f"Most on average (square): {most}")
left.set_xticks(range(len(found)), list(found))
left.set(ylabel=f"of {K} features, found (up is better)", xlim=(-0.5, 2.5))
left.yaxis.get_major_locator().set_params(integer=True)
right_ax.plot(np.degrees(angles), values, color="tab:gray")
right_ax.plot(np.degrees(ends), reached, "o", color="tab:blue")
right_ax.set_title(f"{lowest} of {len(ends)} starts end at the lowest ratio")
right_ax.set(xlabel="direction, degrees", ylabel="ratio (down is better)")
plt.show()

# %%
# The answer
# ----------

mean = {name.replace("\n", ""): np.mean(counts) for name, counts in found.items()}
print(
    f"Those that cross-validation prefers: {mean['FractionalSparseRegressor']:.1f} of "
    f"the {K} are right on average, {mean['pursuit']:.1f} by pursuit alone and "
    f"{mean['LassoCV']:.1f} by the lasso."
)
