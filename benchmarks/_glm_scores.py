"""From losses per split to the figures of classification and counts.

Ratios are log((loss + offset) / (loss of the reference + offset)), negative
where a method is better; differences are in thousandths of the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from _glm_families import Family, Scores
from _halves import honest_best
from _scores import CLIP, MARGIN

Results = Mapping[str, Scores]


@dataclass(frozen=True)
class SetScore:
    """One method on one set, one entry per split."""

    ratios: np.ndarray
    # Ratio to the peer that is best on this set, averaged over the splits; NaN
    # while one of them is still to come, as are the times of all peers.
    to_best: float
    best: str
    # Ratio on odd splits to the peer that is best on even ones.
    to_honest: float
    difference: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    base: np.ndarray
    cpu: np.ndarray
    cpu_reference: np.ndarray
    cpu_peers: np.ndarray
    warnings: int

    @property
    def ratio(self) -> float:
        """Return the mean ratio over the splits."""
        return float(self.ratios.mean())

    @property
    def error(self) -> float:
        """Return its standard error; splits share rows, so it is a low guess."""
        n = len(self.ratios)
        return float(self.ratios.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def column(results: Results, key: str, splits: Sequence[int]) -> np.ndarray:
    """Return one figure per split; NaN where a fit failed or does not know it."""
    return np.array([results.get(str(s), {}).get(key, np.nan) for s in splits])


def complete(peers: Mapping[str, Results], names: Sequence[str], splits) -> list[str]:
    """Return those of the peers that have a result on every split."""
    return [n for n in names if all(str(s) in peers.get(n, {}) for s in splits)]


def best_rival(
    peers: Mapping[str, Results], splits: Sequence[int], family: Family
) -> tuple[str, float]:
    """Return the rival that is best on the test rows, and its ratio."""
    rivals = complete(peers, family.rivals, splits)
    means = {
        name: float(np.mean(ratios(peers[name], peers, splits, family)))
        for name in rivals
    }
    name = min(means, key=means.__getitem__)
    return name, means[name]


def ratios(
    results: Results,
    peers: Mapping[str, Results],
    splits: Sequence[int],
    family: Family,
) -> np.ndarray:
    """Return the log ratio to the reference, one entry per split."""
    loss = column(results, "loss", splits)
    base = column(peers[family.reference], "loss", splits)
    return np.log(loss + family.offset) - np.log(base + family.offset)


def score_set(
    results: Results,
    peers: Mapping[str, Results],
    splits: Sequence[int],
    family: Family,
    pending: Sequence[str],
) -> SetScore:
    """Return the figures of one method on one set."""
    reference = peers[family.reference]
    name, best = best_rival(peers, splits, family)
    mine = ratios(results, peers, splits, family)
    if set(pending).intersection(family.rivals):
        name, best = "-", float("nan")
    timed = complete(peers, family.timed, splits)
    cpu_peers = np.sum([column(peers[n], "cpu", splits) for n in timed], axis=0)
    if set(pending).intersection(family.timed):
        cpu_peers = np.full(len(splits), np.nan)
    rivals = complete(peers, family.rivals, splits)
    theirs = {rival: ratios(peers[rival], peers, splits, family) for rival in rivals}
    odd = np.array([split % 2 == 1 for split in splits], dtype=bool)
    honest = honest_best(theirs, splits)
    accuracy = column(results, "accuracy", splits)
    loss, base = (column(r, "loss", splits) for r in (results, reference))
    return SetScore(
        ratios=mine,
        to_best=float(mine.mean()) - best,
        best=name,
        to_honest=float(mine[odd].mean()) - honest if odd.any() else honest,
        difference=1000 * (loss - base),
        accuracy=100 * (accuracy - column(reference, "accuracy", splits)),
        loss=loss,
        base=base,
        cpu=column(results, "cpu", splits),
        cpu_reference=column(reference, "cpu", splits),
        cpu_peers=cpu_peers,
        warnings=int(np.nansum(column(results, "warnings", splits))),
    )


def clipped(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of values cut at +-.3, and its standard error over sets."""
    cut = np.clip(values, -CLIP, CLIP)
    spread = cut.std(ddof=1) if len(cut) > 1 else np.nan
    return float(cut.mean()), float(spread / np.sqrt(len(cut)))


def against_best(sets: Sequence[SetScore]) -> dict[str, float | int]:
    """Return the figures against the best peer of each set."""
    to_best = np.array([s.to_best for s in sets])
    to_best = to_best[np.isfinite(to_best)]
    if not to_best.size:
        return {}
    mean, error = clipped(to_best)
    return {
        "sets with all peers": len(to_best),
        "to best, clipped mean": mean,
        "to best, its se": error,
        "worst to best": float(to_best.max()),
        "within 2 % of best": float(np.mean(to_best <= MARGIN)),
    }


def against_honest(sets: Sequence[SetScore]) -> dict[str, float]:
    """Return the figures against the peer that is best on the other splits."""
    known = np.array([s.to_honest for s in sets if np.isfinite(s.to_honest)])
    if not known.size:
        return {}
    mean, error = clipped(known)
    return {"to honest best": mean, "to honest best, its se": error}


def summarize(scores: Mapping[str, SetScore]) -> dict[str, float | int | str]:
    """Return the overall figures of one method; sets without a result are out."""
    known = {name: s for name, s in scores.items() if np.isfinite(s.ratio)}
    if not known:
        return {"sets": 0}
    sets = list(known.values())
    ratio = np.array([s.ratio for s in sets])
    mean, error = clipped(ratio)
    return {
        "sets": len(sets),
        "clipped mean": mean,
        "its se over sets": error,
        "plain mean": float(ratio.mean()),
        "worst set": float(ratio.max()),
        "which": list(known)[int(ratio.argmax())],
        "worst fit": float(max(s.ratios.max() for s in sets)),
        "sets > +2 %": int(np.sum(ratio > MARGIN)),
        "share of sets > +2 %": float(np.mean(ratio > MARGIN)),
        "sets < -2 %": int(np.sum(ratio < -MARGIN)),
        **against_best(sets),
        **against_honest(sets),
        "loss x 1000": float(np.mean([s.difference.mean() for s in sets])),
        "accuracy, points": float(np.mean([s.accuracy.mean() for s in sets])),
        **times(sets),
        "warnings": sum(s.warnings for s in sets),
    }


def times(sets: Sequence[SetScore]) -> dict[str, float]:
    """Return total CPU seconds and ratios: of totals, and the median of fits."""
    cpu = np.concatenate([s.cpu for s in sets])
    figures = {"cpu s": float(cpu.sum())}
    for name in ("peers", "reference"):
        other = np.concatenate([getattr(s, f"cpu_{name}") for s in sets])
        known = np.isfinite(other)
        if known.any():
            mine, theirs = cpu[known], other[known]
            label = "all peers" if name == "peers" else name
            figures[f"time / {label}"] = float(mine.sum() / theirs.sum())
            figures[f"median fit / {label}"] = float(np.median(mine / theirs))
            per_set = [s.cpu.sum() / getattr(s, f"cpu_{name}").sum() for s in sets]
            figures[f"worst set's time / {label}"] = float(np.nanmax(per_set))
    return figures
