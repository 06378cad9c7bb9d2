"""From losses per split to the figures of classification and counts.

Ratios are log((loss + offset) / (loss of the reference + offset)), negative
where a method is better; differences are in thousandths of the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from _glm_families import Family, Scores
from _scores import CLIP, MARGIN

Results = Mapping[str, Scores]


@dataclass(frozen=True)
class SetScore:
    """One method on one set, one entry per split."""

    ratios: np.ndarray
    # Ratio to the peer that is best on this set, averaged over the splits.
    to_best: float
    best: str
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
) -> SetScore:
    """Return the figures of one method on one set."""
    reference = peers[family.reference]
    name, best = best_rival(peers, splits, family)
    mine = ratios(results, peers, splits, family)
    timed = complete(peers, family.timed, splits)
    accuracy = column(results, "accuracy", splits)
    loss, base = (column(r, "loss", splits) for r in (results, reference))
    return SetScore(
        ratios=mine,
        to_best=float(mine.mean()) - best,
        best=name,
        difference=1000 * (loss - base),
        accuracy=100 * (accuracy - column(reference, "accuracy", splits)),
        loss=loss,
        base=base,
        cpu=column(results, "cpu", splits),
        cpu_reference=column(reference, "cpu", splits),
        cpu_peers=np.sum([column(peers[n], "cpu", splits) for n in timed], axis=0),
        warnings=int(np.nansum(column(results, "warnings", splits))),
    )


def clipped(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of values cut at +-.3, and its standard error over sets."""
    cut = np.clip(values, -CLIP, CLIP)
    spread = cut.std(ddof=1) if len(cut) > 1 else np.nan
    return float(cut.mean()), float(spread / np.sqrt(len(cut)))


def summarize(scores: Mapping[str, SetScore]) -> dict[str, float | int | str]:
    """Return the overall figures of one method; sets without a result are out."""
    known = {name: s for name, s in scores.items() if np.isfinite(s.ratio)}
    if not known:
        return {"sets": 0}
    sets = list(known.values())
    ratio = np.array([s.ratio for s in sets])
    to_best = np.array([s.to_best for s in sets])
    mean, error = clipped(ratio)
    best_mean, best_error = clipped(to_best)
    return {
        "sets": len(sets),
        "clipped mean": mean,
        "its se over sets": error,
        "plain mean": float(ratio.mean()),
        "worst set": float(ratio.max()),
        "which": list(known)[int(ratio.argmax())],
        "worst fit": float(max(s.ratios.max() for s in sets)),
        "sets > +2 %": int(np.sum(ratio > MARGIN)),
        "sets < -2 %": int(np.sum(ratio < -MARGIN)),
        "to best, clipped mean": best_mean,
        "to best, its se": best_error,
        "worst to best": float(to_best.max()),
        "within 2 % of best": float(np.mean(to_best <= MARGIN)),
        "loss x 1000": float(np.mean([s.difference.mean() for s in sets])),
        "accuracy, points": float(np.mean([s.accuracy.mean() for s in sets])),
        **times(sets),
        "warnings": sum(s.warnings for s in sets),
    }


def times(sets: Sequence[SetScore]) -> dict[str, float]:
    """Return total CPU seconds and ratios: of totals, and the median of fits."""
    cpu, reference, peers = (
        np.concatenate([getattr(s, field) for s in sets])
        for field in ("cpu", "cpu_reference", "cpu_peers")
    )
    return {
        "cpu s": float(cpu.sum()),
        "time / all peers": float(cpu.sum() / peers.sum()),
        "median fit / all peers": float(np.median(cpu / peers)),
        "time / reference": float(cpu.sum() / reference.sum()),
        "median fit / reference": float(np.median(cpu / reference)),
    }
