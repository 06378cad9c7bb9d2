"""
How many rows does a new school need?
=====================================

Rows of 60 schools: the effect of one column differs between schools, that of another
does not. ``MetaRidge`` learns which, and a new school borrows from the others.
"""

# %%
# The data
# --------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_squared_error

from skbilevel import MetaRidge
from skbilevel.inspection import DeviationsDisplay

rng = np.random.default_rng(0)
N_SCHOOLS, N_PUPILS = 60, 40
school = np.repeat(np.arange(N_SCHOOLS), N_PUPILS)
X = rng.standard_normal((len(school), 3))
differs = np.array([0.8, 0.3, 0.0])
effect = np.array([1.0, 0.5, -0.5]) + differs * rng.standard_normal((N_SCHOOLS, 3))
level = 0.5 * rng.standard_normal(N_SCHOOLS)
y = (X * effect[school]).sum(axis=1) + level[school] + rng.standard_normal(len(school))

# %%
# 40 schools are known
# --------------------

known = school < 40
model = MetaRidge().fit(X[known], y[known], tasks=school[known])
pooled = RidgeCV(np.logspace(-3, 3, 13)).fit(X[known], y[known])
print("effects differ by", model.deviation_std_.round(2), "the truth:", differs)
DeviationsDisplay.from_estimator(model, feature_names=["hours", "age", "sex"])
plt.show()

# %%
# The other 20 are adapted to with a few pupils, and judged on the last 20.

pupil = np.tile(np.arange(N_PUPILS), N_SCHOOLS)
last = ~known & (pupil >= 20)
sizes = [0, 1, 2, 5, 10, 20]
errors = []
for size in sizes:
    few = ~known & (pupil < size)
    own = model.adapt(X[few], y[few], tasks=school[few]) if size else model
    errors.append(mean_squared_error(y[last], own.predict(X[last], tasks=school[last])))
one_for_all = mean_squared_error(y[last], pooled.predict(X[last]))

figure, ax = plt.subplots(layout="constrained")
ax.plot(sizes, errors, "o-", label="MetaRidge, adapted")
ax.axhline(one_for_all, color="tab:gray", label="one RidgeCV for all schools")
share = errors[3] / one_for_all
ax.set_title(f"Five pupils of a new school leave {share:.0%} of the error")
ax.set(
    xlabel="pupils of the new school",
    ylabel="mean squared error on the others (down is better)",
)
ax.set_xticks(sizes)
ax.legend()
plt.show()

# %%
# The answer
# ----------

print(
    f"With five pupils the error is {errors[3]:.2f} instead of {one_for_all:.2f}, with "
    f"twenty it is {errors[-1]:.2f}; the noise alone is 1."
)
