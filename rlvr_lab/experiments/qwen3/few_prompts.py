"""How many prompts does RL need? GRPO on a fixed set of n prompts (notebook 10).

Qwen3's reasoning RL uses 3,995 pairs of a query and a verifier and 170 steps (arXiv:2505.09388, section 4.2). Here
GRPO on the sums runs for 40 steps of 16 prompts × 16 answers on n fixed prompts, n = 1 … 4,096, or on
new prompts at each step. So a run draws 640 prompts in all; a set of 1,024 is not even seen once.

How a step draws from a set that is smaller than 16, see ``FiniteSet.problems``: with n = 4 each prompt comes four
times, each time with a group of 16 answers of its own.

The held-out problems are the same for all n, and no set contains one of them.

Recorded by ``python -m rlvr_lab record qwen3/few_prompts``.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rlvr_lab.experiments.base_models import sums_base
from rlvr_lab.experiments.evaluated import EvaluatedConfig, runs_from
from rlvr_lab.experiments.study import Study
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.finite_set import FiniteSet
from rlvr_lab.tasks.sums import is_well_formed
from rlvr_lab.tasks.task import Problem, Task, Verdict
from rlvr_lab.tasks.worlds import make_task
from rlvr_lab.training.state import TrainState

__all__ = ["GUESS", "SIZES", "STUDY", "VARIANTS", "FewPromptsConfig", "measure"]

GUESS = 0.1
"""Probability that a blind guess at one digit is correct."""
SIZES = (1, 4, 16, 64, 256, 1024, 4096)


@dataclass(frozen=True)
class FewPromptsConfig(EvaluatedConfig, kind="qwen3-few-prompts"):
    """GRPO on the sums with a fixed set of prompts, and two tests: on the set and on held-out problems.

    Attributes:
        prompts: n, size of the set; None draws new prompts at each step.
        table: the replicate; it chooses the held-out problems and the set.
        train_prompts: at most so many prompts of the set are tested.
        train_answers: answers in the test on the set, all prompts together.

    A record holds ``accuracy``, ``length``, ``entropy``, ``chains`` (share of answers that are well-formed and have
    a chain of thought) and ``first_answer`` (share of answers that give the answer of the first prompt of the
    set) over the held-out problems; and ``train_accuracy``, ``train_chains`` over the set. Without
    a set the last three are None.

    Raises:
        ValueError: naming the field.
    """

    prompts: int | None = None
    every: int = 5
    test_problems: int = 128
    test_samples: int = 8
    train_prompts: int = 64
    train_answers: int = 512
    steps: int = field(default=40, kw_only=True)

    FIXED = (*EvaluatedConfig.FIXED, "prompts", "train_prompts", "train_answers")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "sums", "sums")
        self.require("prompts", self.prompts is None or self.prompts >= 1, "at least 1 or None")
        self.require_at_least(1, "train_prompts")
        enough = self.train_answers >= self.train_prompts
        self.require("train_answers", enough, f"at least train_prompts ({self.train_prompts})")

    def begin(
        self, policy: Policy | None = None, task: Task | None = None, *given: Any, **named: Any
    ) -> TrainState:
        """The state before step 1; its task has the prompts of the set only."""
        task = task or make_task(self.world, self.world_options)
        if self.prompts is not None:
            held_out = task.problems(self.test_problems, random.Random(self.test_name))
            prompts = frozenset(problem.prompt for problem in held_out)
            task = FiniteSet(task, self.prompts, self.table, prompts)
        return super().begin(policy, task, *given, **named)

    def test(self, state: TrainState) -> dict[str, Any]:
        """The test on the held-out problems, and the one on the set."""
        found = {"first_answer": None, "train_accuracy": None, "train_chains": None}
        if not isinstance(state.task, FiniteSet):
            return {**super().test(state), **found}
        held_out = self.test_answers(replace(state, task=state.task.task))
        first = [f"={state.task.members[0].answer}"] * len(held_out.verdicts)
        given = [
            is_well_formed(text) and text.endswith(answer)
            for text, answer in zip(held_out.batch.texts, first, strict=True)
        ]
        found["first_answer"] = sum(given) / len(given)
        seen = self._on_the_set.test_answers(state)
        known = self.describe(seen.problems, seen.batch, seen.verdicts)
        found |= {f"train_{key}": known[key] for key in ("accuracy", "chains")}
        return self.describe(held_out.problems, held_out.batch, held_out.verdicts) | found

    @property
    def _on_the_set(self) -> "FewPromptsConfig":
        """This configuration with the size of the test on the set."""
        assert self.prompts is not None
        tested = min(self.prompts, self.train_prompts)
        return replace(self, test_problems=tested, test_samples=self.train_answers // tested)

    def describe(
        self, problems: list[Problem], batch: RolloutBatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """Accuracy, length, entropy, and the share of chains."""
        chains = [text.startswith("<think>") and is_well_formed(text) for text in batch.texts]
        return {
            **super().describe(problems, batch, verdicts),
            "chains": sum(chains) / len(chains),
        }


VARIANTS: dict[str, FewPromptsConfig] = {
    **{f"{n:,}": FewPromptsConfig(prompts=n) for n in SIZES},
    "unlimited": FewPromptsConfig(),
}
"""Size of the set → the run."""


def measure(seeds: int, variants: Mapping[str, FewPromptsConfig], first: int) -> Iterator[Run]:
    """Each variant from the same base; a seed is a replicate with its own base, set and test."""
    return runs_from(lambda seed: sums_base(seed, "cpu")[0], variants, seeds, first)


STUDY = Study("RL on n prompts", VARIANTS, measure, 5, "qwen3/few_prompts", first=1)
