"""
Is a straight line enough for house prices?
===========================================

Prices of houses rise with the living area, fall with age, rise again for the oldest,
and depend on the kind of heating. ``make_additive`` makes a curve of every number, and
learns how much each may bend.
"""

# %%
# The data
# --------
# The true effects are known here: one curve, one bend, one line, one factor, and two
# columns that do not matter.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel import BilevelRidgeCV, make_additive
from skbilevel.inspection import TermsDisplay

rng = np.random.default_rng(0)
n = 800
houses = pd.DataFrame(
    {
        "age": rng.uniform(0, 120, n),
        "area": rng.gamma(6.0, 20.0, n),
        "distance": rng.uniform(0, 30, n),
        "heating": rng.choice(["gas", "oil", "pump", "wood"], n),
        "number": rng.integers(1, 200, n),
        "floors": rng.integers(1, 4, n),
    }
)
price = (
    60 * np.cos(houses["age"] / 20)
    + 150 * np.log(houses["area"] / 100)
    - 3 * houses["distance"]
    + houses["heating"].map({"gas": 0, "oil": -10, "pump": 30, "wood": 0})
    + 30 * rng.standard_normal(n)
)
train, test, y_train, y_test = train_test_split(houses, price, random_state=0)

# %%
# Lines, curves, trees
# --------------------

codes = make_column_transformer(
    (OneHotEncoder(), ["heating"]), remainder=StandardScaler()
)
trees = make_column_transformer((OneHotEncoder(), ["heating"]), remainder="passthrough")
trees.set_params(sparse_threshold=0.0)
models = {
    "lines": make_pipeline(codes, BilevelRidgeCV()),
    "curves": make_additive(BilevelRidgeCV()),
    "gradient boosting": make_pipeline(
        trees, HistGradientBoostingRegressor(random_state=0)
    ),
}
errors = {}
for name, model in models.items():
    predicted = model.fit(train, y_train).predict(test)
    errors[name] = root_mean_squared_error(y_test, predicted)
    print(f"{name:18}{errors[name]:6.1f}")

# %%
# What was learned
# ----------------
# Curves of the two that bend, a nearly straight one, levels of the factor, and next to
# nothing for the others. Bands hold 95 % of what the rows leave open.

additive = models["curves"]
TermsDisplay.from_estimator(additive, train)
plt.show()

# %%
# The strengths, one for the line and one for the bends of each curve. The guard moves
# away from one strength for all only as far as held-out rows confirm.

strengths = zip(additive[-1].group_labels_, additive[-1].group_alpha_, strict=True)
for label, alpha in strengths:
    print(f"{label:18}{alpha:9.3g}")

# %%
# The answer
# ----------

print(
    f"No: curves have an error of {errors['curves']:.1f} where lines have "
    f"{errors['lines']:.1f} and boosted trees {errors['gradient boosting']:.1f}; "
    "the noise alone is 30."
)
