"""The batch of rollouts that every module passes on, and the course's legend of shapes.

| letter | meaning                                             |
|--------|-----------------------------------------------------|
| N      | prompts in a batch                                  |
| G      | ``group_size``: answers to one prompt               |
| B      | N·G rows, the G answers to a prompt side by side    |
| P      | prompt length in tokens, padded on the left         |
| T      | completion length in tokens, padded on the right    |
| V      | vocabulary                                          |

``logprobs[:, t]`` scores ``completion_ids[:, t]``; log-probabilities and KL are in nats.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["RolloutBatch"]


@dataclass(frozen=True)
class RolloutBatch:
    """G sampled answers to each of N prompts.

    Attributes:
        prompt_ids: [N, P], left-padded.
        prompt_mask: [N, P], True on real tokens.
        completion_ids: [B, T], right-padded.
        completion_mask: [B, T], True on the tokens that the policy chose and that are trained: the
            sampled end-of-sequence token included, padding and tokens written by the environment
            excluded. It is made from *positions*, never from ``== pad_id``; otherwise stopping would
            never be trained where both tokens share an id.
        attention_mask: [B, T], True on every real token, chosen or forced.
        old_logprobs: [B, T], log π of each token under the policy and temperature that sampled it; 0
            outside ``completion_mask``.
        truncated: [B], True where the length limit and not an end-of-sequence token ended the answer.
        texts: B completions as text, without the end-of-sequence token.
        group_size: G.
    """

    prompt_ids: Int[Tensor, "N P"]
    prompt_mask: Bool[Tensor, "N P"]
    completion_ids: Int[Tensor, "B T"]
    completion_mask: Bool[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
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
        """Tokens of each completion, [B], forced ones and the end-of-sequence token included."""
        return self.attention_mask.sum(dim=1)

    @property
    def trainable(self) -> Bool[Tensor, " B"]:
        """Rows with at least one trained token, [B]."""
        return self.completion_mask.any(dim=1)
