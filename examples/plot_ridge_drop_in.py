"""
What changes when BilevelRidgeCV takes the place of RidgeCV?
============================================================

One line of a pipeline is replaced, and nothing else: the data, the scaler and the
cross-validation around them stay what they were. The data are ten measurements of 442
people and the progression of their diabetes a year later.
"""

# %%
# The line that is replaced
# -------------------------
# ``RidgeCV`` wants a grid of strengths. ``BilevelRidgeCV`` wants nothing.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import RepeatedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

X, y = load_diabetes(return_X_y=True, as_frame=True)
before = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 41)))
after = make_pipeline(StandardScaler(), BilevelRidgeCV())

# %%
# Both are judged on the same test folds.

folds = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
scores = {
    name: cross_val_score(model, X, y, cv=folds)
    for name, model in {"RidgeCV": before, "BilevelRidgeCV": after}.items()
}
for name, score in scores.items():
    print(f"{name:<15} test R2 {score.mean():.4f}")

# %%
# What comes out
# --------------
# Where ``alpha_`` of ``RidgeCV`` is one number, there is one for each column now, in
# the same unit. The coefficients are those of ridge regression at these strengths.

before.fit(X, y)
after.fit(X, y)
order = np.argsort(after[-1].alpha_)
print(f"RidgeCV: {before[-1].alpha_:.1f}")
strengths = after[-1].alpha_[order].round(1).tolist()
print("BilevelRidgeCV:", dict(zip(X.columns[order], strengths, strict=True)))

# %%
# Where the loss is flat, the default takes the stronger regularization: all dots lie
# above the dashed line. Age and s2 are shrunk most; s2 is close to a copy of s1.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
finite = np.isfinite(after[-1].alpha_[order])
left.semilogy(X.columns[order][finite], after[-1].alpha_[order][finite], "o")
left.axhline(before[-1].alpha_, linestyle="--", color="tab:gray", label="RidgeCV")
gone = X.columns[order][~finite]
left.set_title(f"Strengths differ; removed: {', '.join(gone) or 'none'}")
left.set(ylabel="strength (up: shrunk more)")
left.legend()
place = np.arange(len(order))
right.barh(place + 0.2, before[-1].coef_[order], 0.4, color="tab:gray", label="RidgeCV")
right.barh(place - 0.2, after[-1].coef_[order], 0.4, label="BilevelRidgeCV")
right.set_yticks(place, X.columns[order])
moved = np.argmax(np.abs(after[-1].coef_ - before[-1].coef_))
right.set_title(f"The coefficient of {X.columns[moved]} changes most")
right.set(xlabel="coefficient of the scaled column")
right.legend()
plt.show()

# %%
# The answer
# ----------
# Ten columns and 442 rows leave little to gain: one strength is nearly enough here.
# See :ref:`sphx_glr_auto_examples_plot_demo.py` for the same data with all products of
# columns.

gain = scores["BilevelRidgeCV"] - scores["RidgeCV"]
print(
    f"One line of the program and the shape of alpha_ change; test R2 changes by "
    f"{gain.mean():+.4f} on these ten columns, with a spread of {gain.std(ddof=1):.4f} "
    "over the folds."
)
