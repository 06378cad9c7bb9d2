"""What the quality benchmarks share: the estimator of the command line, a picture."""

import argparse
import ast
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _report import new_figure, save_figure

# Bars longer than this are cut.
LONGEST = 0.4


def parse_value(text: str) -> Any:
    """Return a Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def make_estimator(args: argparse.Namespace) -> Any:
    """Return the estimator that the options name."""
    module, _, name = args.estimator.rpartition(".")
    pairs = (item.partition("=") for item in args.param)
    params = {key: parse_value(value) for key, _, value in pairs}
    return getattr(importlib.import_module(module), name)(**params)


def texts(args: argparse.Namespace) -> dict[str, str]:
    """Return the options for a JSON file, without the folder of the cache."""
    return {key: str(value) for key, value in vars(args).items() if key != "cache"}


def draw_sets(
    path: Path, names: Sequence[str], panels: dict[str, Sequence[float]]
) -> None:
    """Draw one bar per set, one panel per rival, ordered by the first panel."""
    order = np.argsort(next(iter(panels.values())))
    figure, axes = new_figure(len(panels), height=0.18 * len(names) + 2)
    axes = np.ravel(axes)
    for axis, (label, values) in zip(axes, panels.items(), strict=True):
        bars = np.asarray(values, dtype=float)[order]
        colours = np.where(bars > 0, "C3", "C0")
        axis.barh(range(len(bars)), np.clip(bars, -LONGEST, LONGEST), color=colours)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(xlabel=f"{label}, cut at {LONGEST}", xlim=(-0.42, 0.42))
        axis.set_yticks([])
    axes[0].set_yticks(range(len(names)), [names[k] for k in order], fontsize=7)
    save_figure(figure, path)
