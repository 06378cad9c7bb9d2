"""CoefficientsDisplay: coefficients beside those of one strength."""

import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Lasso, Ridge, RidgeCV

from skbilevel import BilevelPoissonCV, BilevelRidgeCV
from skbilevel.inspection import CoefficientsDisplay
from skbilevel.inspection._coefficients import _free_spots


def by_name(ax, marker, first=None):
    """Dots by name; axes beside each other have the names at the first one."""
    names = [label.get_text() for label in (first or ax).get_yticklabels()]
    return {
        names[round(y)]: x
        for line in ax.lines
        if line.get_marker() == marker
        for x, y in zip(*line.get_data(), strict=True)
    }


def test_the_single_strength_model_is_ridge_at_one_strength(pyplot, guarded, diabetes):
    X, y = diabetes
    display = CoefficientsDisplay.from_estimator(guarded, X, y)
    Z = guarded[:-1].transform(X)
    strength = guarded[-1].hyperpenalty_["alpha"][0, 0]
    assert_allclose(display.reference_coef, Ridge(strength).fit(Z, y).coef_, rtol=1e-6)
    assert_array_equal(display.coef, guarded[-1].coef_)
    assert display.labels == ("BilevelRidgeCV", "one shared strength")


def test_pairs_of_dots(pyplot, guarded, diabetes):
    X, y = diabetes
    (ax,) = CoefficientsDisplay.from_estimator(guarded, X, y).axes_
    ours, theirs = by_name(ax, "o") | by_name(ax, "x"), by_name(ax, "D")
    assert ours == pytest.approx(dict(zip(X.columns, guarded[-1].coef_, strict=True)))
    order = [label.get_text() for label in ax.get_yticklabels()]
    size = {name: max(abs(ours[name]), abs(theirs[name])) for name in ours}
    assert order == sorted(size, key=size.get, reverse=True)


def test_removed_features_are_crosses(pyplot, searched, diabetes):
    X, y = diabetes
    other = RidgeCV().fit(20.0 * X, y)
    display = CoefficientsDisplay.from_estimator(searched, reference=other)
    (ax,) = display.axes_
    removed = set(X.columns[np.isinf(searched.alpha_)])
    assert set(by_name(ax, "x")) == removed
    assert display.labels[1] == "RidgeCV"
    assert_array_equal(display.reference_coef, other.coef_)


def test_each_target_and_class_has_axes(pyplot, by_target, by_class, diabetes):
    X, y = diabetes
    other = Ridge().fit(20.0 * X, np.column_stack([y, y]))
    display = CoefficientsDisplay.from_estimator(by_target, reference=other)
    assert len(display.axes_) == 2
    for ax, coef in zip(display.axes_, by_target.coef_, strict=True):
        first = display.axes_[0]
        drawn = by_name(ax, "o", first) | by_name(ax, "x", first)
        assert drawn == dict(zip(X.columns, coef, strict=True))
    titles = [ax.get_title("right") for ax in display.axes_]
    assert titles == ["target 0", "target 1"]
    display = CoefficientsDisplay.from_estimator(by_class, reference=by_class)
    assert display.labels[1] == "BilevelLogisticCV (reference)"
    assert [ax.get_title("right") for ax in display.axes_] == list(
        by_class[-1].classes_
    )


def test_strengths_by_target_are_compared_with_one_for_all(pyplot, by_target, diabetes):
    X, y = diabetes
    Y = np.column_stack([y, X["bmi"] + 0.1 * X["age"]])
    display = CoefficientsDisplay.from_estimator(by_target, 20.0 * X, Y)
    shared = BilevelRidgeCV(feature_groups="shared").fit(20.0 * X, Y)
    assert shared.alpha_.ndim == 1
    assert_allclose(display.reference_coef, shared.coef_)


