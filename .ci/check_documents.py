"""Check the Markdown documents: links point to files, Python examples run.

Examples of the pages in ``doc`` run when the documentation is built, which shows what
they print; here run those of the other documents, and of the arguments.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "doc" / "_ext"))

from blocks import run_blocks  # noqa: E402

EXECUTED = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BUILT = {"_build", "auto_examples", "generated"}


def documents(names: Sequence[str]) -> Iterator[Path]:
    """Yield the Markdown files of files and folders."""
    for name in names:
        path = ROOT / name
        found = sorted(path.rglob("*.md")) if path.is_dir() else [path]
        yield from (p for p in found if not BUILT & set(p.parts))


def broken_links(path: Path) -> list[str]:
    """Name the relative links of a document that lead nowhere."""
    links = LINK.findall(path.read_text(encoding="utf-8"))
    targets = (link.split("#")[0] for link in links)
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


def failing_examples(path: Path) -> list[str]:
    """Run the examples of a document; return what went wrong."""
    try:
        count = len(run_blocks(path))
    except RuntimeError as error:
        return [str(error)]
    print(f"{path.relative_to(ROOT)}: {count} examples run", flush=True)
    return []


def main() -> int:
    """Check every document and print what was found."""
    names = sys.argv[1:]
    problems = [
        problem
        for path in documents(names or (*EXECUTED, "doc"))
        for problem in broken_links(path)
    ]
    # Every document has a process of its own: threads only wait for them.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for failures in pool.map(failing_examples, documents(names or EXECUTED)):
            problems += failures
    print("\n".join(problems) or "documents: links and examples are fine")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
