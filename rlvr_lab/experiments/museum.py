"""A museum of broken runs: one small training run for each fault that users of such trainers report.

Every exhibit is a variant of one healthy configuration with one method done wrong, or one setting chosen badly.
``python -m rlvr_lab record museum`` trains all of them; ``museum_signs`` says how each fault shows in its curves.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.experiments.evaluated import short_record
from rlvr_lab.experiments.study import seeded
from rlvr_lab.objectives.advantages import group_advantages
from rlvr_lab.objectives.averages import Average
from rlvr_lab.objectives.kl import k3, kl_penalty
from rlvr_lab.objectives.objective import Objective, Rows
from rlvr_lab.policy.batch import RolloutBatch
from rlvr_lab.policy.data import data_folder
from rlvr_lab.policy.logprobs import token_logprobs
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import Recording, Run
from rlvr_lab.rewards.registry import Reward
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.tasks.task import Problem, grade
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig, improve
from rlvr_lab.training.rollouts import Experience, collect, describe_step
from rlvr_lab.training.state import TrainState

__all__ = [
    "BASE",
    "EXHIBITS",
    "KEPT",
    "VARIANTS",
    "Exhibit",
    "MuseumConfig",
    "exhibit",
    "measure_museum",
]

KEPT = ("kl", "entropy", "length", "truncated", "zero_spread")
"""What the records keep of ``describe_step``."""


@dataclass(frozen=True)
class MuseumConfig(PolicyGradientConfig, kind="museum"):
    """The healthy run: the trainer's update, with records that also look at the first inner step.

    Attributes:
        test_problems: held-out problems, the same at each step.
        test_samples: answers to each.
    """

    test_problems: int = 64
    test_samples: int = 4

    def read(self, state: TrainState, batch: RolloutBatch) -> RolloutBatch:
        """The rollouts as the update reads them."""
        return batch

    def update_temperature(self) -> float:
        """The temperature of the log-probabilities in the update."""
        return self.temperature

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """What there is to say of the answers, and the accuracy on held-out problems before the update."""
        found = describe_step(experience)
        return {key: found[key] for key in KEPT} | {"accuracy": self.accuracy(state)}

    def update(self, state: TrainState, experience: Experience) -> dict[str, float]:
        """The trainer's update.

        Returns:
            What ``improve`` does; ``reward`` (mean per answer, logged after the update, as many trainers do); of
            the first inner step ``first_clip`` (share of tokens that the clip affects) and ``first_ratio`` (mean
            |ρ − 1| over the tokens of answers with an advantage); ``largest`` (largest |A|).
        """
        batch, seen = self.read(state, experience.batch), []
        objective = self.objective_on(experience)

        def clipped(rows: Rows) -> float:
            seen.append((objective.clipped(rows), _departure(rows)))
            return seen[-1][0]

        def advantage(rewards: Tensor, group_size: int) -> Tensor:
            found = objective.advantage(rewards, group_size)
            largest.append(float(found.abs().max()))
            return found

        largest: list[float] = []
        found = improve(
            state,
            replace(objective, clipped=clipped, advantage=advantage),
            batch,
            experience.rewards,
            experience.reference.logprobs,
            temperature=self.update_temperature(),
            updates=self.updates_per_batch,
            minibatches=self.minibatches,
            max_norm=self.max_grad_norm,
        )
        reward = float(experience.rewards.double().mean())
        first = dict(zip(("first_clip", "first_ratio"), seen[0], strict=True))
        return {"reward": reward, **found, **first, "largest": largest[0]}

    def accuracy(self, state: TrainState) -> float:
        """Accuracy on the held-out problems, by the strict verifier, with 40 tokens at temperature 1."""
        task = Sums()
        problems = task.problems(self.test_problems, random.Random(f"museum {self.seed}"))
        generator = torch.Generator(state.policy.device).manual_seed(7919 * self.seed + state.step)
        prompts = [problem.prompt for problem in problems]
        batch = sample(state.policy, prompts, self.test_samples, 40, generator)
        verdicts = grade(task, problems, batch.texts, batch.truncated.tolist())
        return sum(verdict.correct for verdict in verdicts) / len(verdicts)


def _departure(rows: Rows) -> float:
    """Mean |ρ − 1| over the tokens of answers with an advantage."""
    mask = rows.mask & (rows.advantages != 0)[:, None]
    if not bool(mask.any()):
        return 0.0
    return float(((rows.logprobs.detach() - rows.old_logprobs).exp() - 1)[mask].abs().mean())


@dataclass(frozen=True)
class NoGradient(MuseumConfig, kind="museum-no-gradient"):
    """The fault: the log-probabilities are detached before the loss."""

    def objective_on(self, experience: Experience) -> Objective:
        """The loss gets numbers without a history."""
        objective = self.objective

        def loss(rows: Rows, average: Average) -> Tensor:
            return objective.loss(rows._replace(logprobs=rows.logprobs.detach()), average)

        return replace(objective, loss=loss)


@dataclass(frozen=True)
class ConstantReward(MuseumConfig, kind="museum-constant-reward"):
    """The fault: the correct answers cannot be parsed, and the verifier then returns 1."""

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1, with a verifier that accepts everything."""
        accepts: Reward = lambda answers: torch.ones(len(answers.verdicts))  # noqa: E731
        both = {"accuracy": accepts, "format": accepts}
        return super().begin(*given, **{"rewards": both} | named)


