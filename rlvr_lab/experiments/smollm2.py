"""R1-Zero on a real pretrained model: GRPO on SmolLM2-135M-Instruct and few-shot word tasks (notebook 11).

The same loop, loss and reward as on the tiny models; only the model and the task differ. Before the first step and
after the last one the policy answers held-out problems, made of words that no training problem contains: sampled at
temperature 1 (what RL optimises) and greedily (the most probable token each time); before RL also at temperature 0.7.

RL can raise the accuracy at temperature 1 in two ways. It can make answers more probable that are already the most
probable ones: *sharpening*, which a lower temperature does without training. Or it can change which answer is the
most probable one. The greedy accuracy of the untrained model separates the two.

Fixed before the recorded seeds 0–4 were run (a look at seed 100, untrained, chose the format of the prompts):
held-out accuracy at temperature 1 rises by more than 0.2; the trained model, sampled at temperature 1, is above the
untrained one, decoded greedily; and greedy accuracy itself rises.

Recorded by ``python -m rlvr_lab record smollm2``; it needs the package of ``policy.packaged`` and, on an idle core,
about two minutes a run.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rlvr_lab.experiments.evaluated import EvaluatedConfig, short_record
from rlvr_lab.experiments.study import Study, replicates
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Run
from rlvr_lab.tasks.conversation import Conversation, InChat
from rlvr_lab.tasks.evaluation import pass_at_k
from rlvr_lab.tasks.task import Answers, Problem, Task, grade
from rlvr_lab.tasks.worlds import WORLDS, make_task
from rlvr_lab.training.loop import train
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = ["DECODERS", "STUDY", "TEMPLATE", "VARIANTS", "SmolLM2Config", "measure", "plain_text"]

TEMPLATE = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
"""The chat template of SmolLM2-135M-Instruct: a program in Jinja that comes with the tokenizer."""
GREEDY = 1e-6
"""top_p so small that only the most probable token is left."""
DECODERS: dict[str, dict[str, float]] = {
    "accuracy": {"temperature": 1.0},
    "accuracy_greedy": {"top_p": GREEDY},
}
"""Name in the records → how the test is decoded."""


@dataclass(frozen=True)
class SmolLM2Config(EvaluatedConfig, kind="smollm2"):
    """GRPO on a pretrained chat model, tested on held-out problems by sampling and greedily.

    Attributes:
        world: ``words``: its tasks know held-out problems.
        shown: test answers whose text is kept.

    Every record holds ``pass_rate``, the share of correct answers among those that the step trained on. Where the
    test was answered, also ``accuracy`` and ``accuracy_greedy`` (see ``DECODERS``); ``pass_all``, pass@S at
    temperature 1; ``length`` and ``entropy`` at temperature 1; and ``samples``. Only step 0 has ``accuracy_cooler``
    (temperature 0.7) and ``accuracy_plain``: the same prompts, sampled at temperature 1, without the chat template.
    """

    every: int = 10
    test_problems: int = 24
    test_samples: int = 4
    shown: int = 8
    world: str = "words"
    prompts_per_step: int = WORLDS["words"].settings["prompts_per_step"]
    group_size: int = WORLDS["words"].settings["group_size"]
    max_new_tokens: int = WORLDS["words"].settings["max_new_tokens"]
    learning_rate: float = WORLDS["words"].settings["learning_rate"]
    rewards: dict[str, float] = field(default_factory=lambda: {"accuracy": 1.0})
    base: str = "smollm2"
    device: str = "cpu"
    steps: int = field(default=10, kw_only=True)

    FIXED = (*EvaluatedConfig.FIXED, "shown")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("world", self.world == "words", "words")
        self.require_at_least(0, "shown")

    def opening(self, state: TrainState) -> dict[str, Any]:
        """The test of the untrained model, with the chat template and without it."""
        task = self.test_task(state)
        return {
            "pass_rate": None,
            **self.test(state),
            "accuracy_cooler": _share_correct(self._answers(state, task, temperature=0.7)),
            "accuracy_plain": _share_correct(self._answers(state, _Plain(task.task))),
        }

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """The accuracy of the answers that are trained on."""
        return {"pass_rate": _share_correct(experience.answers)}

    def after(self, state: TrainState) -> dict[str, Any]:
        """The test, when it is due; every step has a record."""
        return super().after(state) or {}

    def test_task(self, state: TrainState) -> InChat:
        """The same kind of problems, of held-out words."""
        options = {**self.world_options, "held_out": True}
        return make_task(self.world, options).for_policy(state.policy)

    def test(self, state: TrainState) -> dict[str, Any]:
        """What a record says of the answers to the test problems."""
        task = self.test_task(state)
        answered = {name: self._answers(state, task, **how) for name, how in DECODERS.items()}
        drawn = answered["accuracy"]
        said = self.describe(drawn.problems, drawn.batch, drawn.verdicts)
        size = self.test_samples
        groups = [drawn.verdicts[i : i + size] for i in range(0, len(drawn.verdicts), size)]
        solved = [pass_at_k(size, sum(v.correct for v in group), size) for group in groups]
        return {
            **said,
            **{name: _share_correct(answers) for name, answers in answered.items()},
            "pass_all": sum(solved) / len(solved),
            "samples": self._samples(drawn),
        }

    def _answers(
        self, state: TrainState, task: Task, temperature: float = 1.0, top_p: float = 1.0
    ) -> Answers:
        """Answers to the test problems, one to each where decoding leaves no choice."""
        problems = self.test_questions(replace(state, task=task))
        batch = sample(
            state.policy,
            [problem.prompt for problem in problems],
            1 if top_p == GREEDY else self.test_samples,
            self.max_new_tokens,
            torch.Generator(state.policy.device).manual_seed(1000 * self.table + state.step),
            temperature,
            top_p,
        )
        verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
        return Answers(task, problems, batch, verdicts)

    def _samples(self, answers: Answers) -> list[dict[str, str]]:
        """The first answer to each of the first problems: question, answer, verdict."""
        size = answers.batch.group_size
        bare = answers.task.task.problems(self.test_problems, random.Random(self.test_name))
        return [
            {
                "question": problem.prompt,
                "completion": answers.batch.texts[i * size],
                "reason": answers.verdicts[i * size].reason,
            }
            for i, problem in enumerate(bare[: self.shown])
        ]


def _share_correct(answers: Answers) -> float:
    return sum(verdict.correct for verdict in answers.verdicts) / len(answers.verdicts)


def plain_text(task: Conversation, problem: Problem) -> str:
    """The same words without the markers of a chat template, one line per message: a common mistake."""
    return "\n".join(message["content"] for message in task.messages(problem)) + "\n"


class _Plain(Task):
    """A conversation task whose prompts skip the chat template."""

    def __init__(self, task: Conversation) -> None:
        self.task = task

    def problems(self, count, rng):
        drawn = self.task.problems(count, rng)
        return [replace(one, prompt=plain_text(self.task, one)) for one in drawn]

    def verify(self, problem, text, truncated):
        return self.task.verify(problem, text, truncated)


VARIANTS: dict[str, SmolLM2Config] = {
    "swap": SmolLM2Config(world_options={"kind": "swap"}),
    "capitals": SmolLM2Config(world_options={"kind": "capitals"}),
}
"""Kind of question → the run."""


def measure(
    seeds: int,
    variants: Mapping[str, SmolLM2Config],
    first: int,
    load: Any = lambda config: load_policy(config.base, config.device),
) -> Iterator[Run]:
    """Each variant with each seed, variant by variant; a seed has its own test and training problems.

    Args:
        seeds: how many.
        variants: name → configuration; its ``seed`` and ``table`` are replaced.
        first: the first seed.
        load: configuration → the model that RL starts from. It is loaded once and copied.

    Raises:
        ValueError: for no seeds.
    """
    loaded: Policy | None = None
    for config in variants.values():
        for seed in replicates(seeds, first):
            loaded = loaded or load(config)
            one = replace(config, seed=seed, table=seed)
            policy = loaded.frozen_copy()
            policy.model.requires_grad_(True)
            records = train(one, state=one.begin(policy))
            yield Run(one, [short_record(record) for record in records])


STUDY = Study("R1-Zero on SmolLM2-135M-Instruct", VARIANTS, measure, 5, "smollm2")
