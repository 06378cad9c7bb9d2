"""Pages with measured figures show those of the committed files."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

if not (ROOT / ".ci").is_dir() or not (ROOT / "doc").is_dir():
    pytest.skip("pages are part of a checkout", allow_module_level=True)


@pytest.fixture
def scripts(monkeypatch):
    """The scripts that write the pages, and the one that keeps results."""
    for folder in (".ci", "benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    names = ("benchmark_page", "benchmark_tables", "keep")
    yield tuple(importlib.import_module(name) for name in names)
    for name in names:
        sys.modules.pop(name, None)


def test_the_tables_are_those_of_the_files(scripts):
    """Otherwise: python .ci/benchmark_page.py --write."""
    page, tables, _ = scripts
    assert page.stale() == []
    shown = [
        match["name"]
        for path in page.PAGES
        for match in page.MARKED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert sorted(shown) == sorted(page.TABLES)
    used = {path.stem for path in tables.RESULTS.glob("*.json")}
    text = page.PAGES[0].read_text(encoding="utf-8")
    assert all(tables.results(name)["command"] in text for name in used)


def test_another_figure_makes_pages_stale(scripts, monkeypatch, tmp_path):
    """So the comparison above can fail."""
    page, tables, _ = scripts
    for path in tables.RESULTS.glob("*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        if path.stem == "regression":
            found["summary"][tables.OURS]["clipped mean"] += 0.001
        (tmp_path / path.name).write_text(json.dumps(found), encoding="utf-8")
    tables.results.cache_clear()
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert page.stale() == list(page.PAGES)


def test_targets_that_are_missed_are_called_so(scripts):
    _, tables, _ = scripts
    wanted = (("a", "x", "<=", 0.0), ("b", "y", ">=", 0.5))
    missed = tables.asked({"x": 0.1, "y": 0.4}, wanted)
    met = tables.asked({"x": -0.1, "y": 0.5}, wanted)
    assert missed.count("missed") == 2
    assert "missed" not in met


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (3, "3"),
        (0.01234, "0.012"),
        (-0.0001, "0"),
        (-0.5, "-0.500"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (2000.0, "2,000"),
        ("a", "a"),
    ],
)
def test_cells(scripts, value, text):
    assert scripts[1].cell(value) == text


def test_what_is_kept_of_a_run(scripts):
    keep = scripts[2]
    run = {"fits": {"a": 1}, "per_set": [{"x": 0.123456789, "n": 7}], "versions": {}}
    assert keep.kept(run, "make it", "abc", "") == {
        "command": "make it",
        "code": "abc",
        "per_set": [{"x": 0.12346, "n": 7}],
        "versions": {},
    }
