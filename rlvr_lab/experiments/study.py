"""What a comparison of several variants is; ``studies.STUDIES`` lists them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from rlvr_lab.records.runs import Run
from rlvr_lab.training.config import RunConfig

__all__ = ["Study", "replicates", "seeded"]

Config = TypeVar("Config", bound=RunConfig)


class Study(NamedTuple):
    """One comparison.

    Attributes:
        what: it measures, for the command line's help.
        variants: name → variant, in the form that ``measure`` takes.
        measure: (number of seeds, variants, first seed) → its runs, one by one.
        seeds: number of seeds that the course records.
        file: name of the recording under ``data/runs``.
        first: the first seed that the course records.
    """

    what: str
    variants: Mapping[str, Any]
    measure: Callable[[int, Mapping[str, Any], int], Iterator[Run]]
    seeds: int
    file: str
    first: int = 0

    def runs(self, seeds: int, first: int = 0, only: list[str] | None = None) -> Iterator[Run]:
        """The runs of all variants, or of those named in ``only``.

        Raises:
            ValueError: when ``only`` names a variant that does not exist.
        """
        names = only or list(self.variants)
        if unknown := [name for name in names if name not in self.variants]:
            raise ValueError(f"only: {unknown[0]!r} is none of {', '.join(self.variants)}")
        return self.measure(seeds, {name: self.variants[name] for name in names}, first)


def replicates(seeds: int, first: int = 0) -> range:
    """The seeds ``first`` … ``first`` + ``seeds`` − 1, one for each replicate.

    Raises:
        ValueError: for no seeds.

    >>> list(replicates(2, 5))
    [5, 6]
    """
    if seeds < 1:
        raise ValueError(f"seeds: need at least 1, got {seeds}")
    return range(first, first + seeds)


def seeded(variants: Mapping[str, Config], seeds: int, first: int = 0) -> Iterator[Config]:
    """Every variant with each seed, seed by seed.

    Raises:
        ValueError: for no seeds.

    >>> [one.seed for one in seeded({"a": RunConfig(), "b": RunConfig()}, 2, first=3)]
    [3, 3, 4, 4]
    """
    for seed in replicates(seeds, first):
        for config in variants.values():
            yield replace(config, seed=seed)
