"""GuardPathDisplay: scores, errors and weights of the candidates."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from skbilevel import BilevelRidgeCV
from skbilevel.inspection import GuardPathDisplay
from skbilevel.inspection._guard_path import family_words


def points(ax):
    """Offsets and face colours of the dots of candidates, without ring and legend."""
    found = [c for c in ax.collections if len(getattr(c, "get_sizes", list)()) == 1]
    return [c for c in found if c.get_sizes()[0] == 32 and len(c.get_offsets())]


def heights(ax):
    dots = points(ax)
    x, y = np.concatenate([np.asarray(c.get_offsets()) for c in dots]).T
    return y[np.argsort(x)]


def test_gains_over_the_shared_strength(pyplot, guarded):
    found = guarded[-1].hyperpenalty_
    scores, _ = GuardPathDisplay.from_estimator(guarded).axes_
    low, high = scores.get_ylim()
    gain = found["score"] - found["score"][0]
    drawn = heights(scores)
    edge = low + 0.05 * (high - low)
    assert_allclose(drawn[gain >= edge], gain[gain >= edge])
    # What is far below is drawn at the edge, and nothing that counts is.
    assert (drawn[gain < edge] < edge).all()
    assert (gain < edge).any()
    counts = found["weight"] >= 0.1 * found["weight"].max()
    assert (gain - found["standard_error"] > low)[counts].all()


def test_refused_candidates_are_hollow(pyplot, guarded):
    found = guarded[-1].hyperpenalty_
    scores, _ = GuardPathDisplay.from_estimator(guarded).axes_
    full = sum(
        len(c.get_offsets())
        for c in points(scores)
        if not (c.get_facecolors()[0, :3] == 1).all()
    )
    low, high = scores.get_ylim()
    inside = found["score"] - found["score"][0] >= low + 0.05 * (high - low)
    assert full == (found["kept"] & inside).sum()


def test_error_bars(pyplot, guarded):
    found = guarded[-1].hyperpenalty_
    scores, _ = GuardPathDisplay.from_estimator(guarded).axes_
    gain = found["score"] - found["score"][0]
    low, high = scores.get_ylim()
    inside = gain >= low + 0.05 * (high - low)
    bars = [
        segment[:, 1]
        for container in scores.containers
        for segment in container[2][0].get_segments()
    ]
    assert_allclose(np.ptp(bars, axis=1), 2 * found["standard_error"][inside])
    assert_allclose(np.mean(bars, axis=1), gain[inside], atol=1e-9)


def test_weights_and_the_published_score(pyplot, guarded):
    model = guarded[-1]
    scores, weights = GuardPathDisplay.from_estimator(guarded).axes_
    bars = [bar.get_height() for bar in weights.patches]
    assert_array_equal(bars, model.hyperpenalty_["weight"])
    line = next(x for x in scores.lines if str(x.get_label()).startswith("published"))
    published = model.best_score_ - model.hyperpenalty_["score"][0]
    assert line.get_ydata()[0] == pytest.approx(published)


def test_paths_are_named_and_apart(pyplot, by_class):
    display = GuardPathDisplay.from_estimator(by_class)
    families = list(dict.fromkeys(display.family))
    _, weights = display.axes_
    assert [t.get_text() for t in weights.texts] == [family_words(f) for f in families]
    gaps = np.diff([bar.get_x() for bar in weights.patches])
    changes = display.family[1:] != display.family[:-1]
    assert gaps[changes].min() > gaps[~changes].max()
    assert weights.get_xticklabels() == []


def test_family_words():
    assert family_words("metadata_half") == "metadata,\ntuned on\nrandom halves"
    assert family_words("class_elastic_net") == "by class,\nfrom the\nelastic net"
    assert family_words("a_new_one") == "a new one"


def test_the_title_says_what_was_decided(pyplot, guarded):
    scores, _ = GuardPathDisplay.from_estimator(guarded).axes_
    share = 1.0 - guarded[-1].hyperpenalty_["weight"][0]
    assert f"{share:.0%} of the average" in scores.get_title(loc="left")


def test_scores_in_another_unit_have_no_published_line(pyplot, diabetes, by_target):
    X, y = diabetes
    model = BilevelRidgeCV(scoring="r2", cv=3).fit(20.0 * X, y)
    assert GuardPathDisplay.from_estimator(model).published_score is None
    display = GuardPathDisplay.from_estimator(by_target, target=1)
    assert display.published_score is None
    assert_array_equal(display.score, by_target.hyperpenalty_[1]["score"])


def test_candidates_that_are_all_refused_are_seen(pyplot):
    n = 10
    gain = -(np.arange(n, dtype=float) ** 3)
    display = GuardPathDisplay(
        np.repeat(["shared", "half"], [1, n - 1]),
        np.r_[np.nan, np.ones(n - 1)],
        5.0 + gain,
        np.where(np.arange(n) > 0, 0.1, 0.0),
        np.arange(n) == 0,
        (np.arange(n) == 0).astype(float),
        published_score=5.0 + 1e-14,
    ).plot()
    low, _ = display.axes_[0].get_ylim()
    assert (gain > low).sum() >= n // 2
    assert "one shared strength stays" in display.axes_[0].get_title(loc="left")


def test_a_better_candidate_of_little_weight_is_seen(pyplot):
    display = GuardPathDisplay(
        np.array(["shared", "half", "half"]),
        np.array([np.nan, 1.0, 2.0]),
        np.array([-0.0356, -0.0336, -0.0500]),
        np.array([0.0, 0.001, 0.001]),
        np.array([True, True, False]),
        np.array([0.95, 0.05, 0.0]),
        published_score=-0.0352,
    ).plot()
    low, high = display.axes_[0].get_ylim()
    assert low < 0.0
    assert high > 0.0020


def test_one_candidate_only(pyplot, diabetes):
    X, y = diabetes
    model = BilevelRidgeCV(feature_groups="shared", cv=3).fit(20.0 * X, y)
    display = GuardPathDisplay.from_estimator(model)
    display.figure_.canvas.draw()
    assert display.weight.tolist() == [1.0]


def test_fits_without_the_guard_are_refused(searched, diabetes):
    with pytest.raises(ValueError, match="not fitted under the guard"):
        GuardPathDisplay.from_estimator(searched)
    with pytest.raises(ValueError, match="Ridge has no hyperpenalty_"):
        GuardPathDisplay.from_estimator(Ridge().fit(*diabetes))


def test_one_given_ax_is_divided(pyplot, guarded):
    figure, ax = pyplot.subplots()
    display = GuardPathDisplay.from_estimator(guarded, ax=ax)
    top, bottom = display.axes_
    assert display.figure_ is figure
    assert top.get_position().height > 2 * bottom.get_position().height
    assert top.get_shared_x_axes().joined(top, bottom)
