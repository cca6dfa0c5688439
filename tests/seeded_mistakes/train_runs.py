"""Settings that break a rule or miss a goal, in the exercises that train.

Nearly all of them are refused before anything is trained; at most one of each check makes a few steps.
"""

import math
from collections.abc import Callable
from typing import Any

from rlvr_lab.training.policy_gradient import PRESETS
from tests.seeded_mistakes.kit import Seeded, seeded

__all__ = ["BANK"]


def settings(**chosen: Any) -> Callable[[], dict[str, Any]]:
    """A learner's function that returns these settings."""

    def my_run() -> dict[str, Any]:
        return chosen

    return my_run


def weights(**chosen: Any) -> Callable[[], dict[str, Any]]:
    """A learner's function that returns these weights of rewards."""
    return settings(rewards=chosen)


def a_configuration() -> Any:
    return PRESETS["grpo"]


def pairs() -> Any:
    return [("prompts_per_step", 8), ("group_size", 8)]


HUGE = {"prompts_per_step": 64, "group_size": 16}

BANK: dict[str, list[Seeded]] = {
    "check_grpo_train": [
        seeded("'seed' may not be set", settings(seed=3, group_size=8)),
        seeded("'steps' may not be set", settings(steps=1000)),
        seeded("'rewards' may not be set", weights(accuracy=10.0)),
        seeded("must return a dictionary", a_configuration),
        seeded("group_size: must be at least 2", settings(group_size=1)),
        seeded("must be of type int", settings(prompts_per_step=16 / 2)),
        seeded("one of sequence, token, constant", settings(average="tokens")),
        seeded("may be at most 4", settings(updates_per_batch=64)),
        seeded("still rising", settings(**HUGE)),
    ],
    "check_reinforce_train": [
        seeded("'rewards' may not be set", weights(accuracy=1.0)),
        seeded("'group_size' may not be set", settings(group_size=8)),
        seeded("at least 2 with baseline='leave_one_out'", settings(baseline="leave_one_out")),
        seeded("at least 2 with baseline='group'", settings(baseline="group")),
        seeded("baseline: must be one of", settings(baseline="mean")),
        seeded("learning_rate must be finite", settings(learning_rate=math.inf)),
        seeded("must return a dictionary", pairs),
        seeded("prompts_per_step may be at most", settings(prompts_per_step=4096)),
    ],
    "check_ppo_train": [
        seeded("'max_new_tokens' may not be set", settings(max_new_tokens=12)),
        seeded("'base' may not be set", settings(base="codes")),
        seeded("clip: must be at most 1", settings(clip=1.2)),
        seeded("lam: must be in [0, 1]", settings(lam=1.05)),
        seeded("critic_warmup: must be not negative", settings(critic_warmup=-1)),
        seeded(
            "minibatches: must be at most prompts_per_step",
            settings(minibatches=4, prompts_per_step=2),
        ),
        seeded("target_kl must be of type float or None", settings(target_kl="none")),
        seeded("1,024 are allowed", settings(prompts_per_step=128, group_size=32)),
    ],
    "check_gold_train": [
        seeded("'pairs' may not be set", settings(pairs=30_000)),
        seeded("'flip' may not be set", settings(flip=0.0, steps=20)),
        seeded("must be 'ppo' or 'grpo' here", settings(optimiser="best_of_n")),
        seeded("must be 'ppo' or 'grpo' here", settings(optimiser="reinforce")),
        seeded("batch_size: must be a multiple of 16", settings(batch_size=100)),
        seeded("kl_coef: must be not negative", settings(kl_coef=-0.1)),
        seeded("members may be at most 8", settings(members=50)),
        seeded("steps may be at most", settings(steps=10_000)),
        seeded("still rising at the end", settings(steps=1)),
    ],
    "check_words_train": [
        seeded("'world' may not be set", settings(world="sums")),
        seeded("the reward 'words' may not be used", weights(accuracy=1.0, words=0.3)),
        seeded("the reward 'model' may not be used", weights(accuracy=1.0, model=0.3)),
        seeded("rewards must be a dictionary", settings(rewards=["accuracy", "language_words"])),
        seeded("the weight of 'language_words' must be finite", weights(language_words=math.nan)),
        seeded("kl_coef: must be not negative", settings(kl_coef=-1.0)),
        seeded("must return a dictionary", pairs),
        seeded("1,024 are allowed", settings(prompts_per_step=64, group_size=64)),
    ],
    "check_chain_train": [
        seeded("'max_new_tokens' may not be set", settings(max_new_tokens=12)),
        seeded("length_from: must be at least 1", settings(length_from=0)),
        seeded("length_from may be at most", settings(length_from=1000)),
        seeded("the weight of 'length' must be finite", weights(accuracy=1.0, length="1")),
        seeded("the reward 'tax' may not be used", weights(accuracy=1.0, tax=-0.01)),
        seeded("rewards must be a dictionary", settings(rewards={})),
        seeded("must return a dictionary", pairs),
        seeded("updates_per_batch: must be at least 1", settings(updates_per_batch=0)),
    ],
    "check_prompt_train": [
        seeded("nothing is left", settings(prompts=125)),
        seeded("nothing is left", settings(prompts=3995)),
        seeded("prompts: must be at least 1", settings(prompts=0)),
        seeded("prompts must be of type int", settings(prompts=None)),
        seeded("'rewards' may not be set", weights(accuracy=1.0)),
        seeded("'table' may not be set", settings(table=3)),
        seeded("prompts may be at most", settings(prompts=100_000)),
        seeded("Not a single update", settings(prompts=115, **HUGE)),
    ],
}
