"""Print what CHANGELOG.md says about one version, for the page of its release.

``python .ci/changelog_section.py 0.1.0``; the version has to be that of the package,
and its heading has to hold a date.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def section(text: str, version: str) -> str:
    """The lines below the heading of a version, up to the next version."""
    heading = re.compile(rf"^## \[{re.escape(version)}\] - (\S+)$", re.MULTILINE)
    found = heading.search(text)
    if found is None:
        raise ValueError(f"CHANGELOG.md has no heading '## [{version}] - date'.")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", found[1]):
        raise ValueError(f"{version} has no date in CHANGELOG.md, but {found[1]!r}.")
    return re.split(r"^## ", text[found.end() :], flags=re.MULTILINE)[0].strip()


def package_version(text: str) -> str:
    """The version that ``skbilevel/__init__.py`` holds."""
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError("skbilevel/__init__.py has no __version__.")
    return found[1]


def main() -> int:
    """Print the section, or what is wrong."""
    version = sys.argv[1].removeprefix("v")
    own = package_version((ROOT / "skbilevel/__init__.py").read_text("utf-8"))
    try:
        if version != own:
            raise ValueError(f"The tag says {version}, the package {own}.")
        print(section((ROOT / "CHANGELOG.md").read_text("utf-8"), version))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
