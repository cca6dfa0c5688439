"""What division by the std does to the gradient of hard, medium and easy questions (notebook 07).

A base policy is trained for a few steps. Then fresh questions are sorted by how often it answers them
correctly, and three things are measured: how large the gradient of each kind of question is with and
without the division, how far the gradients of two kinds point in the same direction, and how much the hard
questions gain when only the *medium* ones are trained on.

Recorded by ``python -m rlvr_lab gradient-shares``.
"""

import random
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.losses import reinforce_loss
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.loading import Policy
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.rewards.verifiable import accuracy_rewards
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.state import TrainState

__all__ = ["GradientSharesConfig", "difficulty", "question_gradients"]

Gradients = list[Tensor]


def difficulty(pass_rate: float) -> str:
    """``hard`` up to a pass rate of ¼, ``easy`` from ¾ on, ``medium`` between them.

    >>> [difficulty(p) for p in (0.25, 0.5, 0.75)]
    ['hard', 'medium', 'easy']
    """
    return "hard" if pass_rate <= 0.25 else "easy" if pass_rate >= 0.75 else "medium"


def question_gradients(
    policy: Policy, batch: RolloutBatch, rewards: Tensor, question: int, divide_by_std: bool
) -> Gradients:
    """The gradient of the loss of one question alone, parameter by parameter; zeros for a silent group."""
    size = batch.group_size
    own = rewards[question * size : (question + 1) * size]
    group, a = batch.groups([question]), group_advantages(own, size, divide_by_std)
    loss = reinforce_loss(token_logprobs(policy.model, group), a, group.completion_mask)
    return list(torch.autograd.grad(loss, list(policy.model.parameters())))


@dataclass(frozen=True)
class Listed(Sums):
    """The sums, but the problems are drawn from a list."""

    listed: tuple[Problem, ...] = ()

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """Draw ``count`` of the listed problems; one comes twice only if the list is short."""
        if not self.listed:
            return super().problems(count, rng)
        repeats = -(-count // len(self.listed))
        return rng.sample(self.listed * repeats, count)


@dataclass(frozen=True)
class GradientSharesConfig(PolicyGradientConfig, kind="gradient-shares"):
    """A short run on the sums, after which the gradients of questions are measured.

    Attributes:
        steps: of the run before the measurement.
        questions: how many are sorted.
        transfer_steps: of the two further runs, on the medium and on the hard questions alone.

    There is one record, of the last step. For each of ``hard``, ``medium``, ``easy``: ``questions_K``; ``silent_K``
    (share of groups whose answers all get the same accuracy reward); ``centred_K`` and ``divided_K`` (sums of the
    gradient norms of single questions). ``cosine_hard_medium`` (of the summed gradients). ``hard_before``,
    ``hard_after_medium``, ``hard_after_hard``: pass rate of the hard questions before and after the further runs.
    The questions are sorted by one sample and measured by another, so that luck in the first does not enter.
    """

    steps: int = field(default=3, kw_only=True)
    questions: int = 160
    transfer_steps: int = 8

    def after(self, state: TrainState) -> dict[str, Any] | None:
        """All measurements, after the last step."""
        if state.step < self.steps:
            return None
        generator = torch.Generator().manual_seed(10_000 + self.seed)
        problems = Sums().problems(self.questions, random.Random(10_000 + self.seed))
        rates = (
            self._answers(state.policy, problems, generator)[1].view(-1, self.group_size).mean(1)
        )
        kinds = [difficulty(float(rate)) for rate in rates]
        found = self._gradients(state.policy, problems, kinds, generator)
        groups = {
            kind: tuple(p for p, k in zip(problems, kinds, strict=True) if k == kind)
            for kind in kinds
        }
        hard = list(groups["hard"])
        found["hard_before"] = self._pass_rate(state.policy, hard)
        for kind in ("medium", "hard"):
            config = self._plain(steps=self.transfer_steps, seed=20_000 + self.seed)
            begun = config.begin(task=Listed(listed=groups[kind]))
            begun.policy.model.load_state_dict(state.policy.model.state_dict())
            list(train(config, state=begun))
            found[f"hard_after_{kind}"] = self._pass_rate(begun.policy, hard)
        return found

    def _plain(self, **changes: Any) -> PolicyGradientConfig:
        """The same settings, without the measurement."""
        own = {f.name: getattr(self, f.name) for f in fields(PolicyGradientConfig)}
        return PolicyGradientConfig(**{**own, **changes})

    def _answers(
        self, policy: Policy, problems: list[Problem], generator: torch.Generator
    ) -> tuple[RolloutBatch, Tensor]:
        prompts = [problem.prompt for problem in problems]
        batch = sample(policy, prompts, self.group_size, self.max_new_tokens, generator)
        verdicts = grade(Sums(), problems, batch.texts, batch.truncated.tolist())
        return batch, accuracy_rewards(verdicts)

    def _pass_rate(self, policy: Policy, problems: list[Problem]) -> float:
        generator = torch.Generator().manual_seed(30_000 + self.seed)
        return float(self._answers(policy, problems, generator)[1].mean())

    def _gradients(
        self, policy: Policy, problems: list[Problem], kinds: list[str], generator: torch.Generator
    ) -> dict[str, Any]:
        batch, rewards = self._answers(policy, problems, generator)
        found: dict[str, Any] = {}
        sums: dict[str, Gradients] = {}
        for kind in ("hard", "medium", "easy"):
            own = [i for i, k in enumerate(kinds) if k == kind]
            norms = {False: 0.0, True: 0.0}
            for question in own:
                for divided in norms:
                    gradients = question_gradients(policy, batch, rewards, question, divided)
                    norms[divided] += float(sum(g.square().sum() for g in gradients)) ** 0.5
                    if not divided:
                        before = sums.get(kind, [torch.zeros_like(g) for g in gradients])
                        sums[kind] = [a + b for a, b in zip(before, gradients, strict=True)]
            rate = rewards.view(-1, self.group_size).mean(1)[own]
            found[f"questions_{kind}"] = len(own)
            found[f"silent_{kind}"] = float(((rate == 0) | (rate == 1)).double().mean())
            found[f"centred_{kind}"], found[f"divided_{kind}"] = norms[False], norms[True]
        flat = {kind: torch.cat([g.flatten() for g in sums[kind]]) for kind in ("hard", "medium")}
        cosine = torch.cosine_similarity(flat["hard"], flat["medium"], dim=0)
        return {**found, "cosine_hard_medium": float(cosine)}
