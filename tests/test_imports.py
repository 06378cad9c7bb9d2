"""What may import what, and what importing the package costs."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skbilevel

PACKAGE = Path(skbilevel.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the door down; a layer may import itself and what stands after it.
LAYERS = (
    {"meta", "search"},
    {"inspection", "linear_model"},
    {"model_selection", "preprocessing", "privacy"},
    {"certify", "solvers"},
    {"problems"},
)
HEAVY = {"matplotlib", "pandas", "polars", "IPython", "dask", "numba", "sphinx"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(tree: ast.AST, top_level_only: bool) -> Iterator[ast.AST]:
    """Yield nodes, without the bodies of functions where only the top counts."""
    for node in ast.iter_child_nodes(tree):
        yield node
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not (top_level_only and inside):
            yield from statements(node, top_level_only)


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Name every module that a file imports, members of packages included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in statements(tree, top_level_only):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(module: str) -> int | None:
    part = module.split(".")[1] if module.count(".") else ""
    return next((i for i, layer in enumerate(LAYERS) if part in layer), None)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers_import_downwards_only(path):
    own = layer_of(name_of(path))
    if own is None:
        return
    own_names = {n for n in imported(path) if n.startswith("skbilevel.")}
    upward = {
        n for n in own_names if (other := layer_of(n)) is not None and other < own
    }
    assert not upward


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_does_not_know_scikit_learn(path):
    core = ("certify", "privacy", "problems", "solvers")
    if name_of(path).startswith(tuple(f"skbilevel.{part}" for part in core)):
        assert "sklearn" not in {n.split(".")[0] for n in imported(path)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_scikit_learn_names_have_one_home(path):
    if path.name == "_sklearn_compat.py":
        return
    private = {
        n
        for n in imported(path)
        if n.startswith("sklearn.") and any(p.startswith("_") for p in n.split("."))
    }
    assert not private


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_packages_are_imported_where_used(path):
    top = {n.split(".")[0] for n in imported(path, top_level_only=True)}
    assert not top & HEAVY


def test_import_contracts_of_pyproject():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed (it is in the extra lint)")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the contracts stand in pyproject.toml of a checkout")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def loaded_by(statement: str) -> set[str]:
    """Names of modules that a statement loads beyond scikit-learn's linear models."""
    code = (
        "import sys, sklearn.linear_model, sklearn.model_selection; "
        f"before = set(sys.modules); {statement}; "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_importing_loads_nothing_else():
    loaded = {name for name in loaded_by("import skbilevel") if "skbilevel" in name}
    assert loaded == {"skbilevel", "skbilevel._lazily"}


def test_a_linear_model_loads_no_other_system():
    loaded = loaded_by("from skbilevel import BilevelRidgeCV")
    others = ("certify", "fractional", "meta", "preprocessing", "privacy", "search")
    assert "skbilevel.linear_model._ridge" in loaded
    assert not {
        n for n in loaded if n.startswith("skbilevel.") and n.split(".")[1] in others
    }
    solvers = {n.removeprefix("skbilevel.solvers.") for n in loaded if "solvers." in n}
    # Of the solvers the guard needs one, and rules of size.
    assert solvers <= {"_limited_memory", "_pcg", "_registry", "_sizes"} | {
        "outer",
        "outer._gauss_newton",
    }
    assert "skbilevel.problems._ratios" not in loaded


def test_using_any_name_loads_nothing_heavy():
    loaded = loaded_by("from skbilevel import *")
    assert "skbilevel.linear_model._ridge" in loaded
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    assert "skbilevel.testing" not in loaded


@pytest.mark.parametrize(
    ("statement", "limit"),
    [
        ("import skbilevel", 0.05),
        ("from skbilevel import BilevelRidgeCV", 0.5),
    ],
)
def test_import_time_beyond_scikit_learn(statement, limit):
    # The best of a few processes: the machine may be busy, the code is not.
    code = (
        "import time, sklearn.linear_model, sklearn.model_selection, scipy.optimize; "
        f"start = time.process_time(); {statement}; "
        "print(time.process_time() - start)"
    )
    seconds = []
    for _ in range(4):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(float(run.stdout))
        if seconds[-1] < limit:
            return
    pytest.fail(f"{statement} takes {min(seconds):.2f} s beyond scikit-learn")