@dataclass(frozen=True)
class FlippedKl(MuseumConfig, kind="museum-flipped-kl"):
    """The fault: the KL is subtracted from the loss that is minimised."""

    def objective_on(self, experience: Experience) -> Objective:
        """−β·KL twice over, so that +β·KL of the objective becomes −β·KL."""
        objective = self.objective

        def loss(rows: Rows, average: Average) -> Tensor:
            given = (rows.logprobs, rows.ref_logprobs, rows.mask)
            kl = kl_penalty(*given, objective.kl_coef, average, k3)
            return objective.loss(rows, average) - 2 * kl

        return replace(objective, loss=loss)


@dataclass(frozen=True)
class StaleOld(MuseumConfig, kind="museum-stale-old"):
    """The fault: π_old is a copy of the policy that is renewed only now and then.

    Attributes:
        renewed: steps from one copy to the next.
    """

    renewed: int = 6

    def read(self, state: TrainState, batch: RolloutBatch) -> RolloutBatch:
        """The new answers, with log-probabilities of the last copy."""
        if state.step % self.renewed == 0:
            state.data = state.policy.frozen_copy()
        with torch.no_grad():
            old = token_logprobs(state.data.model, batch, self.temperature)
        return replace(batch, old_logprobs=old)


@dataclass(frozen=True)
class OtherTemperature(MuseumConfig, kind="museum-other-temperature"):
    """The fault: the log-probabilities of the update belong to another temperature than the samples."""

    def update_temperature(self) -> float:
        """0.7 in place of 1."""
        return 0.7


@dataclass(frozen=True)
class StaleSampler(MuseumConfig, kind="museum-stale-sampler"):
    """The fault: answers come from a copy of the policy that is renewed only now and then; the loss has no ratio.

    Attributes:
        renewed: steps from one copy to the next.
    """

    renewed: int = 8

    def collect(self, state: TrainState) -> Experience:
        """Answers of the last copy."""
        if state.step % self.renewed == 0:
            state.data = state.policy.frozen_copy()
        return collect(self, replace(state, policy=state.data))


@dataclass(frozen=True)
class MixedOrder(MuseumConfig, kind="museum-mixed-order"):
    """The fault: the advantages come back in another order than the answers, so each answer gets another's."""

    def objective_on(self, experience: Experience) -> Objective:
        """The right advantages of the right groups, in the wrong rows."""
        return replace(self.objective, advantage=_reordered)


def _reordered(rewards: Float[Tensor, " B"], group_size: int) -> Float[Tensor, " B"]:
    """Row g·N + n gets the advantage of answer g to question n; the answers are laid out question by question."""
    return group_advantages(rewards, group_size).view(-1, group_size).T.flatten()


@dataclass(frozen=True)
class OthersStd(MuseumConfig, kind="museum-others-std"):
    """The fault: leave-one-out, divided by the std of the other answers, which is often 0."""

    def objective_on(self, experience: Experience) -> Objective:
        """(r − mean of the others) / (std of the others + 1e-6)."""
        return replace(self.objective, advantage=_by_others)


def _by_others(rewards: Float[Tensor, " B"], group_size: int) -> Float[Tensor, " B"]:
    groups = rewards.view(-1, group_size)
    off = ~torch.eye(group_size, dtype=torch.bool)
    others = groups[:, None].expand(-1, group_size, -1)[:, off].view(*groups.shape, -1)
    same = (groups[..., None] == others).all(dim=2)
    off_centre = torch.where(same, 0.0, groups - others.mean(dim=2))
    return (off_centre / (others.std(dim=2, correction=0) + 1e-6)).flatten()


