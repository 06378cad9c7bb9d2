"""
Which properties of a policy bend the rate of its claims?
=========================================================

Insurers' tables have ages, powers and places, whose effects are curved, categories with
many levels, and policies that ran for different times. One line makes the model, the
logarithm of the time goes in as an ``offset``, and the curves come out with bands.
"""

# %%
# The data
# --------
# 6,000 policies that are drawn here: young and old drivers have more claims, and so
# has a high level of the bonus scale; two of 20 regions are different, and the colour
# of the car is nothing.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel import BilevelPoissonCV, make_additive
from skbilevel.inspection import TermsDisplay

rng = np.random.default_rng(0)
n = 6000
policies = pd.DataFrame(
    {
        "age": rng.uniform(18, 90, n).round(),
        "bonus": rng.integers(0, 23, n),
        "power": rng.gamma(9.0, 9.0, n).round(),
        "region": rng.choice([f"r{k:02}" for k in range(20)], n),
        "colour": rng.choice(["red", "blue", "white"], n),
    }
)
years = rng.uniform(0.1, 1.0, n)
region = policies["region"].map({"r03": 0.6, "r11": -0.6}).fillna(0.0)
log_rate = (
    -1.2
    + 1.4 * np.exp(-(policies["age"] - 18) / 8)
    + 0.8 * np.maximum(policies["age"] - 70, 0) / 20
    + 0.05 * policies["bonus"]
    + region
)
claims = rng.poisson(years * np.exp(log_rate))
train, test = slice(0, 4000), slice(4000, n)

# %%
# Curves beside lines and one strength
# ------------------------------------

model = make_additive(BilevelPoissonCV())
model.fit(policies[train], claims[train], bilevelpoissoncv__offset=np.log(years[train]))
codes = make_column_transformer(
    (OneHotEncoder(), ["region", "colour"]), remainder=StandardScaler()
)
grid = GridSearchCV(PoissonRegressor(max_iter=1000), {"alpha": np.logspace(-4, 1, 11)})
lines = make_pipeline(codes, grid)
lines.fit(
    policies[train],
    claims[train] / years[train],
    gridsearchcv__sample_weight=years[train],
)
expected = {
    "curves": model.predict(policies[test], offset=np.log(years[test])),
    "lines": lines.predict(policies[test]) * years[test],
}
D2 = {k: d2_tweedie_score(claims[test], v, power=1) for k, v in expected.items()}
for name, value in D2.items():
    print(f"{name:8}{value:.3f}")

# %%
# What each property does
# -----------------------
# Bands hold 95 % of what the claims leave open. The colour and the power, which do
# nothing, have small effects, or are named below the picture.

TermsDisplay.from_estimator(model, policies[train])
plt.show()

# %%
# How sure is a difference of two policies?
# -----------------------------------------
# A driver of 20 beside one of 45, all else alike.

pair = policies[:2].assign(age=[20.0, 45.0], bonus=5, power=80.0)
pair = pair.assign(region="r00", colour="red")
made = model[:-1].transform(pair)
made = made.toarray() if hasattr(made, "toarray") else made
step = made[:1] - made[1:]
log_ratio = (step @ model[-1].coef_).item()
margin = 1.96 * model[-1].contrast_std(step).item()
low, high = np.exp([log_ratio - margin, log_ratio + margin])
true = np.exp(1.4 * (np.exp(-2 / 8) - np.exp(-27 / 8)))
ratio = np.exp(log_ratio)
print(f"{ratio:.2f} times the claims ({low:.2f} to {high:.2f}), true {true:.2f}")

# %%
# The answer
# ----------

print(
    f"Those of age: curves explain {D2['curves']:.3f} of the deviance of new policies, "
    f"lines {D2['lines']:.3f}, and a driver of 20 has {ratio:.1f} times the claims of "
    "one of 45."
)
