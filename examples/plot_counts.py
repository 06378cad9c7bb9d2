"""
How are counts with different exposures modelled?
=================================================

A policy that ran for two years has more claims than one that ran for two months, for
that reason alone. ``BilevelPoissonCV`` takes the time as an offset, or as a weight of
the yearly rate, and learns a strength for each property of the policy.
"""

# %%
# The data
# --------
# 600 policies with 40 properties, of which six change the rate.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import GridSearchCV

from skbilevel import BilevelPoissonCV

EFFECTS = np.concatenate([[0.6, -0.5, 0.4, 0.3, -0.3, 0.2], np.zeros(34)])


def draw_policies(n, rng):
    """Return properties, years and claims."""
    X = rng.standard_normal((n, 40))
    years = rng.uniform(0.1, 2.0, n)
    return X, years, rng.poisson(years * np.exp(X @ EFFECTS - 1.0))


rng = np.random.default_rng(0)
X, years, claims = draw_policies(600, rng)
X_new, years_new, claims_new = draw_policies(5000, rng)

# %%
# Two ways that agree
# -------------------
# Claims with the logarithm of the years as ``offset``, or claims per year with the
# years as ``sample_weight``.

by_offset = BilevelPoissonCV().fit(X, claims, offset=np.log(years))
by_weight = BilevelPoissonCV().fit(X, claims / years, sample_weight=years)
difference = np.abs(by_offset.coef_ - by_weight.coef_).max()
print(f"largest difference of the coefficients: {difference:.4f}")

# %%
# Beside a grid search over one strength
# --------------------------------------
# ``PoissonRegressor`` has no offset, so it gets rates and weights.

grid = GridSearchCV(PoissonRegressor(max_iter=1000), {"alpha": np.logspace(-4, 2, 13)})
grid.fit(X, claims / years, sample_weight=years)
ignoring = BilevelPoissonCV().fit(X, claims)
D2 = {
    "one strength, years as weight": grid.predict(X_new) * years_new,
    "one per property, offset": by_offset.predict(X_new, offset=np.log(years_new)),
    "one per property, years ignored": ignoring.predict(X_new),
}
for name, expected in D2.items():
    D2[name] = d2_tweedie_score(claims_new, expected, power=1)
    print(f"{name:<32} D2 {D2[name]:.3f}")

# %%
# On the left, claims of new policies in ten classes by their years. A model that
# ignores the years expects too much of short policies and too little of long ones. On
# the right, the effects of the 40 properties.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
with_years = by_offset.predict(X_new, offset=np.log(years_new))
without_years = ignoring.predict(X_new)
classes = np.array_split(np.argsort(years_new), 10)
happened = [claims_new[c].mean() for c in classes]
for expected, style, name in (
    (without_years, "s-C7", "years ignored"),
    (with_years, "o-C0", "years as offset"),
):
    left.plot(
        [years_new[c].mean() for c in classes],
        [expected[c].mean() for c in classes],
        style,
        label=name,
    )
left.plot(
    [years_new[c].mean() for c in classes],
    happened,
    "k_",
    markersize=12,
    label="what happened",
)
left.set(
    xlabel="years of the policy", ylabel="claims per policy (near a bar is better)"
)
left.legend()
worth = {
    "with": D2["one per property, offset"],
    "without": D2["one per property, years ignored"],
}
left.set_title(f"D² {worth['with']:.3f} with the years, {worth['without']:.3f} without")
errors = {}
for name, coef, style in (
    ("one strength", grid.best_estimator_.coef_, "sC7"),
    ("one per property", by_offset.coef_, "oC0"),
):
    errors[name] = np.sqrt(np.mean((coef - EFFECTS) ** 2))
    label = f"{name}: mean distance {errors[name]:.3f}"
    right.plot(EFFECTS, coef, style, label=label, markersize=4, alpha=0.7)
right.axline((0, 0), slope=1, linestyle="--", color="tab:gray")
nearer = min(errors, key=errors.__getitem__)
right.set_title(f"'{nearer}' is nearer to the true effects")
right.set(
    xlabel="true effect of a property", ylabel="estimate (near the line is better)"
)
right.legend()
plt.show()

# %%
# The answer
# ----------

shared, offset, without = D2.values()
print(
    f"With offset=log(years): D2 on new policies is {offset:.3f}, against "
    f"{without:.3f} if the years are ignored and {shared:.3f} with one strength for "
    "all properties."
)
