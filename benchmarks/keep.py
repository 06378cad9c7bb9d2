"""Keep the figures of a run for the page of benchmarks.

    python benchmarks/quality.py --json out.json
    python benchmarks/keep.py out.json regression "python benchmarks/quality.py"
    python .ci/benchmark_page.py --write

The file benchmarks/results/NAME.json holds what the tables of the page need: without
single fits, five digits each, with the command and the commit that was measured.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"
# Single fits and splits are ten times as much as all the rest.
LEFT_OUT = ("fits", "scores", "options")
DIGITS = 5


def rounded(value: Any) -> Any:
    """The same with fewer digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def kept(content: dict[str, Any], command: str, code: str, note: str) -> dict:
    """What is committed of a run."""
    head = {"command": command, "code": code}
    if note:
        head["note"] = note
    rest = {key: item for key, item in content.items() if key not in LEFT_OUT}
    return head | rounded(rest)


def commit() -> str:
    """The commit that is checked out; a working tree that differs says so."""
    git = ["git", "-C", str(FOLDER.parent)]
    name = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    clean = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "../skbilevel"])
    return name if clean.returncode == 0 else f"{name} and changes"


def main() -> None:
    """Trim one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="what a script wrote by --json")
    parser.add_argument("name", help="name of the file in benchmarks/results")
    parser.add_argument("command", help="what reproduces it")
    parser.add_argument("--code", default=None, help="commit, by default this one")
    parser.add_argument("--note", default="", help="what a reader should know")
    args = parser.parse_args()
    content = json.loads(args.run.read_text(encoding="utf-8"))
    result = kept(content, args.command, args.code or commit(), args.note)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{args.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
