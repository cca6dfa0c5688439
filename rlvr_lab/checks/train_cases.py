"""Settings that are trained and compared with a bar: the case studies, notebooks 08 to 10.

Each check is a ``TrainCheck``, see ``checks.trained``. The base models are the shipped ones, or one that is made for
each seed in a few seconds.
"""

import random
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

from rlvr_lab.checks.train_runs import ADVICE, MOST, STEPS, accuracy, held_out
from rlvr_lab.checks.trained import Bar, TrainCheck
from rlvr_lab.experiments.kimi.length import DelayedLengthConfig, WordyMixture
from rlvr_lab.experiments.pretraining import fit
from rlvr_lab.policy.loading import Policy, load_policy
from rlvr_lab.tasks.codes import way_of
from rlvr_lab.tasks.finite_set import FiniteSet
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training.optimise import adamw, trained
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.state import TrainState

__all__ = ["PaidPromptsConfig", "check_chain_train", "check_prompt_train", "check_words_train"]

RUN = ("prompts_per_step", "group_size", "learning_rate", "updates_per_batch", "kl_coef")

# ------------------------------------------------------------------- one language (notebook 08)


def languages(
    config: PolicyGradientConfig, state: TrainState, seen: set[str], seed: int
) -> dict[str, float]:
    """``accuracy`` and ``in words``, the share of answers whose chain is in words only, on held-out problems."""
    answers, kl = held_out(config, state, seen, seed)
    ways = [way_of(text) for text in answers.batch.texts]
    return {
        "accuracy": sum(verdict.correct for verdict in answers.verdicts) / len(ways),
        "in words": ways.count("words") / len(ways),
        "mixed": ways.count("mixed") / len(ways),
        "KL": kl,
    }


check_words_train = TrainCheck(
    title="answers in one language",
    config=replace(
        PRESETS["grpo"], world="codes", base="mixed_languages", max_new_tokens=24, steps=STEPS
    ),
    allowed=(*RUN, "rewards"),
    bars=(Bar("accuracy", 0.5, mean=True), Bar("in words", 0.92, mean=True)),
    budget=72_000,
    seeds=3,
    measure=languages,
    advice=(
        (
            lambda config, trial: trial.numbers["mixed"] > 0.2,
            "Many chains still use both languages. What does a chain earn in words, and what in both?",
        ),
        (
            lambda config, trial: trial.numbers["in words"] < 0.92,
            "Too few chains are in words. Which of the rewards prefers words to digits, and by how much?",
        ),
        *ADVICE,
    ),
    rewards=("accuracy", "format", "language", "language_digits", "language_words"),
    most=MOST,
)

# --------------------------------------------------------------------- short chains (notebook 09)


@lru_cache(maxsize=4)
def _wordy(seed: int) -> Policy:
    policy = load_policy("sums", "cpu")
    optimizer = adamw(trained(policy.model), 1e-3)
    fit(policy, Sums(), WordyMixture().solve, 40, 1.5e-3, optimizer, random.Random(seed), 64)
    return policy


check_chain_train = TrainCheck(
    title="short chains at the same accuracy",
    config=DelayedLengthConfig(
        rewards={"accuracy": 1.0, "format": 0.1, "length": 0.0}, steps=STEPS
    ),
    allowed=(*RUN, "rewards", "length_from"),
    bars=(Bar("accuracy", 0.9), Bar("length", 11.4, least=False, close=0.2)),
    budget=30_000,
    measure=accuracy,
    advice=(
        (
            lambda config, trial: trial.numbers["accuracy"] >= 0.9,
            "The answers are accurate but long: compare what a short and a long correct answer earn.",
        ),
        (
            lambda config, trial: trial.numbers["length"] < 10.5,
            "The answers are too short to hold a whole chain: what does a wrong short answer earn?",
        ),
        *ADVICE,
    ),
    base=lambda config, seed: config.begin(deepcopy(_wordy(seed))),
    rewards=("accuracy", "format", "length", "length_correct", "length_incorrect"),
    most={**MOST, "length_from": STEPS},
)

# ----------------------------------------------------------------------- few prompts (notebook 10)

PRICE = 500
"""What a prompt with a checked answer costs, in sampled tokens."""


@dataclass(frozen=True)
class PaidPromptsConfig(PolicyGradientConfig, kind="paid-prompts"):
    """A policy-gradient run on a fixed set of prompts, each of which has to be paid for.

    Attributes:
        prompts: size of the set.
    """

    prompts: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "prompts")


def _on_a_set(config: PaidPromptsConfig, seed: int) -> TrainState:
    return config.begin(task=FiniteSet(Sums(), config.prompts, seed))


check_prompt_train = TrainCheck(
    title="prompts and tokens from one budget",
    config=PaidPromptsConfig(steps=STEPS),
    allowed=(*RUN, "prompts"),
    bars=(Bar("accuracy", 0.87, mean=True),),
    budget=60_000,
    seeds=3,
    measure=lambda config, state, seen, seed: accuracy(
        config, replace(state, task=Sums()), seen, seed
    ),
    advice=(
        (
            lambda config, trial: trial.records[-1]["pass_rate"] > trial.numbers["accuracy"] + 0.08,
            "On its own prompts this policy is better than on held-out ones: it has learned the set.",
        ),
        *ADVICE,
    ),
    base=_on_a_set,
    most={**MOST, "prompts": 4096},
    paid=lambda config: PRICE * config.prompts,
)
