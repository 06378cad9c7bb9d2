"""
Which labels are wrong, if a few are known to be right?
=======================================================

Three labels in ten were mixed up. Somebody has checked one row in twenty.
`SampleWeightsCV` learns how much the others should count, and ranks them for the next
round of checks.
"""

# %%
# The data
# --------
# Tumours, benign or malignant, with thirty measurements each. Half of them are kept for
# the test. The other half gets wrong labels, but for the rows that were checked.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import SampleWeightsCV

X, y = load_breast_cancer(return_X_y=True)
rng = np.random.default_rng(0)
order = rng.permutation(len(y))
train, test = order[:400], order[400:]
X, y, X_test, y_test = X[train], y[train], X[test], y[test]
checked = np.arange(400) < 40
wrong = ~checked & (rng.random(400) < 0.3)
given = np.where(wrong, 1 - y, y)

# %%
# The fit
# -------
# The mask says which rows were checked. Nothing says which are wrong.

model = SampleWeightsCV(make_pipeline(StandardScaler(), LogisticRegression()))
model.fit(X, given, trusted=checked)

# %%
# Weights and losses
# ------------------
# A weight is a function of how well a row agrees with models that have not seen it.
# What that function should look like, the checked rows decide.

rest = ~checked
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for name, rows in {"right": rest & ~wrong, "wrong": wrong}.items():
    loss, weight = model.row_loss_[rows], model.sample_weight_[rows]
    axes[0].plot(loss, weight, ".", label=name)
axes[0].set_title("Wrong labels get small weights")
axes[0].set(xlabel="loss of a row left out", ylabel="learned weight (up: trusted)")
axes[0].legend(title="label")
found = np.cumsum(wrong[model.ranking_])
axes[1].plot(np.arange(1, len(found) + 1), found, label="ranking")
axes[1].plot([0, wrong.sum()], [0, wrong.sum()], ":", color="gray", label="no mistake")
n = wrong.sum()
axes[1].set_title(f"Of the first {n} labels {found[n - 1]} are wrong")
axes[1].set(xlabel="rows looked at", ylabel="wrong labels found (up is better)")
axes[1].legend()
plt.show()

# %%
# The answer
# ----------


def plain(rows):
    """Return the test loss of a model on some rows as they were given."""
    other = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=10,
            scoring="neg_log_loss",
            max_iter=2000,
            l1_ratios=(0,),
            use_legacy_attributes=False,
        ),
    )
    return log_loss(y_test, other.fit(X[rows], given[rows]).predict_proba(X_test))


losses = {
    "all rows": plain(np.full(400, True)),
    "checked rows": plain(checked),
    "learned weights": log_loss(y_test, model.predict_proba(X_test)),
    "right rows, if they were known": plain(~wrong),
}
for name, loss in losses.items():
    print(f"{name:<31} log loss {loss:.3f}")
print(
    f"{n} labels are wrong; {wrong[model.ranking_[:n]].sum()} of them are among the "
    f"first {n} of the ranking."
)
