"""The scripts of all papers run, in small."""

import os
import runpy
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[1] / "benchmarks" / "papers"


SCRIPTS = sorted(path.stem for path in PAPERS.glob("[a-z]*.py"))


@pytest.mark.slow
@pytest.mark.skipif(
    "SKBILEVEL_DATA" not in os.environ, reason="SKBILEVEL_DATA is not set"
)
@pytest.mark.skipif(not PAPERS.exists(), reason="not a checkout")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_run(name, monkeypatch, capsys):
    """A table comes out."""
    script = PAPERS / f"{name}.py"
    monkeypatch.syspath_prepend(str(PAPERS))
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    runpy.run_path(str(script), run_name="__main__")
    assert "| --- |" in capsys.readouterr().out
