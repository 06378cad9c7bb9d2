"""StrengthsDisplay: what is drawn where, for few and for many features."""

import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV

from skbilevel import BilevelRidgeClassifierCV, BilevelRidgeCV
from skbilevel.inspection import StrengthsDisplay


def dots(ax):
    """Strengths by name, from the dots and the tick labels beside them."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    found = {}
    for line in ax.lines:
        if line.get_marker() == "o":
            for x, y in zip(*line.get_data(), strict=True):
                found[names[round(y)]] = x
    return found


def end_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def many(k=None, p=5000, seed=0):
    """Strengths of many features, a tenth removed, and their names."""
    rng = np.random.default_rng(seed)
    alpha = rng.lognormal(size=p if k is None else (k, p))
    alpha[..., : p // 10] = np.inf
    return alpha, np.array([f"word{j}" for j in range(p)], dtype=object)


def test_every_feature_has_a_dot_at_its_strength(pyplot, guarded, diabetes):
    display = StrengthsDisplay.from_estimator(guarded)
    alpha = dict(zip(diabetes[0].columns, guarded[-1].alpha_, strict=True))
    kept = {name: value for name, value in alpha.items() if np.isfinite(value)}
    assert len(kept) > 5
    found = dots(display.ax_)
    assert {name: found[name] for name in kept} == pytest.approx(kept)
    assert list(found) == list(alpha)
    # What is removed lies beyond all others.
    assert all(found[name] > max(kept.values()) for name in alpha.keys() - kept.keys())
    assert display.ax_.get_xscale() == "log"
    assert display.figure_ is display.ax_.figure
    gone = len(alpha) - len(kept)
    title = display.ax_.get_title(loc="left")
    assert title.startswith(f"BilevelRidgeCV: strengths from {min(kept.values()):.3g}")
    assert title.endswith(f"{gone} of {len(alpha)} removed")


def test_features_are_sorted_and_the_shared_strength_is_a_line(pyplot, guarded):
    ax = StrengthsDisplay.from_estimator(guarded).ax_
    values = dots(ax)
    order = [label.get_text() for label in ax.get_yticklabels()]
    assert order == sorted(values, key=values.get)
    shared = guarded[-1].hyperpenalty_["alpha"][0, 0]
    line = next(each for each in ax.lines if each.get_linestyle() == "--")
    assert_allclose(line.get_xdata(), shared)
    assert f"{shared:.3g}" in line.get_label()


def test_removed_and_unpenalized_features_stand_at_the_ends(pyplot, searched):
    assert np.isinf(searched.alpha_).any()
    ax = StrengthsDisplay.from_estimator(searched).ax_
    found = dots(ax)
    finite = searched.alpha_[np.isfinite(searched.alpha_) & (searched.alpha_ > 0)]
    for name, alpha in zip(searched.feature_names_in_, searched.alpha_, strict=True):
        if np.isinf(alpha):
            assert found[name] > finite.max()
        elif alpha == 0:
            assert found[name] < finite.min()
        else:
            assert found[name] == pytest.approx(alpha)
    assert {"∞\nremoved", "0\nunpenalized"} < set(end_labels(ax.xaxis))
    # There is no shared strength in this search, unless one is given.
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]


@pytest.mark.parametrize("reference", [30.0, RidgeCV([30.0]), Ridge(30.0)])
def test_a_reference_gives_the_shared_strength(pyplot, searched, reference, diabetes):
    if hasattr(reference, "fit"):
        reference.fit(*diabetes)
    display = StrengthsDisplay.from_estimator(searched, reference=reference)
    penalized = searched.alpha_ > 0
    assert_array_equal(display.shared_strengths[penalized], 30.0)
    assert_array_equal(display.shared_strengths[~penalized], 0.0)


def test_a_reference_in_units_of_c(pyplot, by_class):
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    other = LogisticRegression(C=4.0).fit(X, [0, 0, 1, 1])
    display = StrengthsDisplay.from_estimator(by_class, reference=other)
    assert_array_equal(display.shared_strengths, 0.25)
    assert display.ax_.get_xlabel() == "strength alpha = 1 / C"


def test_targets_and_classes_have_rows(pyplot, by_target, by_class):
    display = StrengthsDisplay.from_estimator(by_target)
    assert display.strengths.shape == (2, 10)
    assert display.output_names == ("target 0", "target 1")
    shared = [found["alpha"][0, 0] for found in by_target.hyperpenalty_]
    assert_array_equal(display.shared_strengths[:, 0], shared)
    dashed = [x for x in display.ax_.lines if x.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == pytest.approx(shared)

    display = StrengthsDisplay.from_estimator(by_class)
    assert display.output_names == tuple(by_class[-1].classes_)
    labels = [line.get_label() for line in display.ax_.lines]
    assert labels[1:] == list(by_class[-1].classes_)


def test_many_features_are_few_artists_and_the_ends_are_named(pyplot):
    alpha, names = many()
    ax = StrengthsDisplay(alpha, feature_names=names).plot().ax_
    curve, removed = ax.lines
    assert len(curve.get_xdata()) < 1500
    kept = np.sort(alpha[np.isfinite(alpha)])
    drawn = curve.get_ydata()[np.isfinite(curve.get_ydata())]
    assert_allclose([drawn[0], drawn[-1]], kept[[0, -1]])
    assert removed.get_xdata()[0] == pytest.approx(90.0, abs=0.1)
    assert "removed\n(10 %)" in end_labels(ax.yaxis)
    most, least = (text.get_text() for text in ax.texts)
    finite = np.where(np.isinf(alpha), -1.0, alpha)
    for text, order in ((most, np.argsort(-finite)), (least, np.argsort(alpha))):
        lines = text.splitlines()
        assert len(lines) == 9
        assert [line.split()[0] for line in lines[1:]] == list(names[order[:8]])


def test_equal_strengths_at_the_end_are_counted(pyplot):
    alpha, names = many()
    alpha[600:900] = 1e-3
    ax = StrengthsDisplay(alpha, feature_names=names).plot().ax_
    assert "300 features at 0.001" in ax.texts[1].get_text()
    alpha[0] = 1e-4
    ax = StrengthsDisplay(alpha, feature_names=names).plot().ax_
    lines = ax.texts[1].get_text().splitlines()
    assert lines[1].split()[0] == "word0"
    assert lines[-1].strip() == "293 more at 0.001"


def test_many_rows_name_the_row(pyplot):
    alpha, names = many(k=9, p=50)
    outputs = [f"class{k}" for k in range(9)]
    display = StrengthsDisplay(alpha, feature_names=names, output_names=outputs)
    ax = display.plot().ax_
    row, j = np.unravel_index(np.argmin(alpha), alpha.shape)
    assert f"word{j} (class{row})" in ax.texts[1].get_text()
    assert "each of 9 outputs" in ax.get_legend_handles_labels()[1]


def test_a_vocabulary_takes_less_than_two_seconds(pyplot):
    alpha, names = many(p=130_107)
    start = time.process_time()
    display = StrengthsDisplay(alpha, feature_names=names).plot()
    display.figure_.canvas.draw()
    assert time.process_time() - start < 2.0


def test_strengths_that_hardly_differ_do_not_fill_the_axis(pyplot):
    alpha = np.array([1.0, 1.01])
    ax = StrengthsDisplay(alpha, feature_names=np.array(["a", "b"])).plot().ax_
    low, high = ax.get_xlim()
    assert high / low > 5


@pytest.mark.parametrize("alpha", [[np.inf, np.inf], [0.0, 0.0], [0.0, np.inf]])
def test_no_finite_strength_at_all(pyplot, alpha):
    names = np.array(["a", "b"])
    shared = np.array(alpha)
    display = StrengthsDisplay(
        np.array(alpha), feature_names=names, shared_strengths=shared
    )
    display.plot().figure_.canvas.draw()


def test_names_that_look_like_formulas_are_shown_as_they_are(pyplot):
    names = np.array(["$x_", "price in $", "$a$"], dtype=object)
    display = StrengthsDisplay(np.array([1.0, 2.0, 3.0]), feature_names=names).plot()
    display.figure_.canvas.draw()
    assert end_labels(display.ax_.yaxis)[2] == r"\$a\$"


def test_columns_of_different_scale(pyplot, diabetes):
    X, y = diabetes
    model = BilevelRidgeCV().fit(X * np.logspace(0, 4, 10), y)
    display = StrengthsDisplay.from_estimator(model)
    assert np.ptp(np.log(display.shared_strengths)) > 5
    bars = next(line for line in display.ax_.lines if line.get_marker() == "|")
    assert bars.get_label() == "one shared strength, scaled by the column"


def test_searches_and_given_axes(pyplot, guarded, diabetes):
    grid = {"bilevelridgecv__cv": [4]}
    search = GridSearchCV(guarded, grid, cv=2).fit(*diabetes)
    figure, ax = pyplot.subplots()
    display = StrengthsDisplay.from_estimator(search, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert_array_equal(display.feature_names, diabetes[0].columns)


def test_a_classifier_without_probabilities(pyplot, diabetes):
    X, y = diabetes
    model = BilevelRidgeClassifierCV().fit(20.0 * X, y > 150)
    assert len(dots(StrengthsDisplay.from_estimator(model).ax_)) == 10


def test_what_cannot_be_drawn_is_refused(guarded, diabetes):
    with pytest.raises(ValueError, match="Ridge has no alpha_ with a strength"):
        StrengthsDisplay.from_estimator(Ridge().fit(*diabetes))
    with pytest.raises(
        ValueError, match=r"feature_names has shape \(3,\).*10 features"
    ):
        StrengthsDisplay.from_estimator(guarded, feature_names=list("abc"))
    with pytest.raises(ValueError, match=r"feature_groups has shape \(2,\)"):
        StrengthsDisplay.from_estimator(guarded, feature_groups=[0, 1])
    with pytest.raises(ValueError, match="does not have one strength for all"):
        StrengthsDisplay.from_estimator(guarded, reference=guarded)


def test_long_names_keep_their_beginning_and_end(pyplot):
    names = np.array([f"a name that is much too long, of column {k}" for k in "ab"])
    display = StrengthsDisplay(np.array([1.0, 2.0]), feature_names=names).plot()
    assert end_labels(display.ax_.yaxis) == [
        "a name that i…g, of column a",
        "a name that i…g, of column b",
    ]


def test_the_legend_fits_above_the_axes(pyplot):
    alpha, labels = np.arange(1.0, 41.0), [f"source {k % 12}" for k in range(40)]
    names = np.array([f"a name of a column, number {k}" for k in range(40)])
    display = StrengthsDisplay(
        alpha,
        feature_names=names,
        shared_strengths=0 * alpha + 5,
        feature_groups=labels,
        estimator_name="BilevelRidgeCV",
    ).plot()
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    assert legend.x1 < display.figure_.bbox.x1
    title = display.ax_._left_title.get_window_extent()
    assert legend.y1 <= title.y0 + 3
    assert title.y1 < display.figure_.bbox.y1
