"""How good are the predictions on real data, against the established peers?

Every set is split as its rows demand (``_data.py``), every method sits behind a
StandardScaler, and the test error is compared with that of RidgeCV and with
that of the best peer of each set, chosen with hindsight. The batteries
``classification`` (log loss, against LogisticRegressionCV) and ``counts``
(Poisson deviance, against a grid search) are described in ``_glm_data.py``.

    python benchmarks/quality.py
    python benchmarks/quality.py --sets hitters,riboflavin --splits 0,1
    python benchmarks/quality.py --param hyperpenalty=None --cached
    python benchmarks/quality.py --battery guard --json guard.json --plot guard.png
    python benchmarks/quality.py --battery classification --splits 0,1 --cached
    python benchmarks/quality.py --battery counts
    python benchmarks/quality.py --half choose
    python benchmarks/quality.py --half confirm --rule "what is frozen, in words"

Rules are chosen on one half of the sets and confirmed on the other (``_halves.py``).
Peers take hours in all; their results are kept in --cache. Times are CPU
seconds of one thread.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from _data import Dataset, load_battery
from _glm_families import FAMILIES
from _glm_quality import run_family
from _guard_data import NOTES, load_guard_battery
from _halves import CONFIRM, add_half_option, check_half, write_log
from _noise import noise_rows
from _options import draw_sets, make_estimator, texts
from _peers import (
    BASELINE,
    FOUR,
    REFERENCE,
    RIVALS,
    SLOWEST,
    PeerCache,
    complete_splits,
    default_folder,
    measure,
    schedule,
)
from _report import add_output_options, cell, table, write_json
from _scores import SetScore, best_peer, score_set, summarize

OURS = "this estimator"
# Whoever turns out to be best on a set: what no user can choose beforehand.
HINDSIGHT = "best peer per set"


def parse_args() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--battery", choices=("main", "guard", *FAMILIES), default="main"
    )
    parser.add_argument("--sets", help="names, separated by commas (default: all)")
    parser.add_argument("--splits", help="numbers, separated by commas (default: all)")
    parser.add_argument("--estimator", help="default: the battery's own")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="repeatable"
    )
    parser.add_argument(
        "--peers",
        help=f"of main and guard: names, separated by commas, {REFERENCE} among them",
    )
    parser.add_argument("--cache", type=Path, help="folder of the peers' results")
    parser.add_argument(
        "--cached", action="store_true", help="use only peers that are in the cache"
    )
    parser.add_argument(
        "--peers-only", action="store_true", help="compare the peers with each other"
    )
    parser.add_argument(
        "--skip-noise", action="store_true", help="of main and guard: no permutations"
    )
    add_half_option(parser)
    parser.add_argument("--rule", help="with --half confirm: what is frozen, in words")
    add_output_options(parser)
    args = parser.parse_args()
    check_half(args)
    if args.estimator is None:
        family = FAMILIES.get(args.battery)
        args.estimator = family.estimator if family else "skbilevel.BilevelRidgeCV"
    return args


def run_set(data: Dataset, splits: list[int], args: argparse.Namespace) -> dict:
    """Fit on every split; a failure is a result too."""
    results = {}
    for split in splits:
        try:
            results[str(split)] = measure(make_estimator(args), data, split)
        except Exception as error:
            print(f"FAILED {data.name} split {split}: {error!r}", file=sys.stderr)
    return results


def collect(args: argparse.Namespace) -> Iterator[tuple[Dataset, dict, list[int]]]:
    """Yield every set with its peers' results and the splits to judge on."""
    guard = args.battery == "guard"
    folder = args.cache or default_folder()
    cache = PeerCache(folder / "guard" if guard else folder)
    names = args.sets.split(",") if args.sets else None
    battery = (load_guard_battery if guard else load_battery)(names, args.half)
    rivals = args.peers.split(",") if args.peers else FOUR if guard else RIVALS
    for data in battery:
        wanted = range(len(data.splits))
        if args.splits:
            wanted = [int(s) for s in args.splits.split(",") if int(s) in wanted]
        if not args.cached:
            for job in schedule([data], list(wanted), rivals):
                cache.fill(*job)
        peers = cache.read(data)
        ready = complete_splits(data, peers, rivals)
        peers = {name: peers[name] for name in rivals if name in peers}
        yield data, peers, [split for split in wanted if split in ready]


