"""Which candidates the guard makes."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Which candidates are made.

    Parameters
    ----------
    stronger : tuple of float
        Multiples of the shared strength that are tried too. Where transformers have
        learned from all rows of a training set, splits inside it say too little of a
        strength.
    half : tuple of float
        Hyperpenalties of the smooth path under the half-sampling loss, decreasing.
    loo : tuple of float
        The same under leave-one-out of working responses, for generalized linear
        models; it takes rows for units of their own.
    metadata : tuple of float
        Hyperpenalties of strengths that are a function of metadata, decreasing.
    evidence : tuple of float
        Hyperpenalties of the smooth path under the evidence, decreasing.
    evidence_steps : int
        Steps on the evidence per point.
    elastic_net : int
        Points of the elastic-net path; 0 leaves it out.
    ratio : float
        Its share of the L1 norm.
    shared : {"loo", "gcv"}
        Criterion of the shared strength.
    classes : Recipe or None
        Paths of the strengths of a single class; None where classes share them.
    """

    stronger: tuple[float, ...] = ()
    half: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1)
    loo: tuple[float, ...] = ()
    metadata: tuple[float, ...] = (0.1, 0.01)
    evidence: tuple[float, ...] = (10.0, 1.0, 0.1)
    evidence_steps: int = 7
    elastic_net: int = 10
    ratio: float = 0.5
    shared: str = "loo"
    classes: Recipe | None = None

    def for_groups(self, n_groups: int, n_features: int) -> Recipe:
        """Few strengths for many features need less of a hyperpenalty.

        The weight of one deviation, ``lam / g``, stays what it is for one strength
        per feature, and the path goes on to where it hardly counts. The elastic net
        has no strengths per group.
        """
        if n_groups < 2:
            return replace(self, half=(), evidence=(), elastic_net=0)
        share = n_groups / n_features
        half = tuple(lam * share for lam in (*self.half, 0.03, 0.01))
        evidence = tuple(lam * share for lam in (*self.evidence, 0.01))
        return replace(self, half=half, evidence=evidence, elastic_net=0)

    @property
    def n_families(self) -> int:
        """Number of families at most that are told of while they are made."""
        kinds = (self.half, self.loo, self.evidence, self.metadata)
        return 1 + sum(map(bool, kinds))

    def without_paths(self) -> Recipe:
        """The shared strength alone."""
        classes = None if self.classes is None else self.classes.without_paths()
        return replace(
            self, half=(), loo=(), evidence=(), elastic_net=0, classes=classes
        )

    def thinned(self) -> Recipe:
        """Half of the points, for so many rows that strengths hardly matter."""
        return replace(
            self,
            half=self.half[1::2],
            evidence=self.evidence[1::2],
            elastic_net=self.elastic_net // 2,
        )
