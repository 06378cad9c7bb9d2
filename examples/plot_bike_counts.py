"""
How do counts depend on an hour that comes around?
==================================================

Rentals of bicycles go up and down with the hour of the day, and 23 o'clock is next to
midnight. ``PenalizedSplines(period=24)`` makes a curve that closes, beside a curve of
the temperature, a factor of the weather, and a coefficient that varies with the hour.
"""

# %%
# The data
# --------
# 60 days of hourly counts that are drawn here. On working days there are two peaks, on
# other days one; counts scatter three times as much as Poisson's law says.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.metrics import d2_tweedie_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel import BilevelPoissonCV, make_additive, terms_of
from skbilevel.inspection import TermsDisplay
from skbilevel.preprocessing import PenalizedSplines, VaryingCoefficients

rng = np.random.default_rng(0)
n = 60 * 24
hours = pd.DataFrame(
    {
        "hour": np.arange(n) % 24 + 0.5,
        "working": ((np.arange(n) // 24) % 7 < 5).astype(float),
        "temperature": 12 + 8 * rng.standard_normal(n),
        "weather": rng.choice(["clear", "mist", "rain"], n, p=[0.6, 0.3, 0.1]),
    }
)
angle = 2 * np.pi * hours["hour"] / 24
level = (
    3.5
    - 1.2 * np.cos(angle)
    - hours["working"] * 0.8 * np.cos(2 * angle - 1.5)
    - ((hours["temperature"] - 22) / 20) ** 2
    + hours["weather"].map({"clear": 0.0, "mist": -0.1, "rain": -0.9})
)
rentals = rng.negative_binomial(np.exp(level) / 2, 1 / 3)
train, test = slice(0, 40 * 24), slice(40 * 24, n)

# %%
# A line, curves, and an hour that closes
# ---------------------------------------

lines = make_column_transformer(
    (OneHotEncoder(), ["weather"]), remainder=StandardScaler()
)
# Columns that differ are put together by hand, and ``terms_of`` labels what comes out.
columns = make_column_transformer(
    (PenalizedSplines(period=24), ["hour"]),
    (PenalizedSplines(), ["temperature"]),
    (VaryingCoefficients(n_knots=12, period=24), ["hour", "working"]),
    (OneHotEncoder(), ["weather"]),
).fit(hours[train])
last = BilevelPoissonCV(feature_groups=terms_of(columns))
models = {
    "lines": make_pipeline(lines, BilevelPoissonCV()),
    "curves": make_additive(BilevelPoissonCV(), linear=["working"]),
    "closed, by day": make_pipeline(columns, last),
}
D2 = {}
for name, model in models.items():
    mean = model.fit(hours[train], rentals[train]).predict(hours[test])
    D2[name] = d2_tweedie_score(rentals[test], mean, power=1)
    print(f"{name:16}{D2[name]:.3f}")

# %%
# What each term adds
# -------------------
# To the logarithm of the mean, with bands that know how much the counts scatter.

closed = models["closed, by day"]
TermsDisplay.from_estimator(closed, hours[train])
plt.show()

# %%
# The answer
# ----------

scatter = closed[-1].dispersion_
print(
    "By a curve that closes, and another one for working days: together they explain "
    f"{D2['closed, by day']:.2f} of the deviance of later days, curves that know no "
    f"working days {D2['curves']:.2f} and lines {D2['lines']:.2f}; the variance is "
    f"{scatter:.1f} times the mean."
)
