"""One step of a run, kept so that it can be looked at from inside: answers, and what a loss does to each token.

``inspect_step`` makes it; the kinds of runs that can be shown are registered in ``training.inspected_kinds``, and
``training.step_keeper`` keeps steps of a run that goes on. Changing the loss needs no forward pass: the
log-probabilities are stored, and a loss is a function of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.policy.loading import Policy
from rlvr_lab.training.state import TrainState

__all__ = ["Boxes", "InspectedStep", "Lens", "can_inspect", "inspect_step", "token_words"]


class Boxes(NamedTuple):
    """The two switches of the course; None where a loss has no such choice."""

    by_length: bool | None = None
    by_std: bool | None = None


@dataclass(frozen=True)
class Lens:
    """One loss through which a stored batch can be seen.

    Attributes:
        title: as a reader knows it.
        boxes: where this loss has the two switches.
        weigh: (log-probabilities [B, T], boxes) → weights.
    """

    title: str
    boxes: Boxes
    weigh: Callable[[Tensor, Boxes], Weights]


@dataclass(frozen=True)
class InspectedStep:
    """A step as it was: B = N·G answers, groups contiguous.

    Attributes:
        step: counted from 1.
        prompts: N.
        words: B answers, T strings each; "" on padding.
        shown: [B, T], True on every real token, also on those that the environment wrote.
        mask: [B, T], True on the tokens that are trained.
        ended: [B], True where the last token is the end of the answer.
        rewards: [B].
        verdicts: B short phrases.
        good: [B], True for a correct answer (a chosen one, one that is better than its group).
        group_size: G.
        old: [B, T], log π_old, under which the answers were sampled.
        before: [B, T], log π when the update began.
        lenses: name → loss; the first is the run's own.
        note: what the weights leave out, in one sentence or none.
        reference: [B, T], log π_ref, where the run's loss reads it.
        after: [B, T], log π after the update.
    """

    step: int
    prompts: list[str]
    words: list[list[str]]
    shown: Tensor
    mask: Tensor
    ended: Tensor
    rewards: Tensor
    verdicts: list[str]
    good: Tensor
    group_size: int
    old: Tensor
    before: Tensor
    lenses: Mapping[str, Lens]
    note: str = ""
    reference: Tensor | None = None
    after: Tensor | None = None

    @property
    def groups(self) -> int:
        """N, the number of groups."""
        return len(self.words) // self.group_size

    @property
    def lengths(self) -> Tensor:
        """[B], trained tokens of each answer."""
        return self.mask.sum(dim=1)

    @property
    def is_end(self) -> Tensor:
        """[B, T], True on the token that ends an answer."""
        place = torch.arange(self.mask.shape[1], device=self.mask.device)
        last = (self.shown * (place + 1)).amax(dim=1, keepdim=True) - 1
        return self.mask & (place == last) & self.ended[:, None]

    def rows(self, group: int) -> range:
        """The rows of one group."""
        return range(group * self.group_size, (group + 1) * self.group_size)

    def weigh(self, name: str, boxes: Boxes | None = None, at: str = "before") -> Weights:
        """The weights of a loss, by default as this loss has the two switches.

        Args:
            name: of ``lenses``.
            boxes: the two switches.
            at: ``before`` the update (ρ = 1 on the first pass), or ``after`` it: what one more pass would do.

        Raises:
            ValueError: when the log-probabilities after the update were not kept.
        """
        logprobs = {"before": self.before, "after": self.after}[at]
        if logprobs is None:
            raise ValueError(f"at: step {self.step} was not kept after its update")
        lens = self.lenses[name]
        return lens.weigh(logprobs, lens.boxes if boxes is None else boxes)


Inspected = tuple[InspectedStep, Callable[[], Tensor]]
"""A step, and how to compute its log-probabilities [B, T] once the policy has been updated."""


@singledispatch
def inspect_step(config: Any, state: TrainState, experience: Any) -> Inspected | None:
    """What can be seen of a step before its update; None for a kind of run that cannot be shown honestly.

    Args:
        config: of the step; its class decides.
        state: as the update will find it.
        experience: what the step learns from.
    """
    return None


def can_inspect(config: Any) -> bool:
    """Whether steps of this kind of run can be shown: it updates as the kind does that was registered.

    A kind that replaces ``update`` would be shown a loss that it may not have.
    """
    known = [kind for kind in type(config).__mro__[:-1] if kind in inspect_step.registry]
    return bool(known) and type(config).update is known[0].update


def token_words(policy: Policy, ids: Tensor, shown: Tensor) -> list[list[str]]:
    """Each token as a string; the end-of-sequence token is called ⟨end⟩, padding is empty."""
    tokenizer = policy.tokenizer
    known = {int(i): tokenizer.decode([int(i)]) for i in ids.unique()}
    known |= dict.fromkeys(getattr(policy, "stop_ids", []), "⟨end⟩")
    if tokenizer.eos_token_id is not None:
        known[tokenizer.eos_token_id] = "⟨end⟩"
    return [
        [known[i] if real else "" for i, real in zip(row, there, strict=True)]
        for row, there in zip(ids.tolist(), shown.tolist(), strict=True)
    ]
