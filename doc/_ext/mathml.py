"""Formulas as MathML, which browsers show without a script and without a network.

docutils has the translation from TeX. What it cannot read is a warning, and so an
error of the build; what it is known to read wrongly is mended or refused here.
"""

import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
# \frac12 is read as \frac{12}{...} otherwise.
BARE_FRACTION = re.compile(r"(\\[td]?frac)\s*(\w)\s*(\w)")
# Shown as a star before its letters, and as a brace without its label.
MISREAD = re.compile(r"\\(operatorname|underbrace|overbrace|mathop)\b")
ACCENTS = set("\u02c6\u02c9\u02dc\u02d9\u00a8\u2192")  # hat, bar, tilde, dots, arrow


def to_mathml(text: str, as_block: bool) -> str:
    """Return a formula as MathML; raise MathError where that cannot be right."""
    misread = MISREAD.search(text)
    if misread:
        raise MathError(f"{misread[0]} is not shown rightly; write it in another way")
    tex = BARE_FRACTION.sub(r"\1{\2}{\3}", text.strip())
    made = tex2mathml(tex, as_block=as_block).replace("&ApplyFunction;", "\u2061")
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.fromstring(made)
    for element in list(root.iter()):
        if len(element) and element[-1].text in ACCENTS:
            set_accent(element)
    shown = "".join(root.itertext())
    if re.search(r"[\\$]", shown):
        raise MathError(f"commands are left over in {shown.strip()!r}")
    return ElementTree.tostring(root, encoding="unicode")


def set_accent(element: ElementTree.Element) -> None:
    r"""Keep an accent off its letter, and the index of ``\hat w_k`` beside both."""
    if element.tag.endswith("munderover"):
        base, index, over = element
        element.tag = f"{{{NAMESPACE}}}msub"
        letter = ElementTree.Element(f"{{{NAMESPACE}}}mover")
        letter.extend([base, over])
        element[:] = [letter, index]
        element = letter
    if element.tag.endswith("mover"):
        # With "true", browsers without a font for formulas put it into the letter.
        element.set("accent", "false")


def translate(text: str, node: nodes.Node, as_block: bool) -> str:
    """Return a formula as MathML, or its source where that cannot be read."""
    try:
        return to_mathml(text, as_block)
    except MathError as error:
        logger.warning("formula %r: %s", text, error, location=node)
        return f"<code>{text}</code>"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(translate(node.astext(), node, as_block=False))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    start = self.starttag(node, "div", CLASS="math-block")
    self.body.append(f"{start}{translate(node.astext(), node, as_block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
