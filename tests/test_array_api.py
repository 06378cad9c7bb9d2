"""X that other libraries hold: tests in ``array_api``, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_with_array_api():
    pytest.importorskip("sklearn.callback", reason="it needs scikit-learn 1.9")
    pytest.importorskip("array_api_strict")
    folder = Path(__file__).parent / "array_api"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", folder],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        cwd=folder.parent.parent,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
