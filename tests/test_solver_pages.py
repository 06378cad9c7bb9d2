"""The pages about oracles and solvers say what the code does."""

import ast
import importlib.util
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from skbilevel import BilevelLogisticCV, BilevelRidgeCV
from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    CG,
    LBFGSB,
    ORACLE_SOLVERS,
    SABA,
    SOBA,
    DirectSolve,
    DoubleLoop,
    GradientDescent,
    Implicit,
    ImplicitGradient,
    Nested,
    Newton,
    Unrolled,
    choose_regime,
    minimize_bilevel,
)
from skbilevel.solvers._registry import DESCRIPTIONS
from skbilevel.testing._check_solver import tuning

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "doc"
ESTIMATORS = {"BilevelRidgeCV": BilevelRidgeCV, "BilevelLogisticCV": BilevelLogisticCV}
INCLUDE = re.compile(
    r"```\{literalinclude\} (?P<path>\S+)\n(?::pyobject: (?P<name>\S+)\n)?```"
)

if not DOC.is_dir() or not (ROOT / ".ci").is_dir():
    pytest.skip("pages are part of a checkout", allow_module_level=True)


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = load(ROOT / ".ci" / "solver_table.py")
DRAWINGS = load(ROOT / ".ci" / "drawings.py")


def test_the_committed_drawings_are_those_of_the_script():
    """Otherwise: python .ci/drawings.py --write."""
    assert DRAWINGS.stale() == []


def test_the_chart_names_what_exists():
    """Names in quotes are solvers, and the sizes are those of the choice."""
    chart = DRAWINGS.which_solver().replace("&quot;", '"')
    names = set(re.findall(r'"([a-z-]+)"', re.sub(r"<[^>]+>", " ", chart)))
    assert {"saba", "hoag", "amigo", "newton-cg", "auto", "loo"} <= names
    assert names - {"loo"} <= set(DESCRIPTIONS)
    assert choose_regime(1500, 1500, False) == "primal"
    assert choose_regime(1501, 1501, True) == "matrix-free"
    assert choose_regime(3000, 3001, False) == "dual"
    assert choose_regime(3001, 4000, False) == "matrix-free"


def test_the_committed_table_is_that_of_the_registry():
    """Otherwise: python .ci/solver_table.py --write."""
    text = TABLE.PAGE.read_text(encoding="utf-8")
    assert text == TABLE.replaced(text)
    assert set(ORACLE_SOLVERS) <= set(DESCRIPTIONS)
    assert all(f'`"{name}"`' in text for name in DESCRIPTIONS)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_support_is_what_the_estimators_accept(name, estimator):
    """A name that a table promises is one that validation lets pass, and reverse."""
    options = ESTIMATORS[estimator]._parameter_constraints["solver"][0].options
    promised = TABLE.estimator_support(name)[estimator] != "no"
    assert promised == (name in options)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_words_of_the_estimators_are_those_of_their_problems(kind):
    """What the table rests on."""
    assert tuning(kind).provides >= TABLE.ORACLES


def test_a_solver_that_needs_more_is_not_promised(monkeypatch):
    """A word that linear models do not provide."""
    monkeypatch.setitem(ORACLE_SOLVERS, "other", Needy(frozenset({"dense_hessian"})))
    assert set(TABLE.estimator_support("other").values()) == {"no"}
    monkeypatch.setitem(ORACLE_SOLVERS, "other", Needy(frozenset({"row_codes"})))
    assert set(TABLE.estimator_support("other").values()) == {"yes"}


@dataclass(frozen=True)
class Needy:
    """A solver that never gets to work."""

    requires: frozenset


def toy(p=3):
    """Inner solution theta, outer target one."""
    inner = InnerOracles(
        value=lambda t, w: 0.5 * ((w - t) ** 2).sum(),
        grad=lambda t, w: w - t,
        hvp=lambda t, w, d: d,
        cross=lambda t, w, d: -d,
    )
    outer = OuterOracles(lambda t, w: 0.5 * ((w - 1) ** 2).sum(), lambda t, w: w - 1)
    return OracleProblem(inner, outer, np.zeros(p), np.zeros(p))


DIRECT = DoubleLoop(Newton("cg"), ImplicitGradient(DirectSolve()), LBFGSB())
REFUSED = {
    "a name": lambda: minimize_bilevel(toy(), "sobaa"),
    "something else": lambda: minimize_bilevel(toy(), 3),
    "a class": lambda: minimize_bilevel(toy(), SABA),
    "no rows": lambda: minimize_bilevel(toy(), SOBA()),
    "no iterates": lambda: DoubleLoop(GradientDescent(), Unrolled(), LBFGSB()),
    "strengths": lambda: minimize_bilevel(toy(), Nested(CG(), Implicit(), LBFGSB())),
    "large": lambda: minimize_bilevel(toy(640), DIRECT),
    "a matrix": lambda: replace(toy(), w0=np.zeros((2, 2))),
    "nan": lambda: replace(toy(), w0=np.full(3, np.nan)),
    "bounds": lambda: replace(toy(), bounds=(1.0, 0.0)),
    "negative": lambda: minimize_bilevel(toy(), tol=-1.0),
    "no number": lambda: minimize_bilevel(
        replace(toy(), outer=OuterOracles(lambda t, w: np.nan, lambda t, w: w - 1))
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sentences_of_the_page_are_those_of_the_code(case):
    """Up to a list of names that grows."""
    page = " ".join((DOC / "oracles.md").read_text(encoding="utf-8").split())
    with pytest.raises(ValueError, match=r".") as caught:
        REFUSED[case]()
    sentence = str(caught.value).split("'exact'")[0]
    assert sentence in page


PAGES_WITH_CODE = {
    "oracles.md": 3,
    "developer/add_a_solver.md": 8,
    "developer/add_a_loss.md": 5,
    "developer/add_a_criterion.md": 9,
    "developer/add_an_estimator.md": 3,
    "developer/architecture.md": 5,
}


@pytest.mark.parametrize("page", PAGES_WITH_CODE)
def test_included_code_exists(page):
    """Files, and the objects that are cut out of them."""
    found = list(INCLUDE.finditer((DOC / page).read_text(encoding="utf-8")))
    assert len(found) >= PAGES_WITH_CODE[page]
    for each in found:
        path = (DOC / page).parent / each["path"]
        assert path.is_file(), path
        names = {
            getattr(node, "name", "")
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        }
        name = each["name"] and each["name"].split(".")[0]
        assert name is None or name in names, name
