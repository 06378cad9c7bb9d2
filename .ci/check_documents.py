"""Check the Markdown documents: links point to files, Python examples run.

Every ``python`` block of a document is executed, in order and in one process
per document, from an empty folder, so that an example cannot lean on the
checkout. A block is left out where the line above it is
``<!-- not executed: reason -->``. Arguments name other documents than all.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "doc")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(
    r"(?P<skip><!-- not executed: [^>]+ -->\n+)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LIMIT_S = 300
BUILT = {"_build", "auto_examples", "generated"}


def documents(names: Sequence[str]) -> Iterator[Path]:
    """Yield the Markdown files to check, of files and folders."""
    for name in names:
        path = ROOT / name
        found = sorted(path.rglob("*.md")) if path.is_dir() else [path]
        yield from (p for p in found if not BUILT & set(p.parts))


def broken_links(path: Path, text: str) -> list[str]:
    """Name the relative links of a document that lead nowhere."""
    targets = (link.split("#")[0] for link in LINK.findall(text))
    local = {t for t in targets if t and "://" not in t and not t.startswith("mailto:")}
    return [
        f"{path.relative_to(ROOT)}: no file at {target}"
        for target in sorted(local)
        if not source_of(path.parent / target).exists()
    ]


def source_of(target: Path) -> Path:
    """Return the script where the target is a page that the gallery will write."""
    if target.parent.name == "auto_examples" and target.stem != "index":
        return ROOT / "examples" / f"{target.stem}.py"
    return target


def failing_examples(path: Path, text: str) -> tuple[int, list[str]]:
    """Run the examples of a document; return how many, and what went wrong."""
    blocks = [m["code"] for m in BLOCK.finditer(text) if not m["skip"]]
    if not blocks:
        return 0, []
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    if run.returncode == 0:
        return len(blocks), []
    return len(blocks), [f"{path.relative_to(ROOT)}: {run.stderr.strip()}"]


def main() -> int:
    """Check every document and print what was found."""
    paths = list(documents(sys.argv[1:] or DOCUMENTS))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    problems = []
    # Every document has a process of its own: threads only wait for them.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(failing_examples, paths, texts)
        for path, text, (n_examples, failures) in zip(paths, texts, done, strict=True):
            problems += broken_links(path, text) + failures
            print(f"{path.relative_to(ROOT)}: {n_examples} examples run", flush=True)
    print("\n".join(problems) or "documents: links and examples are fine")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
