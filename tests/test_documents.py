"""Formulas and blocks of the pages, and the faults that a browser shows."""

import importlib.util
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import skbilevel

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "doc"
FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<line>[^$\n]+)\$", re.S
)

if not DOC.is_dir() or not (ROOT / ".ci").is_dir():
    pytest.skip("pages are part of a checkout", allow_module_level=True)


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


LOOK = load(ROOT / ".ci" / "look_at_documents.py")
BLOCKS = load(DOC / "_ext" / "blocks.py")
THRESHOLDS = load(DOC / "_ext" / "thresholds.py")


@pytest.fixture(scope="module")
def to_mathml():
    pytest.importorskip("sphinx")
    return load(DOC / "_ext" / "mathml.py").to_mathml


def written(path):
    """Prose of a page, without its code."""
    text = re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    return re.sub(r"`[^`\n]+`", "", text)


def test_formulas_of_all_pages_can_be_shown(to_mathml):
    """None is refused, and none leaves a command in what is shown."""
    formulas = [
        (found["block"] or found["line"], bool(found["block"]))
        for path in DOC.rglob("*.md")
        if "_build" not in path.parts
        for found in FORMULA.finditer(written(path))
    ]
    assert len(formulas) > 100
    for tex, as_block in formulas:
        assert "\\" not in re.sub("<[^>]+>", "", to_mathml(tex, as_block))


def test_fractions_and_hats_are_what_was_written(to_mathml):
    """docutils reads twelve in the first, and puts the index below in the second."""
    half = to_mathml(r"\tfrac12 x", True)
    assert re.search(r"<mfrac[^>]*><mn>1</mn><mn>2</mn></mfrac>", squeezed(half))
    hat = squeezed(to_mathml(r"\hat w_k", False))
    assert re.search(
        r"<msub><mover[^>]*><mi>w</mi><mo[^>]*>\u02c6</mo></mover><mi>k", hat
    )
    for tex in (r"\operatorname*{argmin}_w", r"\underbrace{a}_{b}"):
        with pytest.raises(ValueError, match="another way"):
            to_mathml(tex, True)


def squeezed(xml):
    return re.sub(r"\s*\n\s*", "", xml)


def test_blocks_run_in_order_and_their_output_is_kept(tmp_path):
    """In one namespace; a block that is marked is left out; a failure is an error."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n<!-- not executed: why -->\n```python\n1 / 0\n```\n"
        "```python\nprint(x)\n```\n",
        encoding="utf-8",
    )
    assert [shown.text for shown in BLOCKS.run_blocks(page)] == ["", "2\n"]
    page.write_text("```python\n1 / 0\n```\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        BLOCKS.run_blocks(page)


PAGE = """<!doctype html><title>x</title><article style="width: 300px">
<img src="{image}" width="10" height="10"><div style="width: {width}px">{text}</div>
<math><mi>{formula}</mi></math></article><script>{script}</script>"""
FAULTS = {
    "broken name": {"width": "20", "text": "<dt><strong>two words</strong></dt>"},
    "missing image": {"image": "nothing.png"},
    "beyond its column": {"width": "350"},
    "formula with commands": {"formula": "\\frac12"},
    "script": {"script": "nothing()"},
}
FINE = {
    "image": "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>",
    "width": "100",
}
FINE |= {"formula": "x", "script": "", "text": "text"}


def faults(folder, *pages, widths):
    """What the browser complains about, or a reason to skip."""
    found = LOOK.faults(folder, pages, widths)
    if found is None:
        pytest.skip("no Chromium is installed here")
    return found


def test_the_browser_finds_each_fault(tmp_path):
    """And none in a page without faults."""
    for name, change in {"fine": {}, **FAULTS}.items():
        page = PAGE.format(**{**FINE, **change})
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    found = faults(tmp_path, widths=(1000,))
    for name in FAULTS:
        start = f"{name}.html" if name == "script" else f"{name}.html at 1000"
        assert any(line.startswith(f"{start}: {name}") for line in found)
    assert [line for line in found if line.startswith("fine")] == []


def drawn(title="a title", **how):
    figure, ax = plt.subplots(figsize=(4, 2))
    ax.set(title=title, **how)
    return figure


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("no title", {"title": ""}),
        ("inches are cut", {"title": "a title that goes on and on " * 3}),
        ("inches are cut", {"ylabel": "label that goes on and on " * 3}),
        ("stands on", {"xticks": [0.5, 0.51]}),
    ],
)
def test_pictures_are_looked_at(words, how):
    pytest.importorskip("sphinx_gallery")
    look = load(DOC / "_ext" / "checked_pictures.py")
    assert list(look.faults(drawn())) == []
    assert words in " ".join(look.faults(drawn(**how)))
    plt.close("all")


def test_classes_are_shown_with_the_parameters_of_their_constructors():
    shown = load(DOC / "_ext" / "signatures.py").of_constructor
    text, _ = shown(None, "class", "skbilevel.X", skbilevel.DPRidge, None, "", None)
    assert text.startswith("(epsilon=1.0, delta=None, *, feature_bounds=(-1.0, 1.0)")
    assert shown(None, "method", "skbilevel.X.fit", None, None, "", None) is None


def test_every_threshold_has_a_reason():
    """The comment above it, which the developers' table shows."""
    found = list(THRESHOLDS.thresholds())
    assert len(found) > 30
    assert [each for each in found if len(each.reason.split()) < 5] == []


def test_a_threshold_without_a_comment_is_seen(tmp_path):
    """Names of other endings are no thresholds."""
    code = "# Other.\n_OTHER = 1\n_MANY_FROM, _FEW = 9, 2\n"
    (tmp_path / "_module.py").write_text(code, encoding="utf-8")
    (found,) = THRESHOLDS.thresholds(tmp_path)
    assert found == THRESHOLDS.Threshold(("_MANY_FROM", "_FEW"), "9, 2", "", "_module")


def test_names_of_the_glossary_are_in_the_code():
    """Every one in the last column is a name of the package."""
    page = (DOC / "developer" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|(.+)\|$", page.split("## Glossary")[1], flags=re.M)[2:]
    named = [
        name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[-1])
    ]
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "skbilevel").rglob("*.py")
    )
    words = set(re.findall(r"\w+", code))
    assert len(named) > 25
    assert [name for name in named if not set(name.split(".")) <= words] == []


@pytest.mark.parametrize(("name", "n_calls"), [("Ridge", 11), ("Logistic", 9)])
def test_calls_from_fit_to_the_candidates(name, n_calls):
    """As many as the page on a fit says."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    model = getattr(skbilevel, f"Bilevel{name}CV")()
    chains = []

    def look(frame, event, _):
        if event != "call" or frame.f_code.co_name != "make_candidates" or chains:
            return
        chain = []
        while frame is not None:
            own = Path(frame.f_code.co_filename).parent.name
            if own in ("linear_model", "model_selection"):
                chain.append(frame.f_code.co_name)
            frame = frame.f_back
        chains.append([each for each in chain if not each.startswith("<")])

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        model.fit(X, X[:, 0] > 0)
    finally:
        sys.setprofile(before)
    (chain,) = chains
    assert chain[-1] == "fit"
    assert len(chain) == n_calls + 1
