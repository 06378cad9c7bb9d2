"""The table of all solvers in doc/solvers.md, made from the registry.

``python .ci/solver_table.py`` prints it, with ``--write`` it replaces the one between
the markers of the page. A test compares both.
"""

import argparse
from pathlib import Path
from typing import Any

from skbilevel.solvers import (
    CRITERION_SOLVERS,
    INNER,
    NEWTON,
    ORACLE_SOLVERS,
    SOLVERS,
    Nested,
)
from skbilevel.solvers._registry import DESCRIPTIONS
from skbilevel.solvers._sizes import RELATIVE

PAGE = Path(__file__).resolve().parent.parent / "doc" / "solvers.md"
BEGIN = "<!-- The table is made by .ci/solver_table.py; do not edit it here. -->"
END = "<!-- end of the table -->"
# What the estimators' data fits and their oracles provide.
FITS = {
    "BilevelRidgeCV": {"quadratic", "dense_hessian", "rows", "twice_differentiable"},
    "BilevelLogisticCV": {"rows", "twice_differentiable"},
}
ORACLES = {"row_batches", "row_codes", "smoothness", "third_derivative"}
NEEDS = {
    "quadratic": "squared loss",
    "dense_hessian": "second moments of the columns",
    "rows": "rows",
    "twice_differentiable": "two derivatives of the loss",
    "row_batches": "a mean over rows",
    "row_codes": "rows of a linear model",
    "smoothness": "a bound on the Hessian",
    "third_derivative": "third derivatives",
}


def structured() -> dict[str, Any]:
    """Inner solvers of tasks with strengths, by all names that lead to them."""
    nested = {
        name: solver.inner
        for name, solver in SOLVERS.items()
        if isinstance(solver, Nested)
    }
    return nested | INNER | NEWTON


def requirements(name: str) -> frozenset[str]:
    """Words that a solver needs."""
    known = structured() | {n: s for n, s in ORACLE_SOLVERS.items() if n not in SOLVERS}
    return known[name].requires if name in known else frozenset()


def estimator_support(name: str) -> dict[str, str]:
    """For both estimators "yes", "no", or the name of the solver that is meant."""
    if name in ("auto", "exact"):
        return dict.fromkeys(FITS, "yes")
    if name in CRITERION_SOLVERS:
        words = FITS.items()
        return {each: "yes" if "quadratic" in fit else "no" for each, fit in words}
    if name not in structured():
        works = requirements(name) <= ORACLES
        return dict.fromkeys(FITS, "yes" if works else "no")
    support = {}
    for estimator, words in FITS.items():
        quadratic = "quadratic" in words
        # Names of NEWTON are for losses that are not quadratic.
        works = requirements(name) <= words and (name in NEWTON) != quadratic
        relative = None if quadratic else RELATIVE.get(name)
        support[estimator] = f"as {relative}" if relative else "yes" if works else "no"
    return support


def table() -> str:
    """All solvers, one line each."""
    rows = [
        ["name", "what it is", "needs", *FITS, "rows are", "paper"],
        ["---"] * (5 + len(FITS)),
    ]
    known = [*structured(), *CRITERION_SOLVERS, *ORACLE_SOLVERS]
    names = dict.fromkeys(["auto", "exact", *known])
    for name in names:
        about = DESCRIPTIONS[name]
        needs = ", ".join(NEEDS[word] for word in sorted(requirements(name)))
        rows.append(
            [
                f'`"{name}"`',
                about.what,
                needs or ("GCV" if name in CRITERION_SOLVERS else "nothing"),
                *estimator_support(name).values(),
                "drawn" if about.stochastic else "all used",
                about.paper,
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def replaced(text: str) -> str:
    """The page with a table of today."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into doc/solvers.md")
    if parser.parse_args().write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
