"""Strengths that belong to labels of features: a label in the place of a feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._strength_content import Content
from skbilevel.inspection._style import LONGEST_NAME, shorten


def by_label(content: Content) -> Content | None:
    """The same strengths with one entry per label, named with its features.

    Unpenalized features have no part in their label; they become one entry of their
    own. The result is None where the labels do not say more than the features do:
    a single label, labels of one feature each, or strengths that differ within one.
    """
    if content.groups is None:
        return None
    penalized = np.flatnonzero((content.strengths > 0).any(axis=0))
    labels, first, members, sizes = np.unique(
        content.groups[penalized],
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    if not 2 <= len(labels) < len(penalized):
        return None
    chosen = penalized[first]
    tables = [content.strengths, content.shared]
    for table in tables:
        if table is not None and not _alike(
            table[:, penalized], table[:, chosen][:, members.reshape(-1)]
        ):
            return None
    names = [_counted(label, n) for label, n in zip(labels, sizes, strict=True)]
    free = np.setdiff1d(np.arange(len(content.names)), penalized)
    if len(free):
        names.append(_unpenalized(content.names[free]))
        chosen = np.append(chosen, free[0])
    return replace(
        content,
        strengths=content.strengths[:, chosen],
        names=np.array(names, dtype=object),
        shared=None if content.shared is None else content.shared[:, chosen],
        groups=None,
        entries="labels",
    )


def _alike(values: Array, others: Array) -> bool:
    return bool(np.allclose(values, others, rtol=1e-6, atol=0.0))


def _counted(label: object, n: int) -> str:
    """A label and the number of its features, which is never cut off."""
    count = f" ({n:,})"
    return shorten(label, LONGEST_NAME - len(count)) + count


def _unpenalized(names: Array) -> str:
    if len(names) == 1:
        return f"{shorten(names[0], LONGEST_NAME - 4)} (1)"
    return f"unpenalized columns ({len(names):,})"
