"""The scripts of all papers run, in small."""

import os
import subprocess
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
@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_run(name):
    """A table comes out."""
    command = [sys.executable, str(PAPERS / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
