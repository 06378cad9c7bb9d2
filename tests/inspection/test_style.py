"""Numbers, ticks and columns of legends that all pictures share."""

import numpy as np
import pytest

from skbilevel.inspection._log_scale import StrengthScale
from skbilevel.inspection._style import _columns, few_colors, log_ticks, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00123, "0.00123"),
        (45.06, "45.1"),
        (12345.6, "12,346"),
        (1e6, "$10^{6}$"),
        (2.5e-5, r"$2.5\times 10^{-5}$"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("low", "high"), [(1, 8), (18, 800), (3e-7, 2e5), (1, 1e30)])
@pytest.mark.parametrize("most", [6, 9])
def test_ticks_are_few_round_and_inside(low, high, most):
    values, labels = log_ticks(low, high, most)
    assert 2 <= len(values) <= most
    assert len(labels) == len(values) == len(set(labels))
    assert values[0] >= 0.999 * low
    assert values[-1] <= 1.001 * high
    # One notation on an axis.
    assert len({label.startswith("$") for label in labels}) == 1


def test_the_ends_of_the_scale_exist_where_they_are_needed():
    scale = StrengthScale.of(np.array([1.0, 100.0]))
    assert (scale.zero, scale.removed) == (None, None)
    scale = StrengthScale.of(np.array([0.0, 1.0]), np.array([100.0, np.inf]))
    zero, one, removed = scale.place([0.0, 1.0, np.inf])
    assert zero < one == 1.0 < 100.0 < removed


def test_colours_end():
    assert len(set(few_colors(7))) == 7
    assert len(set(few_colors(8))) == 1


def test_columns_of_a_legend():
    assert _columns([5, 5, 5], room=40) == 3
    # Filled one by one: the first column would hold two entries.
    assert _columns([5, 20, 5], room=40) == 2
    assert _columns([50, 50], room=40) == 1