def per_set_row(data: Dataset, peers: dict, splits: list[int], score: SetScore) -> list:
    """Return one line of the table per set."""
    known = [name for name in FOUR if name in peers]
    name, ratio = best_peer(peers, REFERENCE, splits, known)
    slowdown = np.median(score.slowdowns) if score.slowdowns else float("nan")
    shape = f"{data.X.shape[0]} x {data.X.shape[1]}"
    figures = [score.ratio, score.error, ratio, score.to_best, score.seconds]
    return [data.name, shape, len(splits), *figures, float(slowdown), name]


PER_SET = ("set", "n x p", "splits", "log/RidgeCV", "se", "best peer", "log/best")
PER_SET += ("cpu s", f"x {SLOWEST}", "which is best")


def print_summary(scores: dict[str, list[SetScore]]) -> dict[str, dict]:
    """Print one line per method and return the figures."""
    summary = {name: summarize(rows) for name, rows in scores.items() if rows}
    header = ["method", *next(iter(summary.values()))]
    print(table(header, [[name, *row.values()] for name, row in summary.items()]))
    return summary


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if not args.peers_only:
        # A wrong name or parameter should be told before the hours of peers.
        make_estimator(args)
    if args.battery in FAMILIES:
        run_family(FAMILIES[args.battery], args)
    else:
        run_regression(args)


def run_regression(args: argparse.Namespace) -> None:
    """Run the main battery or that of the guard."""
    settings = {"reference": REFERENCE, "slowest": SLOWEST}
    methods = [*RIVALS] if args.peers_only else [OURS, *RIVALS]
    scores: dict[str, list[SetScore]] = {name: [] for name in (*methods, HINDSIGHT)}
    rows, fits, noise_sets = [], {}, []
    for data, peers, splits in collect(args):
        if not splits:
            print(f"{data.name}: no split with all peers", file=sys.stderr)
            continue
        results = {} if args.peers_only else run_set(data, splits, args)
        judge = partial(score_set, peers=peers, splits=splits, rivals=FOUR, **settings)
        for name in methods:
            known = results if name == OURS else peers.get(name)
            if known:
                scores[name].append(judge(known))
        first = best_peer(peers, REFERENCE, splits, FOUR)[0]
        scores[HINDSIGHT].append(judge(peers[first]))
        subject = results or peers[REFERENCE]
        rows.append(per_set_row(data, peers, splits, judge(subject)))
        fits[data.name] = {OURS: results, **peers}
        noise_sets.append(data)
        print(*map(cell, rows[-1]), file=sys.stderr, flush=True)
    print(f"\n{args.estimator}({', '.join(args.param)}) per set")
    print(table(PER_SET, rows))
    print("\nOver all sets (clipped to +-0.3; best = best of the first four peers)")
    summary = print_summary(scores)
    noise: dict = {}
    if not (args.skip_noise or args.peers_only):
        noise = noise_rows(noise_sets, partial(make_estimator, args))
        print(f"\nTargets permuted: log(MSE / MSE of {BASELINE})")
        print(table(("set", OURS, REFERENCE), [[k, *v] for k, v in noise.items()]))
    if args.battery == "guard":
        print(f"\n{NOTES}")
    content = {"options": texts(args), "summary": summary}
    content |= {"per_set": [dict(zip(PER_SET, row, strict=True)) for row in rows]}
    content |= {"fits": fits, "noise": noise}
    if args.half == CONFIRM and not args.peers_only:
        write_log(args.battery, args.rule, summary[OURS])
    content["scores"] = {k: [asdict(s) for s in v] for k, v in scores.items()}
    write_json(args.json, content)
    if args.plot:
        panels = (("RidgeCV", 3), ("the best peer", 6))
        draw_sets(
            args.plot,
            [row[0] for row in rows],
            {f"log(MSE / MSE of {rival})": [r[k] for r in rows] for rival, k in panels},
        )


if __name__ == "__main__":
    main()
