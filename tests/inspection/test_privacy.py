"""PrivacyDisplay: the ledger and the curve that it draws."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skbilevel import DPRidge
from skbilevel.inspection import PrivacyDisplay

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (400, 2))
Y = 0.6 * X[:, 0]


@pytest.fixture(scope="module")
def model():
    return DPRidge(epsilon=2.0, random_state=0).fit(X, Y)


def test_the_bar_is_the_ledger(model):
    display = PrivacyDisplay.from_estimator(make_pipeline(model))
    (ax,) = display.axes_
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == pytest.approx(model.privacy_ledger_.shares())
    assert "epsilon 2, delta 1e-06" in ax.get_xlabel()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text.split(",")[0] for text in texts] == [
        release.name for release in model.privacy_ledger_.releases
    ]


def test_the_curve_rises_to_the_line_without_noise(model):
    options = {"epsilons": (0.05, 100.0), "n_repeats": 3}
    display = PrivacyDisplay.from_estimator(model, X, Y, **options)
    assert display.scores.shape == (2, 3)
    low, high = np.median(display.scores, axis=1)
    assert low < 0.5 < 0.98 < high
    assert high == pytest.approx(display.baseline, abs=0.02)
    curve, line = display.axes_[1].get_lines()
    assert curve.get_xdata().tolist() == [0.05, 100.0]
    assert line.get_ydata()[0] == display.baseline
    # Of both points 0.05 is nearer to 2, by its logarithm.
    cost = display.baseline - low
    assert display.axes_[1].get_title(loc="left") == (
        f"At epsilon 0.05 the median score is {cost:.2g} below that without noise"
    )
    assert display.axes_[0].get_title(loc="left").endswith("for gradients")
    assert model.epsilon == 2.0  # clones are fitted


def test_what_cannot_be_drawn_is_said(model):
    with pytest.raises(ValueError, match="privacy_ledger_"):
        PrivacyDisplay.from_estimator(Ridge().fit(X, Y))
    with pytest.raises(ValueError, match="both X and y"):
        PrivacyDisplay.from_estimator(model, X)
