"""Examples run, are short, and show what they claim; the gallery keeps its form.

The examples of the gallery run when the documentation is built.
"""

import ast
import re
import runpy
import tokenize
from pathlib import Path

import numpy as np
import pytest

from skbilevel.problems import OracleProblem
from skbilevel.testing import check_problem

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
GALLERY = sorted(path.stem for path in EXAMPLES.glob("plot_*.py"))
# They want data that have to be fetched, and are not in the gallery.
STUDIES = {"plot_gene_expression", "plot_text_logistic"}
ORACLES = ["oracles_quadratic", "oracles_tuning", "oracles_hyper_cleaning"]

if not EXAMPLES.is_dir():
    pytest.skip("examples are part of a checkout", allow_module_level=True)


def run(name, capsys):
    """Variables of an example, and the numbers in each line that it prints."""
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    lines = capsys.readouterr().out.strip().splitlines()
    number = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
    return found, [[float(x) for x in re.findall(number, line)] for line in lines]


def lines_of_code(path):
    """Lines with code, without the module's docstring, comments and blank lines."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    after = ast.parse(path.read_text(encoding="utf-8")).body[0].end_lineno
    idle = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    blank = (tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
    return len(
        {
            line
            for token in tokens
            if token.type not in idle + blank
            for line in range(token.start[0], token.end[0] + 1)
            if line > after
        }
    )


@pytest.mark.parametrize("name", ORACLES)
def test_examples_take_less_than_forty_lines(name):
    """Imports included."""
    assert lines_of_code(EXAMPLES / f"{name}.py") < 40


def test_quadratic_finds_the_solution_in_closed_form(capsys):
    """Its own comparison, and that its matrix is not trivial."""
    found, _ = run("oracles_quadratic", capsys)
    assert found["error"] < 1e-6
    assert np.abs(found["solution"]).max() > 0.1


def test_tuning_tells_features_from_shuffled_copies(capsys):
    """Lower test error, stronger penalties on the copies."""
    found, lines = run("oracles_tuning", capsys)
    check_problem(found["problem"])
    assert np.exp(found["result"].theta[:10]).min() < 1.0
    (alike, weak, strong), (apart, feature, copy) = lines
    assert apart < alike < 1.0
    assert weak == strong
    assert copy > 1.5 * feature


def test_hyper_cleaning_finds_wrong_labels(capsys):
    """Weights near zero and one, half of the errors gone."""
    found, (before, after) = run("oracles_hyper_cleaning", capsys)
    assert isinstance(found["problem"], OracleProblem)
    check_problem(found["problem"])
    assert before[:2] == [0.5, 0.5]
    assert after[0] < 0.1
    assert after[1] > 0.9
    assert after[2] < 0.7 * before[2]


def test_the_new_solver_is_one(capsys):
    """It passes the checks, and saves gradients on a stiff problem."""
    _, lines = run("add_a_solver", capsys)
    (mine, error), (plain, _) = lines[-2:]
    assert mine < 0.3 * plain
    assert error < 1e-4


def parts(name):
    """Syntax tree of an example, and the lines of its docstring."""
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    return tree, ast.get_docstring(tree).splitlines()


@pytest.mark.parametrize("name", [n for n in GALLERY if n not in STUDIES])
def test_an_example_of_the_gallery_asks_and_answers(name):
    """A question as title, cells, and a printed sentence at the end."""
    tree, (title, underline, *_) = parts(name)
    assert title.endswith("?")
    assert underline == "=" * len(title)
    assert "\n# %%\n" in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    last = tree.body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    assert last.value.func.id == "print"
    sentence = [node.value for node in ast.walk(last) if isinstance(node, ast.Constant)]
    assert any(isinstance(text, str) and text.endswith(".") for text in sentence)


@pytest.mark.parametrize("name", [n for n in GALLERY if n not in STUDIES])
def test_an_example_of_the_gallery_fetches_nothing(name):
    """Data that scikit-learn ships, or generated."""
    tree, _ = parts(name)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not {n for n in names if n.startswith("fetch_") or n == "open"}


def test_the_reading_order_names_examples():
    """A name that is misspelt there would go to the end without a word."""
    path = ROOT / "doc" / "_ext" / "gallery_order.py"
    if not path.is_file():
        pytest.skip("the documentation is part of a checkout")
    listed = runpy.run_path(str(path))["READING_ORDER"]
    planned = {"plot_pipeline_search"}
    assert set(listed) - planned <= set(GALLERY)
    assert set(GALLERY) - STUDIES <= set(listed)