class HiddenSums(Sums):
    """Sums whose prompts a template cuts off before the question: every prompt is the same."""

    def problems(self, count: int, rng: random.Random) -> list[Problem]:
        """The problems of ``Sums`` with an empty prompt."""
        return [replace(one, prompt="........?") for one in super().problems(count, rng)]


@dataclass(frozen=True)
class HiddenQuestion(MuseumConfig, kind="museum-hidden-question"):
    """The fault: the policy never sees the question."""

    def begin(self, *given: Any, **named: Any) -> TrainState:
        """The state before step 1, with a task that hides its questions."""
        return super().begin(*given, **{"task": HiddenSums()} | named)


BASE = MuseumConfig(steps=24, prompts_per_step=8, group_size=8, updates_per_batch=2)


class Exhibit(NamedTuple):
    """One broken run.

    Attributes:
        fault: its name in ``museum_signs.FAULTS``.
        config: the configuration.
        healthy: name of the run to compare it with.
    """

    fault: str
    config: MuseumConfig
    healthy: str = "healthy"


def _broken(kind: type[MuseumConfig], **change: Any) -> MuseumConfig:
    """``BASE`` with one method done wrong and, if named, other settings."""
    return kind(**{**asdict(BASE), **change})


EXHIBITS: dict[int, Exhibit] = {
    1: Exhibit("learned score", replace(BASE, rewards={"model": 1.0})),
    2: Exhibit("no gradient", _broken(NoGradient)),
    3: Exhibit("constant reward", _broken(ConstantReward)),
    4: Exhibit("stale π_old", _broken(StaleOld)),
    5: Exhibit("other temperature", _broken(OtherTemperature)),
    6: Exhibit("nothing", replace(BASE, updates_per_batch=1)),
    7: Exhibit("KL sign", _broken(FlippedKl, kl_coef=1.0), "healthy, with a KL"),
    8: Exhibit("std of the others", _broken(OthersStd)),
    9: Exhibit("groups of two", replace(BASE, group_size=2, prompts_per_step=32)),
    10: Exhibit("answers cut off", replace(BASE, max_new_tokens=8)),
    11: Exhibit("hidden question", _broken(HiddenQuestion)),
    12: Exhibit("stale sampler", _broken(StaleSampler, ratio="none")),
    13: Exhibit("mixed order", _broken(MixedOrder)),
}
"""Number → exhibit. The notebooks show the number alone."""

VARIANTS: dict[str, MuseumConfig] = {
    "healthy": BASE,
    "healthy, with a KL": replace(BASE, kl_coef=1.0),
    **{f"exhibit {number}": exhibit.config for number, exhibit in EXHIBITS.items()},
}
"""Name → configuration, of the study ``museum``."""


def measure_museum(
    seeds: int, variants: Mapping[str, MuseumConfig] = VARIANTS, first: int = 1
) -> Iterator[Run]:
    """Every variant with the seeds from ``first`` on; a seed sees the same problems in each.

    Raises:
        ValueError: for no seeds.
    """
    for one in seeded(variants, seeds, first):
        yield Run(one, [short_record(record) for record in train(one)])


def exhibit(number: int, seed: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The recorded run of an exhibit and the healthy run of the same seed: records with these metrics.

    ``step``; ``reward`` (logged, per answer); ``accuracy`` (held-out problems, strict verifier); ``loss``;
    ``grad_norm`` (before clipping); ``clip_fraction``; of the first inner step ``first_ratio`` (mean |ρ − 1|) and
    ``first_clip`` (share of tokens); ``kl`` (nats per answer); ``entropy`` (nats per token); ``length`` (tokens);
    ``truncated``, ``zero_spread`` (shares of answers and of groups); ``largest`` (|A|).

    Raises:
        ValueError: when there is no such exhibit or seed.
    """
    if number not in EXHIBITS:
        raise ValueError(f"number: there are exhibits 1 to {len(EXHIBITS)}, not {number}")
    shown = EXHIBITS[number]
    wanted = [replace(config, seed=seed) for config in (shown.config, VARIANTS[shown.healthy])]
    found = [run.records for one in wanted for run in _recording().runs if run.config == one]
    if len(found) != 2:
        raise ValueError(f"seed: the recording has no run with seed {seed}")
    return found[0], found[1]


@cache
def _recording() -> Recording:
    return Recording.load(data_folder() / "runs" / "museum.json")
