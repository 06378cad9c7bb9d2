"""
When does the guard leave the one shared strength?
==================================================

Many strengths can overfit the rows that they are chosen on. The guard therefore scores
candidates by nested cross-validation and moves away from the one shared strength only
as far as the scores confirm. Here 8 of 40 features carry a signal, and the number of
rows decides how well that can be seen.
"""

# %%
# Data
# ----
# The same coefficients each time; the test rows are many, so that errors are exact
# enough to be compared.

import numpy as np

from skbilevel import BilevelRidgeCV
from skbilevel.inspection import GuardPathDisplay, OuterTraceDisplay

SIGNAL, FEATURES, NOISE = 8, 40, 3.0
rng = np.random.default_rng(0)
w = np.r_[rng.standard_normal(SIGNAL), np.zeros(FEATURES - SIGNAL)]


def draw_rows(n):
    """Return n rows and their targets."""
    X = rng.standard_normal((n, FEATURES))
    return X, X @ w + NOISE * rng.standard_normal(n)


X_test, y_test = draw_rows(20_000)
few, many = draw_rows(60), draw_rows(600)

# %%
# Few rows
# --------
# Each dot is a candidate, its bar the standard error of its difference to the shared
# strength. A candidate has to gain half a standard error to be kept; hollow dots did
# not. The bars at the bottom are the weights of the average that is published.

guarded_few = BilevelRidgeCV().fit(*few)
GuardPathDisplay.from_estimator(guarded_few)

# %%
# Many rows
# ---------
# Ten times the rows: gains are several standard errors now, and the bold ends of the
# paths take over.

guarded_many = BilevelRidgeCV().fit(*many)
GuardPathDisplay.from_estimator(guarded_many)

# %%
# Without the guard
# -----------------
# One search follows the gradient of the validation loss with nothing to hold it back.
# It goes down as far as it can. The dashed line is the gradient at which it ends.

bare_few = BilevelRidgeCV(hyperpenalty=None).fit(*few)
bare_many = BilevelRidgeCV(hyperpenalty=None).fit(*many)
OuterTraceDisplay.from_estimator(bare_few)

# %%
# What it was worth
# -----------------
# R2 on the test rows, of one shared strength, of the guard, and of the bare search.

header = ("rows", "shared", "guarded", "bare", "promised")
print("".join(f"{word:>10}" for word in header))
weight = {}
pairs = ((few, guarded_few, bare_few), (many, guarded_many, bare_many))
for (X, y), guarded, bare in pairs:
    shared = BilevelRidgeCV(feature_groups="shared").fit(X, y)
    scores = [m.score(X_test, y_test) for m in (shared, guarded, bare)]
    # What the bare search believes, from the rows that it was tuned on.
    scores.append(1 + bare.best_score_ / np.var(y))
    print(f"{len(y):>10}" + "".join(f"{score:>10.3f}" for score in scores))
    weight[len(y)] = 1 - guarded.hyperpenalty_["weight"][0]
print(
    "Candidates other than the shared strength have a weight of "
    + " and ".join(f"{each:.2f} with {n} rows" for n, each in weight.items())
    + "."
)
