"""Which candidates the guard makes."""

from __future__ import annotations

from dataclasses import replace

from skbilevel._records import record


@record
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
    tuned : str
        What the family of this path is called, by the rows that it is tuned on.
    metadata : tuple of float
        Hyperpenalties of strengths that are a function of metadata, decreasing.
    evidence : tuple of float
        Hyperpenalties of the smooth path under the evidence, decreasing.
    evidence_steps : int
        Steps on the evidence per point.
    single : bool
        Whether labels of one column are tried without those of several.
    elastic_net : int
        Points of the elastic-net path; 0 leaves it out.
    path : str
        What its family is called.
    ratio : float
        Its share of the L1 norm, or the step of the powers of adaptive refits.
    refits : bool
        Whether every support of the path is fitted again with one strength.
    shared : {"loo", "gcv"}
        Criterion of the shared strength.
    classes : Recipe or None
        Paths of the strengths of a single class; None where classes share them.
    """

    stronger: tuple[float, ...] = ()
    half: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1)
    tuned: str = "half"
    metadata: tuple[float, ...] = (0.1, 0.01)
    evidence: tuple[float, ...] = (10.0, 1.0, 0.1)
    evidence_steps: int = 7
    single: bool = False
    elastic_net: int = 5
    path: str = "elastic_net"
    ratio: float = 0.5
    refits: bool = True
    shared: str = "loo"
    classes: Recipe | None = None

    def for_groups(self, n_groups: int, n_features: int, halves: bool) -> Recipe:
        """Few strengths for many features need less of a hyperpenalty.

        The weight of one deviation, ``lam / g``, stays what it is for one strength
        per feature, and the path goes on to where it hardly counts. The elastic net
        has no strengths per group. ``halves`` keeps half-sampling beside the evidence.
        """
        if n_groups < 2:
            return replace(self, half=(), evidence=(), elastic_net=0)
        share = n_groups / n_features
        half = (*self.half, 0.03, 0.01) if halves else ()
        return replace(
            self,
            half=tuple(lam * share for lam in half),
            evidence=tuple(lam * share for lam in (*self.evidence[1:], 0.01)),
            evidence_steps=5,
            elastic_net=0,
        )

    @property
    def has_paths(self) -> bool:
        """Whether anything but the shared strength is tried."""
        return bool(self.half or self.evidence or self.elastic_net)

    @property
    def n_families(self) -> int:
        """Number of families at most that are told of while they are made."""
        kinds = (self.half, self.evidence, self.metadata)
        return 1 + sum(map(bool, kinds))

    def for_features(self, dual: bool) -> Recipe:
        """One strength for every feature, of which nothing is known.

        Refits of the elastic net's supports serve better than half-sampling, and cost
        less. The evidence gains little where columns outnumber rows (``dual``), and
        is the dearest of all there.
        """
        evidence = () if dual else self.evidence[1:]
        return replace(self, half=(), evidence=evidence, evidence_steps=3)

    def without_paths(self) -> Recipe:
        """The shared strength alone."""
        classes = None if self.classes is None else self.classes.without_paths()
        return replace(self, half=(), evidence=(), elastic_net=0, classes=classes)
