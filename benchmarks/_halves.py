"""Two halves of the data sets: rules are chosen on one, and confirmed on the other.

A rule that was tuned on the sets that judge it looks better than it is. So every
set belongs to the half *choose* or to the half *confirm*, by a hash of where its
rows come from: sets of the same people, documents or specimens are never apart.
The splits of a set are divided, too, into even and odd ones. The peer that is best
on the even splits, judged on the odd ones, is what a user could have known.

Whoever runs *confirm* says which rule is frozen. The result goes into
``confirm_log.md``, whatever it says.
"""

import argparse
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from _report import cell
from keep import commit

CHOOSE, CONFIRM = "choose", "confirm"
LOG = Path(__file__).resolve().parent / "confirm_log.md"
# Fixed before any set was looked at by halves; another number is another division.
SEED = "skbilevel 2026-11-29"
# Sets that share rows, or whose rows were drawn from one collection.
SOURCES = {
    "newsgroups": (
        "news20_bydate_counts news20_bydate_text news20_libsvm "
        "news_basehock news_pcmac news_relathe"
    ),
    "census": "adult a9a",
    "colon": "ma_alon colon_groups",
    "prostate tumours": "ma_singh prostate_ge",
    "cell lines": "nci60 nci9_disc",
    "boston": "boston_housing housing_interactions",
    "students": "student_mat student_por",
    "eyes of rats": "eyedata trim32 bardet_groups",
    "schools of london": "exam_schools school_ilea",
}
SOURCE_OF = {name: key for key, names in SOURCES.items() for name in names.split()}
# Tasks made from a set stay in its half.
DERIVED = re.compile(r"_(squared|column|target\d+)$")


def half_of(name: str) -> str:
    """Return the half that a set belongs to."""
    name = DERIVED.sub("", name)
    source = SOURCE_OF.get(name, name)
    digest = hashlib.sha256(f"{SEED}:{source}".encode()).digest()
    return CONFIRM if digest[0] % 2 else CHOOSE


def names_of_half(names: Iterable[str], half: str | None) -> list[str]:
    """Return those of the names that belong to a half; None keeps all."""
    return [name for name in names if half in (None, half_of(name))]


def add_half_option(parser: argparse.ArgumentParser) -> None:
    """Add --half."""
    parser.add_argument("--half", choices=(CHOOSE, CONFIRM), help="default: all sets")


def check_half(args: argparse.Namespace) -> None:
    """Refuse a look at *confirm* that would leave no trace."""
    if args.half != CONFIRM or args.peers_only:
        return
    if not args.rule:
        raise SystemExit("--half confirm needs --rule: say which rule is frozen")
    if args.sets or args.splits:
        raise SystemExit("--half confirm takes all its sets and all their splits")
    if commit().endswith("changes"):
        raise SystemExit("commit the rule before it is confirmed")


def by_parity(splits: Sequence[int], odd: bool) -> list[int]:
    """Return the odd splits, or the even ones."""
    return [split for split in splits if split % 2 == odd]


def honest_best(ratios: Mapping[str, np.ndarray], splits: Sequence[int]) -> float:
    """Return the mean ratio on odd splits of whoever is best on even ones.

    ``ratios`` has one entry per split for every peer. NaN where a set has no odd
    or no even split: nobody could have known there.
    """
    odd = np.array([split % 2 == 1 for split in splits], dtype=bool)
    if odd.all() or not odd.any():
        return math.nan
    known = {name: values[~odd].mean() for name, values in ratios.items()}
    known = {name: mean for name, mean in known.items() if np.isfinite(mean)}
    best = min(known, key=known.__getitem__)
    return float(ratios[best][odd].mean())


def write_log(battery: str, rule: str, figures: Mapping[str, object]) -> None:
    """Add what *confirm* said of a rule to the log."""
    lines = [f"\n## {battery}, {date.today()}, commit {commit()}\n", rule, ""]
    lines += ["| figure | measured |", "| --- | --- |"]
    lines += [f"| {name} | {cell(value)} |" for name, value in figures.items()]
    with LOG.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
