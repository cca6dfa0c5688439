"""A task with finitely many prompts: a fixed set drawn from another task, gone through again and again.

Published RL runs train on a fixed data set (Qwen3's reasoning RL on 3,995 pairs of a query and a verifier,
arXiv:2505.09388, section 4.2). The worlds of this course draw new problems at each step; this wrapper does not.
"""

import random
from dataclasses import dataclass
from functools import cached_property

from rlvr_lab.policy.loading import Policy
from rlvr_lab.tasks.task import Problem, Task, Verdict

__all__ = ["FiniteSet"]

PATIENCE = 10_000
"""Draws without a new prompt after which the other task is taken to have no more."""


@dataclass(frozen=True)
class FiniteSet(Task):
    """``count`` distinct prompts of another task.

    Sets of one seed are nested: the smaller one is the beginning of the larger one.

    Attributes:
        task: the other task. It verifies the answers too.
        count: n, size of the set.
        seed: chooses the set.
        without: prompts that do not belong to it, such as those of a test.

    Raises:
        ValueError: when ``count`` is below 1.
    """

    task: Task
    count: int
    seed: int = 0
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count: need at least 1 prompt, got {self.count}")

    @cached_property
    def members(self) -> list[Problem]:
        """The n problems, in the order in which they were drawn.

        Raises:
            ValueError: when the other task does not have so many prompts.
        """
        rng, found, misses = random.Random(f"finite set {self.seed}"), {}, 0
        while len(found) < self.count:
            (problem,) = self.task.problems(1, rng)
            new = problem.prompt not in found and problem.prompt not in self.without
            misses = 0 if new else misses + 1
            if misses > PATIENCE:
                raise ValueError(f"count: found {len(found)} prompts, not {self.count}")
            if new:
                found[problem.prompt] = problem
        return list(found.values())

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """``count`` problems of the set, in random order.

        With ``count`` ≤ n they are distinct. Otherwise each problem comes ⌊count / n⌋ times, and some, chosen at
        random, once more. Two calls know nothing of each other: this is no pass over the set.
        """
        if count < 1:
            raise ValueError(f"count: need at least 1 problem, got {count}")
        whole, rest = divmod(count, self.count)
        drawn = self.members * whole + rng.sample(self.members, rest)
        rng.shuffle(drawn)
        return drawn

    def verify(self, problem: Problem, text: str, truncated: bool) -> Verdict:
        """The verdict of the other task."""
        return self.task.verify(problem, text, truncated)

    def well_formed(self, text: str) -> bool:
        """As the other task."""
        return self.task.well_formed(text)

    def forced_words(self, rows: int, rng: random.Random) -> list[str] | None:
        """As the other task."""
        return self.task.forced_words(rows, rng)

    def measure(self, policy: Policy, max_new_tokens: int, temperature: float) -> dict[str, float]:
        """As the other task."""
        return self.task.measure(policy, max_new_tokens, temperature)
