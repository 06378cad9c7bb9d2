"""
Which of my data sources can I trust?
=====================================

Ten laboratories send measurements; some of them mislabel. Thirty rows were checked by
hand. How much should each laboratory count? This is no strength of a penalty, but it
is a bilevel problem all the same: weights of laboratories outside, a model fitted with
these weights inside, judged on the checked rows.
"""

# %%
# The data
# --------
# Laboratories 0 to 5 are careful; 6 to 9 report the negative of what is true.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.metrics import r2_score

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import minimize_bilevel
from skbilevel.testing import check_problem

N_LABS, PER_LAB, P = 10, 40, 20
rng = np.random.default_rng(0)
truth = rng.standard_normal(P)


def measure(n, w):
    """Return rows and what is reported about them."""
    X = rng.standard_normal((n, P))
    return X, X @ w + rng.standard_normal(n)


careful = np.arange(N_LABS) < 6
labs = [measure(PER_LAB, truth if ok else -truth) for ok in careful]
X, y = np.vstack([lab[0] for lab in labs]), np.hstack([lab[1] for lab in labs])
lab = np.repeat(np.arange(N_LABS), PER_LAB)
X_checked, y_checked = measure(30, truth)
X_new, y_new = measure(2000, truth)

# %%
# Four functions
# --------------
# Laboratory k counts with the weight ``expit(theta[k])``, between 0 and 1. The inner
# problem is weighted least squares with a small penalty. ``hvp`` is the product of its
# Hessian with a vector, ``cross`` the derivative of ``grad @ d`` in theta. Thirty rows
# cannot judge ten laboratories for certain, so the outer problem has a small penalty
# that pulls all weights towards one half.

n = len(y)


def residual(w):
    """Return what the model misses, row by row."""
    return X @ w - y


def by_lab(values):
    """Add up over the rows of each laboratory."""
    return np.bincount(lab, values, minlength=N_LABS)


inner = InnerOracles(
    value=lambda theta, w: (
        0.5 * expit(theta)[lab] @ residual(w) ** 2 / n + 0.005 * w @ w
    ),
    grad=lambda theta, w: X.T @ (expit(theta)[lab] * residual(w)) / n + 0.01 * w,
    hvp=lambda theta, w, d: X.T @ (expit(theta)[lab] * (X @ d)) / n + 0.01 * d,
    cross=lambda theta, w, d: (
        expit(theta) * expit(-theta) * by_lab(residual(w) * (X @ d)) / n
    ),
)
outer = OuterOracles(
    value=lambda theta, w: (
        0.5 * np.mean((X_checked @ w - y_checked) ** 2) + 0.005 * theta @ theta
    ),
    grad=lambda theta, w: X_checked.T @ (X_checked @ w - y_checked) / len(y_checked),
    grad_theta=lambda theta, w: 0.01 * theta,
)
problem = OracleProblem(inner, outer, np.zeros(P), np.zeros(N_LABS), (-6.0, 6.0))

# %%
# A sign or a factor goes wrong easily. The check finds it by Taylor's formula.

print(check_problem(problem))

# %%
# Solve
# -----

before = minimize_bilevel(problem, max_iter=0)
after = minimize_bilevel(problem)
print(after.message)

# %%
# Weights of the laboratories, and the course of the loss of checked rows.

weights = expit(after.theta)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for kind, color in ((careful, "tab:blue"), (~careful, "tab:red")):
    left.bar(np.flatnonzero(kind), weights[kind], color=color)
ratio = weights[careful].mean() / weights[~careful].mean()
left.set_title(f"Careful laboratories weigh {ratio:.0f} times as much")
left.set(xlabel="laboratory (red: mislabels)", ylabel="weight", ylim=(0, 1))
left.set_xticks(range(N_LABS))
right.plot(after.history["value"], ".-")
right.set_title("The weights lower the loss of checked rows")
right.set(
    xlabel="iteration", ylabel="loss of checked rows, and penalty\n(down is better)"
)
plt.show()

# %%
# The answer
# ----------
# Among the careful laboratories weights differ by luck.

only = np.linalg.lstsq(X_checked, y_checked)[0]
R2 = [r2_score(y_new, X_new @ w) for w in (before.w, only, after.w)]
print(
    f"The careful ones get a mean weight of {weights[careful].mean():.2f}, the others "
    f"{weights[~careful].mean():.2f}; R2 on new rows is {R2[2]:.2f}, against "
    f"{R2[0]:.2f} if all count alike and {R2[1]:.2f} from the checked rows alone."
)
