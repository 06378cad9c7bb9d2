"""The division of the benchmarks' data sets."""

import argparse
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs a checkout")


@pytest.fixture
def halves(monkeypatch):
    """The script that divides the sets."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("_halves", "_report", "keep")
    yield importlib.import_module("_halves")
    for name in names:
        sys.modules.pop(name, None)


def test_rows_of_one_source_are_never_apart(halves):
    for names in halves.SOURCES.values():
        assert len({halves.half_of(name) for name in names.split()}) == 1
    for derived in ("concrete_squared", "concrete_column", "concrete_target2"):
        assert halves.half_of(derived) == halves.half_of("concrete")


def test_the_division_is_a_fact(halves):
    """Another division would make what was confirmed before worthless."""
    names = ["riboflavin", "tecator", "sonar", "ma_golub", "madelon", "heart"]
    found = [halves.half_of(name) for name in names]
    assert found == ["choose", "confirm", "confirm", "choose", "confirm", "choose"]
    assert halves.names_of_half(names, "confirm") == ["tecator", "sonar", "madelon"]
    assert halves.names_of_half(names, None) == names


def test_the_honest_best_is_picked_on_even_splits_and_judged_on_odd_ones(halves):
    ratios = {"a": np.array([-0.5, 0.3, -0.5, 0.1]), "b": np.array([0.0, -1, 0, -1])}
    assert halves.honest_best(ratios, [0, 1, 2, 3]) == pytest.approx(0.2)
    assert halves.honest_best(ratios, [1, 2, 3, 4]) == 0.0
    assert math.isnan(halves.honest_best({"a": np.zeros(2)}, [0, 2]))


@pytest.mark.parametrize(
    "given",
    [{"rule": None}, {"rule": "x", "sets": "sonar"}, {"rule": "x", "splits": "0"}],
)
def test_no_look_at_confirm_without_a_trace(halves, given):
    options = {"half": "confirm", "sets": None, "splits": None, "peers_only": False}
    with pytest.raises(SystemExit, match="confirm"):
        halves.check_half(argparse.Namespace(**options | given))
