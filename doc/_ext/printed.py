"""Pages show what their blocks print and draw; a block that fails is a warning."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blocks import Shown, run_blocks
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)
FIGURES = Path("generated") / "figures"
_shown: dict[str, list[Shown]] = {}


def run_pages(app: Sphinx, env: BuildEnvironment, docnames: Sequence[str]) -> None:
    """Run the blocks of all pages that will be read, some side by side."""

    def run(name: str) -> None:
        try:
            _shown[name] = run_blocks(
                Path(env.doc2path(name)), Path(app.srcdir) / FIGURES / name
            )
        except RuntimeError as error:
            logger.warning("%s", error, location=name)

    pages = [name for name in docnames if str(env.doc2path(name)).endswith(".md")]
    # Every page has a process of its own: threads only wait for them.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, pages))


def insert(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what a block has printed and drawn below it."""
    text = source[0]
    for shown in reversed(_shown.pop(docname, [])):
        below = ""
        if shown.text.strip():
            printed = shown.text.strip("\n")
            below += f"\n\n````{{code-block}} text\n:class: printed\n\n{printed}\n````"
        for name, title in shown.figures:
            below += f"\n\n![{title}](/{(FIGURES / docname / name).as_posix()})"
        text = text[: shown.end] + below + text[shown.end :]
    source[0] = text


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both."""
    app.connect("env-before-read-docs", run_pages)
    app.connect("source-read", insert)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
