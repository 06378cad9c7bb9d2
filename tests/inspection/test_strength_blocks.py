"""StrengthsDisplay where features of one label share a strength."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbilevel import BilevelLogisticCV, BilevelRidgeCV
from skbilevel.inspection import StrengthsDisplay

BLOCKS = np.repeat([f"block {k}" for k in range(8)], 250)


def drawn(display, marker="o"):
    """Strengths by the name beside them."""
    ax = display.ax_
    names = [label.get_text() for label in ax.get_yticklabels()]
    lines = [line for line in ax.lines if line.get_marker() == marker]
    dots = [dot for line in lines for dot in zip(*line.get_data(), strict=True)]
    return {names[round(y)]: x for x, y in sorted(dots, key=lambda dot: dot[1])}


def blocks(values, shared=None, labels=BLOCKS, free=(), **options):
    """A picture of one strength for each label."""
    alpha = np.asarray(values, dtype=float)[np.unique(labels, return_inverse=True)[1]]
    alpha[list(free)] = 0.0
    return StrengthsDisplay(
        alpha,
        feature_names=np.array([f"x{j}" for j in range(len(alpha))], dtype=object),
        shared_strengths=None if shared is None else np.where(alpha > 0, shared, 0.0),
        feature_groups=labels,
        one_per_group=True,
        **options,
    ).plot()


def right_of(ax):
    """The numbers at the right of the axes, from above."""
    return [text.get_text() for text in ax.texts]


def test_a_fitted_model_has_a_dot_for_each_label(pyplot, wide):
    model, _, _, labels = wide
    display = StrengthsDisplay.from_estimator(model)
    assert_array_equal(display.feature_groups, labels)
    sizes = {label: np.count_nonzero(labels == label) for label in set(labels)}
    expected = {
        f"{label} ({sizes[label]})": alpha
        for label, alpha in zip(model.group_labels_, model.group_alpha_, strict=True)
    }
    assert drawn(display) == pytest.approx(expected)
    assert list(drawn(display).values()) == sorted(expected.values())
    low, high = f"{min(expected.values()):.3g}", f"{max(expected.values()):.3g}"
    title = f"BilevelRidgeCV: strengths from {low} to {high}"
    assert display.ax_.get_title(loc="left") == title
    # Numbers of features and strengths are kept as they are.
    assert display.strengths.shape == (60,)


def test_eight_blocks_of_many_features_are_all_named(pyplot):
    display = blocks([5, 115, 3, 4, 80, 70, 1, 60])
    found = drawn(display)
    assert list(found.values()) == [1, 3, 4, 5, 60, 70, 80, 115]
    assert next(iter(found)) == "block 6 (250)"
    assert right_of(display.ax_) == ["1", "3", "4", "5", "60", "70", "80", "115"]


def test_removed_blocks_and_unpenalized_columns_have_their_places(pyplot):
    display = blocks([5, np.inf, 3, 4, 8, 7, 1, 6], free=[0, 1, 300])
    found = drawn(display)
    assert found.pop("unpenalized columns (3)") < 1
    assert found.pop("block 1 (249)") > 8
    assert found["block 0 (248)"] == 5
    assert len(found) == 7
    texts = right_of(display.ax_)
    assert (texts[0], texts[-1]) == ("unpenalized", "removed")
    # One column has a name of its own.
    assert "x7 (1)" in drawn(blocks(np.arange(1, 9), free=[7]))


@pytest.mark.parametrize(
    ("shared", "marker", "x"), [(2.4e-6, "<", 0.0), (1e9, ">", 1.0)]
)
def test_a_far_shared_strength_is_an_arrow(pyplot, shared, marker, x):
    values = [20, 115, 30, 40, 80, 70, 10, 60]
    ax = blocks(values, shared).ax_
    assert_allclose(ax.get_xlim(), blocks(values).ax_.get_xlim())
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]
    arrow = next(line for line in ax.lines if line.get_marker() == marker)
    assert arrow.get_xdata() == [x]
    assert arrow.get_transform() == ax.transAxes
    assert arrow.get_label().startswith("one shared strength: ")
    assert arrow.get_label().endswith(", beyond the axis")
    assert not [each for each in ax.collections if each.get_segments()]


def test_a_near_shared_strength_is_a_line_with_stems(pyplot):
    ax = blocks([20, 115, 30, 40, 80, 70, 10, 60], 0.5).ax_
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert_allclose(line.get_xdata(), 0.5)
    low, high = ax.get_xlim()
    assert low < 0.5 < high
    (stems,) = ax.collections
    assert len(stems.get_segments()) == 8


def test_a_far_shared_strength_beside_single_features(pyplot):
    alpha = np.geomspace(1, 100, 50)
    display = StrengthsDisplay(
        alpha, feature_names=np.arange(50), shared_strengths=0 * alpha + 1e-6
    ).plot()
    assert display.ax_.get_ylim()[0] > 0.1
    assert [line.get_marker() for line in display.ax_.lines].count("v") == 1


def test_more_labels_than_lines_are_a_curve_with_names(pyplot):
    labels = np.repeat([f"g{k:02d}" for k in range(60)], 3)
    ax = blocks(np.arange(1, 61), labels=labels).ax_
    assert_array_equal(ax.lines[0].get_ydata(), np.arange(1, 61))
    assert ax.get_xlabel() == "share of the 60 labels, sorted [%]"
    assert ax.texts[0].get_text().splitlines()[1].strip() == "g59 (3)  60"


def test_targets_have_dots_of_their_own(pyplot, diabetes):
    X, y = diabetes
    both = np.column_stack([y, y.to_numpy() ** 0.5 + 10.0 * X["age"]])
    labels = ["person"] * 4 + ["blood"] * 6
    model = BilevelRidgeCV(alpha_per_target=True, feature_groups=labels)
    display = StrengthsDisplay.from_estimator(model.fit(20.0 * X, both))
    for marker, alpha in zip("os", model.group_alpha_, strict=True):
        found = drawn(display, marker)
        assert found["blood (6)"] == pytest.approx(alpha[0])
        assert found["person (4)"] == pytest.approx(alpha[1])


def test_classes_of_one_strength_each_stay_features(pyplot, diabetes):
    X, y = diabetes
    classes = np.digitize(y, [100, 200])
    model = BilevelLogisticCV(feature_groups="shared", alpha_per_class=True)
    display = StrengthsDisplay.from_estimator(model.fit(20.0 * X, classes))
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert set(names) == set(X.columns)
    assert "BilevelLogisticCV: strengths" in display.ax_.get_title(loc="left")


@pytest.mark.parametrize(
    ("alpha", "labels"),
    [
        ([1.0, 1.0, 2.0], ["a", "a", "a"]),  # a single label
        ([1.0, 3.0, 2.0], ["a", "b", "c"]),  # of one feature each
        ([1.0, 3.0, 2.0], ["a", "a", "c"]),  # that are not alike
        ([1.0, 1.0, 0.0], ["a", "a", "c"]),  # of which one is penalized
    ],
)
def test_labels_that_say_no_more_than_features(pyplot, alpha, labels):
    display = StrengthsDisplay(
        np.array(alpha),
        feature_names=np.array(["x", "y", "z"]),
        feature_groups=labels,
        one_per_group=True,
    ).plot()
    names = {label.get_text() for label in display.ax_.get_yticklabels()}
    assert names == {"x", "y", "z"}


def test_labels_that_only_colour_are_not_drawn_for_features(pyplot, guarded):
    labels = ["person"] * 4 + ["blood"] * 6
    display = StrengthsDisplay.from_estimator(guarded, feature_groups=labels)
    assert not display.one_per_group
    # Also where the features happen to be alike.
    display.strengths = np.ones(10)
    assert len(display.plot().ax_.get_yticklabels()) == 10


def test_counts_of_long_labels_are_not_cut_off(pyplot):
    labels = np.repeat(["a label that is much too long, of kind A", "b"], 1200)
    names = [t.get_text() for t in blocks([1, 2], labels=labels).ax_.get_yticklabels()]
    assert names[0].endswith("kind A (1,200)")
    assert len(names[0]) <= 28
