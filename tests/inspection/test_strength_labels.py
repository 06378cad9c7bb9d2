"""StrengthsDisplay: labels that colour features with strengths of their own."""

import numpy as np
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV, BilevelSearchCV
from skbilevel.inspection import StrengthsDisplay


def test_groups_have_colours(pyplot, guarded, diabetes):
    labels = ["person"] * 4 + ["blood"] * 6
    ax = StrengthsDisplay.from_estimator(guarded, feature_groups=labels).ax_
    lines = {line.get_label(): line for line in ax.lines if line.get_marker() == "o"}
    assert set(lines) == {"person", "blood"}
    assert len(lines["person"].get_xdata()) == 4
    assert lines["person"].get_color() != lines["blood"].get_color()


def test_labels_are_curves_where_features_are_many(pyplot, wide):
    labels = wide[-1]
    alpha = np.linspace(1.0, 2.0, 60)
    alpha[:10] = 0.5
    display = StrengthsDisplay(
        alpha, feature_names=np.arange(60), feature_groups=labels
    ).plot()
    curves = {line.get_label(): line for line in display.ax_.lines}
    assert set(curves) == set(labels)
    for label in curves:
        assert_allclose(curves[label].get_ydata(), alpha[labels == label])
    # Which of equal features are named would be chance.
    assert "10 features at" in display.ax_.texts[1].get_text()
    assert display.ax_.get_yscale() == "log"


def test_small_groups_share_gray(pyplot):
    alpha, names = np.arange(1.0, 31.0), np.arange(30).astype(str)
    labels = np.repeat(np.arange(10), 3).astype(str)
    ax = StrengthsDisplay(alpha, feature_names=names, feature_groups=labels).plot().ax_
    assert [line.get_label() for line in ax.lines][-1] == "4 other groups"
    assert len(ax.lines[-1].get_xdata()) == 12


def test_labels_that_a_function_makes_of_names(pyplot):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = X[:, 0] + 0.3 * rng.standard_normal(60)
    last = BilevelRidgeCV(
        feature_groups=lambda names: [
            "ab" if name in ("x0", "x1") else "cd" for name in names
        ],
        hyperpenalty=None,
    )
    search = BilevelSearchCV(make_pipeline(StandardScaler(), last)).fit(X, y)
    display = StrengthsDisplay.from_estimator(search)
    assert list(display.feature_groups) == ["ab", "ab", "cd", "cd"]
