"""
Are strengths per feature worth it for pixels?
==============================================

Pixels of one camera are alike, and where all features are alike one strength should be
enough. This example tries a case where nothing is expected: handwritten digits, ten
classes, 64 pixels.
"""

# %%
# Three classifiers
# -----------------
# ``BilevelRidgeClassifierCV`` fits class indicators and is fast; ``BilevelLogisticCV``
# has probabilities. Rows are few (300) so that regularization matters at all. The
# pixels share one unit, and are only divided by their largest value.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, train_test_split

from skbilevel import BilevelLogisticCV, BilevelRidgeClassifierCV

X, y = load_digits(return_X_y=True)
X = X / 16.0
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=300, stratify=y, random_state=0
)
grid = GridSearchCV(
    LogisticRegression(max_iter=2000),
    {"C": np.logspace(-3, 3, 13)},
    scoring="neg_log_loss",
)
models = {
    "one strength": grid,
    "one per pixel": BilevelLogisticCV(),
    "ridge, one per pixel": BilevelRidgeClassifierCV(),
}
accuracy, loss = {}, {}
for name, model in models.items():
    model.fit(X_train, y_train)
    accuracy[name] = accuracy_score(y_test, model.predict(X_test))
    if hasattr(model, "predict_proba"):
        loss[name] = log_loss(y_test, model.predict_proba(X_test))
    print(f"{name:<21} accuracy {accuracy[name]:.3f}")

# %%
# Where strengths differ
# ----------------------
# On the left the mean image, on the right ``C_`` of each pixel beside the median.
# Pixels at the border that never vary in training are left without colour. Those that
# hardly vary have the extreme values, and no influence.

fitted = models["one per pixel"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
ink = axes[0].imshow(X_train.mean(axis=0).reshape(8, 8), cmap="gray_r")
axes[0].set_title("The mean of the digits: ink is in the middle")
figure.colorbar(ink, ax=axes[0], label="ink")
varies = (X_train.std(axis=0) > 0) & (fitted.C_ > 0)
C = np.where(varies, fitted.C_, np.nan) / np.median(fitted.C_[varies])
axes[1].set_facecolor("0.6")
drawn = axes[1].imshow(C.reshape(8, 8), cmap="RdBu", norm=LogNorm(vmin=1 / 30, vmax=30))
alike = np.mean((C[varies] > 0.5) & (C[varies] < 2.0))
axes[1].set_title(f"{alike:.0%} of the pixels have nearly the same C")
bar = figure.colorbar(drawn, ax=axes[1], label="C / median (blue: shrunk less)")
bar.set_ticks([1 / 30, 0.1, 0.5, 1, 2, 10, 30], minor=False)
bar.set_ticklabels(["1/30", "1/10", "1/2", "1", "2", "10", "30"])
for ax in axes:
    ax.set(xticks=[], yticks=[])
axes[1].set_xlabel("gray: always blank, without a C")
plt.show()

# %%
# The answer
# ----------

change = loss["one per pixel"] / loss["one strength"] - 1
print(
    f"No: for pixels the log loss changes by {change:+.1%} and the accuracy from "
    f"{accuracy['one strength']:.3f} to {accuracy['one per pixel']:.3f}; a grid search "
    "over one strength is enough here."
)
