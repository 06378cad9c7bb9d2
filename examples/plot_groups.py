"""
What do labels of features buy?
===============================

Features often come in blocks: one per sensor, per questionnaire, per lag. Here two of
six blocks carry the signal. One strength for all, one per block (``feature_groups``)
and one per feature are compared where the truth is known.
"""

# %%
# The data
# --------
# Six blocks of ten columns. The coefficients of two blocks are drawn with different
# spread, those of the other four are zero.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

NAMES = ["sensor", "camera", "survey", "weather", "calendar", "noise"]
BLOCKS = np.repeat(NAMES, 10)
SPREAD = {"sensor": 1.0, "camera": 0.3}


def draw_rows(n, rng):
    """Return X, y and the coefficients behind them."""
    w = np.array([SPREAD.get(b, 0.0) for b in BLOCKS]) * rng.standard_normal(60)
    X = rng.standard_normal((n, 60))
    return X, X @ w + 2.0 * rng.standard_normal(n), w


def excess_error(model, w):
    """Return the error on new rows beyond the noise, which is known exactly here."""
    coef = model[-1].coef_ / model[0].scale_
    bias = model.predict(np.zeros((1, len(w))))[0]
    return np.sum((coef - w) ** 2) + bias**2


# %%
# Three ways to spread strengths
# ------------------------------
# Six strengths are few enough to be tuned without the guard.

methods = {
    "one for all\n(RidgeCV)": RidgeCV(np.logspace(-3, 5, 41)),
    "one per block": BilevelRidgeCV(feature_groups=BLOCKS, hyperpenalty=None),
    "one per feature": BilevelRidgeCV(),
}
errors = {name: [] for name in methods}
strengths = []
rng = np.random.default_rng(0)
for _ in range(10):
    X, y, w = draw_rows(300, rng)
    for name, method in methods.items():
        model = make_pipeline(StandardScaler(), method).fit(X, y)
        errors[name].append(excess_error(model, w))
        if name == "one per block":
            fitted = model[-1]
            by_label = zip(fitted.group_labels_, fitted.group_alpha_, strict=True)
            strengths.append(dict(by_label))

# %%
# Each dot on the right is the strength of a block in one of ten repetitions. The order
# is that of the spreads: hardly any for the sensor, some for the camera. Blocks
# without any signal are shrunk a hundred times more or removed, which is drawn at the
# top.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.boxplot(list(errors.values()))
left.set_xticks([1, 2, 3], list(errors))
least = min(errors, key=lambda name: np.median(errors[name])).replace("\n", " ")
left.set_title(f"The smallest error: {least}")
left.set(ylabel="error beyond the noise (down is better)", ylim=(0, None))
alphas = np.array([[found[name] for name in NAMES] for found in strengths])
top = 3 * alphas[np.isfinite(alphas)].max()
for column, name in enumerate(NAMES):
    height = np.minimum(alphas[:, column], top)
    removed = np.isinf(alphas[:, column])
    right.semilogy([name] * np.sum(~removed), height[~removed], "o", color="tab:blue")
    if removed.any():
        right.semilogy([name], [top], "x", color="tab:red")
        right.annotate(f"{removed.sum()} ", (name, top), ha="right", va="center")
weakest = NAMES[int(np.argmin(np.median(alphas, axis=0)))]
right.set_title(f"The block '{weakest}' is shrunk least")
right.set(ylabel="strength (up: shrunk more;\nx: removed, how often)")
right.tick_params(axis="x", rotation=30)
plt.show()

# %%
# The answer
# ----------

mean = {name: np.mean(values) for name, values in errors.items()}
for name, value in mean.items():
    label = name.replace("\n", " ")
    print(f"{label:<24} error beyond the noise {value:.3f}")
shared, block, feature = mean.values()
print(
    f"Labels change the error beyond the noise by {block / shared - 1:+.0%} against "
    f"one strength for all; one strength per feature, without labels, by "
    f"{feature / shared - 1:+.0%}."
)
