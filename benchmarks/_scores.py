"""From test errors per split to the figures of the quality benchmark.

Everything is a logarithm of a ratio of mean squared errors: negative is better
than the reference, and .02 is two per cent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from _halves import honest_best

CLIP = 0.3
# Two per cent, on the scale of the logarithm.
MARGIN = float(np.log(1.02))

Results = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class SetScore:
    """One method on one set, over the splits."""

    ratio: float
    error: float
    to_best: float
    # Ratio on odd splits to the peer that is best on even ones.
    to_honest: float
    seconds: float
    slowdowns: tuple[float, ...]

    @property
    def clipped(self) -> float:
        """Return the ratio, bounded so that no set decides the mean alone."""
        return float(np.clip(self.ratio, -CLIP, CLIP))


def log_ratios(results: Results, reference: Results, splits: Sequence[int]):
    """Return log(MSE / MSE of the reference), one entry per split."""
    keys = [str(split) for split in splits]
    missing = {"mse": float("nan")}
    mse = np.array([results.get(key, missing)["mse"] for key in keys])
    base = np.array([reference[key]["mse"] for key in keys])
    return np.log(mse) - np.log(base)


def best_peer(
    peers: Mapping[str, Results],
    reference: str,
    splits: Sequence[int],
    rivals: Sequence[str],
) -> tuple[str, float]:
    """Return the peer that is best after averaging over splits, and its ratio.

    It is chosen with hindsight, on the test rows: no user could have known.
    """
    means = {
        name: float(np.mean(log_ratios(peers[name], peers[reference], splits)))
        for name in rivals
        if name in peers
    }
    known = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    name = min(known, key=known.__getitem__)
    return name, known[name]


def score_set(
    results: Results,
    peers: Mapping[str, Results],
    splits: Sequence[int],
    *,
    reference: str,
    slowest: str,
    rivals: Sequence[str],
) -> SetScore:
    """Return the figures of one method on one set."""
    ratios = log_ratios(results, peers[reference], splits)
    keys = [str(split) for split in splits if str(split) in results]
    spread = np.std(ratios, ddof=1) if len(ratios) > 1 else np.nan
    theirs = {
        name: log_ratios(peers[name], peers[reference], splits)
        for name in rivals
        if name in peers
    }
    odd = np.array([split % 2 == 1 for split in splits], dtype=bool)
    honest = honest_best(theirs, splits)
    # Without the slowest peer there is nothing to be a multiple of.
    slow = peers.get(slowest, {})
    return SetScore(
        ratio=float(np.mean(ratios)),
        error=float(spread / np.sqrt(len(ratios))),
        to_best=float(np.mean(ratios)) - best_peer(peers, reference, splits, rivals)[1],
        to_honest=float(np.mean(ratios[odd])) - honest if odd.any() else honest,
        seconds=float(sum(results[key]["cpu"] for key in keys)),
        slowdowns=tuple(
            results[key]["cpu"] / slow[key]["cpu"] for key in keys if key in slow
        ),
    )


def summarize(scores: Sequence[SetScore]) -> dict[str, float]:
    """Return the overall figures of one method; sets without a result are out."""
    known = [score for score in scores if np.isfinite(score.ratio)]
    ratio = np.array([score.ratio for score in known])
    error = np.array([score.error for score in known])
    to_best = np.array([score.to_best for score in known])
    honest = np.array([s.to_honest for s in known if np.isfinite(s.to_honest)])
    clipped = np.array([score.clipped for score in known])
    slowdowns = [value for score in known for value in score.slowdowns]
    return {
        "sets": len(known),
        "clipped mean": float(clipped.mean()),
        "se over sets": float(clipped.std(ddof=1) / np.sqrt(len(known))),
        "mean": float(ratio.mean()),
        "worst": float(ratio.max()),
        "> +2 %": int(np.sum(ratio > MARGIN)),
        "< -2 %": int(np.sum(ratio < -MARGIN)),
        "> +2 %, 2 se": int(np.sum((ratio > MARGIN) & (ratio > 2 * error))),
        "< -2 %, 2 se": int(np.sum((ratio < -MARGIN) & (ratio < -2 * error))),
        "to best peer": float(to_best.mean()),
        "to honest best": float(np.mean(np.clip(honest, -CLIP, CLIP))),
        "within 2 % of best": float(np.mean(to_best <= MARGIN)),
        "cpu s": float(sum(score.seconds for score in known)),
        "median x slowest": float(np.median(slowdowns or [np.nan])),
    }
