"""The batch of rollouts that all modules use, and the names of the shapes in this course.

| letter | meaning                                             |
|--------|-----------------------------------------------------|
| N      | prompts in a batch                                  |
| G      | ``group_size``: answers to one prompt               |
| B      | N·G rows; the G answers to a prompt are contiguous  |
| P      | prompt length in tokens, padded on the left         |
| T      | completion length in tokens, padded on the right    |
| V      | vocabulary                                          |

``logprobs[:, t]`` scores ``completion_ids[:, t]``; log-probabilities and KL are in nats.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["RolloutBatch", "group_rows"]


def group_rows(groups: Int[Tensor, " n"], group_size: int) -> Int[Tensor, " rows"]:
    """The rows of the given groups, in the given order.

    >>> group_rows(torch.tensor([2, 0]), group_size=2)
    tensor([4, 5, 0, 1])
    """
    first = groups[:, None] * group_size
    return (first + torch.arange(group_size, device=groups.device)).flatten()


@dataclass(frozen=True)
class RolloutBatch:
    """G sampled answers to each of N prompts.

    Attributes:
        prompt_ids: [N, P], left-padded.
        prompt_mask: [N, P], True on real tokens.
        completion_ids: [B, T], right-padded.
        completion_mask: [B, T], True on the tokens that the policy sampled and that are trained. This
            includes the sampled end-of-sequence token; it excludes padding and tokens written by the
            environment. The mask is computed from *positions* and not from ``== pad_id``. Otherwise
            stopping would not be trained if padding and end of sequence have the same id.
        attention_mask: [B, T], True on every real token, sampled or forced.
        old_logprobs: [B, T], log π of each token under the policy and temperature that sampled it;
            0 outside ``completion_mask``.
        entropy: [B, T], entropy of the distribution from which each token was sampled, in nats; 0
            outside ``completion_mask``.
        truncated: [B], True where the answer ended at the length limit and not with an
            end-of-sequence token.
        texts: B completions as text, without the end-of-sequence token.
        group_size: G.
    """

    prompt_ids: Int[Tensor, "N P"]
    prompt_mask: Bool[Tensor, "N P"]
    completion_ids: Int[Tensor, "B T"]
    completion_mask: Bool[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
    entropy: Float[Tensor, "B T"]
    truncated: Bool[Tensor, " B"]
    texts: list[str]
    group_size: int

    def __post_init__(self) -> None:
        rows = self.prompt_ids.shape[0] * self.group_size
        if self.completion_ids.shape[0] != rows or len(self.texts) != rows:
            raise ValueError(
                f"completion_ids: {self.prompt_ids.shape[0]} prompts with group_size "
                f"{self.group_size} need {rows} rows, got {self.completion_ids.shape[0]}"
            )

    @property
    def lengths(self) -> Int[Tensor, " B"]:
        """Tokens of each completion, [B], including forced tokens and the end-of-sequence token."""
        return self.attention_mask.sum(dim=1)

    def groups(self, index: list[int]) -> "RolloutBatch":
        """The batch restricted to the given groups, in the given order.

        Raises:
            IndexError: when there is no such group.
        """
        rows = group_rows(torch.tensor(index, device=self.prompt_ids.device), self.group_size)
        return RolloutBatch(
            prompt_ids=self.prompt_ids[index],
            prompt_mask=self.prompt_mask[index],
            completion_ids=self.completion_ids[rows],
            completion_mask=self.completion_mask[rows],
            attention_mask=self.attention_mask[rows],
            old_logprobs=self.old_logprobs[rows],
            entropy=self.entropy[rows],
            truncated=self.truncated[rows],
            texts=[self.texts[row] for row in rows.tolist()],
            group_size=self.group_size,
        )
