"""The tokens that are drawn during sampling, and the two ways to draw one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Draw", "Drawn", "multinomial_draw", "nucleus", "race_draw"]

Draw = Callable[[Tensor, int, Tensor], Tensor]
"""(log-probabilities [R, V], step, the answers [R] that they belong to) → one token for each [R]."""


def nucleus(scores: Float[Tensor, "R V"], top_p: float) -> Float[Tensor, "R V"]:
    """Probabilities of which only the smallest set that reaches ``top_p`` is left; not normalised.

    >>> nucleus(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6)
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    probs = scores.exp()
    if top_p < 1:
        ordered, index = probs.sort(dim=-1, descending=True)
        # A token is kept if the total probability *before* it is below top_p; the first one is.
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0.0)
        probs = torch.zeros_like(probs).scatter(1, index, ordered)
    return probs


def multinomial_draw(
    scores: Float[Tensor, "R V"], top_p: float, generator: torch.Generator
) -> Int[Tensor, " R"]:
    """One token per row, by ``torch.multinomial``. It checks the probabilities, for which a GPU has to wait."""
    return torch.multinomial(nucleus(scores, top_p), 1, generator=generator).squeeze(1)


def race_draw(
    scores: Float[Tensor, "R V"], top_p: float, generator: torch.Generator
) -> Int[Tensor, " R"]:
    """One token per row: the first one to arrive if token v arrives at a rate of π(v).

    With independent E_v ~ Exp(1), P(argmin_v E_v / π(v) = y) = π(y). Nothing is read back to the host.
    """
    probs = nucleus(scores, top_p)
    return (probs / torch.empty_like(probs).exponential_(generator=generator)).argmax(dim=-1)


@dataclass
class Drawn:
    """The tokens sampled so far, in tensors of the maximal width; names as in the batch."""

    ids: Tensor
    logprobs: Tensor
    entropy: Tensor
    lengths: Tensor
    truncated: Tensor

    @classmethod
    def empty(
        cls, rows: int, width: int, pad: int, precision: torch.dtype, device: torch.device
    ) -> "Drawn":
        """``rows`` answers of ``width`` tokens, all padding."""
        zeros = torch.zeros(rows, width, dtype=precision, device=device)
        return cls(
            ids=torch.full((rows, width), pad, device=device),
            logprobs=zeros,
            entropy=zeros.clone(),
            lengths=torch.full((rows,), width, device=device),
            truncated=torch.ones(rows, dtype=torch.bool, device=device),
        )

    def answers(self) -> list[list[int]]:
        """Token ids of each answer, without its end-of-sequence token."""
        ends = (self.lengths - (~self.truncated).long()).tolist()
        return [row[:end] for row, end in zip(self.ids.tolist(), ends, strict=True)]

    def tensors(self, forced_tokens: int) -> dict[str, Tensor]:
        """The batch's tensors, cut to the longest answer; the masks are computed from positions."""
        width = int(self.lengths.max())
        position = torch.arange(width, device=self.ids.device)
        attention = position < self.lengths[:, None]
        mask = attention & (position >= forced_tokens)
        return {
            "completion_ids": self.ids[:, :width],
            "completion_mask": mask,
            "attention_mask": attention,
            "old_logprobs": self.logprobs[:, :width].masked_fill(~mask, 0.0),
            "entropy": self.entropy[:, :width].masked_fill(~mask, 0.0),
            "truncated": self.truncated,
        }
