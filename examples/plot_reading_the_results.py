"""
What has the model found out about my features?
===============================================

A fitted model holds a strength and a coefficient for each feature. Three pictures
read them: how strongly each feature is shrunk, what that changes in the coefficients,
and where the strengths come from. The data are ten measurements of 442 people and the
progression of their diabetes a year later.
"""

# %%
# Fit
# ---
# Names come from the columns of the DataFrame, through the scaler.

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV
from skbilevel.inspection import (
    CoefficientsDisplay,
    GuardPathDisplay,
    StrengthsDisplay,
)

X, y = load_diabetes(return_X_y=True, as_frame=True)
model = make_pipeline(StandardScaler(), BilevelRidgeCV()).fit(X, y)
print(f"nested R2: {1 + model[-1].best_score_ / np.var(y):.3f}")

# %%
# How strongly is each feature shrunk?
# ------------------------------------
# The dashed line is the best single strength, found without a grid; stems lead from
# it to the strength of each feature. On top stand the features that are shrunk less
# than with one strength for all, at the bottom those that are shrunk more. The labels
# only colour the dots here; as ``feature_groups`` of the model they would share a
# strength.

labels = ["person"] * 4 + ["blood"] * 6
StrengthsDisplay.from_estimator(model, feature_groups=labels)

# %%
# What does that change in the coefficients?
# ------------------------------------------
# The display fits the same model with one strength and draws both. Blood values s1 and
# s2 are close to copies of each other. With one strength both get a share of the
# effect; here most of it goes to s1, and s2 is shrunk.

coefficients = CoefficientsDisplay.from_estimator(model, X, y)
correlation = np.corrcoef(X["s1"], X["s2"])[0, 1]
print(f"correlation of s1 and s2: {correlation:.2f}")

# %%
# Where do the strengths come from?
# ---------------------------------
# Candidates of several families were scored on rows that they had not seen. The
# published strengths are those of an average, with the weights at the bottom. Here
# the candidates differ by little more than their standard errors, so that many of
# them take part.

GuardPathDisplay.from_estimator(model)

# %%
# And with thousands of features?
# -------------------------------
# A name for each would fill pages. Strengths become a curve over the share of the
# features, with the names at its ends, and coefficients a cloud. In these simulated
# data of 200 rows the first 20 of 2000 features matter.

rng = np.random.default_rng(0)
w = np.where(np.arange(2000) < 20, rng.standard_normal(2000), 0.0)
X_wide = rng.standard_normal((200, 2000))
y_wide = X_wide @ w + rng.standard_normal(200)
names = [f"gene {j}" for j in range(2000)]
wide = BilevelRidgeCV().fit(X_wide, y_wide)
strengths = StrengthsDisplay.from_estimator(wide, feature_names=names)

# %%
# The largest changes are numbered and named. On the dashed line are coefficients that
# are what they were with one strength for all.

CoefficientsDisplay.from_estimator(wide, X_wide, y_wide, feature_names=names)

# %%
# What is drawn is kept as plain arrays, for pictures and tables of your own.

change = np.abs(coefficients.coef - coefficients.reference_coef)
first = coefficients.feature_names[np.argmax(change)]
least = np.argsort(strengths.strengths)[:10]
print(
    f"Of the ten measurements, {first} changes its coefficient most; of the 10 genes "
    f"that are shrunk least, {np.sum(least < 20)} are among the 20 that matter."
)
