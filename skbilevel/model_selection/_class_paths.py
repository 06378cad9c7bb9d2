"""Candidates with strengths of every class's own.

To second order, and without the curvature between classes, the loss of class c is
least squares on its own working responses (`GLMTrainer.by_class`): the paths of one
class are those of a single target. Point k of all classes together is candidate k,
which is then solved exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._paths import (
    Candidates,
    Strengths,
    evidence_path,
    half_path,
    path_box,
)
from skbilevel.model_selection._recipe import Recipe


def with_classes(
    trainer: Any,
    shared: Candidates,
    recipe: Recipe,
    strengths: Strengths,
    limits: Limits,
) -> Candidates:
    """Append candidates of one strength for every class and feature, or label.

    Parameters
    ----------
    trainer : GLMTrainer
        One training set.
    shared : Candidates
        Those whose strengths the classes share.
    recipe : Recipe
        Points of the paths of one class.
    strengths : Strengths
        Features, or labels of them.
    limits : Limits
        The user's box and start.
    """
    both = np.repeat(shared.v[..., None], trainer.rows.n_targets, axis=-1)
    if not (recipe.half or recipe.evidence or recipe.elastic_net):
        return replace(shared, v=both)
    paths = [
        _of_class(own, trainer, shared, recipe, strengths, limits.of_target(c))
        for c, own in enumerate(trainer.by_class())
    ]
    v = limits.clip(trainer, np.stack(paths, axis=-1)[None])
    family = ["class_half"] * len(recipe.half)
    family += ["class_evidence"] * len(recipe.evidence)
    family += ["class_elastic_net"] * recipe.elastic_net
    value = [*recipe.half, *recipe.evidence, *range(recipe.elastic_net)]
    return replace(
        shared,
        family=(*shared.family, *family),
        value=np.concatenate([shared.value, value]),
        v=np.concatenate([both, v], axis=1),
        w=np.concatenate([shared.w, trainer.solve(v)], axis=1),
    )


def _of_class(
    own: Any,
    trainer: Any,
    shared: Candidates,
    recipe: Recipe,
    strengths: Strengths,
    limits: Limits,
) -> Array:
    """Variances (c, p) of one class along its paths."""
    base, bounds = path_box(trainer, shared.shared, strengths, limits)
    base = np.clip(limits.begin(trainer, strengths, base), *bounds)
    path = half_path(own, recipe.half, strengths, base, bounds)
    path += evidence_path(own, recipe, strengths, base, bounds)
    made = [np.exp(strengths.expand(theta)) for theta in path]
    if recipe.elastic_net:
        made.append(own.elastic_net(recipe.elastic_net, recipe.ratio)[0][0])
    return np.concatenate(made)
