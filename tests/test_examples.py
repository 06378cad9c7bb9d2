"""Examples run, are short, and show what they claim; the gallery keeps its form.

The examples of the gallery run when the documentation is built.
"""

import ast
import importlib
import json
import re
import runpy
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelSearchCV
from skbilevel.blocks import RowBlocks
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


def test_the_new_loss_is_one(capsys):
    """Its derivatives are right, and wild targets do not move its coefficients."""
    found, lines = run("add_a_loss", capsys)
    assert max(line[0] for line in lines[:3]) < 1e-8
    (squared,), (robust,) = (line[-1:] for line in lines[3:5])
    assert robust < 0.5 * squared
    assert lines[5][0] > 10
    problem = found["folds_problem"](*found["data"](), found["PseudoHuberLoss"]())
    found["check_oracles"](problem, np.full(8, 0.3))
    with pytest.raises(TypeError, match=r"give linear_oracles\(problem, theta0\)"):
        check_problem(problem)


def test_the_new_criterion_is_one(capsys):
    """Its derivatives are right, and it is no worse than GCV, as the page says."""
    _, lines = run("add_a_criterion", capsys)
    assert max(lines[0]) < 1e-7
    gcv, ours = lines[1:]
    assert ours[-1] <= gcv[-1]
    page = (ROOT / "doc/developer/add_a_criterion.md").read_text(encoding="utf-8")
    figures = re.findall(r"(\d+) columns, error ([\d.]+)", page)
    np.testing.assert_allclose(np.array(figures, float), lines[1:], atol=0.011)


@pytest.fixture
def new_estimator(monkeypatch):
    """The example as a module, so that its class can be pickled."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("add_an_estimator")
    for name in ("add_an_estimator", "add_a_loss"):
        sys.modules.pop(name, None)


def test_the_new_estimator_is_robust(new_estimator):
    """Also with weights, labels of columns, a criterion, and other units."""
    make = new_estimator.BilevelPseudoHuberCV
    X, y = new_estimator.data(150)
    X, truth = X[:, 1:], np.r_[2.0, -1.0, 0.5, np.zeros(5)]
    options = {"feature_groups": [0] * 3 + [1] * 5, "hyperpenalty": None, "cv": 5}
    few = make(**options).fit(X, y)
    assert few.group_alpha_.shape == (2,)
    search = BilevelSearchCV(make_pipeline(StandardScaler(), make(**options)))
    found = search.fit(X, y).best_estimator_[-1].coef_ / X.std(axis=0)
    assert abs(found - truth).max() < 0.4
    assert abs(few.coef_ - truth).max() < 0.4
    moved = make(**options).fit(X, 100.0 * y + 7.0)
    np.testing.assert_allclose(moved.coef_, 100.0 * few.coef_, rtol=1e-3, atol=0.1)
    plain, tiny = (make().fit(X, unit * y) for unit in (1.0, 1e-8))
    np.testing.assert_allclose(1e8 * tiny.coef_, plain.coef_, atol=1e-6)
    np.testing.assert_allclose(1e16 * tiny.best_score_, plain.best_score_, rtol=1e-6)
    twice = make(**options, delta=1.0).fit(X, y, sample_weight=np.full(len(y), 2.0))
    assert np.isfinite(twice.coef_).all()


@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None, "cv": "loo"}])
def test_the_new_estimator_scores_in_units_of_the_user(new_estimator, params):
    """Also what folds leave out; and it says what it has not been taught."""
    X, y = new_estimator.data(150)
    X, y = X[:, 1:], 50.0 + 10.0 * y
    model = new_estimator.BilevelPseudoHuberCV(**params)
    model.scoring = "neg_median_absolute_error"
    error = np.median(abs(y - model.fit(X, y).predict(X)))
    assert -model.best_score_ == pytest.approx(error, rel=0.3)
    with pytest.raises(NotImplementedError, match="no counterpart of BilevelPseudo"):
        model.to_sklearn()
    with pytest.raises(TypeError, match="BilevelPseudoHuberCV needs all rows"):
        model.fit(RowBlocks.from_arrays(X, y))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
def test_the_new_estimator_passes_the_checks(new_estimator, capsys):
    """All of scikit-learn's, with the guard; and the page has the figures printed."""
    new_estimator.main()
    printed = capsys.readouterr().out
    assert "failed: []" in printed
    page = (ROOT / "doc/developer/add_an_estimator.md").read_text(encoding="utf-8")
    figures = r"(Bilevel\w+) +largest error of a coefficient ([\d.]+)"
    claimed, found = (dict(re.findall(figures, text)) for text in (page, printed))
    assert claimed.keys() == found.keys() != set()
    for name, figure in found.items():
        assert float(claimed[name]) == pytest.approx(float(figure), abs=0.011)


PROGRAMS = runpy.run_path(str(EXAMPLES / "grid_searches.py"))["PROGRAMS"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_with_a_grid_search_and_without(name):
    """The page shows both; the new one predicts new rows about as well, or better."""
    data, before, after = PROGRAMS[name]
    before.__globals__["ALPHAS"] = np.logspace(-3, 3, 4)
    X, X_test, y, y_test = data(0)
    X_new = X_test[:, :-1] if name == "groups" else X_test
    old, new = before(X, y), after(X, y)
    assert type(new).__name__ == "BilevelSearchCV"
    assert new.score(X_new, y_test) > old.score(X_new, y_test) - 0.03
    page = (ROOT / "doc" / "grid_searches.md").read_text(encoding="utf-8")
    for program in (before, after):
        assert f":pyobject: {program.__name__}\n" in page


def test_the_table_of_the_programs_is_that_of_the_results():
    script = runpy.run_path(str(ROOT / "benchmarks" / "grid_searches.py"))
    rows = json.loads(script["RESULTS"].read_text(encoding="utf-8"))["rows"]
    assert script["table"](rows) == script["TABLE"].read_text(encoding="utf-8")
    assert {row["program"] for row in rows} == set(PROGRAMS)


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
    assert set(listed) <= set(GALLERY)
    assert set(GALLERY) - STUDIES <= set(listed)
