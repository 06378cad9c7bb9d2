"""Candidates where n and p are both large: shared, metadata or labels, elastic net."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.model_selection._large import RowsTrainer
from skbilevel.model_selection._large_rows import CompactCandidates
from skbilevel.model_selection._metadata import Metadata

if TYPE_CHECKING:
    from skbilevel.model_selection._paths import OnFamily
    from skbilevel.model_selection._recipe import Recipe


def large_candidates(
    trainer: RowsTrainer,
    recipe: Recipe,
    members: Array | None,
    metadata: Metadata | None,
    tell: OnFamily | None = None,
) -> CompactCandidates:
    """Few candidates, each made from products with X.

    Free deviations of single features are not tried: their number is that of the
    columns, and a function of metadata carries what can be learned at this size.
    """
    # A trainer of its own: what it keeps while tuning is dropped with it.
    trainer = replace(trainer)
    shared = trainer.shared(recipe.shared)
    p = trainer.rows.n_penalized
    family, value = ["shared"], [np.nan]
    v = [np.full(p, np.exp(shared.log_v[0]))]

    def alone() -> CompactCandidates:
        one = v[0][None]
        packed = (sparse.csr_array(one), _packed(trainer.solve(one[None])[0]))
        return CompactCandidates(("shared",), np.array([np.nan]), *packed, shared)

    if tell is not None and tell("shared", alone):
        return alone()
    if recipe.half and trainer.set.halves and trainer.yy > 0:
        if members is not None:
            v.append(trainer.groups(shared, members))
        else:
            given = None if metadata is None else _given(trainer, metadata)
            v.append(trainer.metadata(shared, trainer.metadata_columns(given)))
        family.append("groups" if members is not None else "metadata")
        value.append(0.0)
    w = trainer.solve(np.stack(v)[None])[0]
    packed_v, packed_w = [sparse.csr_array(np.stack(v))], [_packed(w)]
    if recipe.elastic_net and members is None:
        path = trainer.elastic_net(recipe.elastic_net, recipe.ratio)
        parts = [("elastic_net", *path)]
        if recipe.refits:
            parts.append(("refit", *trainer.refits(path[0])))
        for name, v_net, w_net in parts:
            family += [name] * v_net.shape[1]
            value += list(range(v_net.shape[1]))
            packed_v.append(sparse.csr_array(v_net[0]))
            packed_w.append(_packed(w_net[0]))
    return CompactCandidates(
        tuple(family),
        np.array(value),
        sparse.vstack(packed_v, format="csr"),
        sparse.vstack(packed_w, format="csr"),
        shared,
    )


def _given(trainer: RowsTrainer, metadata: Metadata) -> list[Array]:
    """The user's columns for the training set and for its inner training parts."""
    sets = [trainer.set.rows, *(train for train, _ in trainer.set.halves)]
    return [metadata.of(trainer.rows, index) for index in sets]


def _packed(w: Array) -> sparse.csr_array:
    return sparse.csr_array(w.reshape(len(w), -1))
