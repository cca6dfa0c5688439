"""A finite pool of items that a filter has split into those that it keeps and those that it removes."""

import random
from dataclasses import dataclass
from functools import cached_property

from rlvr_lab.tasks.mixed_pool import MixedPool, kind_of
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["CuratedPool"]


@dataclass(frozen=True)
class CuratedPool(Task):
    """A finite pool, split into the items that a filter keeps and those that it removes.

    A batch begins with kept items and ends with ``removed_per_batch`` removed ones. The kept ones are drawn
    first, so batches with and without removed items share their kept ones.

    Attributes:
        kept: items that pass.
        removed: items that do not.
        removed_per_batch: how many of a batch are removed items.
        sums: probability that a kept item is a sum and otherwise a difference; None draws from all kept items.

    Raises:
        ValueError: where there is nothing to draw from.
    """

    kept: tuple[Problem, ...]
    removed: tuple[Problem, ...] = ()
    removed_per_batch: int = 0
    sums: float | None = None

    def __post_init__(self) -> None:
        if self.removed_per_batch and not self.removed:
            raise ValueError(f"removed: no item, but removed_per_batch={self.removed_per_batch}")
        if self.sums is not None and not 0 <= self.sums <= 1:
            raise ValueError(f"sums: must lie in [0, 1], got {self.sums}")
        if self.sums is not None and not all(self.domains):
            raise ValueError("kept: with a share of sums there have to be sums and differences")

    @cached_property
    def domains(self) -> tuple[list[Problem], list[Problem]]:
        """The kept sums and the kept differences."""
        kinds = [kind_of(item.prompt) for item in self.kept]
        pairs = list(zip(self.kept, kinds, strict=True))
        sums = [item for item, kind in pairs if kind == "sums"]
        return sums, [item for item, kind in pairs if kind == "differences"]

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """A batch: kept items, then removed ones, each drawn with replacement."""
        keep = count - self.removed_per_batch
        if count < 1 or keep < 0 or (keep and not self.kept):
            raise ValueError(
                f"count: cannot draw {count} items, {self.removed_per_batch} of them removed ones, "
                f"from {len(self.kept)} kept"
            )
        if self.sums is None:
            drawn = [rng.choice(self.kept) for _ in range(keep)]
        else:
            drawn = [rng.choice(self.domains[rng.random() >= self.sums]) for _ in range(keep)]
        return drawn + [rng.choice(self.removed) for _ in range(self.removed_per_batch)]

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """The verdict of the mixed pool."""
        return MixedPool().verify(problem, text, truncated)

    def well_formed(self, text: str) -> bool:
        """The grammar of the mixed pool."""
        return MixedPool().well_formed(text)