def test_many_features_are_points_and_the_largest_changes_are_named(pyplot, wide):
    model, X, y, _ = wide
    display = CoefficientsDisplay.from_estimator(model, X, y)
    (ax,) = display.axes_
    dots = next(line for line in ax.lines if len(line.get_xdata()) == 60)
    assert_array_equal(dots.get_xdata(), display.reference_coef)
    assert_array_equal(dots.get_ydata(), model.coef_)
    order = np.argsort(-np.abs(model.coef_ - display.reference_coef))
    named = ax.texts[-1].get_text().splitlines()[1:]
    assert [line.split()[1] for line in named] == [f"x{j}:" for j in order[:12]]
    numbers = [text.get_text() for text in ax.texts[:-1]]
    assert numbers == [str(k) for k in range(1, 13)]
    reach = np.abs(display.reference_coef).max(), np.abs(model.coef_).max()
    assert ax.get_xlim()[1] > reach[0]
    assert ax.get_ylim()[1] > reach[1]


def test_a_vocabulary_of_classes_is_one_artist(pyplot):
    rng = np.random.default_rng(0)
    coef = rng.standard_normal((6, 130_107))
    coef[3, 7] = 50.0
    display = CoefficientsDisplay(
        coef,
        0.5 * coef,
        feature_names=np.arange(130_107).astype(str),
        output_names=list("abcdef"),
    )
    start = time.process_time()
    (ax,) = display.plot().axes_
    display.figure_.canvas.draw()
    assert time.process_time() - start < 2.0
    assert len(ax.collections) == 1
    assert ax.collections[0].get_rasterized()
    assert ax.collections[0].get_array().sum() == coef.size
    assert "1  7 (d): 25 → 50" in ax.texts[-1].get_text()


def test_labels_keep_apart():
    points = np.zeros((8, 2))
    spots = _free_spots(points)
    distance = np.abs(spots[:, None] - spots[None]).max(axis=-1)
    assert (distance + np.eye(8)).min() > 0.04


def test_equal_coefficients_have_no_largest_change(pyplot):
    coef = np.linspace(-1, 1, 50)
    display = CoefficientsDisplay(coef, coef, feature_names=np.arange(50)).plot()
    assert not display.axes_[0].texts


def test_arguments_of_fit_reach_the_reference(pyplot):
    rng = np.random.default_rng(0)
    X, offset = rng.standard_normal((80, 4)), rng.uniform(0, 2, 80)
    y = rng.poisson(np.exp(offset + 0.3 * X[:, 0]))
    model = BilevelPoissonCV().fit(X, y, offset=offset)
    shared = BilevelPoissonCV(feature_groups="shared").fit(X, y, offset=offset)
    display = CoefficientsDisplay.from_estimator(model, X, y, offset=offset)
    assert_allclose(display.reference_coef, shared.coef_)
    assert np.abs(model.coef_).max() > 0


def test_options_that_need_many_strengths_are_left_out(pyplot, diabetes):
    X, y = diabetes
    metadata = np.arange(10.0)[:, None]
    options = {"hyperpenalty": ("sparse", 0.1), "cv": 3, "alpha_init": np.ones(10)}
    model = BilevelRidgeCV(feature_metadata=metadata, **options).fit(20.0 * X, y)
    display = CoefficientsDisplay.from_estimator(model, 20.0 * X, y)
    shared = BilevelRidgeCV(feature_groups="shared", hyperpenalty=None, cv=3)
    assert_allclose(display.reference_coef, shared.fit(20.0 * X, y).coef_)


def test_what_cannot_be_compared_is_refused(guarded, diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match="Pass the X and y"):
        CoefficientsDisplay.from_estimator(guarded)
    with pytest.raises(ValueError, match=r"Ridge have shape \(1, 2\).*\(1, 10\)"):
        CoefficientsDisplay.from_estimator(
            guarded, reference=Ridge().fit(X[["age", "bmi"]], y)
        )
    with pytest.raises(ValueError, match="Lasso cannot be fitted again"):
        CoefficientsDisplay.from_estimator(Lasso().fit(X, y), X, y)
