"""
How do I keep confounders from being shrunk?
============================================

A treatment is given more often to older and sicker people, and hundreds of other
measurements ride along. Its effect is to be estimated with age and severity held fixed.
If these columns are shrunk, a part of their effect is charged to the treatment.
``unpenalized`` treats columns as the intercept is treated.
"""

# %%
# The data
# --------
# The effect of the treatment is 1; that of severity is larger and of the other sign.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

EFFECT, N, N_OTHERS = 1.0, 120, 80
KEPT = ["treatment", "age", "severity"]


def draw_people(rng):
    """Return a table of people and the outcome."""
    age, severity = rng.standard_normal((2, N))
    given = age + 1.5 * severity + rng.standard_normal(N) > 0
    others = 0.4 * severity[:, None] + rng.standard_normal((N, N_OTHERS))
    names = [f"other {j}" for j in range(N_OTHERS)]
    X = pd.DataFrame(others, columns=names)
    X = X.assign(treatment=given.astype(float), age=age, severity=severity)
    y = EFFECT * given - 0.5 * age - 2.0 * severity + others[:, :5].sum(axis=1) / 2
    return X, y + rng.standard_normal(N)


# %%
# Three estimates
# ---------------
# Names of columns reach the last step through the scaler, if its output is a DataFrame.


def effect(estimator, X, y):
    """Return the estimated effect of the treatment, in the unit of the outcome."""
    scaler = StandardScaler().set_output(transform="pandas")
    model = make_pipeline(scaler, estimator).fit(X, y)
    place = X.columns.get_loc("treatment")
    return model[-1].coef_[place] / model[0].scale_[place]


methods = {
    "no penalty at all": LinearRegression(),
    "RidgeCV": RidgeCV(np.logspace(-3, 5, 41)),
    "BilevelRidgeCV()": BilevelRidgeCV(),
    "unpenalized=[...]": BilevelRidgeCV(unpenalized=KEPT),
}
samples = [draw_people(np.random.default_rng(repeat)) for repeat in range(12)]
effects = {
    name: np.array([effect(method, X, y) for X, y in samples])
    for name, method in methods.items()
}

# %%
# Each dot is the estimate from one sample of 120 people; the dashed line is the truth.

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for place, values in enumerate(effects.values()):
    ax.plot(values, np.full(len(values), place), "o", color="tab:blue", alpha=0.5)
    ax.plot(values.mean(), place, "ks")
ax.axvline(EFFECT, linestyle="--", color="tab:gray")
ax.set_yticks(range(len(effects)), list(effects))
ax.set_ylim(len(effects) - 0.5, -0.5)
near = min(effects, key=lambda name: abs(effects[name].mean() - EFFECT))
ax.set_title(f"On average '{near}' is nearest to the true effect")
ax.set(
    xlabel="estimated effect of the treatment (square: mean; near the line is better)"
)
plt.show()

# %%
# The answer
# ----------

error = {}
for name, values in effects.items():
    error[name] = np.sqrt(np.mean((values - EFFECT) ** 2))
    bias, spread = values.mean() - EFFECT, values.std(ddof=1)
    print(f"{name:<18} bias {bias:+.2f}, spread {spread:.2f}, error {error[name]:.2f}")
best = min(error, key=error.__getitem__)
print(
    f"List them in unpenalized: the error of the effect is "
    f"{error['unpenalized=[...]']:.2f}, against {error['RidgeCV']:.2f} with RidgeCV, "
    f"{error['BilevelRidgeCV()']:.2f} without the list and "
    f"{error['no penalty at all']:.2f} with no penalty; the smallest is that of {best}."
)
