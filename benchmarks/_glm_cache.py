"""What the peers of classification and counts reach: one file per fit.

Run this file to fill the cache; whoever reads it meanwhile sees what is ready:

    python benchmarks/_glm_cache.py --battery classification --splits 0,1
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path

import sklearn
from _data import MAX_SPLITS
from _glm_data import WeightedSet
from _glm_families import FAMILIES, Family, Scores
from _halves import add_half_option
from _peers import default_folder, time_limit

LIMIT = 400.0
Job = tuple[WeightedSet, int, str]


def schedule(
    battery: Iterable[WeightedSet], splits: Iterable[int], family: Family
) -> list[Job]:
    """Order the fits so that an early stop still leaves something to compare.

    Splits 0 and 1 of all sets come first, and cheap fits before dear ones.
    """

    def order(job: Job) -> tuple:
        data, split, name = job
        outputs = data.n_classes if family.classes else 2
        cost = data.X.size * (outputs if outputs > 2 else 1)
        return split > 1, cost * family.peers[name].price, data.name, split

    pairs = [(d, s) for d in battery for s in splits if s < len(d.splits)]
    jobs = [(d, s, name) for d, s in pairs for name in family.peers]
    return sorted(jobs, key=order)


class FitCache:
    """Results of peers, in one small file each."""

    def __init__(self, folder: Path, family: Family):
        self.folder = folder / family.name
        self.family = family

    def path(self, data: WeightedSet, split: int, name: str) -> Path:
        """Return where one result lies."""
        words = name.replace(" ", "-")
        return self.folder / data.name / f"{split}-{words}.json"

    def read(self, data: WeightedSet, split: int, name: str) -> Scores | None:
        """Return one result, None if it is unknown or for other data."""
        path = self.path(data, split, name)
        if not path.exists():
            return None
        stored = json.loads(path.read_text())
        known = stored["key"] == key_of(data, split)
        return stored["result"] if known else None

    def read_all(self, data: WeightedSet) -> dict[str, dict[str, Scores]]:
        """Return peer -> split -> result of all fits that came to an end."""
        found: dict[str, dict[str, Scores]] = {}
        for name in self.family.peers:
            for split in range(len(data.splits)):
                result = self.read(data, split, name)
                if result is not None and "loss" in result:
                    found.setdefault(name, {})[str(split)] = result
        return found

    def write(self, data: WeightedSet, split: int, name: str, result: Scores) -> None:
        """Store one result; a crash leaves no half of a file."""
        path = self.path(data, split, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"key": key_of(data, split), "result": result}))
        partial.replace(path)

    def too_slow(self, data: WeightedSet, name: str) -> bool:
        """Say whether a fit of this peer on this set was cut off."""
        results = (self.read(data, s, name) for s in range(len(data.splits)))
        return any(result is not None and "loss" not in result for result in results)

    def fill(self, data: WeightedSet, split: int, name: str, limit: float) -> str:
        """Run one peer on one split unless it is known; return a line to print."""
        peer = self.family.peers[name]
        if not peer.suits(data) or self.read(data, split, name) is not None:
            return ""
        if self.too_slow(data, name):
            return ""
        try:
            with time_limit(limit, cpu=True):
                result = peer.measure(peer.make(), data, split)
        except TimeoutError:
            result = {"cpu": limit}
        self.write(data, split, name, result)
        loss = result.get("loss", math.nan)
        return f"{data.name} {split} {name} {loss:.5g} {result['cpu']:.2f} s"

    def ready(self, data: WeightedSet) -> list[int]:
        """Return the splits that can be judged: those with the reference."""
        reference = self.family.reference
        results = [self.read(data, s, reference) for s in range(len(data.splits))]
        return [k for k, found in enumerate(results) if found and "loss" in found]

    def pending(self, data: WeightedSet, splits: Iterable[int]) -> list[str]:
        """Return the peers that are still to come on some of the splits."""
        return [
            name
            for name, peer in self.family.peers.items()
            if peer.suits(data)
            and not self.too_slow(data, name)
            and any(self.read(data, split, name) is None for split in splits)
        ]


def key_of(data: WeightedSet, split: int) -> dict[str, object]:
    """Return what has to agree for a result to be used again."""
    train, test = data.splits[split]
    return {
        "shape": list(data.X.shape),
        "kind": data.kind,
        "split": [len(train), len(test), int(train[0]), int(test[0])],
        "sum": f"{data.X.sum() + data.y.sum() + data.weights.sum():.10g}",
        "sklearn": sklearn.__version__,
    }


def main() -> None:
    """Fill the cache."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--battery", choices=tuple(FAMILIES), default="classification")
    parser.add_argument("--cache", type=Path, default=default_folder())
    parser.add_argument("--sets", help="names, separated by commas (default: all)")
    parser.add_argument("--splits", help="separated by commas (default: all)")
    add_half_option(parser)
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="CPU seconds per fit of a peer"
    )
    args = parser.parse_args()
    sets = args.sets.split(",") if args.sets else None
    splits: Iterable[int] = range(MAX_SPLITS)
    if args.splits:
        splits = [int(split) for split in args.splits.split(",")]
    family = FAMILIES[args.battery]
    cache = FitCache(args.cache, family)
    for job in schedule(list(family.battery(sets, args.half)), splits, family):
        line = cache.fill(*job, args.limit)
        if line:
            print(line, flush=True)


if __name__ == "__main__":
    main()
