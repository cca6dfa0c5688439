"""Recorded answers, so that two trainers can be compared on the same data.

Two trainers that sample for themselves see different answers, and their parameters drift apart for that reason alone.
Here one run writes its answers down, and TRL reads them instead of sampling: what differs afterwards is the update.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlvr_lab.policy.loading import Policy
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PolicyGradientConfig
from rlvr_lab.training.state import TrainState

__all__ = ["Replay", "recorded_answers"]


@dataclass(frozen=True)
class Replay:
    """The answers of a run.

    Attributes:
        completion_ids: [steps, B, T], right-padded.
        lengths: [steps, B], tokens of each answer, the one that ended it included.
    """

    completion_ids: Tensor
    lengths: Tensor

    def answers(self, step: int, rows: slice) -> list[list[int]]:
        """Token ids of these rows in step 0, 1, …"""
        ids, lengths = self.completion_ids[step, rows], self.lengths[step, rows]
        return [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]

    def save(self, path: str | Path) -> None:
        """Write a safetensors file."""
        save_file(
            {"completion_ids": self.completion_ids.contiguous(), "lengths": self.lengths}, path
        )

    @classmethod
    def load(cls, path: str | Path) -> "Replay":
        """Read the file.

        Raises:
            FileNotFoundError: when there is none.
            ValueError: when it holds something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"replay: there is no file {path}")
        found = load_file(path)
        if set(found) != {"completion_ids", "lengths"}:
            raise ValueError(f"replay: {path} holds {', '.join(sorted(found))} and not answers")
        return cls(**found)

    def rollout(self, policy: Policy, steps_per_batch: int) -> Any:
        """TRL's ``rollout_func``: the answers of its own rows instead of sampled ones.

        Args:
            policy: its tokenizer reads the prompts.
            steps_per_batch: optimiser steps on each batch of answers.
        """

        def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
            first = trainer.accelerator.process_index * len(prompts)
            step = trainer.state.global_step // steps_per_batch
            encoded = policy.tokenizer(prompts, add_special_tokens=False)
            return {
                "prompt_ids": encoded["input_ids"],
                "completion_ids": self.answers(step, slice(first, first + len(prompts))),
                "logprobs": None,
            }

        return rollout


def recorded_answers(config: PolicyGradientConfig, state: TrainState | None = None) -> Replay:
    """Train with our loop and write down every answer; ``state`` is updated in place."""
    ids: list[Tensor] = []

    def watch(config: Any, state: TrainState, experience: Any) -> None:
        ids.append(experience.batch.completion_ids.cpu())
        lengths.append(experience.batch.lengths.cpu())

    lengths: list[Tensor] = []
    for _ in train(config, state=state or config.begin(), watch=watch):
        pass
    width = max(one.shape[1] for one in ids)
    pad = torch.nn.functional.pad
    return Replay(
        torch.stack([pad(one, (0, width - one.shape[1])) for one in ids]), torch.stack(lengths)
    )
