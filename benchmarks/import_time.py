"""Time that importing adds to ``import sklearn.linear_model``, by -X importtime.

Each run is a process of its own; the medians are printed. Compiled modules are used
where Python is allowed to write them (PYTHONDONTWRITEBYTECODE is not set).
"""

import argparse
import re
import statistics
import subprocess
import sys

BASE = "import sklearn.linear_model"
STATEMENTS = (
    "import skbilevel",
    "from skbilevel import BilevelRidgeCV",
    "from skbilevel import *",
)


def milliseconds(statement: str) -> float:
    """Time of the modules that a statement loads, beyond scikit-learn or of it."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"{BASE}; {statement}"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", run.stderr)
    own = [int(microseconds) for microseconds, _ in rows]
    end = [name for _, name in rows].index("sklearn.linear_model") + 1
    return sum(own[:end] if statement == BASE else own[end:]) / 1000.0


def main() -> None:
    """Print one row per statement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="processes per statement")
    runs = parser.parse_args().runs
    print(f"median of {runs} runs, milliseconds; all but the first beyond the first")
    for statement in (BASE, *STATEMENTS):
        milliseconds(statement)  # writes compiled modules
        times = [milliseconds(statement) for _ in range(runs)]
        print(f"{statement:45s}{statistics.median(times):9.1f}")


if __name__ == "__main__":
    main()
