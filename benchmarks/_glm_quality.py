"""The batteries of classification and counts; run by ``quality.py``."""

import argparse
import operator
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from _glm_cache import LIMIT, FitCache, schedule
from _glm_data import WeightedSet
from _glm_families import Family
from _glm_scores import Results, SetScore, best_rival, complete, score_set, summarize
from _halves import CONFIRM, write_log
from _options import draw_sets, make_estimator, texts
from _peers import default_folder
from _report import cell, table, write_json

OURS = "this estimator"
# Whoever turns out to be best on a set: what no user can choose beforehand.
HINDSIGHT = "best per set"
HEADER = ("set", "n x p", "classes", "splits", "reference", "loss", "log ratio", "se")
HEADER += ("to best", "accuracy", "cpu s", "/ reference", "/ all peers", "best")
SIGNS = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}

# Method -> set -> figures.
Figures = dict[str, dict[str, SetScore]]


def collect(
    family: Family, args: argparse.Namespace
) -> Iterator[tuple[WeightedSet, dict[str, Results], list[int], list[str]]]:
    """Yield every set, its peers' results, the splits to judge on, who is missing."""
    cache = FitCache(args.cache or default_folder(), family)
    sets = args.sets.split(",") if args.sets else None
    for data in family.battery(sets, args.half):
        wanted = list(range(len(data.splits)))
        if args.splits:
            wanted = [int(s) for s in args.splits.split(",") if int(s) in wanted]
        if not args.cached:
            for job in schedule([data], wanted, family):
                cache.fill(*job, LIMIT)
        ready = cache.ready(data)
        splits = [split for split in wanted if split in ready]
        if splits:
            yield data, cache.read_all(data), splits, cache.pending(data, splits)
        else:
            print(f"{data.name}: no split with the reference", file=sys.stderr)


def run_set(
    data: WeightedSet, splits: list[int], family: Family, args: argparse.Namespace
) -> Results:
    """Fit on every split; a failure is a result too."""
    results = {}
    for split in splits:
        try:
            results[str(split)] = family.measure(make_estimator(args), data, split)
        except Exception as error:
            print(f"FAILED {data.name} split {split}: {error!r}", file=sys.stderr)
    return results


def per_set_row(data: WeightedSet, score: SetScore, family: Family) -> list:
    """Return one line of the table per set."""
    n, p = data.X.shape
    classes = data.n_classes if family.classes else "-"
    figures = [score.base.mean(), score.loss.mean(), score.ratio, score.error]
    figures += [score.to_best, score.accuracy.mean(), score.cpu.mean()]
    figures += [score.cpu.sum() / score.cpu_reference.sum()]
    figures += [score.cpu.sum() / score.cpu_peers.sum()]
    row = [data.name, f"{n} x {p}", classes, len(score.ratios)]
    return [*row, *map(float, figures), score.best]


def transposed(columns: Mapping[str, dict]) -> str:
    """Return a table with one line per figure and one column per method."""
    figures = max(columns.values(), key=len)
    rows = [
        [name, *(column.get(name, "-") for column in columns.values())]
        for name in figures
    ]
    return table(("figure", *columns), rows)


def summaries(figures: Figures, family: Family) -> dict[str, dict]:
    """Return the figures of every method over all sets and over ordinary ones.

    The reference and the peer without features say little about the latter.
    """
    columns = {name: summarize(sets) for name, sets in figures.items() if sets}
    if not family.ordinary:
        return columns
    others = (OURS, *family.rivals, HINDSIGHT)
    for name in (n for n in others if n in figures and n != family.reference):
        sets = figures[name]
        kept = {k: s for k, s in sets.items() if s.base.mean() >= family.ordinary}
        if kept:
            columns[f"{name}, ordinary"] = summarize(kept)
    return columns


def verdicts(summary: dict, family: Family) -> str:
    """Return the targets and whether they are reached."""
    rows = [
        [name, summary[name], f"{sign} {bound}", SIGNS[sign](summary[name], bound)]
        for name, sign, bound in family.targets
        if name in summary
    ]
    return table(("target", "reached", "wanted", "met"), rows)


def run_family(family: Family, args: argparse.Namespace) -> None:
    """Run one battery and print, store and draw its figures."""
    first = family.reference if args.peers_only else OURS
    figures: Figures = {first: {}, **{name: {} for name in family.peers}}
    figures[HINDSIGHT] = {}
    rows, fits = [], {}
    for data, peers, splits, pending in collect(family, args):
        methods = {name: peers[name] for name in complete(peers, [*peers], splits)}
        if not args.peers_only:
            methods[OURS] = run_set(data, splits, family, args)
        methods[HINDSIGHT] = peers[best_rival(peers, splits, family)[0]]
        for name, results in methods.items():
            score = score_set(results, peers, splits, family, pending)
            figures[name][data.name] = score
        fits[data.name] = methods
        rows.append(per_set_row(data, figures[first][data.name], family))
        print(*map(cell, rows[-1]), file=sys.stderr, flush=True)
    if not rows:
        raise SystemExit("nothing to compare with")
    report(family, args, figures, rows, fits)


def report(
    family: Family, args: argparse.Namespace, figures: Figures, rows: list, fits: dict
) -> None:
    """Print, store and draw the figures."""
    title = f"{args.estimator}({', '.join(args.param)})"
    print(f"\n{title} per set; the reference is {family.reference}")
    print(table(HEADER, rows))
    ordinary = f"; ordinary: the reference loses {family.ordinary} or more"
    print(f"\nOver all sets{ordinary if family.ordinary else ''}")
    columns = summaries(figures, family)
    print(transposed(columns))
    if not args.peers_only:
        print(f"\n{verdicts(columns[OURS], family)}")
        if args.half == CONFIRM:
            write_log(family.name, args.rule, columns[OURS])
    per_set = [dict(zip(HEADER, row, strict=True)) for row in rows]
    scores = {
        name: {key: asdict(score) for key, score in sets.items()}
        for name, sets in figures.items()
    }
    content = {"options": texts(args), "summary": columns, "per_set": per_set}
    write_json(args.json, content | {"fits": fits, "scores": scores})
    if args.plot:
        picked = [HEADER.index("log ratio"), HEADER.index("to best")]
        labels = f"log(loss / {family.reference})", "log(loss / best peer)"
        panels = {
            label: [row[k] for row in rows]
            for label, k in zip(labels, picked, strict=True)
        }
        draw_sets(args.plot, [row[0] for row in rows], panels)
