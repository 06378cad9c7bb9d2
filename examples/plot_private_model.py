"""
What does privacy cost a model that is published?
=================================================

Coefficients are published with a guarantee for every single row of the data. The price
is accuracy, and simulated rows show how much before the real ones are touched.
"""

# %%
# Rows like those to come
# -----------------------
# 4,000 people with an age, an income and the distance to the next hospital. The real
# rows stay where they are: these are drawn from what is known about such people.

import numpy as np

from skbilevel import DPRidge
from skbilevel.inspection import PrivacyDisplay

LOW, HIGH = [18.0, 0.0, 0.0], [90.0, 200.0, 50.0]


def draw_people(n, rng):
    """Return properties of people, and days of illness in a year."""
    age = rng.uniform(18, 90, n)
    income = np.minimum(rng.gamma(2.0, 20.0, n), 300.0)
    distance = rng.exponential(8.0, n)
    days = 0.25 * age - 0.05 * income + 0.3 * distance + rng.normal(0, 4, n)
    return np.column_stack([age, income, distance]), days


X, y = draw_people(4000, np.random.default_rng(0))

# %%
# One fit
# -------
# Bounds are known without a look at the rows. With a seed the noise can be repeated,
# which is what a page needs and a release must not have.

model = DPRidge(
    epsilon=1.0,
    feature_bounds=(LOW, HIGH),
    target_bounds=(-10.0, 50.0),
    random_state=0,
).fit(X, y)
print("coefficients", model.coef_.round(2))
print(model.privacy_statement_)

# %%
# What it costs
# -------------
# The bar divides the budget among what was released. The curve fits clones at other
# epsilons to three quarters of the rows and scores them on the others; it is not
# private itself, and therefore drawn from simulated rows.

display = PrivacyDisplay.from_estimator(model, X, y)

# %%
# At epsilon 1 the model predicts almost as well as one without noise.

at_one = float(np.median(display.scores[list(display.epsilons).index(1.0)]))
print(f"Privacy at epsilon 1 costs {display.baseline - at_one:.2f} of R2.")
