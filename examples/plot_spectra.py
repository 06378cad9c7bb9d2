"""
Are many strengths of use where there are more features than rows?
==================================================================

Spectra have hundreds of wavelengths and seldom as many samples. Here a chemist
measures 80 samples at 400 wavelengths and wants the concentration of one substance
among five, whose bands overlap. Neighbouring wavelengths carry the same information,
and large parts of the spectrum carry none about this substance.
"""

# %%
# The data
# --------
# A spectrum is a sum of the bands of all substances, a baseline that drifts and the
# noise of the detector.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV

WAVES = np.linspace(0.0, 1.0, 400)


def band(center, width):
    """Return one peak."""
    return np.exp(-0.5 * ((WAVES - center) / width) ** 2)


def draw_spectra(n, bands, rng):
    """Return spectra, and the concentration of the first substance."""
    amounts = rng.uniform(0.0, 1.0, (n, len(bands)))
    baseline = rng.standard_normal((n, 2)) @ np.vstack([np.ones(400), WAVES])
    noise = 0.15 * rng.standard_normal((n, 400))
    return amounts @ bands + 0.1 * baseline + noise, amounts[:, 0]


# %%
# Three models
# ------------

methods = {
    "RidgeCV": RidgeCV(np.logspace(-3, 6, 46)),
    "LassoCV": LassoCV(max_iter=20000),
    "BilevelRidgeCV": BilevelRidgeCV(),
}
R2 = {name: [] for name in methods}
for repeat in range(5):
    rng = np.random.default_rng(repeat)
    centers = rng.uniform(0.1, 0.9, (5, 2))
    bands = np.array([band(a, 0.02) + 0.5 * band(b, 0.03) for a, b in centers])
    X, y = draw_spectra(80, bands, rng)
    X_new, y_new = draw_spectra(1000, bands, rng)
    models = {n: make_pipeline(StandardScaler(), m) for n, m in methods.items()}
    for name, model in models.items():
        R2[name].append(r2_score(y_new, model.fit(X, y).predict(X_new)))
    print(repeat, {name: round(values[-1], 3) for name, values in R2.items()})

# %%
# Above, the bands of the five substances. Below, where the coefficients of the last
# repetition are: the share of their squares in each of forty pieces of the spectrum.

figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
axes[0].fill_between(WAVES, bands[0], color="C0", alpha=0.4, label="the wanted one")
axes[0].plot(WAVES, bands[1:].T, color="tab:gray", label=["the others", *[None] * 3])
axes[0].set(ylabel="absorbance", title="Five substances whose bands overlap")
axes[0].legend()
wanted = bands[0] > 0.1
inside, pieces = {}, WAVES.reshape(40, 10).mean(axis=1)
for name, style in (("RidgeCV", "s-C7"), ("BilevelRidgeCV", "o-C0")):
    share = models[name][-1].coef_ ** 2 / np.sum(models[name][-1].coef_ ** 2)
    inside[name] = share[wanted].sum()
    label = f"{name}: {inside[name]:.0%} in the wanted band"
    share = share.reshape(40, 10).sum(axis=1)
    axes[1].plot(pieces, share, style, label=label, markersize=4)
more = max(inside, key=inside.__getitem__)
axes[1].fill_between(
    WAVES,
    wanted.astype(float),
    color="C0",
    alpha=0.15,
    transform=axes[1].get_xaxis_transform(),
)
axes[1].set_title(f"{more} puts more of its coefficients where the wanted bands are")
axes[1].set(xlabel="wavelength", ylabel="share of squared\ncoefficients")
axes[1].legend()
plt.show()

# %%
# The answer
# ----------

mean = {name: np.mean(values) for name, values in R2.items()}
fewer = np.mean(np.array(R2["BilevelRidgeCV"]) > np.array(R2["RidgeCV"]))
print(
    f"With 80 rows and 400 columns R2 is {mean['BilevelRidgeCV']:.3f} with many "
    f"strengths, {mean['RidgeCV']:.3f} with one and {mean['LassoCV']:.3f} with the "
    f"lasso; many are better than one in {fewer:.0%} of the repetitions."
)
