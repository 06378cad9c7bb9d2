"""
How do I tune on a time series without looking ahead?
=====================================================

Tomorrow's demand is predicted from the demand of the last 56 days. Shuffled folds
would train on days after those they are judged on. With ``TimeSeriesSplit`` as ``cv``
the past trains and the future judges, in everything that is tuned inside.
"""

# %%
# The data
# --------
# A day resembles yesterday, the same weekday of the last weeks, and nothing else. The
# level drifts slowly.

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

N_LAGS, N_DAYS = 56, 600
rng = np.random.default_rng(0)
demand = np.zeros(N_DAYS + N_LAGS)
for t in range(21, len(demand)):
    past = 0.35 * demand[t - 1] + 0.4 * demand[t - 7] + 0.2 * demand[t - 14]
    demand[t] = past + rng.standard_normal()

lags = np.arange(1, N_LAGS + 1)
X = sliding_window_view(demand, N_LAGS)[
    :-1, ::-1
]  # column j is the demand j + 1 days ago
y = demand[N_LAGS:]
now = 400
X_past, y_past, X_future, y_future = X[:now], y[:now], X[now:], y[now:]

# %%
# Three models
# ------------
# The second knows that lags are ordered: a strength may depend on how long ago a day
# was and on whether it was the same weekday.

same_weekday = (lags % 7 == 0).astype(float)
Z = np.column_stack([np.log(lags), same_weekday])
order = TimeSeriesSplit(n_splits=5)
grid = GridSearchCV(
    Ridge(),
    {"alpha": np.logspace(-2, 4, 25)},
    cv=order,
    scoring="neg_mean_squared_error",
)
methods = {
    "one strength": grid,
    "one per lag": BilevelRidgeCV(cv=order),
    "by age and weekday": BilevelRidgeCV(cv=order, feature_metadata=Z),
}
models, error = {}, {}
for name, method in methods.items():
    models[name] = make_pipeline(StandardScaler(), method).fit(X_past, y_past)
    error[name] = mean_squared_error(y_future, models[name].predict(X_future))
    print(f"{name:<20} error of the next {len(y_future)} days {error[name]:.3f}")

# %%
# Coefficients of the lags. Bars are the true ones, and there are three. The noise of
# the data has variance 1, which no forecast can undercut by more than luck.

true_coef = np.zeros(N_LAGS)
true_coef[[0, 6, 13]] = 0.35, 0.4, 0.2
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.bar(lags, true_coef, color="gold", width=1.6, label="truth")
for (name, model), style in zip(models.items(), ("s-C7", "D-C1", "o-C0"), strict=True):
    fitted = getattr(model[-1], "best_estimator_", model[-1])
    label = f"{name}: error {error[name]:.3f}"
    ax.plot(lags, fitted.coef_ / model[0].scale_, style, label=label, markersize=3)
best = min(error, key=error.__getitem__)
ax.set_title(f"The smallest error of the next days is that of '{best}'")
ax.set(xlabel="days ago", ylabel="coefficient (near a bar is better)")
ax.set(xticks=np.arange(7, 57, 7))
ax.legend()
plt.show()

# %%
# The answer
# ----------

shared, lag, known = error.values()
print(
    f"Pass TimeSeriesSplit as cv: the error of the days after the last known one is "
    f"{shared:.3f} with one strength, {lag:.3f} with one per lag and {known:.3f} with "
    "strengths that follow age and weekday."
)
