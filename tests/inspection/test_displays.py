"""What all displays promise: documented, in scikit-learn's form, cheap to import."""

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest
from numpydoc.validate import validate

from skbilevel import inspection

DISPLAYS = [getattr(inspection, name) for name in inspection.__all__]
# Matters of taste, as for the estimators.
IGNORED = {"ES01", "GL01", "GL02", "GL03", "RT02", "RT03", "SA01", "SA04", "YD01"}


def test_names_are_sorted():
    assert list(inspection.__all__) == sorted(inspection.__all__)
    assert all(name.endswith("Display") for name in inspection.__all__)


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda d: d.__name__)
def test_form(display):
    init = inspect.signature(display.__init__).parameters
    assert "ax" not in init
    assert ["self", *(field.name for field in fields(display))] == list(init)
    for method in (display.from_estimator, display.plot):
        ax = inspect.signature(method).parameters["ax"]
        assert ax.kind is ax.KEYWORD_ONLY
        assert ax.default is None


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("member", ["", ".from_estimator", ".plot"])
def test_docstrings(display, member):
    ignored = IGNORED | ({"EX01"} if member else set())
    found = validate(f"skbilevel.inspection.{display.__name__}{member}")["errors"]
    assert [text for code, text in found if code not in ignored] == []


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


def test_importing_does_not_import_matplotlib():
    code = (
        "import sys, skbilevel; assert 'skbilevel.inspection' not in sys.modules; "
        "import skbilevel.inspection; assert 'matplotlib' not in sys.modules"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_a_display_holds_data_and_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np; from skbilevel.inspection import StrengthsDisplay\n"
        "d = StrengthsDisplay(np.ones(2), feature_names=np.array(['a', 'b']))\n"
        "assert d.strengths.sum() == 2\n"
        "d.plot()"
    )
    done = run(code)
    assert "ImportError: Pictures need matplotlib: pip install" in done.stderr
