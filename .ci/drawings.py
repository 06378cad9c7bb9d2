"""The drawings of the documentation, as SVG made of boxes and arrows.

``python .ci/drawings.py --write`` renews the files in doc/_static, which a test
compares.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "doc" / "_static"
LINE, PAD = 18, 12
# Legible on white and on dark pages alike.
FILL = {"question": "#dbe9f6", "answer": "#e3f1dd", "layer": "#f4ead5"}
INK, WIRE = "#1b1f24", "#7a8694"


@dataclass(frozen=True)
class Box:
    """Some lines of text in a rectangle."""

    x: int
    y: int
    width: int
    kind: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        """Room for the lines."""
        return LINE * len(self.lines) + PAD

    @property
    def middle(self) -> int:
        """Where arrows from the side end."""
        return self.y + self.height // 2

    def svg(self) -> Iterator[str]:
        """The rectangle and its text; the first line is set in bold."""
        yield (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="6" fill="{FILL[self.kind]}" stroke="{WIRE}"/>'
        )
        for k, line in enumerate(self.lines):
            y = self.y + PAD // 2 + 13 + LINE * k
            weight = ' font-weight="bold"' if k == 0 else ""
            yield (
                f'<text x="{self.x + PAD}" y="{y}" fill="{INK}"{weight}>'
                f"{escape(line)}</text>"
            )


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "") -> Iterator[str]:
    """A straight arrow; the label stands at its start."""
    yield (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{WIRE}" '
        'stroke-width="1.5" marker-end="url(#tip)"/>'
    )
    if label:
        x, y = (x1 + 6, y1 - 5) if y1 == y2 else (x1 + 6, y1 + 15)
        yield f'<text x="{x}" y="{y}" fill="{WIRE}">{escape(label)}</text>'


def picture(title: str, width: int, height: int, parts: list[str]) -> str:
    """A whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="13" role="img">\n<title>{escape(title)}</title>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{WIRE}"/>'
        "</marker></defs>"
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


# Question, what "yes" leads to.
CHOICES = (
    (
        ("Is it no linear model?", "(a bilevel problem of your own)"),
        ("minimize_bilevel(problem)", "with numpy functions as oracles"),
    ),
    (
        ("Do you want an algorithm of a paper?", "(to compare, or to study it)"),
        ('hyperpenalty=None, solver="saba", "hoag", ...', "see All solvers"),
    ),
    (
        ("Few strengths: labels, or one for all?", "(feature_groups=...)"),
        ('hyperpenalty=None, cv="loo"', "milliseconds; the guard costs ten times that"),
    ),
    (
        ("Must no p x p or n x n array exist?", "(X both very wide and very tall)"),
        ('solver="amigo" for ridge, "newton-cg" else', "products with X only"),
    ),
)
SHAPES = (
    ("p <= n, p <= 1,500", "p x p second moments,", "folds are sums of cells"),
    ("n < p, n <= 3,000", "n x n kernel of rows,", "p may be anything"),
    ("everything else", "products with X,", "warm-started CG"),
)


def which_solver() -> str:
    """Questions one below the other, answers beside them."""
    parts: list[str] = []
    y, left, width, right = 10, 10, 330, 430
    for question, answer in CHOICES:
        asked = Box(left, y, width, "question", question)
        told = Box(right, y, 375, "answer", answer)
        parts += [*asked.svg(), *told.svg()]
        parts += arrow(left + width, asked.middle, right, told.middle, "yes")
        bottom, y = y + asked.height, y + asked.height + 30
        parts += arrow(left + width // 2, bottom, left + width // 2, y, "no")
    lines = ('solver="auto", the default', "the shape of X decides (n rows, p columns)")
    auto = Box(left, y, width, "answer", lines)
    parts += auto.svg()
    bottom, y = y + auto.height, y + auto.height + 34
    for k, shape in enumerate(SHAPES):
        box = Box(left + 270 * k, y, 255, "layer", shape)
        parts += [*box.svg(), *arrow(left + 60 + 100 * k, bottom, box.x + 127, y)]
    title = "Which solver: four questions, then the shape of X"
    return picture(title, 820, y + LINE * 3 + PAD + 10, parts)


LAYERS = (
    (
        "search",
        "a pipeline whose last step is tuned",
        "transformers are refitted per fold",
    ),
    (
        "linear_model | meta | fractional | inspection",
        "fit, predict, attributes  |  pictures",
        "know scikit-learn",
    ),
    (
        "model_selection | preprocessing | privacy",
        "rows, choice  |  smooth terms  |  noise",
        "the guard  |  labels  |  the ledger",
    ),
    (
        "solvers  |  certify",
        "iterations  |  programs and proofs",
        "numpy and scipy only",
    ),
    (
        "problems  |  blocks",
        "losses, derivatives  |  passes over rows",
        "no iterations",
    ),
)
DOWN = (
    "transformed rows of each fold",
    "validated X, y, weights, splits",
    "BilevelProblem (tasks)",
    "at(W): value, grad",
)
UP = ("fitted attributes", "strengths, candidates", "Result", "numbers")


def layers() -> str:
    """The layers, what goes down and what comes back."""
    parts: list[str] = []
    y, x, width = 10, 190, 350
    for k, lines in enumerate(LAYERS):
        box = Box(x, y, width, "layer", lines)
        parts += box.svg()
        if k < len(DOWN):
            bottom, y = y + box.height, y + box.height + 50
            parts += arrow(x + 60, bottom, x + 60, y)
            parts += arrow(x + width - 60, y, x + width - 60, bottom)
            middle = (bottom + y) // 2 + 4
            for text, at, anchor in (
                (DOWN[k], x + 50, "end"),
                (UP[k], x + width - 50, "start"),
            ):
                parts.append(
                    f'<text x="{at}" y="{middle}" fill="{WIRE}" '
                    f'text-anchor="{anchor}">{escape(text)}</text>'
                )
    title = "Layers: imports go down, one result comes up"
    return picture(title, 710, y + LINE * 3 + PAD + 10, parts)


DRAWINGS = {"which_solver.svg": which_solver, "layers.svg": layers}


def stale() -> list[str]:
    """Names of files that are not what this script draws."""
    return [
        name
        for name, draw in DRAWINGS.items()
        if not (FOLDER / name).is_file()
        or (FOLDER / name).read_text(encoding="utf-8") != draw()
    ]


def main() -> None:
    """Write the drawings, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into doc/_static")
    if parser.parse_args().write:
        for name, draw in DRAWINGS.items():
            (FOLDER / name).write_text(draw(), encoding="utf-8")
    elif stale():
        raise SystemExit(f"stale: {', '.join(stale())}; run with --write")


if __name__ == "__main__":
    main()
