"""How much of the returns a critic explains: PPO's value models against a lookup table (notebook 05).

The table knows what a perfect reader of the sums' form would know: in which part of the answer a token
stands, how many running sums are still missing, and whether the last one is correct.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rlvr_lab.objectives.value_loss import explained_variance
from rlvr_lab.records.runs import Run, runs_of
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.rollouts import Experience
from rlvr_lab.training.state import TrainState

__all__ = [
    "CRITICS",
    "WatchedPPO",
    "lookup_values",
    "lookup_variance",
    "measure_critics",
    "situations",
]

CRITICS: dict[str, dict[str, Any]] = {
    "linear": {"critic": "linear", "critic_warmup": 0},
    "confidence": {},
}
"""Name → what it changes in ``PPOConfig``; ``linear`` is a linear head that starts with the run."""


def situations(prompt: str, words: list[str]) -> list[Hashable]:
    """What the lookup table knows before each word of an answer.

    Returns:
        For each word: the marks written so far, how many running sums are still missing (0, a few, many)
        and whether the running sum is correct so far.

    >>> situations("7+5+8.....?", ["<think>", "7", "3"])
    [('', 2, True), ('<think>', 2, True), ('<think>', 1, True)]
    """
    digits = [int(d) for d in prompt.rstrip(".?").split("+")]
    sums = [sum(digits[: k + 1]) % 10 for k in range(len(digits))]
    marks, done, correct, after, found = "", 0, True, False, []
    for word in words:
        missing = len(sums) - done
        found.append((marks, 0 if missing <= 0 else 1 if missing <= 2 else 2, correct))
        if not word.isdigit():
            marks += word if word != "wait" else ""
            after = after or word == "="
            if word == "wait" and done > 0:
                done, correct = done - 1, True
        elif after:
            marks += "d"
            correct = int(word) == sums[-1] if marks.endswith("=d") else False
        else:
            correct = correct and done < len(sums) and int(word) == sums[done]
            done += 1
    return found


def lookup_values(
    found: list[list[Hashable]], groups: list[int], earned: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """V of a table that maps a situation to the mean of what was earned in it.

    Each half of the prompts is predicted from the other half, so that no answer takes part in its own
    prediction.

    Args:
        found: the situations before each token of each answer.
        groups: which prompt each answer belongs to.
        earned: what followed each token.
    """
    values = torch.zeros_like(earned)
    for half in (0, 1):
        seen: dict[Hashable, list[float]] = {}
        for row, (states, group) in enumerate(zip(found, groups, strict=True)):
            if group % 2 != half:
                for t, state in enumerate(states):
                    seen.setdefault(state, []).append(float(earned[row, t]))
        everything = [x for xs in seen.values() for x in xs]
        for row, (states, group) in enumerate(zip(found, groups, strict=True)):
            if group % 2 == half:
                for t, state in enumerate(states):
                    known = seen.get(state, everything)
                    values[row, t] = sum(known) / len(known)
    return values


def lookup_variance(state: TrainState, experience: Experience) -> float:
    """Explained variance of the lookup table on one batch of answers to sums."""
    batch, answers = experience.batch, experience.answers
    groups = [row // batch.group_size for row in range(len(batch.texts))]
    found = []
    for row, group in enumerate(groups):
        ids = batch.completion_ids[row, : int(batch.lengths[row])]
        words = state.policy.tokenizer.convert_ids_to_tokens(ids.tolist())
        found.append(situations(answers.problems[group].prompt, words))
    earned = experience.rewards[:, None].expand(batch.old_logprobs.shape).clone()
    return explained_variance(lookup_values(found, groups, earned), earned, batch.completion_mask)


@dataclass(frozen=True)
class WatchedPPO(PPOConfig, kind="ppo-watched"):
    """PPO on the sums that also reports how much of the returns a lookup table explains."""

    def measure(self, state: TrainState, experience: Experience) -> dict[str, Any]:
        """As PPO, and ``lookup_variance``."""
        found = super().measure(state, experience)
        return {**found, "lookup_variance": lookup_variance(state, experience)}


def measure_critics(
    seeds: int,
    critics: Mapping[str, dict[str, Any]] = CRITICS,
    first: int = 0,
    steps: int = 20,
) -> Iterator[Run]:
    """The same run with each critic and the seeds from ``first`` on."""
    for change in critics.values():
        yield from runs_of(WatchedPPO(steps=steps, seed=first, **change), seeds, digits=4)
