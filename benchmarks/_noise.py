"""Targets without any signal: a good method predicts their mean."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _data import Dataset
from _peers import BASELINE, REFERENCE, make_peer, measure

N_SETS = 12
N_SPLITS = 3


def permuted(data: Dataset, seed: int) -> Dataset:
    """Return the set with its targets shuffled."""
    order = np.random.default_rng(seed).permutation(len(data.y))
    return replace(data, y=data.y[order])


def spread(battery: Sequence[Dataset]) -> list[Dataset]:
    """Return some sets, evenly spread over the ratio of columns to rows."""
    ordered = sorted(battery, key=lambda data: data.X.shape[1] / data.X.shape[0])
    picks = np.linspace(0, len(ordered) - 1, min(N_SETS, len(ordered)))
    return [ordered[int(pick)] for pick in picks]


def noise_rows(
    battery: Sequence[Dataset], make: Callable[[], Any]
) -> dict[str, list[float]]:
    """Return per set log(MSE / MSE of the mean) of the estimator and of RidgeCV."""
    rows = {}
    for data in spread(battery):
        ratios = []
        for split in range(min(N_SPLITS, len(data.splits))):
            shuffled = permuted(data, split)
            mse = [
                measure(estimator, shuffled, split)["mse"]
                for estimator in (make(), make_peer(REFERENCE), make_peer(BASELINE))
            ]
            ratios.append(np.log(mse[:2]) - np.log(mse[2]))
        rows[data.name] = [float(value) for value in np.mean(ratios, axis=0)]
    rows["mean"] = [float(value) for value in np.mean(list(rows.values()), axis=0)]
    return rows
