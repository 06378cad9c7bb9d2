"""What is written in several places about the package is the same in all of them."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import skbilevel

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci").is_dir(), reason="only a checkout holds the release scripts"
)


@pytest.fixture(scope="module")
def project():
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def test_conda_recipe_has_the_bounds_of_pyproject(project):
    recipe = (ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8")
    run = re.search(r"  run:\n(.*?)\n\n", recipe, re.DOTALL)[1]
    python, *bounds = [line.strip(" -") for line in run.splitlines()]
    assert python == "python >=${{ python_min }}"
    assert [b.replace(" ", "") for b in bounds] == project["project"]["dependencies"]
    least = re.search(r'python_min: "(.*)"', recipe)[1]
    assert project["project"]["requires-python"] == f">={least}"
    hatchling = project["build-system"]["requires"][0]
    assert hatchling.replace(">=", " >=") in recipe
    release = skbilevel.__version__.split(".dev")[0]
    assert f'version: "{release}"' in recipe


def test_files_that_the_sdist_has_to_hold_exist():
    script = (ROOT / ".ci/check_package.sh").read_text(encoding="utf-8")
    names = re.search(r"for file in (.*?); do", script, re.DOTALL)[1]
    names = names.replace("\\", " ").split()
    assert len(names) > 4
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_actions_are_pinned_and_nothing_is_permitted_by_default():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert "\npermissions: {}\n" in text, path
        for used in re.findall(r"uses: (.*)", text):
            assert re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_the_section_of_a_version():
    made = runpy.run_path(str(ROOT / ".ci/changelog_section.py"))
    text = "## [1.1.0] - 2026-01-31\n\n- new\n\n## [1.0.0] - 2025-01-01\n- old"
    assert made["section"](text, "1.1.0") == "- new"
    assert made["section"](text, "1.0.0") == "- old"
    with pytest.raises(ValueError, match="no heading"):
        made["section"](text, "1.0")
    with pytest.raises(ValueError, match="no date"):
        made["section"]("## [1.0.0] - unreleased\n", "1.0.0")
    source = (ROOT / "skbilevel/__init__.py").read_text(encoding="utf-8")
    assert made["package_version"](source) == skbilevel.__version__
